"""A clip that loops in real time, by the times of its pictures."""

from __future__ import annotations

import threading
from pathlib import Path

import av

from pipeline.clips import Clip, open_clip
from pipeline.clock import Clock, steady
from pipeline.errors import ClipError
from pipeline.frames import TimedFrame

from ..errors import SourceError
from ..stream.intake import Intake

LATE_S = 0.1  # by which pictures may be late to the clip's own times, before the clip itself goes on later
AHEAD_S = 1.0  # by so much sound may be handed over too soon, lest it hold up pictures that are stored behind it


class FileSource:
    """See `Source`. Captured is when a camera would have shown the frame, also where a busy machine gives it a little later.
    clock: `stop` is waited for by it, too."""

    live = False

    def __init__(self, path: Path, clock: Clock = steady) -> None:
        self._path = path
        self._clock = clock
        self.name = f"file {path.name}"

    def check(self) -> None:
        try:
            open_clip(self._path).close()
        except ClipError as exc:
            raise SourceError(str(exc), retry=False) from exc

    def read(self, out: Intake, stop: threading.Event) -> None:
        try:
            while not stop.is_set():
                with open_clip(self._path) as clip:
                    self._play(clip, out, stop)
        except ClipError as exc:  # viewers are told of it, but not where the file lies
            raise SourceError(str(exc).replace(str(self._path), self._path.name), retry=False) from exc

    def _play(self, clip: Clip, out: Intake, stop: threading.Event) -> None:
        start_s = self._clock()
        for at, frame in clip.moments(sound=True):
            heard = isinstance(frame, av.AudioFrame)
            if stop.wait(max(start_s + at - self._clock() - heard * AHEAD_S, 0)):
                return
            if isinstance(frame, av.AudioFrame):
                out.hear(frame, start_s + at)
            else:
                late_s = self._clock() - start_s - at
                start_s += late_s if late_s > LATE_S else 0.0
                out.put(TimedFrame(frame, start_s + at))
        stop.wait(1 / float(clip.rate))  # the last picture stays for its own time before the loop begins again
