"""The teeth of the bundled astronaut's smile (NASA, public domain), as `tools/teeth.py` cuts them, in a portrait's light."""

from __future__ import annotations

from functools import cache
from importlib.resources import files

import cv2
import numpy as np

from ..face.motion import Array

UNIT = 300  # pixels of the asset to a mouth's width
SPAN = 384  # its width
ROW = 72  # height of each row
EDGE = 66  # the row of pixels on which the first teeth bite
WHITE = 200  # what stands for the colour of the front teeth
ARCH = SPAN / UNIT / 2  # half of a row, in mouth widths
CROWN = 0.20  # height of the first teeth, in mouth widths
RELIEF, LOWER_RELIEF = 0.8, 0.6  # of the photograph's own light and shade, which is a studio's
TALLER = 1.08  # than in the photograph, which hides some of them


@cache
def _asset() -> Array:
    """(2 · ROW, SPAN, 4) upper and lower row: colour, 1 for that of the front teeth, and coverage; premultiplied."""
    data = np.frombuffer((files("pipeline") / "mesh" / "teeth.png").read_bytes(), np.uint8)
    rgba = np.asarray(cv2.imdecode(data, cv2.IMREAD_UNCHANGED), np.float32)[..., [2, 1, 0, 3]]
    rgba /= np.array([WHITE, WHITE, WHITE, 255], np.float32)
    rgba[..., :3] *= rgba[..., 3:]
    return rgba


def upper_row(u: Array, past: Array, unit: float) -> tuple[Array, Array]:
    """Relative colour (h, w, 3) and coverage (h, w) of the upper teeth.

    u, past: (h, w) right of the middle and below the biting edge, in mouth widths; unit: pixels of those in a mouth width.
    """
    return _row(_asset()[:ROW], u, past, unit, RELIEF)


def lower_row(u: Array, past: Array, unit: float) -> tuple[Array, Array]:
    """As `upper_row`; past: above the biting edge."""
    return _row(_asset()[ROW:], u, past, unit, LOWER_RELIEF)


def _row(row: Array, u: Array, past: Array, unit: float, relief: float) -> tuple[Array, Array]:
    shrink = UNIT / max(unit, 1.0)
    if shrink > 1.2:  # no finer than the portrait, or it glitters
        row = cv2.GaussianBlur(row, (0, 0), 0.45 * shrink)
    at = np.dstack([u * UNIT + SPAN / 2 - 0.5, past * UNIT / TALLER + EDGE - 0.5]).astype(np.float32)
    seen = cv2.remap(row, at, np.empty(0), cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
    cover = seen[..., 3]
    relative = seen[..., :3] / np.maximum(cover, 1e-3)[..., None]
    return 1.0 + relief * (relative - 1.0), cover
