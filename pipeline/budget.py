"""The rolling frame budget: which driving frames are animated, and why the others are not."""

from __future__ import annotations

import threading
from collections import Counter, deque
from enum import StrEnum
from statistics import median

from .clock import Clock, steady

STEPS = (120, 90, 60, 50, 48, 40, 30, 24, 20, 15, 12, 10, 8, 6, 5, 4, 3, 2, 1)
RAISE_AFTER_S = 2.0  # room must have been there this long before the rate goes up a step
RAISE_ROOM = 0.85  # and the higher step must fit into this share of max_busy
MIN_SAMPLES = 3


class Skip(StrEnum):
    """Why a frame was not animated."""

    RATE = "rate"
    BUSY = "busy"
    STALE = "stale"


class FrameBudget:
    """At most `max_frames` per window, at most `max_busy` of it spent, no frame older than `max_age_ms`.

    When the stage is too slow, the rate goes down in even steps and up again with hysteresis, so
    that motion stays evenly spaced. Pure Python, for any thread; `clock` gives monotonic seconds, the clock of
    capture times.
    """

    def __init__(
        self,
        window_s: float = 1.0,
        max_frames: int = 30,
        max_busy: float = 0.9,
        max_age_ms: float = 150.0,
        clock: Clock = steady,
    ) -> None:
        self.window_s, self.max_busy = window_s, max_busy
        self._clock = clock
        self._due = float("-inf")
        self._roomy_since: float | None = None
        self._spent: deque[tuple[float, float]] = deque()  # end time, seconds spent
        self._admitted: deque[float] = deque()
        self._lock = threading.Lock()
        self.skipped: Counter[Skip] = Counter()
        self.limit(max_frames, max_age_ms)

    def limit(self, max_frames: int, max_age_ms: float) -> None:
        """Other limits from the next frame on; the rate begins at the highest step."""
        with self._lock:
            self.max_frames, self.max_age_ms = max_frames, max_age_ms
            top = max_frames / self.window_s
            self._steps = (top, *(float(s) for s in STEPS if s < top))
            self._step = 0

    @property
    def rate(self) -> float:
        """The present frame rate limit in frames per second."""
        return self._steps[self._step]

    @property
    def busy(self) -> float:
        """Share of the window spent in the stage."""
        with self._lock:
            return self._busy_s(self._clock()) / self.window_s

    def _busy_s(self, now: float) -> float:
        return sum(s for end, s in self._spent if end > now - self.window_s)

    def admit(self, captured_s: float) -> Skip | None:
        """None if the frame may be animated now, else the reason why not (counted)."""
        with self._lock:
            reason = self._refusal(captured_s)
            if reason is not None:
                self.skipped[reason] += 1
            return reason

    def _refusal(self, captured_s: float) -> Skip | None:
        now = self._clock()
        captured_s = min(captured_s, now)  # a source whose clock runs ahead must not keep later frames away
        self._forget(now)
        if (now - captured_s) * 1000 > self.max_age_ms:
            return Skip.STALE
        interval = 1 / self.rate
        # Capture times jitter by a part of an interval; a frame a little early is the right one.
        if captured_s < self._due - 0.35 * interval:
            return Skip.BUSY if self._step else Skip.RATE
        if len(self._admitted) >= self.max_frames:
            return Skip.RATE
        if self._busy_s(now) >= self.max_busy * self.window_s:
            return Skip.BUSY
        self._due = max(self._due + interval, captured_s + 0.5 * interval)
        self._admitted.append(now)
        return None

    def spent(self, seconds: float) -> None:
        """Report what an admitted frame took: of the device, as much as if this stream had its share of it alone."""
        with self._lock:
            self._account(seconds)

    def _account(self, seconds: float) -> None:
        now = self._clock()
        self._spent.append((now, seconds))
        self._forget(now)
        if len(self._spent) < MIN_SAMPLES:
            return
        typical = median(s for _, s in self._spent)
        while self._step + 1 < len(self._steps) and typical * self.rate > self.max_busy:
            self._step += 1
            self._roomy_since = None
        self._maybe_raise(typical, now)

    def _maybe_raise(self, typical: float, now: float) -> None:
        if self._step == 0 or typical * self._steps[self._step - 1] > RAISE_ROOM * self.max_busy:
            self._roomy_since = None
        elif self._roomy_since is None:
            self._roomy_since = now
        elif now - self._roomy_since >= RAISE_AFTER_S:
            self._step -= 1
            self._roomy_since = None

    def _forget(self, now: float) -> None:
        while self._admitted and self._admitted[0] <= now - self.window_s:
            self._admitted.popleft()
        while self._spent and self._spent[0][0] <= now - self.window_s and len(self._spent) > MIN_SAMPLES:
            self._spent.popleft()
