"""What lasts of a head's place and size is no motion: a driver who has leant back has not grown smaller."""

from __future__ import annotations

import math

import numpy as np

from ..face.motion import Array

MAX_GAP_S = 0.5  # a frame stands for no more time than this
SLOWER = np.array([1.0, 4.0, 4.0])  # scale, x, y: a head that is put aside while its driver talks is meant to be seen there


class Recentring:
    """Lets the neutral's scale and place drift towards the driver's. Turns and expression stay as they are.

    The LivePortrait follower needs none: it cuts the driver's face out by a box that goes after it.
    """

    def __init__(self) -> None:
        self._centre = np.zeros(3, np.float32)
        self._time_s = float("nan")

    def __call__(self, pose: Array, time_s: float, constant_s: float) -> Array:
        """(6,) `pose` as in `Motion` against the drifting neutral. constant_s: of the scale's drift, see SLOWER; 0 for none, and
        what has drifted so far stays."""
        gap_s = min(max(time_s - self._time_s, 0.0), MAX_GAP_S) if math.isfinite(self._time_s) else 0.0
        self._time_s = time_s
        if constant_s > 0:
            self._centre += (pose[3:] - self._centre) * (1.0 - np.exp(-gap_s / (SLOWER * constant_s))).astype(np.float32)
        return np.concatenate([pose[:3], pose[3:] - self._centre])
