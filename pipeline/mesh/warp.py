"""The backward warp of a crop: its fields, joined at the slits."""

from __future__ import annotations

import math
from collections.abc import Sequence

import cv2
import numpy as np

from ..face import topology as topo
from ..face.motion import Array
from ..frames import Image
from .backward import backward
from .geometry import GRID, Geometry, Part
from .layers import Box
from .pose import Pose

NO_MAP = np.empty(0, np.float32)  # both coordinates are in the first map
SLITS = (*topo.EYES, (topo.UPPER_INNER_LIP, topo.LOWER_INNER_LIP))


def warp(crop: Image, geometry: Geometry, pose: Pose, driven: Array) -> Image:
    """The crop (side, side, 3) with the pose applied; the border row of pixels does not move.

    driven: (478, 2) landmarks that `pose` gives, in crop pixels.
    """
    side = geometry.side
    inner, outer, face = backward(geometry, pose)
    distance = np.zeros(inner.shape[:2], np.float32)
    distance[face] = _outward(geometry, face, pose, driven)
    joined = inner.copy()
    joined[face] += (outer[face] - inner[face]) * _share(distance[face])[..., None]
    at = cv2.resize(joined, (side, side), interpolation=cv2.INTER_LINEAR)
    out = _sampled(crop, cv2.add(at, geometry.pixels, dst=at))
    for upper, lower in SLITS:
        box = Box.around(driven[[*upper, *lower]], 0, side)
        if box is not None:
            _join_colours(out, crop, box.above_and_below(side // 64, side), geometry, (inner, outer, distance[..., None]))
    return out


def _join_colours(out: Image, crop: Image, box: Box, geometry: Geometry, fields: Sequence[Array]) -> None:
    """At a slit the two sides' colours meet, not their coordinates: what lies between those is the eyeball or the teeth.

    fields: (G, G, 2) the inner and the outer displacement, and (G, G, 1) how far outward a node lies.
    """
    here, pixels = _enlarged(geometry, fields, box), box.of(geometry.pixels)
    inner, outer = (_sampled(crop, pixels + here[..., k : k + 2]) for k in (0, 2))
    share = _share(here[..., 4])
    box.of(out)[:] = cv2.blendLinear(inner, outer, 1 - share, share)


def _enlarged(geometry: Geometry, fields: Sequence[Array], box: Box) -> Array:
    """(h, w, n) the box's part of fields (G, G, ...) at full size: exactly what `cv2.resize` gives there."""
    cell = GRID / geometry.side
    ends = (box.y0, box.y1), (box.x0, box.x1)
    rows, columns = (slice(max(int(low * cell - 0.5), 0), int(high * cell + 0.5) + 1) for low, high in ends)
    nodes = np.concatenate([field[rows, columns] for field in fields], axis=-1)
    return np.tensordot(geometry.enlarging[slice(*ends[0]), rows], geometry.enlarging[slice(*ends[1]), columns] @ nodes, 1)


def _sampled(crop: Image, at: Array) -> Image:
    return np.asarray(cv2.remap(crop, at, NO_MAP, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE), np.uint8)


def _share(distance: Array) -> Array:
    """0..1 how much of the outer displacement there is. Taken of what is full-size, the edge at a slit is as sharp as that."""
    return np.asarray(np.clip(distance + np.float32(0.5), 0.0, 1.0))


def _outward(geometry: Geometry, part: Part, pose: Pose, driven: Array) -> Array:
    """How far nodes of a part of the grid lie above the eye slits or below the mouth slit, in widths of a blend that is soft
    away from the slits; negative between."""
    c, s = math.cos(pose.roll), math.sin(pose.roll)
    x, y = geometry.grid[part][..., 0], geometry.grid[part][..., 1]
    u, v = x * c + y * s, y * c - x * s
    pixel = geometry.side / 512
    eyes = [_middle(driven, upper, lower, c, s) for upper, lower in topo.EYES]
    above = -_signed(u, v, eyes, pixel)
    below = _signed(u, v, [_middle(driven, topo.UPPER_INNER_LIP, topo.LOWER_INNER_LIP, c, s)], pixel)
    return np.asarray(np.maximum(above, below), np.float32)


def _middle(driven: Array, upper: tuple[int, ...], lower: tuple[int, ...], c: float, s: float) -> Array:
    """(n, 2) middle line of a slit in the head's upright axes."""
    line = (driven[list(upper)] + driven[list(lower)]) / 2
    return np.stack([line[:, 0] * c + line[:, 1] * s, line[:, 1] * c - line[:, 0] * s], axis=1)


def _signed(u: Array, v: Array, slits: list[Array], pixel: float) -> Array:
    """Distance below the line through the slits, in widths of a blend that grows beyond their ends."""
    line = np.concatenate(slits)
    order = np.argsort(line[:, 0])
    distance = v - np.interp(u, line[order, 0], line[order, 1])
    beyond = np.full_like(u, np.inf)
    for slit in slits:
        low, high = slit[:, 0].min(), slit[:, 0].max()
        beyond = np.minimum(beyond, np.maximum(np.maximum(low - u, u - high), 0.0))
    return np.asarray(distance / (1.5 * pixel + 1.2 * beyond), np.float32)
