"""`python -m tools.teeth` cuts the teeth of the bundled astronaut's smile into `pipeline/mesh/teeth.png`.

RGBA, UNIT pixels to a mouth's width: above, the upper row, its biting edge at EDGE; below, the lower row, upside down.
Colour is relative to the front teeth (WHITE stands for theirs), so that a portrait's own light can be put on it; alpha is
where a tooth is. The photograph shows seven upper teeth well: the others are the nearest of them, narrowed.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.mesh.teeth import EDGE, ROW, SPAN, UNIT, WHITE
from pipeline.portrait import bundled

Array = NDArray[np.float32]
ZOOM = 10  # of the straightened mouth against the photograph


class Box(NamedTuple):
    """A tooth in the straightened mouth, in its pixels: left, top (gum), right, bottom (biting edge)."""

    left: int
    top: int
    right: int
    bottom: int


# By eye, on the mouth straightened between its inner corners, with the middle at (500, 100).
FIRST, FIRST_TOO = Box(381, 176, 484, 284), Box(496, 170, 606, 280)
SECOND, SECOND_TOO = Box(297, 152, 378, 268), Box(612, 166, 692, 268)
CANINE, PREMOLAR = Box(230, 142, 290, 232), Box(166, 150, 214, 198)

# From the middle outward: where from, width, height and how much shorter than the first, in mouth widths.
UPPER = (
    *((FIRST, 0.165, 0.185, 0.0), (SECOND, 0.125, 0.165, 0.012), (CANINE, 0.115, 0.180, 0.002)),
    *((PREMOLAR, 0.090, 0.150, 0.016), (PREMOLAR, 0.075, 0.130, 0.024), (PREMOLAR, 0.070, 0.120, 0.030)),
)
LOWER = (
    *((SECOND, 0.100, 0.155, 0.0), (SECOND_TOO, 0.105, 0.155, 0.002), (CANINE, 0.115, 0.165, -0.004)),
    *((PREMOLAR, 0.100, 0.140, 0.008), (PREMOLAR, 0.090, 0.130, 0.014), (PREMOLAR, 0.090, 0.120, 0.020)),
)


def main() -> None:
    smile = straightened()
    ours = np.concatenate([row(smile, UPPER, twins=True), row(smile, LOWER, twins=False)])
    path = Path(__file__).parent.parent / "pipeline" / "mesh" / "teeth.png"
    cv2.imwrite(str(path), cv2.cvtColor(ours, cv2.COLOR_RGBA2BGRA), [cv2.IMWRITE_PNG_COMPRESSION, 9])
    print(path)


def straightened() -> Array:
    """(400, 1000, 3) the smile with its inner corners on one level, relative to the colour of its front teeth."""
    portrait = bundled("astronaut")
    a, b = portrait.landmarks[78, :2], portrait.landmarks[308, :2]
    x = (b - a) / np.linalg.norm(b - a)
    columns, rows = np.meshgrid(np.arange(1000) - 500, np.arange(400) - 100)
    at = (a + b) / 2 + (columns[..., None] * x + rows[..., None] * np.array([-x[1], x[0]])) / ZOOM - 0.5
    smile = cv2.remap(portrait.image, at.astype(np.float32), np.empty(0), cv2.INTER_LANCZOS4).astype(np.float32)
    front = [np.median(smile[b.top : b.bottom, b.left : b.right].reshape(-1, 3), axis=0) for b in (FIRST, FIRST_TOO)]
    return np.asarray(smile / np.mean(front, axis=0), np.float32)


def row(smile: Array, teeth: tuple[tuple[Box, float, float, float], ...], twins: bool) -> NDArray[np.uint8]:
    """(ROW, SPAN, 4) a whole row of teeth, both halves; twins: the halves have front teeth of their own."""
    out = np.zeros((ROW, SPAN, 4), np.float32)
    for side in (-1, 1):
        reach = 0.0
        for k, (box, width, height, short) in enumerate(teeth):
            own = (FIRST_TOO, SECOND_TOO)[k] if twins and side > 0 and k < 2 else box
            mirrored = side > 0 and own is box
            place(out, tooth(smile, own, width, height, k), reach * UNIT, short * UNIT, side, mirrored)
            reach += width
    return np.asarray(np.clip(out * [WHITE, WHITE, WHITE, 255] + 0.5, 0, 255), np.uint8)


def tooth(smile: Array, box: Box, width: float, height: float, k: int) -> Array:
    """(h, w, 4) one tooth, upright as in the upper row: its own light and dark, and a rounded outline."""
    w, h = round(width * UNIT), round(height * UNIT)
    cut = cv2.resize(smile[box.top : box.bottom, box.left : box.right], (w, h), interpolation=cv2.INTER_AREA)
    soft = cv2.GaussianBlur(cut, (0, 0), w / 12)
    cut = np.clip(cut + 0.8 * (cut - soft), 0.3, 1.12)  # the photograph is a little soft for its size here
    cut = cut + 0.6 * (cut.mean(axis=2, keepdims=True) - cut)  # and its lips shine on the teeth
    u, v = np.meshgrid((np.arange(w) + 0.5) / w * 2 - 1, (np.arange(h) + 0.5) / h)
    round_ = 1 - 0.14 * np.abs(u) ** 4  # the crown turns away at its sides,
    glass = 1 - 0.10 * np.clip((v - 0.86) / 0.14, 0, 1)  # is clearer at the edge
    neck = 1 - 0.13 * np.clip((0.30 - v) / 0.30, 0, 1)  # and darker at the gum
    even = cut.mean(axis=2, keepdims=True).mean() / 0.93  # back teeth are lit by the mouth's own shade, not the photograph's
    colour = cut / even * (round_ * glass * neck)[..., None]
    top, bottom = 0.11 * np.abs(u) ** 2.2 + 0.01, 1 - (0.07 if k != 2 else 0.16) * np.abs(u) ** 3
    edge = np.minimum(v - top, bottom - v) * h
    return np.dstack([colour, np.clip(edge + 0.55, 0, 1)]).astype(np.float32)


def place(out: Array, tooth: Array, reach: float, short: float, side: int, mirrored: bool) -> None:
    """Lay one tooth beside the ones before it, biting edge `short` pixels above EDGE."""
    height, width = tooth.shape[:2]
    x = round(SPAN / 2 + (reach if side > 0 else -reach - width))
    y = round(EDGE - short) - height
    low, high = max(x, 0), min(x + width, SPAN)
    cut = (tooth[:, ::-1] if mirrored else tooth)[max(-y, 0) :, low - x : high - x]
    out[max(y, 0) : y + height, low:high] = cut


if __name__ == "__main__":
    main()
