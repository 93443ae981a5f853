"""From one picture to another."""

from __future__ import annotations

import cv2
import numpy as np

from .frames import Image, planar

FADE_S = 0.4  # from one portrait to the next


def cross_faded(before: Image, yuv: Image, share: float) -> Image:
    """Planar YUV 4:2:0 between two pictures; the one before is scaled to the size of the other."""
    if before.shape != yuv.shape:
        height, width = yuv.shape[0] * 2 // 3, yuv.shape[1]
        picture = cv2.cvtColor(before, cv2.COLOR_YUV2RGB_I420)
        before = planar(np.asarray(cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA), np.uint8))
    return np.asarray(cv2.addWeighted(before, 1.0 - share, yuv, share, 0.0), np.uint8)
