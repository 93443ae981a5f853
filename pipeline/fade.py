"""From one picture to another."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from .follow.blend import eased
from .frames import Image, planar

FADE_S = 0.4  # from one portrait to the next


@dataclass(frozen=True)
class Fade:
    """A picture that goes away over those that come. since_s: when that began, on the clock of `over` and `within`; cut:
    makes its cut-out."""

    before: Image
    since_s: float
    cut: Callable[[], Image]

    def within(self, now_s: float) -> bool:
        """Whether it still lasts."""
        return now_s - self.since_s < FADE_S

    def over(self, yuv: Image, now_s: float) -> Image:
        """What is shown in the place of `yuv`."""
        return cross_faded(self.before, yuv, self._share(now_s))

    def over_cut(self, cut: Callable[[], Image], now_s: float) -> Callable[[], Image]:
        """The same of cut-outs."""
        return lambda: cross_faded(self.cut(), cut(), self._share(now_s))

    def _share(self, now_s: float) -> float:
        return eased(min((now_s - self.since_s) / FADE_S, 1.0))


def cross_faded(before: Image, yuv: Image, share: float) -> Image:
    """Planar YUV 4:2:0 between two pictures; the one before is scaled to the size of the other."""
    if before.shape != yuv.shape:
        height, width = yuv.shape[0] * 2 // 3, yuv.shape[1]
        picture = cv2.cvtColor(before, cv2.COLOR_YUV2RGB_I420)
        before = planar(np.asarray(cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA), np.uint8))
    return np.asarray(cv2.addWeighted(before, 1.0 - share, yuv, share, 0.0), np.uint8)
