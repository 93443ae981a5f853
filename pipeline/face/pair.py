"""Two eyes as a pair: they open and look together, and what a network that looks at each alone tells of their difference is
mostly noise: from picture to picture twice as much as the landmarker's, on four clips of talk. It makes a face twitch, and a
landmark model that looks at the puppet takes it for a tilt."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np

from . import canonical
from . import topology as topo
from .motion import Array, Motion, eye_gaze, eye_openness

SMALL, WINK = 0.05, 0.10  # by how much an eye is more open than their mean, in eye widths: below it is noise, above it is meant
LEFT = 0.25  # of what is noise
# How far a point is aside of where it is as a pair, in eye distances: below it is noise, above it is meant.
SMALL_MOVE, LARGE_MOVE = 0.03, 0.08
# Of lips that are drawn aside the network sees 0.55 to 0.86 of what the landmarker does (slope, four clips of talk).
ASKEW = 1.6
NEAR = 0.1  # eye distances from the lips over which skin goes along with them


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


def level(motion: Motion) -> Motion:
    """The motion without what one side of the face alone seems to move aside by little, which a landmark model that looks at the
    puppet takes for a turn of its head; lips are drawn aside as far as they are. Up and down, brows alone move as a pair, but for
    one that is raised by much; a smile may be one-sided. Eyes: see `paired`."""
    lips, brows, eyes = _regions()
    offsets = motion.expression.copy()
    mesh = offsets[: len(lips)]
    off = (mesh - mesh[canonical.mirrored()] * np.array([-1, 1, 1], np.float32)) / 2
    meant = np.interp(np.linalg.norm(off, axis=1), (SMALL_MOVE, LARGE_MOVE), (0.0, 1.0))
    change = off * (np.where(eyes, 1.0, meant + (ASKEW - meant) * lips) - 1.0)[:, None].astype(np.float32)
    change[~brows, 1] = 0.0
    mesh += change
    return replace(motion, expression=offsets)


@cache
def _regions() -> tuple[Array, Array, Array]:
    """(468,) how far each point goes along with the lips, whether it is one of a brow, and whether one of an eye."""
    face = canonical.face()[: len(canonical.mirrored()), :2]
    lips = face[[*topo.UPPER_LIP, *topo.LOWER_LIP, *topo.MOUTH_CORNERS, 78, 308]]
    gaps = np.linalg.norm(face[:, None] - lips[None], axis=2).min(axis=1)
    brows, eyes = (np.isin(np.arange(len(face)), points) for points in (topo.RIGHT_BROW + topo.LEFT_BROW, topo.EYES))
    return np.exp(-((gaps / NEAR) ** 2)), brows, eyes


def _open(face: Array, upper: list[int], lower: list[int], times: float) -> None:
    """Move lids apart from the line in their middle, in place."""
    middle = (face[upper] + face[lower]) / 2
    for lid in (upper, lower):
        face[lid] = middle + (face[lid] - middle) * times


def _along(face: Array, upper: tuple[int, ...], gaze: Array) -> Array:
    """(2,) pixels of a gaze (2,) in eye widths."""
    x, y = (face[upper[-1]] - face[upper[0]])[:2]
    return gaze @ np.array([[x, y], [-y, x]])
