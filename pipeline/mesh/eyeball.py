"""Where an eyeball really ends: drawn and very wide eyes reach beyond the landmarks of their lids."""

from __future__ import annotations

import cv2
import numpy as np

from ..face import topology as topo
from ..face.motion import Array
from ..frames import Image
from .layers import Box, polygon_mask

FURTHEST = 0.16  # eye widths that an edge is looked for beyond its landmark
STEPS = 24
CONTRAST = 45.0  # colour distance of white and skin below which no edge can be trusted


def with_whole_eyes(crop: Image, landmarks: Array) -> Array:
    """(478, 3) `landmarks` of the crop with lids and eye corners moved outward to where the white of the eye ends."""
    out = landmarks.copy()
    soft = cv2.GaussianBlur(crop, (0, 0), 0.8).astype(np.float32)
    for (upper, lower), iris in zip(topo.EYES, topo.IRISES, strict=True):
        colours = _white_and_skin(soft, landmarks, upper, lower, iris)
        if colours is None:
            continue
        along = landmarks[upper[-1], :2] - landmarks[upper[0], :2]
        width = max(float(np.linalg.norm(along)), 1e-3)
        along = along / width
        down = np.array([-along[1], along[0]], np.float32)
        for points, direction in ((upper[1:-1], -down), (lower[1:-1], down), (upper[:1], -along), (upper[-1:], along)):
            beyond = [_beyond(soft, landmarks[i, :2], direction, width, *colours) for i in points]
            even = cv2.blur(np.array(beyond, np.float32)[:, None], (1, 3), borderType=cv2.BORDER_REPLICATE).ravel()
            out[list(points), :2] += even[:, None] * direction
    return out


def _white_and_skin(
    soft: Array, rest: Array, upper: tuple[int, ...], lower: tuple[int, ...], iris: tuple[int, ...]
) -> tuple[Array, Array] | None:
    """(3,) colours of an eye's white and of the skin around it; None where they are too alike, or no white is seen."""
    outline = rest[[*upper, *lower[-2:0:-1]], :2]
    width = float(np.linalg.norm(outline[8] - outline[0]))
    box = Box.around(outline, 0.4 * width, soft.shape[0])
    if box is None:
        return None
    inside = polygon_mask(outline, box, 0) > 0.9
    ys, xs = np.mgrid[box.y0 : box.y1, box.x0 : box.x1]
    centre = rest[iris[0], :2]
    radius = float(np.linalg.norm(rest[list(iris[1:]), :2] - centre, axis=1).mean())
    white = box.of(soft)[inside & (np.hypot(xs - centre[0], ys - centre[1]) > 1.2 * radius)]
    wide = cv2.dilate(inside.astype(np.uint8), np.ones((3, 3)), iterations=max(int(0.3 * width), 1)) > 0
    skin = np.median(box.of(soft)[~wide], axis=0) if (~wide).any() else None
    if len(white) < 12 or skin is None:
        return None
    bright = np.median(white[white.sum(axis=1) >= np.median(white.sum(axis=1))], axis=0)
    return (bright, skin) if np.linalg.norm(bright - skin) > CONTRAST else None


def _beyond(soft: Array, start: Array, direction: Array, width: float, white: Array, skin: Array) -> float:
    """How many pixels the white goes on from `start`; 0 where it ends there, or does not end within FURTHEST."""
    reach = np.linspace(0, FURTHEST * width, STEPS, dtype=np.float32)
    at = (start + reach[:, None] * direction - 0.5).astype(np.float32)[None]
    colours = cv2.remap(soft, at, np.empty(0), cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)[0]
    is_white = np.linalg.norm(colours - white, axis=1) < 0.45 * np.linalg.norm(colours - skin, axis=1)
    ends = int(np.argmin(is_white))  # the first that is not
    return float(reach[ends]) if is_white[0] and not is_white.all() else 0.0
