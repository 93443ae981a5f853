"""Causal smoothing with real timestamps.

The One-Euro filter: Casiez, Roussel and Vogel, "1€ Filter: A Simple Speed-based Low-pass Filter
for Noisy Input in Interactive Systems", CHI 2012. Still values are smoothed at `min_cutoff_hz`,
fast ones hardly at all.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

from .face.motion import Motion

DERIVATIVE_CUTOFF_HZ = 1.0
MAX_GAP_S = 0.5  # after a longer gap the old value says nothing about the new one


class OneEuroFilter:
    """One-Euro filter over an array of any shape, each element on its own; NumPy arrays and tensors alike."""

    def __init__(self, min_cutoff_hz: float, beta: float) -> None:
        self._min_cutoff = min_cutoff_hz
        self._beta = beta
        self._value: Any = None
        self._speed: Any = None
        self._time = 0.0

    def __call__(self, value: Any, time_s: float) -> Any:
        """The filtered value at `time_s` (seconds on any steady clock)."""
        dt = time_s - self._time
        self._time = time_s
        if self._value is None or not 0.0 < dt <= MAX_GAP_S:
            self._value, self._speed = value, value * 0
            return value
        self._value, self._speed = one_euro(value, self._value, self._speed, dt, self._min_cutoff, self._beta)
        return self._value


def one_euro(value: Any, last: Any, speed: Any, dt: Any, min_cutoff_hz: float, beta: float) -> tuple[Any, Any]:
    """One step of the filter, without a state of its own: the filtered value and its speed, `dt` seconds after `last`."""
    speed = speed + _gain(DERIVATIVE_CUTOFF_HZ, dt) * ((value - last) / dt - speed)
    cutoff = min_cutoff_hz + beta * abs(speed)
    return last + _gain(cutoff, dt) * (value - last), speed


def _gain(cutoff_hz: Any, dt: Any) -> Any:
    r = 2 * math.pi * cutoff_hz * dt
    return r / (r + 1)


class MotionSmoother:
    """Smooths pose, expression, openness and gaze apart, each with the constants of its own units."""

    def __init__(self) -> None:
        self._pose = OneEuroFilter(8.0, 120.0)
        self._expression = OneEuroFilter(5.0, 60.0)
        self._openness = OneEuroFilter(14.0, 50.0)
        self._gaze = OneEuroFilter(1.5, 6.0)

    def __call__(self, motion: Motion, time_s: float) -> Motion:
        return replace(
            motion,
            pose=self._pose(motion.pose, time_s),
            expression=self._expression(motion.expression, time_s),
            openness=self._openness(motion.openness, time_s),
            gaze=self._gaze(motion.gaze, time_s),
        )
