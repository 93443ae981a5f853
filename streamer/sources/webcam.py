"""A local camera through FFmpeg's capture devices."""

from __future__ import annotations

import sys
import threading
import time

import av
from av.container import InputContainer

from pipeline.frames import TimedFrame

from ..errors import SourceError
from ..framequeue import FrameQueue

# FFmpeg's input format and the name of the first camera, by platform.
DEVICES = {"linux": ("v4l2", "/dev/video0"), "darwin": ("avfoundation", "0:none"), "win32": ("dshow", "")}
OPEN_TIMEOUT_S, READ_TIMEOUT_S = 5.0, 3.0


class WebcamSource:
    """See `Source`. device: such as /dev/video0 (Linux), 0 (macOS) or video=Name (Windows)."""

    def __init__(self, device: str, size: tuple[int, int], fps: int) -> None:
        self._format, first = DEVICES.get(sys.platform, DEVICES["linux"])
        self._device = device or first
        self._options = {"video_size": f"{size[0]}x{size[1]}", "framerate": str(fps)}
        self.name = f"camera {self._device or '(none named)'}"

    def check(self) -> None:
        self._open().close()

    def _open(self) -> InputContainer:
        try:
            return av.open(self._device, format=self._format, options=self._options, timeout=(OPEN_TIMEOUT_S, READ_TIMEOUT_S))
        except (av.error.FFmpegError, OSError, ValueError) as exc:
            reason = getattr(exc, "strerror", None) or exc
            raise SourceError(f"{self.name}: {reason}; is it plugged in, and free?", retry=True) from exc

    def read(self, out: FrameQueue, stop: threading.Event) -> None:
        with self._open() as camera:
            try:
                for frame in camera.decode(video=0):
                    out.put(TimedFrame(frame, time.monotonic()))
                    if stop.is_set():
                        return
            except av.error.FFmpegError as exc:
                raise SourceError(f"{self.name}: {exc.strerror}", retry=True) from exc
