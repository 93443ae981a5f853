"""WebRTC sessions, tracks and encoders over aiortc."""
