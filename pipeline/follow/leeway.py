"""How much room the driver's own motion leaves for what comes and goes beside it."""

from __future__ import annotations

from collections import deque

import numpy as np

from ..face.motion import Array

# Landmarks that a viewer's eye rests on, and that the landmark model places well: eyes, nose, lips, brows.
WATCHED = [33, 133, 362, 263, 1, 4, 61, 291, 13, 14, 17, 70, 300, 105, 334, 152, 234, 454]
CALM = 0.75  # eye distances a second: motion of that speed is none that anybody minds, however calm the driver
LATELY = 300  # pictures
USUAL = 0.93  # share of a driver's steps that are no faster than its usual ones; an engine's portrait moves unlike this face


class Leeway:
    """What the face does from one picture to the next. `most`: how far it may go in the picture that was seen last, in eye
    distances: as far as the driver alone in all but the fastest 7 % of the pictures of late. In those nothing else moves. Times
    increase."""

    def __init__(self) -> None:
        self._before: tuple[Array, float] | None = None
        self._speeds: deque[float] = deque(maxlen=LATELY)
        self._passed_s = 0.0

    def see(self, places: Array | None, time_s: float) -> None:
        """places: (n, 2) of WATCHED, in eye distances, as the driver alone moves them; None where no face is seen."""
        before, self._before = self._before, None if places is None else (places, time_s)
        self._passed_s = 0.0
        if places is not None and before is not None and time_s > before[1]:
            self._passed_s = time_s - before[1]
            self._speeds.append(way(places, before[0]) / self._passed_s)

    @property
    def most(self) -> float:
        if not self._passed_s:
            return float("inf")
        return self._passed_s * max(CALM, float(np.quantile(self._speeds, USUAL)))

    @property
    def share(self) -> float:
        """Of `most`, what the driver leaves."""
        return max(0.0, 1.0 - self._passed_s * self._speeds[-1] / self.most) if self._passed_s else 1.0


def way(places: Array, others: Array) -> float:
    """How far the landmark goes that goes farthest."""
    return float(np.linalg.norm(places - others, axis=1).max())
