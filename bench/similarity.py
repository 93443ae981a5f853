"""How alike two pictures are."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.frames import Image


def psnr(a: Image, b: Image) -> float:
    """Peak signal-to-noise ratio in decibels of two pictures of one size; infinite for equal ones."""
    error = float(np.mean((a.astype(np.float64) - b) ** 2))
    return math.inf if error == 0 else 10 * math.log10(255**2 / error)


def ssim(a: Image, b: Image) -> float:
    """Structural similarity, mean over pixels and channels, with the usual Gaussian window of 1.5 pixels."""
    return float(np.mean(ssim_map(a.astype(np.float64), b.astype(np.float64))[5:-5, 5:-5]))


def ssim_map(x: NDArray[Any], y: NDArray[Any]) -> NDArray[Any]:
    """Structural similarity around each pixel of two floating-point pictures of 0..255.

    Wang, Bovik, Sheikh and Simoncelli, "Image quality assessment: from error visibility to structural
    similarity", IEEE Transactions on Image Processing 13(4), 2004.
    """

    import cv2

    def blurred(image: NDArray[Any]) -> NDArray[Any]:
        return np.asarray(cv2.GaussianBlur(image, (11, 11), 1.5))

    mean_x, mean_y = blurred(x), blurred(y)
    var_x, var_y = blurred(x * x) - mean_x**2, blurred(y * y) - mean_y**2
    shared = blurred(x * y) - mean_x * mean_y
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    return (2 * mean_x * mean_y + c1) * (2 * shared + c2) / ((mean_x**2 + mean_y**2 + c1) * (var_x + var_y + c2))
