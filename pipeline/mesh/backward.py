"""Where each node of the grid comes from: the head turned back with what is nearest in view, then the expression undone."""

from __future__ import annotations

import math

import cv2
import numpy as np

from ..face.motion import Array
from .geometry import GRID, LINE, NODES, Geometry, Part, head_weight
from .pose import Pose

EXPRESSION_STEPS = 6
DAMPING = 0.75
NEAREST_STEPS = 2  # false-position steps after the search
EDGE = 0.8  # cells by which the edge of what hides something is blurred: it would follow the nodes in steps
FLAT = 1 / 256  # of the side: relief around a head that is no more than this
STEP = 2.0  # cells that the search advances at a time
NO_MAP = np.empty(0, np.float32)  # both coordinates are in the first map


def backward(geometry: Geometry, pose: Pose) -> tuple[Array, Array, Part]:
    """Two (G, G, 2) displacements from a node to where it comes from, in crop pixels: as it is between the eyes and the
    mouth, and as above the eyes and below the mouth. And the part of the grid outside which they are the same.

    Within, all is in cells, a node's place being its index.
    """
    across = pose.linear[:2, 2]
    flat = pose.offsets[:, :2] + pose.offsets[:, 2:] * np.linalg.solve(pose.linear[:2, :2], across)
    offsets = np.ascontiguousarray(flat[list(geometry.handles)].T, np.float32)  # a product with a vector is far quicker
    inner, outer = (_undone(geometry, [o @ weights for o in offsets]) for weights in (geometry.inner, geometry.outer))
    relief = geometry.relief.copy()
    relief[geometry.part] = _at(geometry.relief, NODES[geometry.part] + outer)
    head = turned_back(geometry, pose, relief)
    rows, columns = geometry.part
    x, y, width, height = cv2.boundingRect(cv2.inRange(head, (columns.start, rows.start), (columns.stop, rows.stop)))
    face = np.s_[y : y + height, x : x + width]
    pixels = np.float32(geometry.side / GRID)
    there = (head - NODES) * pixels
    sides = there.copy(), there
    for side, expression in zip(sides, (inner, outer), strict=True):
        side[face] += _at(expression * pixels, head[face] - NODES[rows.start, columns.start])
    return *sides, face


def turned_back(geometry: Geometry, pose: Pose, relief: Array) -> Array:
    """(G, G, 2) where on the resting head each node comes from; of all points in line with it the nearest one.

    relief: (G, G) depth against the head's widest part, times the head's weight. The turn is split in two: a smooth map
    of the plane, which any point of the relief shares, and a shift along one direction by so much as a point lies deep.
    """
    smooth = _smooth_back(geometry, pose)
    across = pose.linear[:2, 2] * np.float32(GRID / geometry.side)
    if not across.any():
        return smooth
    depth = _at(relief, smooth)
    part = _searched(depth, across, geometry.side * FLAT)
    depth[part] = _nearest(depth[part], across)
    flat = _shifted(across, cv2.GaussianBlur(depth, (0, 0), EDGE))
    return flat + _at(smooth - NODES, flat)


def _searched(relief: Array, across: Array, flat: float) -> Part:
    """Where what is not flat lies and where it is shifted to: elsewhere nothing hides anything, and a depth is the relief's."""
    x, y, width, height = cv2.boundingRect((np.abs(relief) > flat).astype(np.uint8))
    right, down = np.rint(across * relief.min()).astype(int).tolist()
    rows = slice(max(y + min(down, 0), 0), y + height + max(down, 0))
    return rows, slice(max(x + min(right, 0), 0), x + width + max(right, 0))


def _smooth_back(geometry: Geometry, pose: Pose) -> Array:
    """(G, G, 2) the plane of the head's widest part moved back: all of it where the head comes from, less around it, and
    nothing at the crop's border."""
    back, cell = np.linalg.inv(pose.linear[:2, :2]), GRID / geometry.side
    shift = pose.shift + pose.linear[:2, 2] * np.float32(geometry.back)
    pivot = geometry.pivot[:2] * cell - 0.5
    there = cv2.transform(NODES, np.column_stack([back, pivot - back @ (pivot + shift * cell)]))
    share = head_weight(geometry.border, _at(geometry.beyond, there))
    return NODES + cv2.merge([share, share]) * (there - NODES)


def _nearest(relief: Array, across: Array) -> Array:
    """(h, w) depth d of the first point in view that is shifted to each node: the least root of relief(x - across · d) = d.

    A search from the farthest depth of all to the nearest, whose findings stay, as in relief mapping (Policarpo, Oliveira
    and Comba, "Real-time relief mapping on arbitrary polygonal surfaces", I3D 2005).
    """
    near, far = float(relief.min()), float(relief.max())
    depths, step = np.linspace(far, near, 2 + math.ceil((far - near) * math.hypot(*across.tolist()) / STEP), retstep=True)
    high, under, over = (np.empty_like(relief) for _ in range(3))
    found = np.ones(relief.shape, bool)
    for depth in depths.tolist():
        place = np.array([[1, 0, -across[0] * depth], [0, 1, -across[1] * depth]], np.float32)
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        gap = cv2.warpAffine(relief, place, relief.shape[::-1], flags=flags, borderMode=cv2.BORDER_REPLICATE) - np.float32(depth)
        np.copyto(over, gap, where=found)
        found = gap <= 0
        np.copyto(high, np.float32(depth), where=found)
        np.copyto(under, gap, where=found)
    low = high + np.float32(step)
    for _ in range(NEAREST_STEPS):
        guess = _between(low, high, over, under)
        gap = _at(relief, _shifted(across, guess)) - guess
        for side, (depth, of) in ((gap > 0, (low, over)), (gap <= 0, (high, under))):
            np.copyto(depth, guess, where=side)
            np.copyto(of, gap, where=side)
    return _between(low, high, over, under)


def _between(low: Array, high: Array, over: Array, under: Array) -> Array:
    """Where a line from `over` at `low` to `under` at `high` is 0."""
    return np.asarray(low + (high - low) * over / np.maximum(over - under, 1e-6), np.float32)


def _shifted(across: Array, depth: Array) -> Array:
    """(h, w, 2) where nodes come from that are shifted by `across` (2,) times a depth (h, w)."""
    (x, y), (height, width) = across.tolist(), depth.shape
    return np.asarray(cv2.merge([LINE[:width] - x * depth, LINE[:height, None] - y * depth]), np.float32)


def _undone(geometry: Geometry, expression: list[Array]) -> Array:
    """(h, w, 2) backward displacement b of the part that an expression moves, in cells, with b(x) = -field(x + b(x)), by
    damped fixed-point steps.

    expression: x and y of the displacement of its nodes, in pixels.
    """
    nodes = NODES[geometry.part] - NODES[geometry.part][0, 0]
    field = cv2.merge([e.reshape(nodes.shape[:2]) for e in expression]) * np.float32(GRID / geometry.side)
    still, moved, at = np.float32(DAMPING) * nodes, np.float32(-DAMPING) * field, nodes - field
    for _ in range(EXPRESSION_STEPS):
        at = cv2.scaleAdd(at, 1 - DAMPING, still + _at(moved, at))
    return at - nodes


def _at(field: Array, where: Array) -> Array:
    """A field of the grid, or of a part of it, at (h, w, 2) places in cells."""
    return np.asarray(cv2.remap(field, where, NO_MAP, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE), np.float32)
