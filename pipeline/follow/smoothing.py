"""Causal smoothing with real timestamps.

The One-Euro filter: Casiez, Roussel and Vogel, "1€ Filter: A Simple Speed-based Low-pass Filter
for Noisy Input in Interactive Systems", CHI 2012. Still values are smoothed at `min_cutoff_hz`,
fast ones hardly at all. `quiet` is our addition: the speed that a camera's noise alone seems to make, which opens no filter;
cutoffs of still values can then be low, and those of moving ones rise steeply.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np

from ..face.motion import Array, Motion, euler, rotation_matrix

DERIVATIVE_CUTOFF_HZ = 1.0
QUICK_HZ = 3.0  # the same for what moves to and fro: lips in talk, whose speeds cancel out over a second
MAX_GAP_S = 0.5  # after a longer gap the old value says nothing about the new one
OFF = 1e6  # a ratio at which nothing is filtered
SPAN = 4.0  # how many times the cutoffs of strength 0 are those of the default, and they those of strength 1


def ratio(strength: float) -> float:
    """What cutoffs are multiplied by at a strength from 0 (off) over 0.5 (the default: 1) to 1 (a quarter)."""
    return OFF if strength <= 0 else SPAN ** (1.0 - 2.0 * strength)


class OneEuroFilter:
    """One-Euro filter over an array of any shape, each element on its own; NumPy arrays and tensors alike."""

    def __init__(self, min_cutoff_hz: float, beta: float, quiet: float = 0.0, speed_hz: float = DERIVATIVE_CUTOFF_HZ) -> None:
        self._min_cutoff = min_cutoff_hz
        self._beta = beta
        self._quiet = quiet
        self._speed_hz = speed_hz
        self._value: Any = None
        self._speed: Any = None
        self._time = 0.0

    def __call__(self, value: Any, time_s: float, ratio: float = 1.0) -> Any:
        """The filtered value at `time_s` (seconds on any steady clock), with cutoffs times `ratio`."""
        dt = time_s - self._time
        self._time = time_s
        if self._value is None or not 0.0 < dt <= MAX_GAP_S:
            self._value, self._speed = value, value * 0
            return value
        cutoff, beta = self._min_cutoff * ratio, self._beta * ratio
        self._value, self._speed = one_euro(value, self._value, self._speed, dt, cutoff, beta, self._quiet, self._speed_hz)
        return self._value


def one_euro(
    value: Any, last: Any, speed: Any, dt: Any, min_cutoff_hz: Any, beta: Any, quiet: float = 0.0,
    speed_hz: float = DERIVATIVE_CUTOFF_HZ,
) -> tuple[Any, Any]:  # fmt: skip
    """One step of the filter, without a state of its own: the filtered value and its speed, `dt` seconds after `last`."""
    speed = speed + gain(speed_hz, dt) * ((value - last) / dt - speed)
    cutoff = min_cutoff_hz + beta * (abs(speed) - quiet).clip(0)
    return last + gain(cutoff, dt) * (value - last), speed


def gain(cutoff_hz: Any, dt: Any) -> Any:
    """The share of a step that a low-pass filter of the first order takes after `dt` seconds."""
    r = 2 * math.pi * cutoff_hz * dt
    return r / (r + 1)


class RotationFilter:
    """The One-Euro filter on SO(3): along the shortest turn from the last value to the new one, so that the result is a
    rotation and axes do not mix, as angles or matrix elements filtered one by one do."""

    def __init__(self, min_cutoff_hz: float, beta: float, quiet: float = 0.0, speed_hz: float = DERIVATIVE_CUTOFF_HZ) -> None:
        self._min_cutoff = min_cutoff_hz
        self._beta = beta
        self._quiet = quiet
        self._speed_hz = speed_hz
        self._value: Array | None = None
        self._speed = np.zeros(3)
        self._time = 0.0

    def __call__(self, rotation: Array, time_s: float, ratio: float = 1.0) -> Array:
        """(3, 3) filtered rotation at `time_s`."""
        dt = time_s - self._time
        self._time = time_s
        if self._value is None or not 0.0 < dt <= MAX_GAP_S:
            self._value, self._speed = np.asarray(rotation, np.float64), np.zeros(3)
            return rotation
        import cv2

        turn = cv2.Rodrigues(np.asarray(rotation, np.float64) @ self._value.T)[0].ravel()
        self._speed += gain(self._speed_hz, dt) * (turn / dt - self._speed)
        cutoff = ratio * (self._min_cutoff + self._beta * max(float(np.linalg.norm(self._speed)) - self._quiet, 0.0))
        self._value = cv2.Rodrigues(turn * gain(cutoff, dt))[0] @ self._value
        return np.asarray(self._value, np.float32)


class MotionSmoother:
    """Smooths rotation, scale, translation, expression, openness and gaze apart, each with the constants of its own units."""

    def __init__(self) -> None:
        self._rotation = RotationFilter(1.2, 160.0, quiet=0.1, speed_hz=QUICK_HZ)
        self._scale = OneEuroFilter(2.0, 120.0, quiet=0.01)
        self._translation = OneEuroFilter(2.0, 120.0, quiet=0.03, speed_hz=QUICK_HZ)
        self._expression = OneEuroFilter(3.5, 160.0, quiet=0.1, speed_hz=QUICK_HZ)
        self._openness = OneEuroFilter(4.0, 40.0, quiet=0.1)
        self._gaze = OneEuroFilter(1.5, 120.0, quiet=0.2, speed_hz=QUICK_HZ)

    def __call__(self, motion: Motion, time_s: float, strength: float = 0.5) -> Motion:
        """The smoothed motion at `time_s`. strength: 0 to 1, see `ratio`."""
        r = ratio(strength)
        rotation = self._rotation(rotation_matrix(*motion.pose[:3].tolist()), time_s, r)
        scale, translation = self._scale(motion.pose[3:4], time_s, r), self._translation(motion.pose[4:], time_s, r)
        return replace(
            motion,
            pose=np.concatenate([np.array(euler(rotation), np.float32), scale, translation]),
            expression=self._expression(motion.expression, time_s, r),
            openness=self._openness(motion.openness, time_s, r),
            gaze=self._gaze(motion.gaze, time_s, r),
        )
