"""Puts the pattern into a picture, as strongly as the picture hides it."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from ..frames import Image
from .pattern import SIDE

Deltas = NDArray[np.int16]
LEAST, MOST = 1.0, 3.0  # grey levels, standard deviation, where nothing and where much is going on
BASE, BY_DETAIL, BY_EDGE = 0.9, 0.8, 0.1  # grey levels, and more of them by the grey levels of detail around
LIMIT = 1.9  # grey levels, root mean square over the picture: 42.5 dB
BLACK, GREY = 18, 80  # brightness of the bars around a picture, which stay as they are, and from where on all is marked
UNIT = 32  # steps of a grey level, in integers


def spread(tile: NDArray[np.float32], height: int, width: int) -> Deltas:
    """(128, 128) of standard deviation 1 -> (height, width) in steps."""
    times = -(-height // SIDE), -(-width // SIDE)
    return np.tile(np.round(tile * UNIT).astype(np.int16), times)[:height, :width]


def embed(yuv: Image, pattern: Deltas) -> Image:
    """A copy of planar YUV 4:2:0 (h · 3 / 2, w) with the pattern (h, w), or (h, w) of a higher picture's upper part, in its
    brightness."""
    marked = yuv.copy()
    luma = marked[: len(pattern)]
    cv2.add(luma, _delta(luma, pattern), dst=luma, dtype=cv2.CV_8U)
    return marked


def embed_rgb(image: Image, pattern: Deltas) -> Image:
    """A copy of (h, w, 3) RGB, or (h, w, 4) with its opacity, with the pattern (h, w) in its brightness."""
    marked = image.copy()
    delta = _delta(np.asarray(cv2.cvtColor(image[..., :3], cv2.COLOR_RGB2GRAY), np.uint8), pattern)
    marked[..., :3] = cv2.add(image[..., :3], cv2.merge([delta] * 3), dtype=cv2.CV_8U)
    return marked


def _delta(luma: Image, pattern: Deltas) -> Deltas:
    gain = cv2.resize(_gain(luma), luma.shape[::-1], interpolation=cv2.INTER_LINEAR)
    return np.asarray(cv2.multiply(pattern, gain, dst=gain, scale=1 / UNIT**2), np.int16)  # new memory costs more than the sum


def _gain(luma: Image) -> Deltas:
    """(h / 4, w / 4) how strong the pattern is, in steps. At a quarter of the size, as it is smooth.

    Texture hides it, the outline of a flat area does not: of what is going on around, the median counts, to which a line is
    nothing.
    """
    size = max(luma.shape[1] // 4, 1), max(luma.shape[0] // 4, 1)
    points = cv2.resize(luma, size, interpolation=cv2.INTER_NEAREST)
    busy = cv2.absdiff(points, cv2.blur(points, (3, 3)))
    texture = cv2.blur(cv2.erode(cv2.medianBlur(busy, 5), np.ones((3, 3), np.uint8)).astype(np.float32), (5, 5))
    gain = np.clip(BASE + BY_DETAIL * texture + BY_EDGE * busy, LEAST, MOST)
    gain *= np.clip((points.astype(np.float32) - BLACK) / (GREY - BLACK), 0, 1)
    strength = float(np.sqrt(np.mean(gain * gain)))
    return np.asarray(gain * (UNIT * min(1.0, LIMIT / max(strength, LIMIT))), np.int16)
