"""Two eyes as a pair: they open and look together, and what a network that sees each alone tells of their difference is mostly
noise. It makes a face twitch, and a landmark model that looks at the puppet takes it for a tilt."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from . import topology as topo
from .motion import Array, eye_centres, eye_distance, eye_gaze, eye_openness

SMALL, WINK = 0.05, 0.10  # by how much an eye is more open than their mean, in eye widths: below it is noise, above it is meant
LEFT = 0.25  # of what is noise
# How far brow or skin round an eye are moved from where they are as a pair, in eye distances: below it is noise, above it is
# meant. The network that sees each eye alone moves them against each other twice as far as the landmarker does.
SMALL_MOVE, LARGE_MOVE = 0.03, 0.08


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


def alike(face: Array, mesh: Array, right: Sequence[int], left: Sequence[int]) -> Array:
    """Landmarks (478, 3) with the points `right` and `left`, pair by pair, moved alike from where they are in `mesh`, which saw
    both sides at once; a brow that is raised alone stays."""
    along = np.diff(eye_centres(mesh)[:, :2], axis=0)[0]
    x, y = along / max(float(np.linalg.norm(along)), 1e-6)
    axes, mirror = np.array([[x, y], [-y, x]], np.float32), np.array([-1, 1], np.float32)
    moved = [(face[list(points), :2] - mesh[list(points), :2]) @ axes.T for points in (right, left)]
    off = (moved[0] - moved[1] * mirror) / 2
    size = np.linalg.norm(off, axis=1, keepdims=True) / eye_distance(mesh)
    off *= 1 - np.interp(size, (SMALL_MOVE, LARGE_MOVE), (LEFT, 1.0))
    out = face.copy()
    out[list(right), :2] -= off @ axes
    out[list(left), :2] += off * mirror @ axes
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
