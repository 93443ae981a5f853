"""The track that carries animated frames to one viewer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import av
from aiortc import MediaStreamTrack
from aiortc.mediastreams import MediaStreamError

from pipeline.frames import AnimatedFrame

RESEND_S = 0.5  # a still picture is sent again this often: late joiners and lost key frames need it


class ViewerTrack(MediaStreamTrack):
    """One slot: a new frame replaces the one not yet sent. pts: 90 kHz from capture time, increasing.

    on_sent: called with the age in seconds of each frame once its packets have left.
    """

    kind = "video"

    def __init__(self, first: AnimatedFrame | None, on_sent: Callable[[float], None]) -> None:
        super().__init__()
        self._slot = first
        self._last: AnimatedFrame | None = None
        self._ready = asyncio.Event()
        self._on_sent = on_sent
        self._sending_s: float | None = None
        self._epoch_s = time.monotonic() - 1.0
        self._pts = 0
        self.dropped = 0
        if first is not None:
            self._ready.set()

    def offer(self, frame: AnimatedFrame) -> None:
        """Put a frame in the slot."""
        if self._slot is not None:
            self.dropped += 1
        self._slot = frame
        self._ready.set()

    async def recv(self) -> av.VideoFrame:
        """The next frame to encode; aiortc's sender asks for it when the one before has been sent."""
        if self._sending_s is not None:
            self._on_sent(time.monotonic() - self._sending_s)
            self._sending_s = None
        while True:
            if self.readyState != "live":
                raise MediaStreamError
            try:
                async with asyncio.timeout(RESEND_S):
                    await self._ready.wait()
            except TimeoutError:
                if self._last is None:
                    continue
                return self._video_frame(self._last, time.monotonic())
            self._ready.clear()
            frame, self._slot = self._slot, None
            if frame is not None:
                self._last, self._sending_s = frame, frame.captured_s
                return self._video_frame(frame, frame.captured_s)

    def _video_frame(self, frame: AnimatedFrame, time_s: float) -> av.VideoFrame:
        self._pts = max(self._pts + 1, round((time_s - self._epoch_s) * 90_000))
        return frame.video_frame(self._pts)

    def stop(self) -> None:
        super().stop()
        self._ready.set()
