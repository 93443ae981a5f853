"""Two eyes as a pair: they open and look together, and what a network that sees each alone tells of their difference is mostly
noise. It makes a face twitch, and a landmark model that looks at the puppet takes it for a tilt."""

from __future__ import annotations

import numpy as np

from . import topology as topo
from .motion import Array, eye_gaze, eye_openness

SMALL, WINK = 0.05, 0.10  # by how much an eye is more open than their mean, in eye widths: below it is noise, above it is meant
LEFT = 0.25  # of what is noise


def paired(face: Array) -> Array:
    """Landmarks (478, 3) with lids and gaze alike on both sides; a wink stays."""
    out = face.copy()
    openness, gaze = eye_openness(face), eye_gaze(face)
    off = openness - openness.mean()
    wanted = openness.mean() + off * np.interp(abs(off), (SMALL, WINK), (LEFT, 1.0))
    for k, ((upper, lower), iris) in enumerate(zip(topo.EYES, topo.IRISES, strict=True)):
        _open(out, list(upper[1:-1]), list(lower[1:-1]), wanted[k] / max(openness[k], 1e-3))
        out[list(iris), :2] += _along(face, upper, gaze.mean(axis=0) - gaze[k])
    return out


def _open(face: Array, upper: list[int], lower: list[int], times: float) -> None:
    """Move lids apart from the line in their middle, in place."""
    middle = (face[upper] + face[lower]) / 2
    for lid in (upper, lower):
        face[lid] = middle + (face[lid] - middle) * times


def _along(face: Array, upper: tuple[int, ...], gaze: Array) -> Array:
    """(2,) pixels of a gaze (2,) in eye widths."""
    x, y = (face[upper[-1]] - face[upper[0]])[:2]
    return gaze @ np.array([[x, y], [-y, x]])
