"""A clip as portrait: its pictures, and which of them shows when. It goes on for ever, without a jump where it begins again."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import cv2
import numpy as np

from .face.motion import Array
from .frames import Image

MATCHING = 1.5  # usual differences of neighbours up to which the first picture may follow the last
TURN = 8.0  # pictures over which a way slows down, and speeds up again, where it turns


@dataclass(frozen=True)
class Loop:
    """N pictures. yuv: (N, h * 3 / 2, w) planar YUV 4:2:0; landmarks: (N, 478, 3) of the face that moves, in pixels; fps:
    pictures a second; closes: the first goes on where the last ends. Where it does not, they are shown there and back."""

    yuv: Array
    landmarks: Array
    fps: float
    closes: bool

    @classmethod
    def of(cls, yuv: Array, landmarks: Array, fps: float) -> Loop:
        """Find out whether it closes."""
        small = [cv2.resize(each[: len(each) * 2 // 3], (64, 64), interpolation=cv2.INTER_AREA).astype(np.int16) for each in yuv]
        steps = [float(np.abs(one - other).mean()) for one, other in pairwise(small)]
        back = float(np.abs(small[-1] - small[0]).mean())
        return cls(yuv, landmarks, fps, back <= MATCHING * max(float(np.median(steps)), 1e-3))

    def __len__(self) -> int:
        return len(self.yuv)

    def at(self, time_s: float) -> int:
        """The picture that shows at a time on any steady clock."""
        passed, last = max(time_s, 0.0) * self.fps + 1e-6, len(self) - 1
        if self.closes:
            return int(passed) % len(self)
        turn = min(TURN, last)
        half = last + turn  # it slows down to half its speed on average
        there = passed % (2 * half)
        return round(_way(min(there, 2 * half - there), last, turn))

    def picture(self, k: int) -> Image:
        """(h, w, 3) RGB."""
        return np.asarray(cv2.cvtColor(self.yuv[k], cv2.COLOR_YUV2RGB_I420), np.uint8)


def _way(passed: float, last: float, turn: float) -> float:
    """How far, of `last`, one has come on a way at speed 1 that begins and ends standing, with `turn` to get up to speed."""
    if passed < turn:
        return passed * passed / (2 * turn)
    left = last + turn - passed
    return last - left * left / (2 * turn) if left < turn else passed - turn / 2
