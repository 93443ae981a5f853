"""A moving test picture that needs no camera. It shows no face: the puppet rests."""

from __future__ import annotations

import threading

import av
import numpy as np

from pipeline.clock import steady
from pipeline.frames import TimedFrame

from ..stream.intake import Intake

SIDE = 512


class PatternSource:
    """See `Source`."""

    live = True

    def __init__(self, fps: int) -> None:
        self._fps = fps
        self.name = "test pattern"

    def check(self) -> None:
        """It can always be opened."""

    def read(self, out: Intake, stop: threading.Event) -> None:
        y, x = np.mgrid[0:SIDE, 0:SIDE]
        start, number = steady(), 0
        while not stop.wait(max(start + number / self._fps - steady(), 0)):
            picture = np.dstack([x + 4 * number, y, x + y]).astype(np.uint8)
            out.put(TimedFrame(av.VideoFrame.from_ndarray(picture, format="rgb24"), steady()))
            number += 1
