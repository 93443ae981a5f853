"""How much room the driver's own motion leaves for what comes and goes beside it."""

from __future__ import annotations

import math

import numpy as np

from ..face.motion import Array, eye_distance

CALM = 1.5  # eye distances a second: what the fastest motion of the calmest driver is taken for
FORGOTTEN_S = 10.0  # over which a fast motion is


class Leeway:
    """1 beside a face that rests, 0 beside one that moves as fast as its driver did lately: both together are no faster than
    either can be alone. Times increase."""

    def __init__(self) -> None:
        self._before: tuple[Array, float] | None = None
        self._fastest = CALM

    def __call__(self, landmarks: Array | None, time_s: float) -> float:
        """landmarks: (478, 3), None where no face is seen."""
        before, self._before = self._before, None if landmarks is None else (landmarks, time_s)
        if landmarks is None or before is None or time_s <= before[1]:
            return 1.0
        passed_s = time_s - before[1]
        way = float(np.linalg.norm((landmarks - before[0])[:, :2], axis=1).max()) / eye_distance(landmarks)
        self._fastest = max(CALM, way / passed_s, self._fastest * math.exp(-passed_s / FORGOTTEN_S))
        return 1.0 - way / passed_s / self._fastest
