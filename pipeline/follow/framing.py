"""A camera whose picture takes another shape: a phone is turned, or 4:3 is cut from 16:9."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from ..face.choice import place
from ..face.motion import Array, eye_distance
from ..face.units import differ

RECENT_S = 0.25  # how long ago a face was last seen at most, for its size and place to tell anything
MOVED = 0.2  # eye distances: more than a face moves by itself between two pictures


class View(NamedTuple):
    """What of the camera's view a picture shows: points (…, 3) of it are, times `zoom` and by `shift` (3,) further, those of
    the driver's first picture; both in `units`."""

    zoom: float = 1.0
    shift: Array = np.zeros(3, np.float32)

    def first(self, points: Array) -> Array:
        """x, y and a length (depth, side) in the first picture."""
        return np.asarray(points * self.zoom + self.shift, np.float32)

    def own(self, points: Array) -> Array:
        """The reverse."""
        return np.asarray((points - self.shift) / self.zoom, np.float32)


class Framing:
    """The view of each picture of a driver. Where the shape changes, the face in the last picture and in the first one of the
    other shape tells what is shown now."""

    def __init__(self) -> None:
        self.view = View()
        self._shape: tuple[int, int] | None = None
        self._last: tuple[float, Array] | None = None  # seconds, landmarks in the first picture

    def __call__(self, landmarks: Array, shape: tuple[int, ...], time_s: float) -> Array:
        """(478, 3) landmarks in the first picture, of those in a picture of `shape`, height first."""
        before, self._shape = self._shape, (shape[0], shape[1])
        if before is not None and self._last is not None and differ(before, self._shape):
            seen_s, last = self._last
            if time_s - seen_s < RECENT_S:
                self.view = self._other(before, self._shape, landmarks, last)
        seen = self.view.first(landmarks)
        self._last = time_s, seen
        return seen

    def _other(self, before: tuple[int, int], now: tuple[int, int], landmarks: Array, last: Array) -> View:
        """Of the ways in which cameras change their shape, the one that explains the face. The longer side stays where a phone
        is turned or 16:9 is cut from 4:3, the shorter where 4:3 is cut from 16:9; where a lying picture is put into an
        upright one, one becomes the other."""
        size = eye_distance(last)
        a, b = (max(sides) / min(sides) for sides in (before, now))
        seen = size / eye_distance(landmarks)
        zoom = min((self.view.zoom * k for k in (1.0, b / a, b, 1 / a)), key=lambda zoom: abs(math.log(zoom / seen)))
        same = View(zoom, self.view.shift)
        off = (place(last) - place(same.first(landmarks))) * np.array([1, 1, 0], np.float32)
        return View(zoom, same.shift + off) if float(np.linalg.norm(off)) > MOVED * size else same
