"""A live source's clock beside ours: how far it has fallen behind, and how what comes in lumps is spread."""

from __future__ import annotations

from collections import deque


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

    The delay is what the latest of the last WINDOW_S needed, so nothing has to wait for the line that need not have. It
    grows at once, and shrinks by playing a little faster.
    """

    SPEED = 1.05
    WINDOW_S = 60.0

    def __init__(self) -> None:
        self._late: deque[tuple[float, float]] = deque()  # times by the source and how late each came, ever less late
        self._delay_s = float("-inf")
        self._last_s = 0.0

    def due_s(self, at_s: float, came_s: float) -> float:
        """When a picture is due by our clock. at_s: by the source's; came_s: when it was there, by ours."""
        while self._late and self._late[-1][1] <= came_s - at_s:
            self._late.pop()
        self._late.append((at_s, came_s - at_s))
        while self._late[0][0] < at_s - self.WINDOW_S:
            self._late.popleft()
        eased_s = self._delay_s - (at_s - self._last_s) * (1 - 1 / self.SPEED)
        self._delay_s, self._last_s = max(self._late[0][1], eased_s), at_s
        return at_s + self._delay_s
