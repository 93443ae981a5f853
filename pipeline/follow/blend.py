"""What is shown never leaps: a face that is lost or found, a new neutral, another face."""

from __future__ import annotations

import math

HOLD_S = 0.3  # a lost face keeps its last motion this long
REST_S = 0.7  # and then takes this long to come to rest
WAKE_S = 0.5  # a face that is found takes this long from rest to its whole motion
BLEND_S = 1.0  # what a leap is spread over


class Presence:
    """How much of a motion is shown, from 0 (at rest) to 1: goes down when the face is lost, up when it is found."""

    def __init__(self, level: float = 0.0) -> None:
        self._level = level
        self._time = float("nan")

    def __call__(self, time_s: float, seen: bool, lost_s: float = 0.0) -> float:
        """At `time_s`; lost_s: for how long it has not been seen."""
        dt = max(time_s - self._time, 0.0) if math.isfinite(self._time) else 0.0
        self._time = time_s
        if seen:
            self._level = min(self._level + dt / WAKE_S, 1.0)
        elif lost_s > HOLD_S:
            self._level = max(self._level - dt / REST_S, 0.0)
        return eased(self._level)


class Leap:
    """Spreads a leap over BLEND_S: the share of it that is still to be taken back."""

    def __init__(self) -> None:
        self._since_s = float("-inf")
        self.pending = False

    def happened(self) -> None:
        """The next value comes from elsewhere."""
        self.pending = True

    def __call__(self, time_s: float) -> tuple[bool, float]:
        """At `time_s`: whether the leap is now, and its share, 1 to 0."""
        now, self.pending = self.pending, False
        if now:
            self._since_s = time_s
        return now, 1.0 - eased(min((time_s - self._since_s) / BLEND_S, 1.0))


def eased(share: float) -> float:
    """0..1 -> 0..1, slow at both ends."""
    return share * share * (3.0 - 2.0 * share)
