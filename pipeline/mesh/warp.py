"""The backward warp of a crop: its fields, joined at the slits."""

from __future__ import annotations

import math

import cv2
import numpy as np

from ..face import topology as topo
from ..face.motion import Array
from ..frames import Image
from .backward import backward
from .geometry import Geometry
from .layers import Box
from .pose import Pose

NO_MAP = np.empty(0, np.float32)  # both coordinates are in the first map
SLITS = (*topo.EYES, (topo.UPPER_INNER_LIP, topo.LOWER_INNER_LIP))


def warp(crop: Image, geometry: Geometry, pose: Pose, driven: Array) -> Image:
    """The crop (side, side, 3) with the pose applied; the border row of pixels does not move.

    driven: (478, 2) landmarks that `pose` gives, in crop pixels.
    """
    side = geometry.side
    inner, outer = (_full_size(field, side) for field in backward(geometry, pose))
    share = _outer_share(geometry, pose, driven)
    joined = inner + (outer - inner) * share[..., None]
    pixel = np.arange(side, dtype=np.float32)
    joined[..., 0] += pixel
    joined[..., 1] += pixel[:, None]
    out = np.asarray(cv2.remap(crop, joined, NO_MAP, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE), np.uint8)
    for upper, lower in SLITS:
        box = Box.around(driven[[*upper, *lower]], 0, side)
        if box is not None:
            _join_colours(out, crop, box.above_and_below(side // 64, side), inner, outer, share)
    return out


def _join_colours(out: Image, crop: Image, box: Box, inner: Array, outer: Array, share: Array) -> None:
    """At a slit the two sides' colours meet, not their coordinates: what lies between those is the eyeball or the teeth."""
    origin = box.origin + np.stack(np.meshgrid(*(np.arange(n, dtype=np.float32) for n in box.size)), axis=-1)
    sides = [
        cv2.remap(crop, box.of(field) + origin, NO_MAP, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE).astype(np.float32)
        for field in (inner, outer)
    ]
    box.of(out)[:] = (sides[0] + (sides[1] - sides[0]) * box.of(share)[..., None] + 0.5).astype(np.uint8)


def _full_size(field: Array, side: int) -> Array:
    return np.asarray(cv2.resize(field, (side, side), interpolation=cv2.INTER_LINEAR), np.float32)


def _outer_share(geometry: Geometry, pose: Pose, driven: Array) -> Array:
    """(side, side) 1 above the eye slits and below the mouth slit, 0 between, soft away from the slits."""
    c, s = math.cos(pose.roll), math.sin(pose.roll)
    u = geometry.grid[..., 0] * c + geometry.grid[..., 1] * s
    v = geometry.grid[..., 1] * c - geometry.grid[..., 0] * s
    pixel = geometry.side / 512
    eyes = [_middle(driven, upper, lower, c, s) for upper, lower in topo.EYES]
    above = -_signed(u, v, eyes, pixel)
    below = _signed(u, v, [_middle(driven, topo.UPPER_INNER_LIP, topo.LOWER_INNER_LIP, c, s)], pixel)
    # Enlarged before clipping: the edge at a slit is then as sharp as the full-size picture allows.
    distance = cv2.resize(np.maximum(above, below), (geometry.side, geometry.side), interpolation=cv2.INTER_LINEAR)
    return np.clip(distance + 0.5, 0.0, 1.0).astype(np.float32)


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
