"""Waiting by the event loop's own timers, which tests let jump."""

from __future__ import annotations

import asyncio


async def pause(seconds: float) -> None:
    """Return after so long on the running loop's clock."""
    loop = asyncio.get_running_loop()
    over = loop.create_future()
    timer = loop.call_later(seconds, over.set_result, None)
    try:
        await over
    finally:
        timer.cancel()
