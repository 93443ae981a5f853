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
from .own import Own
from .pose import Pose

NO_MAP = np.empty(0, np.float32)  # both coordinates are in the first map
SLITS = (*topo.EYES, (topo.UPPER_INNER_LIP, topo.LOWER_INNER_LIP))


def warp(crop: Image, geometry: Geometry, pose: Pose, driven: Array, own: Own | None = None) -> Image:
    """The crop (side, side, any channels) with the pose applied; the border row of pixels does not move.

    driven: (478, 2) landmarks that `pose` gives, in crop pixels. own: what the crop does already.
    """
    side = geometry.side
    inner, outer, face = backward(geometry, pose)
    if own is not None:
        inner, outer = own.onward(side, inner, outer)
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
    *places, distance = _enlarged(geometry, fields, box)
    x, y = np.arange(box.x0, box.x1, dtype=np.float32), np.arange(box.y0, box.y1, dtype=np.float32)[:, None]
    inner, outer = (_sampled(crop, x + places[k], y + places[k + 1]) for k in (0, 2))
    share = _share(distance)
    box.of(out)[:] = cv2.blendLinear(inner, outer, 1 - share, share)


def _enlarged(geometry: Geometry, fields: Sequence[Array], box: Box) -> Array:
    """(n, h, w) the box's part of fields (G, G, ...) at full size: exactly what `cv2.resize` gives there."""
    cell = GRID / geometry.side
    ends = (box.y0, box.y1), (box.x0, box.x1)
    rows, columns = (slice(max(int(low * cell - 0.5), 0), int(high * cell + 0.5) + 1) for low, high in ends)
    nodes = np.concatenate([field[rows, columns] for field in fields], axis=-1).transpose(2, 0, 1)
    down, right = geometry.enlarging[slice(*ends[0]), rows], geometry.enlarging[slice(*ends[1]), columns]
    return np.asarray(down @ nodes @ right.T, np.float32)


def _sampled(crop: Image, at: Array, y: Array = NO_MAP) -> Image:
    """The crop's pixels at places (h, w, 2), or at x and y (h, w) apart."""
    return np.asarray(cv2.remap(crop, at, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE), np.uint8)


def _share(distance: Array) -> Array:
    """0..1 how much of the outer displacement there is. Taken of what is full-size, the edge at a slit is as sharp as that."""
    return np.asarray(np.clip(distance + np.float32(0.5), 0.0, 1.0))


def _outward(geometry: Geometry, part: Part, pose: Pose, driven: Array) -> Array:
    """How far nodes of a part of the grid lie above the eye slits or below the mouth slit, in widths of a blend that is soft
    away from the slits; negative between."""
    c, s = math.cos(pose.roll), math.sin(pose.roll)
    x, y = geometry.grid[0, part[1], 0], geometry.grid[part[0], :1, 1]
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
    ends = [(slit[:, 0].min(), slit[:, 0].max()) for slit in slits]
    beyond = np.minimum.reduce([np.abs(u - (low + high) / 2) - (high - low) / 2 for low, high in ends])
    return np.asarray(distance / (1.5 * pixel + 1.2 * np.maximum(beyond, 0.0)), np.float32)
