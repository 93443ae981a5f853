"""Which of several faces is followed."""

from __future__ import annotations

import numpy as np

from .motion import Array

NEAR = 1.2  # face widths that a face moves at most from one picture to the next
FORGET_S = 1.0  # a face that is gone for so long may be anywhere when it comes back


def place(face: Array) -> Array:
    """(3,) x, y of the middle and width of landmarks (n, 2 or 3), in their unit."""
    low, high = face[:, :2].min(axis=0), face[:, :2].max(axis=0)
    return np.array([*(low + high) / 2, high[0] - low[0]], np.float32)


class Choice:
    """The largest face of the first picture that has one, then the one that is nearest to where it was; in `units`, as the
    pictures of a stream may change their size."""

    def __init__(self) -> None:
        self.place: Array | None = None  # x, y, width of the face that is followed
        self.turn = False  # whether the next one to the right is wanted
        self._seen_s = float("-inf")

    def of(self, found: list[Array], time_s: float) -> Array | None:
        """The landmarks of the followed face among those of all faces of a picture; None where it is not there."""
        chosen = self._chosen(found, time_s - self._seen_s)
        self.turn = False
        if chosen is not None:
            self.place, self._seen_s = place(chosen), time_s
        return chosen

    def _chosen(self, found: list[Array], gone_s: float) -> Array | None:
        if not found:
            return None
        if self.place is None:
            return max(found, key=lambda face: float(place(face)[2]))
        away = [float(np.linalg.norm((place(face) - self.place)[:2])) / float(self.place[2]) for face in found]
        nearest = int(np.argmin(away))
        if self.turn and len(found) > 1:
            order = sorted(range(len(found)), key=lambda k: float(place(found[k])[0]))
            return found[order[(order.index(nearest) + 1) % len(order)]]
        return found[nearest] if away[nearest] < NEAR or gone_s > FORGET_S else None
