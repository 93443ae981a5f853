"""The bounded queue between a source and the stage: the newest frame wins."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable

import av

from pipeline.frames import TimedFrame


class FrameQueue:
    """Holds at most `depth` frames and drops the oldest. Threads put and take.

    Taking returns the newest frame; those it passes over count as dropped too.
    """

    def __init__(self, depth: int = 2) -> None:
        self._frames: deque[TimedFrame] = deque()
        self._depth = depth
        self._changed = threading.Condition()
        self._closed = False
        self.on_sound: Callable[[av.AudioFrame, float], None] | None = None  # takes sound and when it was captured
        self.received = 0
        self.dropped = 0

    def put(self, frame: TimedFrame) -> None:
        with self._changed:
            if self._closed:
                return
            self.received += 1
            if len(self._frames) >= self._depth:
                self._frames.popleft()
                self.dropped += 1
            self._frames.append(frame)
            self._changed.notify()

    def hear(self, frame: av.AudioFrame, captured_s: float) -> None:
        """Sound that belongs to the pictures; captured_s: monotonic seconds at its first sample."""
        if self.on_sound is not None and not self._closed:
            self.on_sound(frame, captured_s)

    def take(self, timeout_s: float) -> TimedFrame | None:
        """The newest frame, waiting up to `timeout_s` for one; None if none came or the queue was closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._frames or self._closed, timeout_s)
            if not self._frames:
                return None
            newest = self._frames.pop()
            self.dropped += len(self._frames)
            self._frames.clear()
            return newest

    def clear(self) -> None:
        """Forget waiting frames: those of a source that has ended."""
        with self._changed:
            self._frames.clear()

    def wake(self) -> None:
        """Let a waiting `take` return now."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
