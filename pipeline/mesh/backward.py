"""Where each node of the grid comes from: the head turned back with what is nearest in view, then the expression undone."""

from __future__ import annotations

import math

import cv2
import numpy as np

from ..face.motion import Array
from .geometry import GRID, Geometry, head_weight
from .pose import Pose

EXPRESSION_STEPS = 6
DAMPING = 0.75
NEAREST_STEPS = 2  # false-position steps after the search
EDGE = 0.8  # cells by which the edge of what hides something is blurred: it would follow the nodes in steps
STEP = 2.0  # cells that the search advances at a time
NO_MAP = np.empty(0, np.float32)  # both coordinates are in the first map


def backward(geometry: Geometry, pose: Pose) -> tuple[Array, Array]:
    """Two (G, G, 2) displacements from a node to where it comes from, in crop pixels: as it is between the eyes and the
    mouth, and as above the eyes and below the mouth."""
    across = pose.linear[:2, 2]
    flat = pose.offsets[:, :2] + pose.offsets[:, 2:] * np.linalg.solve(pose.linear[:2, :2], across)
    offsets = np.ascontiguousarray(flat[list(geometry.handles)].T, np.float32)  # a product with a vector is far quicker
    inner, outer = (_undone(geometry, [weights @ o for o in offsets]) for weights in (geometry.inner, geometry.outer))
    relief = _at((geometry.depth - np.float32(geometry.back)) * geometry.head, geometry.grid + outer, geometry)
    head = turned_back(geometry, pose, relief)
    there = head - geometry.grid
    return there + _at(inner, head, geometry), there + _at(outer, head, geometry)


def turned_back(geometry: Geometry, pose: Pose, relief: Array) -> Array:
    """(G, G, 2) where on the resting head each node comes from; of all points in line with it the nearest one.

    relief: (G, G) depth against the head's widest part, times the head's weight. The turn is split in two: a smooth map
    of the plane, which any point of the relief shares, and a shift along one direction by so much as a point lies deep.
    """
    smooth = _smooth_back(geometry, pose)
    across = pose.linear[:2, 2]
    if not across.any():
        return smooth
    depth = cv2.GaussianBlur(_nearest(_at(relief, smooth, geometry), across, geometry), (0, 0), EDGE)
    flat = geometry.grid - across * depth[..., None]
    return flat + _at(smooth - geometry.grid, flat, geometry)


def _smooth_back(geometry: Geometry, pose: Pose) -> Array:
    """(G, G, 2) the plane of the head's widest part moved back: all of it where the head comes from, less around it, and
    nothing at the crop's border."""
    back = np.linalg.inv(pose.linear[:2, :2])
    pivot = geometry.pivot[:2]
    shift = pose.shift + pose.linear[:2, 2] * np.float32(geometry.back)
    there = cv2.transform(geometry.grid, np.column_stack([back, pivot - back @ (pivot + shift)]))
    share = head_weight(geometry.border, _at(geometry.beyond, there, geometry))
    return np.asarray(geometry.grid + share[..., None] * (there - geometry.grid), np.float32)


def _nearest(relief: Array, across: Array, geometry: Geometry) -> Array:
    """(G, G) depth d of the first point in view that is shifted to each node: the least root of relief(x - across · d) = d.

    A search from the nearest depth of all to the farthest, as in relief mapping (Policarpo, Oliveira and Comba, "Real-time
    relief mapping on arbitrary polygonal surfaces", I3D 2005).
    """
    near, far = float(relief.min()), float(relief.max())
    reach = (far - near) * math.hypot(*across.tolist()) * GRID / geometry.side
    cells = across * np.float32(GRID / geometry.side)
    waiting = np.ones(relief.shape, bool)
    low, high, over, under = (np.zeros_like(relief) for _ in range(4))
    for depth in np.linspace(near, far, 2 + math.ceil(reach / STEP)).tolist():
        place = np.array([[1, 0, -cells[0] * depth], [0, 1, -cells[1] * depth]], np.float32)
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        gap = cv2.warpAffine(relief, place, (GRID, GRID), flags=flags, borderMode=cv2.BORDER_REPLICATE) - np.float32(depth)
        here = waiting & (gap <= 0)
        high[here], under[here] = depth, gap[here]
        waiting ^= here
        np.copyto(low, np.float32(depth), where=waiting)
        np.copyto(over, gap, where=waiting)
    for _ in range(NEAREST_STEPS):
        guess = _between(low, high, over, under)
        gap = _at(relief, geometry.grid - across * guess[..., None], geometry) - guess
        behind = gap > 0
        low, over = np.where(behind, guess, low), np.where(behind, gap, over)
        high, under = np.where(behind, high, guess), np.where(behind, under, gap)
    return _between(low, high, over, under)


def _between(low: Array, high: Array, over: Array, under: Array) -> Array:
    """Where a line from `over` at `low` to `under` at `high` is 0."""
    return np.asarray(low + (high - low) * over / np.maximum(over - under, 1e-6), np.float32)


def _undone(geometry: Geometry, expression: list[Array]) -> Array:
    """(G, G, 2) backward displacement b with b(x) = -field(x + b(x)), by damped fixed-point steps.

    expression: x and y of the displacement of the grid nodes that it moves.
    """
    rows, columns = np.divmod(geometry.rows, GRID)
    part = np.s_[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
    field = np.zeros((GRID, GRID, 2), np.float32)
    field[rows, columns, 0], field[rows, columns, 1] = expression
    out, grid, back = np.zeros_like(field), geometry.grid[part], -field[part]
    for _ in range(EXPRESSION_STEPS):
        back = back + np.float32(DAMPING) * (-_at(field, grid + back, geometry) - back)
    out[part] = back
    return out


def _at(field: Array, where: Array, geometry: Geometry) -> Array:
    """A field of the grid at (h, w, 2) positions in crop pixels."""
    nodes = where * np.float32(GRID / geometry.side) - np.float32(0.5)
    return np.asarray(cv2.remap(field, nodes, NO_MAP, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE), np.float32)
