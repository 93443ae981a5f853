"""A picture in the place of another one."""

from __future__ import annotations

import cv2
import numpy as np

from ..frames import Image


def covering(picture: Image, width: int, height: int) -> Image:
    """The middle of a picture (h, w, 3), scaled so that it covers (height, width, 3)."""
    scale = max(width / picture.shape[1], height / picture.shape[0])
    w, h = (max(round(n * scale), least) for n, least in ((picture.shape[1], width), (picture.shape[0], height)))
    scaled = cv2.resize(picture, (w, h), interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
    x, y = (w - width) // 2, (h - height) // 2
    return np.ascontiguousarray(scaled[y : y + height, x : x + width])
