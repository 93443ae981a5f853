"""A clip that loops in real time by its pts."""

from __future__ import annotations

import threading
from pathlib import Path

import av
from av.container import InputContainer

from pipeline.clips import open_clip
from pipeline.clock import steady
from pipeline.errors import ClipError
from pipeline.frames import TimedFrame

from ..errors import SourceError
from ..stream.intake import Intake


class FileSource:
    """See `Source`. Captured is when a camera would have shown the frame."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.name = f"file {path}"

    def check(self) -> None:
        self._open().close()

    def read(self, out: Intake, stop: threading.Event) -> None:
        self.check()
        while not stop.is_set():
            if not self._play(out, stop) and not stop.is_set():
                raise SourceError(f"{self._path}: no picture could be decoded", retry=False)

    def _open(self) -> InputContainer:
        try:
            return open_clip(self._path)
        except ClipError as exc:
            raise SourceError(str(exc), retry=False) from exc

    def _play(self, out: Intake, stop: threading.Event) -> int:
        """Play once; how many frames were shown."""
        start, first, shown = steady(), None, 0
        with self._open() as clip:
            try:
                for frame in clip.decode(clip.streams.video[0], *clip.streams.audio[:1]):
                    if not isinstance(frame, av.VideoFrame | av.AudioFrame):
                        continue
                    at = float(frame.time or 0.0)
                    first = at if first is None else first
                    if stop.wait(max(start + at - first - steady(), 0)):
                        break
                    if isinstance(frame, av.VideoFrame):
                        out.put(TimedFrame(frame, steady()))
                        shown += 1
                    else:
                        out.hear(frame, start + at - first)
            except av.error.FFmpegError as exc:
                if not shown:
                    raise SourceError(f"{self._path}: {exc.strerror}", retry=False) from exc
            # The last frame stays for its own duration before the loop begins again.
            stop.wait(1 / float(clip.streams.video[0].average_rate or 30))
        return shown
