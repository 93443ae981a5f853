"""A pattern in the camera's colours that no portrait has, to see whether anything of the camera's picture comes through."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

GRID, CELL = 32, 4  # the pattern is a checkerboard of GRID / CELL squares each way
CONTRAST = 90.0  # of its first chroma plane, in levels
LEAKED = 0.15  # a picture with so large a share of the camera's is one that leaked

_at = np.arange(GRID) // CELL
SIGNS: NDArray[np.float32] = np.where((_at[:, None] + _at) % 2, -1.0, 1.0).astype(np.float32)
FACE = slice(GRID // 4, 3 * GRID // 4)  # the middle is left to the face
SIGNS[FACE, FACE] = 0


def marked(yuv: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """(side · 3 / 2, side) planar YUV with the pattern around its middle, in a copy."""
    result = yuv.copy()
    half = side // 2
    plane = result[side : side + side // 4].reshape(half, half)
    signs = cv2.resize(SIGNS, (half, half), interpolation=cv2.INTER_NEAREST)
    plane[signs != 0] = (128 + CONTRAST * signs[signs != 0]).astype(np.uint8)
    return result


def share(chroma: NDArray[np.uint8]) -> float:
    """How much of the camera there is in a picture, by its first chroma plane (h, w): 1 for the camera's own."""
    small: Any = cv2.resize(chroma, (GRID, GRID), interpolation=cv2.INTER_AREA).astype(np.float32)
    around = SIGNS != 0
    return float((small[around] * SIGNS[around]).mean() / CONTRAST)


def of_frame(frame: Any) -> float:
    """`share` of an av.VideoFrame."""
    yuv = frame.to_ndarray(format="yuv420p")
    height, width = frame.height, frame.width
    return share(yuv[height : height + height // 4].reshape(height // 2, width // 2))


def of_jpeg(data: bytes) -> float:
    """`share` of a JPEG picture."""
    image: Any = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    return share(np.ascontiguousarray(cv2.cvtColor(image, cv2.COLOR_BGR2YCrCb)[:, :, 2]))
