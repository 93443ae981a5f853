"""A stream's door for the driver's pictures and sound: the newest picture wins."""

from __future__ import annotations

import threading
from collections.abc import Callable

import av

from pipeline.frames import TimedFrame

Hear = Callable[[av.AudioFrame, float], None]  # takes sound, and monotonic seconds at its first sample


class Intake:
    """One slot for pictures; one that is not taken before the next comes counts as dropped. For any thread.

    hear: takes the sound. waits_for: what a source says while it can give no picture, in words; lag_s: how far its pictures
    have fallen behind, by its own clock, where it has one.
    """

    def __init__(self, hear: Hear = lambda frame, captured_s: None) -> None:
        self._hear = hear
        self._slot: TimedFrame | None = None
        self._changed = threading.Condition()
        self._woken = self._closed = False
        self.waits_for = ""
        self.lag_s: float | None = None
        self.received = 0
        self.dropped = 0

    def put(self, frame: TimedFrame) -> None:
        """A picture; no effect once closed."""
        with self._changed:
            if self._closed:
                return
            self.received += 1
            self.dropped += self._slot is not None
            self._slot = frame
            self._changed.notify_all()

    def hear(self, frame: av.AudioFrame, captured_s: float) -> None:
        """Sound that belongs to the pictures; captured_s: monotonic seconds at its first sample."""
        if not self._closed:
            self._hear(frame, captured_s)

    def take(self, timeout_s: float | None) -> TimedFrame | None:
        """The newest picture, waiting up to `timeout_s` for one; None if none came, if woken or closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._slot is not None or self._woken or self._closed, timeout_s)
            frame, self._slot, self._woken = self._slot, None, False
            return frame

    def clear(self) -> None:
        """Drop a waiting picture: that of a source that has ended."""
        with self._changed:
            self.dropped += self._slot is not None
            self._slot = None

    def wake(self) -> None:
        """Let a waiting `take` return now, or the next one."""
        with self._changed:
            self._woken = True
            self._changed.notify_all()

    def close(self) -> None:
        """Take no more, and let a waiting `take` return now."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
