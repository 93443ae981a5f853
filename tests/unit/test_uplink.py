"""What a publisher sends, until it ends or falls silent."""

from __future__ import annotations

import asyncio

import av
import pytest
from aiortc import MediaStreamTrack
from aiortc.mediastreams import MediaStreamError

from pipeline.frames import TimedFrame
from streamer.webrtc import uplink

from ..virtual_time import now, virtual


class Camera(MediaStreamTrack):
    """Ten frames, half a second apart, and then no more."""

    kind = "video"

    def __init__(self, ends: bool) -> None:
        super().__init__()
        self._left, self._ends = 10, ends

    async def recv(self) -> av.VideoFrame:
        if not self._left and self._ends:
            raise MediaStreamError
        self._left -= 1
        await asyncio.sleep(0.5 if self._left >= 0 else 1e6)
        return av.VideoFrame(16, 16, "yuv420p")


@virtual
async def test_a_publisher_that_falls_silent_is_noticed() -> None:
    got: list[TimedFrame] = []
    with pytest.raises(TimeoutError):
        await uplink.pictures(Camera(ends=False), got.append, 4.0, now)
    assert [frame.captured_s for frame in got] == pytest.approx([0.5 * k for k in range(1, 11)])
    assert now() == pytest.approx(5.0 + 4.0)


@virtual
async def test_a_publisher_that_ends_is_no_error() -> None:
    got: list[TimedFrame] = []
    await uplink.pictures(Camera(ends=True), got.append, 4.0, now)
    assert len(got) == 10
