"""Lips that a portrait shows parted, brought together."""

from __future__ import annotations

import numpy as np

from ..face import topology as topo
from ..face.motion import Array

UPPER_REACH = 0.09  # mouth widths that an upper lip comes down at most; the lower lip goes the rest of the way
LIP_REACH = 0.16  # and that a lower lip goes up without the jaw
LEAST = 0.01  # lips nearer than this are shut


def closing(rest: Array, down: Array) -> Array:
    """(478, 3) offsets in pixels that let the inner lips of `rest` (478, 3) meet. down: (3,) unit vector to the chin."""
    offsets = np.zeros_like(rest)
    upper, lower = list(topo.UPPER_INNER_LIP[1:-1]), list(topo.LOWER_INNER_LIP[1:-1])
    width = max(float(np.linalg.norm(rest[308] - rest[78])), 1e-3)
    gap = np.maximum((rest[lower] - rest[upper]) @ down, 0.0)
    if gap.max() < LEAST * width:
        return offsets
    above = np.minimum(0.5, UPPER_REACH * width / max(float(gap.max()), 1e-3)) * gap
    offsets[upper] = above[:, None] * down
    offsets[lower] = (above - gap)[:, None] * down
    for lip, inner in ((topo.UPPER_LIP, upper), (topo.LOWER_LIP, lower)):
        others = [i for i in lip if i not in inner]
        order = np.argsort(rest[inner, 0])
        way = np.interp(rest[others, 0], rest[inner, 0][order], (offsets[inner] @ down)[order])
        offsets[others] = way[:, None] * down
    offsets[list(topo.JAW)] = min(float(offsets[14] @ down) + LIP_REACH * width, 0.0) * down
    return offsets
