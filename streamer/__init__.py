"""The asyncio side: sources, the graph, WebRTC, HTTP and the command line."""
