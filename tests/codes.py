"""QR codes, read by OpenCV's reader, which fails at one in a hundred; ZXing read all of 250 that were tried by hand."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

WHITE, SCALE = 4, 6  # modules round a code, and pixels of each


def read_code(dark: NDArray[np.bool_]) -> str:
    """The text of a code's modules, (n, n); nothing if it cannot be read."""
    picture = np.kron(np.pad(~dark, WHITE, constant_values=True), np.ones((SCALE, SCALE))).astype(np.uint8) * 255
    return cv2.QRCodeDetector().detectAndDecode(picture)[0]
