"""What a publisher sends, on its way into a stream's queue."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress

import av
from aiortc import MediaStreamTrack
from aiortc.mediastreams import MediaStreamError

from pipeline.clock import Clock, steady
from pipeline.frames import TimedFrame

from ..stream.intake import FrameQueue

log = logging.getLogger(__name__)

PREFETCH_S = 0.08  # aiortc keeps four packets of sound, of 20 ms each, before it gives one out


async def pictures(track: MediaStreamTrack, out: FrameQueue, idle_timeout_s: float, clock: Clock = steady) -> None:
    """Pass the camera's frames on until the track ends or, with a TimeoutError, falls silent for so long."""
    with suppress(MediaStreamError):
        while True:
            async with asyncio.timeout(idle_timeout_s):
                frame = await track.recv()
            out.put(TimedFrame(frame, clock()))  # type: ignore[arg-type]


async def sound(track: MediaStreamTrack, out: FrameQueue, clock: Clock = steady) -> None:
    """Pass the microphone's sound on until the track ends."""
    with suppress(MediaStreamError):
        while True:
            frame = await track.recv()
            assert isinstance(frame, av.AudioFrame)
            out.hear(frame, clock() - PREFETCH_S)
