"""A camera whose picture changes its size while it drives."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from itertools import count
from pathlib import Path

import av
import cv2
import httpx
import numpy as np
import pytest
from aiortc import VideoStreamTrack

from bench.stability import load
from pipeline.face.mediapipe import MediaPipeTracker
from pipeline.face.units import in_pixels
from pipeline.follow.leeway import WATCHED
from pipeline.follow.neutral import FaceState
from pipeline.frames import AnimatedFrame
from streamer.config import Kind

from ..conftest import run_server
from ..peers import publishing, watched
from ..waiting import LIMIT_S, until

COUNT = 30  # pictures of the puppet, before the change and after it
HELD = 8  # pictures in which the driver does not move: whatever then does, the change has moved


class Resized(VideoStreamTrack):
    """A camera that plays pictures there and back, in a size that is changed where the driver holds still."""

    def __init__(self, images: list[np.ndarray], size: tuple[int, int]) -> None:
        super().__init__()
        self._images, self._size, self.wanted = [*images[:1] * HELD, *images, *images[-2:0:-1]], size, size
        self._number = count()

    async def recv(self) -> av.VideoFrame:
        pts, base = await self.next_timestamp()
        number = next(self._number) % len(self._images)
        if number == HELD // 2:
            self._size = self.wanted
        image = cv2.resize(self._images[number], self._size, interpolation=cv2.INTER_AREA)
        frame = av.VideoFrame.from_ndarray(image, format="rgb24")
        frame.pts, frame.time_base = pts, base
        return frame


class Kept:
    """A sink that keeps what the stream shows."""

    kind, seen_s = Kind.VIEWERS, None

    def __init__(self) -> None:
        self.frames: list[AnimatedFrame] = []

    def offer(self, frame: AnimatedFrame) -> None:
        self.frames.append(frame)


def steps(frames: list[AnimatedFrame], model: Path) -> np.ndarray:
    """Largest step of a landmark from each picture of the puppet to the next, in its pixels."""
    marks = []
    with closing(MediaPipeTracker(model)) as tracker:
        for frame in frames:
            picture = cv2.cvtColor(frame.yuv, cv2.COLOR_YUV2RGB_I420)
            marks.append(in_pixels(tracker.track(picture, frame.captured_s), picture)[WATCHED, :2])
    return np.linalg.norm(np.diff(marks, axis=0), axis=2).max(axis=1)


@pytest.mark.slow
async def test_the_puppet_does_not_leap(model: Path, clip: Callable[[str], Path]) -> None:
    one, other = (480, 480), (240, 240)
    camera, kept = Resized(load(clip("d19"), 40), one), Kept()
    with run_server() as server:
        stream = server.control.stream("live")
        taken = watched(stream.intake)
        async with httpx.AsyncClient(base_url=server.url, timeout=LIMIT_S) as http, publishing(http, camera):
            await until(lambda: server.control.state("live").face == FaceState.TRACKING)
            stream.sinks.add(kept)
            await until(lambda: len(kept.frames) > 2 * COUNT)
            camera.wanted = other
            await until(lambda: taken[-1].frame.width == other[0])
            change_s = next(frame.captured_s for frame in taken if frame.frame.width == other[0])
            await until(lambda: sum(frame.captured_s >= change_s for frame in kept.frames) > COUNT)
            stream.sinks.discard(kept)
            assert server.control.state("live").face == FaceState.TRACKING
    frames = kept.frames[COUNT:]  # the first ones come from rest
    moved = steps(frames, model)
    first = next(k for k, frame in enumerate(frames) if frame.captured_s >= change_s)
    own, changed = np.delete(moved, [first - 1, first]), moved[first - 1 : first + 1]
    print("own", np.percentile(own, [50, 90, 99]), "changed", changed)
    assert changed.max() <= np.percentile(own, 99)
