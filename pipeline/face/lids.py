"""How far eyes are open, by their landmarks and by what the face model thinks of blinking."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

OPEN_FLOOR = 0.33  # the landmark model still sees up to this share of the neutral opening on a shut eye
WIDEST = 1.3
BLINK = (0.22, 0.50)  # scores above the neutral's between which an eye shuts; squints and glances down stay below
# A wink: how much more one eye is shut than the other, by its score and by LIDS of its lids' gap, between which the one shuts
# and the other does not. Neither tells alone: faint winks have scores of 0.16, and the eyes of a turned head differ as much.
WINK = (0.20, 0.36)
LIDS = 0.5
LIFT = (0.15, 0.30)  # the same, between which the other one is taken to be dragged along
NARROW = (0.6, 0.8)  # lid gaps between which an eye may be one that winks: a squint alone stays one


def driven_openness(ratio: Array, blink: Array | None) -> Array:
    """(2,) openness of the right and left eye, 1 as the neutral and 0 shut.

    ratio: (2,) lid gaps against the neutral's. blink: (2,) scores of the model above the neutral's, None where it has none.
    Landmarks alone never see an eye quite shut, nor one of the two alone: the model ties them together.
    """
    seen = np.clip((ratio - OPEN_FLOOR) / (1.0 - OPEN_FLOOR), 0.0, WIDEST).astype(np.float32)
    if blink is None:
        return seen
    shut = _ramp(blink, BLINK)
    differs = blink - blink[::-1] + LIDS * (ratio[::-1] - ratio)
    wink = _ramp(differs, WINK) * (1.0 - _ramp(ratio, NARROW))  # of each eye; at most one of them winks
    seen = np.maximum(seen, _ramp(differs, LIFT)[::-1] * (1.0 - shut))
    return np.asarray(np.minimum(seen, WIDEST * (1.0 - np.maximum(shut * (1.0 - wink[::-1]), wink))), np.float32)


def _ramp(score: Array, between: tuple[float, float]) -> Array:
    low, high = between
    return np.clip((score - low) / (high - low), 0.0, 1.0)
