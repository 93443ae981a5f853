"""What lies beyond the border of a picture, where a head that moves would show it."""

from __future__ import annotations

import cv2
import numpy as np

from ..face.motion import Array
from ..frames import Image

BLURS = (0.008, 0.02, 0.045)  # of the side, one after the other outwards


def cut(image: Image, x: int, y: int, side: int) -> Image:
    """(side, side, 3) pixels of `image` from (x, y); beyond its border they mirror it, the more blurred the further out."""
    height, width = image.shape[:2]
    columns, rows = np.arange(x, x + side), np.arange(y, y + side)
    beyond = beyond_border(image, x, y, side)
    out = np.ascontiguousarray(image[_mirrored(rows, height)[:, None], _mirrored(columns, width)[None, :]])
    if not beyond.any():
        return out
    soft = out.astype(np.float32)
    for near, blur in zip((0.0, *BLURS), BLURS, strict=False):
        share = np.clip((beyond - near) / (2 * (blur - near)), 0.0, 1.0)[..., None]
        soft += (cv2.GaussianBlur(out, (0, 0), blur * side).astype(np.float32) - soft) * share
    return np.where(beyond[..., None] > 0, np.round(soft), out).astype(np.uint8)


def beyond_border(image: Image, x: int, y: int, side: int) -> Array:
    """(side, side) how far a pixel of that cut lies outside the picture, in sides."""
    height, width = image.shape[:2]
    columns, rows = _beyond(np.arange(x, x + side), width), _beyond(np.arange(y, y + side), height)
    return np.asarray(np.hypot(columns[None, :], rows[:, None]) / side, np.float32)


def _mirrored(index: np.ndarray, count: int) -> np.ndarray:
    """Indices folded into 0..count - 1, the border itself once."""
    return (count - 1) - np.abs((count - 1) - np.abs(index) % (2 * count - 2))


def _beyond(index: np.ndarray, count: int) -> Array:
    """How many pixels an index lies outside 0..count - 1."""
    return np.maximum(np.maximum(-index, index - (count - 1)), 0)
