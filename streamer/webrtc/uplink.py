"""What a publisher sends, on its way into a stream's queue."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress

import av
from aiortc import MediaStreamTrack
from aiortc.mediastreams import MediaStreamError

from pipeline.clock import Clock, steady
from pipeline.frames import TimedFrame


async def pictures(
    track: MediaStreamTrack, put: Callable[[TimedFrame], None], idle_timeout_s: float, clock: Clock = steady
) -> None:
    """Pass the camera's frames on until the track ends or, with a TimeoutError, falls silent for so long."""
    with suppress(MediaStreamError):
        while True:
            async with asyncio.timeout(idle_timeout_s):
                frame = await track.recv()
            put(TimedFrame(frame, clock()))  # type: ignore[arg-type]


async def sound(track: MediaStreamTrack, hear: Callable[[av.AudioFrame, float], None], clock: Clock = steady) -> None:
    """Pass the microphone's sound on until the track ends."""
    with suppress(MediaStreamError):
        while True:
            frame = await track.recv()
            assert isinstance(frame, av.AudioFrame)
            hear(frame, clock())
