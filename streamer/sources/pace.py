"""A live source's clock beside ours: how far it has fallen behind, and how what comes in lumps is spread."""

from __future__ import annotations


class Lag:
    """How late pictures come, compared with the least late so far. A clock that is off by up to DRIFT counts as right."""

    DRIFT = 2e-4

    def __init__(self) -> None:
        self._least_s: float | None = None  # our clock less the source's
        self._looked_s = 0.0

    def seen(self, at_s: float, now_s: float) -> float:
        """Seconds by which a picture is late that has come now. at_s: by the source's clock."""
        late_s = now_s - at_s
        drifted_s = self.DRIFT * (now_s - self._looked_s)
        self._looked_s = now_s
        self._least_s = late_s if self._least_s is None else min(late_s, self._least_s + drifted_s)
        return late_s - self._least_s


class Pace:
    """Lets pictures that come a segment at a time out at the speed of their own times.

    What waits is a cushion, and delay: it is played a little faster until nothing waits any more. Then the cushion grows
    by itself to what is needed, and is left alone for a while, each time a longer one. What was late though nothing was
    tried has another reason, such as a line that stood still: the cushion may then be larger than is needed.
    """

    SPEED = 1.05
    LATE_S = 0.1
    CALM_S, CALMEST_S = 60.0, 3600.0

    def __init__(self) -> None:
        self._last: tuple[float, float] | None = None  # when the last one was due, and its time by the source
        self._calm_s = self.CALM_S / 2
        self._calm_until_s = float("-inf")

    def due_s(self, at_s: float, now_s: float) -> float:
        """When a picture is due by our clock. at_s: by the source's."""
        due_s = now_s
        if self._last is not None:
            due_s = self._last[0] + (at_s - self._last[1]) / (self.SPEED if now_s >= self._calm_until_s else 1.0)
        if now_s - due_s > self.LATE_S:
            tried = now_s >= self._calm_until_s
            self._calm_s = min(2 * self._calm_s, self.CALMEST_S) if tried else self.CALM_S
            due_s, self._calm_until_s = now_s, now_s + self._calm_s
        self._last = due_s, at_s
        return due_s
