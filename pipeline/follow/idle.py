"""Idle life: what a face does by itself while nobody drives it. Told the time; the same seed does the same."""

from __future__ import annotations

import math
from random import Random
from typing import NamedTuple

from ..shapes.shapes import Shapes
from .blend import eased

RISE_S, FALL_S = 2.0, 0.5  # from rest to all of it, and back once there is a driver
BETWEEN_BLINKS_S, BLINK_S = (2.0, 6.0), (0.18, 0.28)
CLOSING = 0.35  # of a blink: lids fall faster than they rise
BREATH_S = 4.6
BREATH = {"headY": 0.006, "headZ": 0.0025, "headPitch": 0.25}
DRIFT = {"headYaw": (1.3, 9.1, 5.3), "headPitch": (0.7, 7.7, 4.7), "headRoll": (0.6, 11.3, 6.1)}  # degrees, periods in s
GLANCE_S, GLANCE, TURN_S = (1.2, 4.0), (0.16, 0.08), 0.12  # between glances; how far across and up; how long one takes
CALM_S, QUICK_S = 0.1, 0.04  # between pictures


class Glance(NamedTuple):
    """From where to where the eyes turn, and when."""

    since_s: float
    before: tuple[float, float]
    after: tuple[float, float]


class IdleLife:
    """Blinks, breath, and small drift of head and gaze. Times increase."""

    def __init__(self, seed: int = 0) -> None:
        self._random = Random(seed)
        self._phases = [self._random.uniform(0, 2 * math.pi) for _ in range(2 * len(DRIFT))]
        self._level, self._time_s = 0.0, math.nan
        self._blink = self._glance_end = math.nan
        self._blink_s = 0.0
        self._glance = Glance(0.0, (0.0, 0.0), (0.0, 0.0))

    def __call__(self, time_s: float, driven: bool) -> Shapes:
        """What it adds at `time_s`; nothing once a driver has been there for a moment."""
        step_s = 0.0 if math.isnan(self._time_s) else max(time_s - self._time_s, 0.0)
        self._time_s = time_s
        change = -step_s / FALL_S if driven else min(step_s, 2 * CALM_S) / RISE_S  # what was not asked for was not shown
        self._level = min(max(self._level + change, 0.0), 1.0)
        if not self._level:
            self._blink = self._glance_end = math.nan
            return Shapes()
        values = self._head(time_s) | self._eyes(time_s) | self._lids(time_s)
        share = eased(self._level)
        return Shapes({name: value * share for name, value in values.items()})

    @property
    def wait_s(self) -> float:
        """How long the next picture may be waited for: calm ones come seldom, those of a blink do not."""
        to_blink_s = self._blink - self._time_s if self._level else CALM_S
        return min(max(to_blink_s, QUICK_S), CALM_S)

    def _head(self, time_s: float) -> dict[str, float]:
        breath = math.sin(2 * math.pi * time_s / BREATH_S)
        out = {name: most * breath for name, most in BREATH.items()}
        for k, (name, (most, *periods)) in enumerate(DRIFT.items()):
            waves = [math.sin(2 * math.pi * time_s / p + self._phases[2 * k + n]) for n, p in enumerate(periods)]
            out[name] = out.get(name, 0.0) + most * sum(waves) / len(waves)
        return out

    def _lids(self, time_s: float) -> dict[str, float]:
        """Both lids fall and rise together."""
        if math.isnan(self._blink) or time_s > self._blink + self._blink_s:
            self._blink = time_s + self._random.uniform(*BETWEEN_BLINKS_S)
            self._blink_s = self._random.uniform(*BLINK_S)
        way = (time_s - self._blink) / self._blink_s
        if way <= 0:
            return {}
        shut = eased(way / CLOSING if way < CLOSING else (1 - way) / (1 - CLOSING))
        return {"eyeBlinkLeft": shut, "eyeBlinkRight": shut}

    def _eyes(self, time_s: float) -> dict[str, float]:
        """They rest on a place, and jump to the next one."""
        if math.isnan(self._glance_end) or time_s >= self._glance_end:
            after = self._random.uniform(-GLANCE[0], GLANCE[0]), self._random.uniform(-GLANCE[1], GLANCE[1])
            self._glance = Glance(time_s, self._glance.after, after)
            self._glance_end = time_s + self._random.uniform(*GLANCE_S)
        since_s, before, after = self._glance
        share = eased(min((time_s - since_s) / TURN_S, 1.0))
        return {name: a + (b - a) * share for name, a, b in zip(("gazeX", "gazeY"), before, after, strict=True)}
