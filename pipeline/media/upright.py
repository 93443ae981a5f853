"""Pictures as they are meant to be seen: turned, flipped and with square pixels."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import av
import cv2
import numpy as np
from av.sidedata.sidedata import SideDataContainer, Type

from ..frames import Image, yuv_planes

AS_IT_IS = [1 << 16, 0, 0, 1 << 16]  # a display matrix, without its offsets
ODDEST = 8  # times as wide as high, or the reverse: beyond this the shape of pixels is a mistake in the file


def upright(frame: av.VideoFrame, pixel: Fraction | None = None) -> av.VideoFrame:
    """The frame itself where it is right as it is, else a new one (YUV 4:2:0) without times.

    pixel: width of a pixel by its height, None for square ones. The display matrix is the frame's own (ISO/IEC 14496-12,
    8.5: phones write how they were held, and front cameras that they mirror).
    """
    size = _size(frame, pixel)
    # `frame.side_data` would be a circle: the frame, and the threads that converted it, would be there until a collection.
    matrix: Any = SideDataContainer(frame).get(Type.DISPLAYMATRIX)  # type: ignore[call-arg,call-overload]
    turns = AS_IT_IS if matrix is None else np.frombuffer(matrix, np.int32)[[0, 1, 3, 4]].tolist()
    if size == (frame.width, frame.height) and turns == AS_IT_IS:
        return frame
    width, height = (max(n & ~1, 2) for n in size)
    flat = frame.reformat(width, height, "yuv420p")
    planes = [placed(plane, *turns) for plane in yuv_planes(np.asarray(flat.to_ndarray(), np.uint8))]
    stacked = np.concatenate([plane.ravel() for plane in planes]).reshape(-1, planes[0].shape[1])
    made = av.VideoFrame.from_ndarray(stacked, format="yuv420p")
    made.colorspace, made.color_range = flat.colorspace, flat.color_range
    return made


def _size(frame: av.VideoFrame, pixel: Fraction | None) -> tuple[int, int]:
    """Width and height in square pixels, none of them lost."""
    if not pixel or not Fraction(1, ODDEST) <= pixel <= ODDEST:
        return frame.width, frame.height
    return (round(frame.width * pixel), frame.height) if pixel > 1 else (frame.width, round(frame.height / pixel))


def placed(plane: Image, a: int, b: int, c: int, d: int) -> Image:
    """(h, w) moved so that x' = a x + c y and y' = b x + d y, as far as quarter turns and flips do that."""
    if abs(b) + abs(c) > abs(a) + abs(d):
        plane, a, d = np.asarray(cv2.transpose(plane), np.uint8), c, b
    flips = {(True, True): -1, (True, False): 1, (False, True): 0}.get((a < 0, d < 0))
    return plane if flips is None else np.asarray(cv2.flip(plane, flips), np.uint8)
