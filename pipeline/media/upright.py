"""Pictures as they are meant to be seen: turned, flipped and with square pixels."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import av
import numpy as np
from av.sidedata.sidedata import Type

from ..frames import Image

ODDEST = 8  # times as wide as high, or the reverse: beyond this the shape of pixels is a mistake in the file


def upright(frame: av.VideoFrame, pixel: Fraction | None = None) -> av.VideoFrame:
    """The frame itself where it is right as it is, else a new one (RGB) without times.

    pixel: width of a pixel by its height, None for square ones. The display matrix is the frame's own (ISO/IEC 14496-12,
    8.5: phones write how they were held, and front cameras that they mirror).
    """
    flat = _size(frame, pixel)
    matrix: Any = frame.side_data.get(Type.DISPLAYMATRIX)  # type: ignore[call-overload]
    turns = None if matrix is None else np.frombuffer(matrix, np.int32)[[0, 1, 3, 4]].tolist()
    if flat == (frame.width, frame.height) and turns in (None, [1 << 16, 0, 0, 1 << 16]):
        return frame
    image = np.asarray(frame.to_ndarray(width=flat[0], height=flat[1], format="rgb24"), np.uint8)
    return av.VideoFrame.from_ndarray(image if turns is None else placed(image, *turns), format="rgb24")


def _size(frame: av.VideoFrame, pixel: Fraction | None) -> tuple[int, int]:
    """Width and height in square pixels, none of them lost; even where they change."""
    if not pixel or pixel == 1 or not Fraction(1, ODDEST) <= pixel <= ODDEST:
        return frame.width, frame.height
    if pixel > 1:
        return round(frame.width * pixel / 2) * 2, frame.height
    return frame.width, round(frame.height / pixel / 2) * 2


def placed(image: Image, a: int, b: int, c: int, d: int) -> Image:
    """(h, w, 3) moved so that x' = a x + c y and y' = b x + d y, as far as quarter turns and flips do that."""
    if abs(b) + abs(c) > abs(a) + abs(d):
        image, a, d = image.transpose(1, 0, 2), c, b
    return np.ascontiguousarray(image[:: -1 if d < 0 else 1, :: -1 if a < 0 else 1])
