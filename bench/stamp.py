"""A frame counter burnt into pictures as black and white blocks, to measure delay from glass to glass."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

BITS = 16
ROWS = 32  # the blocks are this part of the picture's height


def write(picture: NDArray[np.uint8], number: int) -> None:
    """Burn `number` into the top of `picture` (h, w[, 3]), in place."""
    height, width = picture.shape[0] // ROWS, picture.shape[1] // BITS
    for bit in range(BITS):
        picture[:height, bit * width : (bit + 1) * width] = 255 if number >> bit & 1 else 0


def read(picture: NDArray[np.uint8]) -> int:
    """The number in a picture (h, w[, 3]) of any size."""
    height, width = picture.shape[0] // ROWS, picture.shape[1] // BITS
    inner = picture[height // 4 : -(-3 * height // 4), : width * BITS].reshape(-(-3 * height // 4) - height // 4, BITS, -1)
    middle = inner[:, :, inner.shape[2] // 4 : -(-3 * inner.shape[2] // 4)].mean(axis=(0, 2))
    return sum(1 << bit for bit in range(BITS) if middle[bit] > 127)
