"""A neutral frontal face to measure with where no landmark model is at hand.

It is the bundled drawing's landmarks made symmetric, in eye distances, its origin between the eyes.
"""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files

import numpy as np

from . import topology as topo
from .motion import Array, eye_centres, eye_distance

REACH = 0.8  # eye distances over which a marked point draws others with it


@cache
def face() -> Array:
    """(478, 3) landmarks: x right, y down, z away from the viewer, in eye distances."""
    described = json.loads((files("pipeline") / "portraits" / "drawing.json").read_text("utf-8"))
    points = np.array(described["landmarks"], np.float32)
    points = (points - eye_centres(points).mean(axis=0)) / eye_distance(points)
    mirrored = points * np.array([-1, 1, 1], np.float32)
    pair = np.argmin(np.linalg.norm(points[:, None, :2] - mirrored[None, :, :2], axis=2), axis=1)
    return np.asarray((points + mirrored[pair]) / 2, np.float32)


# Pairs that lie so near to others in the drawing that they are told wrong there.
_PAIRS = {20: 250, 46: 276, 70: 300, 102: 331, 113: 342, 129: 358, 241: 461, 247: 467}


@cache
def mirrored() -> Array:
    """(468,) which of the points without the irises each one is in a mirror image."""
    from scipy.optimize import linear_sum_assignment
    from scipy.spatial.distance import cdist

    points = face()[:468].copy()
    points[list(topo.LOWER_LIP), 1] += 0.3  # shut lips would be taken for each other
    pair = linear_sum_assignment(cdist(points, points * np.array([-1, 1, 1], np.float32)))[1]
    for right, left in _PAIRS.items():
        pair[[right, left]] = left, right
    return np.asarray(pair)


@cache
def all_mirrored() -> Array:
    """(478,) the same of all points, irises among them."""
    irises = np.array(topo.IRISES)[::-1, [0, 3, 2, 1, 4]]  # middle, right, above, left, below
    return np.concatenate([mirrored(), irises.ravel()])


def five_points(landmarks: Array) -> Array:
    """(5, 2) eye centres, nose tip, mouth corners of (478, 3) landmarks."""
    eyes = eye_centres(landmarks)[:, :2]
    return np.concatenate([eyes, landmarks[[topo.NOSE_TIP, *topo.MOUTH_CORNERS], :2]])


def from_five_points(marks: Array, shape: Array | None = None) -> Array:
    """(478, 3) landmarks in pixels: the canonical face laid through five marked points (5, 2), by an affine map in least
    squares and what that misses, which fades with the distance from each point: a cat's nose is not where a man's is.
    Order: eye centres and mouth corners picture left first, as in `five_points`. shape: another face's landmarks in place of
    the canonical ones."""
    from scipy.spatial.distance import cdist

    canonical = face() if shape is None else shape / eye_distance(shape)
    known = np.column_stack([five_points(canonical), np.ones(5)])
    affine = np.linalg.lstsq(known, np.asarray(marks, float), rcond=None)[0]
    flat = np.column_stack([canonical[:, :2], np.ones(len(canonical))]) @ affine
    near = np.exp(-np.square(cdist(five_points(canonical), canonical[:, :2]) / REACH))
    between = np.exp(-np.square(cdist(known[:, :2], known[:, :2]) / REACH))
    flat += near.T @ np.linalg.solve(between, marks - known @ affine)
    scale = float(np.linalg.norm(marks[1] - marks[0]))
    return np.column_stack([flat, canonical[:, 2] * scale]).astype(np.float32)
