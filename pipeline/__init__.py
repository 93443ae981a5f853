"""The animation pipeline: engines, trackers, budget and stage. No asyncio, no network framework."""
