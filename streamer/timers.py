"""Waiting in the event loop's own time, which tests let jump."""

from __future__ import annotations

import asyncio


async def pause(seconds: float) -> None:
    """Let so much of the loop's time pass."""
    await asyncio.sleep(seconds)
