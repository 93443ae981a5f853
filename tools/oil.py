"""A picture as if in oil: curved strokes from a broad brush to a fine one, each only where the last were not good enough
(after Hertzmann, Painterly Rendering with Curved Brush Strokes of Multiple Sizes, 1998)."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.frames import Image

Field = NDArray[np.float32]
BRUSHES = ((14, 0), (7, 22), (4, 18), (2, 16), (1, 20))  # radius in pixels, and the difference of colour that it mends
RELIEF, WEAVE = 24.0, 0.02  # how deep paint and canvas look
LUMA = np.array([0.3, 0.59, 0.11], np.float32)


def painted(image: Image, seed: int = 3) -> Image:
    """(h, w, 3) RGB, painted; the same for the same seed."""
    rng = np.random.default_rng(seed)
    seen = image.astype(np.float32)
    canvas = np.asarray(cv2.GaussianBlur(seen, (0, 0), 25) * np.float32(0.8), np.float32)
    relief = np.zeros(seen.shape[:2], np.float32)
    for radius, bad in BRUSHES:
        soft = np.asarray(cv2.GaussianBlur(seen, (0, 0), max(0.45 * radius, 0.6)), np.float32)
        _layer(canvas, relief, soft, radius, bad, rng)
    y, x = np.arange(len(seen))[:, None], np.arange(seen.shape[1])
    height = cv2.GaussianBlur(relief, (0, 0), 0.8) + WEAVE * (np.sin(1.45 * y) + np.sin(1.45 * x)) / 2
    slope = np.clip(height - np.roll(height, (1, 1), (0, 1)), -0.5, 0.5)
    return np.clip(canvas + RELIEF * slope[..., None] * (0.35 + canvas / 255), 0, 255).astype(np.uint8)


def _layer(canvas: Field, relief: Field, soft: Field, radius: int, bad: float, rng: np.random.Generator) -> None:
    """Strokes of one brush, in no order."""
    grey = cv2.GaussianBlur(soft @ LUMA, (0, 0), max(0.6 * radius, 1))
    slopes = [-cv2.Sobel(grey, cv2.CV_32F, 0, 1), cv2.Sobel(grey, cv2.CV_32F, 1, 0)]
    along = np.dstack(slopes).astype(np.float32)  # x, y across the slope
    error = cv2.blur(np.abs(canvas - soft).sum(2), (2 * radius + 1, 2 * radius + 1))
    step = max(radius, 2)
    spots = np.argwhere(np.ones(grey.shape, bool)[step // 2 :: step, step // 2 :: step]) * step + step // 2
    for spot in rng.permutation(spots):
        if error[tuple(spot)] < bad:
            continue
        y, x = np.clip(spot + rng.normal(0, 0.4 * radius, 2).astype(int), 0, np.array(grey.shape) - 1)
        colour = soft[y, x] * (1 + rng.normal(0, 0.025)) + rng.normal(0, 2.0, 3)
        line = _stroke(int(x), int(y), canvas, soft, along, 1.3 * radius, int(rng.integers(2, 6)))
        width = max(2 * radius - 1, 1)
        cv2.polylines(canvas, [line], False, [float(c) for c in colour], width, cv2.LINE_AA)
        cv2.polylines(relief, [line], False, float(rng.uniform(0, 1)), width, cv2.LINE_AA)


def _stroke(x: int, y: int, canvas: Field, soft: Field, along: Field, step: float, most: int) -> NDArray[np.int32]:
    """Along the edges, for as long as the colour fits better than what is there."""
    height, width = soft.shape[:2]
    line, place, last = [(x, y)], np.array([x, y], float), np.zeros(2)
    for _ in range(most):
        way = along[int(place[1]), int(place[0])].astype(float)
        if np.hypot(*way) < 1:
            way = last if last.any() else np.array([0.6, 0.8])
        way /= np.hypot(*way)
        last = -way if way @ last < 0 else way
        place = place + step * last
        if not (0 <= place[0] < width and 0 <= place[1] < height):
            break
        at = int(place[1]), int(place[0])
        if len(line) > 2 and np.abs(soft[at] - soft[y, x]).sum() > np.abs(canvas[at] - soft[at]).sum():
            break
        line.append((at[1], at[0]))
    return np.array(line, np.int32)
