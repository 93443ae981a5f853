"""A tracker's picture without the camera's noise: in the dark it makes landmarks tremble.

How much there is, is measured: the response to a mask that hardly sees structure (Immerkær, "Fast Noise Variance
Estimation", CVIU 64(2), 1996), in the calmer blocks, over the face's contrast.
"""

from __future__ import annotations

import cv2
import numpy as np

from ..frames import Image
from .choice import place
from .motion import Array
from .tracker import Tracker
from .units import differ, in_pixels

MASK = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32) / 6
BLOCK = 8  # pixels
CALM = 30  # percentile of the blocks that have no structure
DARK, DARKEST = 0.04, 0.12  # noise over contrast from which on something is done, and all
BLUR = 1.5  # pixels, of a picture in the dark
SLOW = 0.15  # share of a new picture where nothing has moved
STILL = 3.0  # standard deviations of the noise that a change must exceed to count, and twice that to count wholly
LARGEST = 448  # side at which pictures in the dark are averaged: they have no more to show
EVERY = 4  # pictures in the light of which one is measured
SETTLE = 0.5  # share of a new measurement


class Denoiser:
    """For the pictures of one stream. Where there is light they are left as they are; in the dark what has not moved is
    averaged over time."""

    def __init__(self) -> None:
        self._ratio: float | None = None
        self._light = 0  # pictures to come that are not measured
        self._soft: Array | None = None  # brightness of the pictures so far, smoothed
        self._mean: Array | None = None

    def __call__(self, image: Image, where: Array | None) -> Image:
        """The picture to look at, (h, w, 3). where: x, y and width of the face in its pixels, where it is known."""
        if self._light > 0:
            self._light -= 1
            return image
        noise, ratio = measured(_part(image, where))
        self._ratio = ratio if self._ratio is None else self._ratio + SETTLE * (ratio - self._ratio)
        amount = float(np.clip((self._ratio - DARK) / (DARKEST - DARK), 0, 1))
        if amount == 0:
            self._soft = self._mean = None
            self._light = EVERY - 1
            return image
        height, width = image.shape[:2]
        scale = min(LARGEST / max(height, width), 1.0)
        small = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        return np.asarray(
            cv2.resize(self._averaged(np.asarray(small, np.uint8), noise * scale, amount), (width, height)), np.uint8
        )

    def _averaged(self, image: Image, noise: float, amount: float) -> Image:
        blurred = cv2.GaussianBlur(image, (0, 0), BLUR * amount + 0.1).astype(np.float32)
        soft = cv2.GaussianBlur(cv2.cvtColor(blurred, cv2.COLOR_RGB2GRAY), (0, 0), 2 * BLUR)
        if self._soft is None or self._mean is None or differ(self._soft.shape, soft.shape):
            self._soft, self._mean = soft, blurred
            return blurred.astype(np.uint8)
        if self._soft.shape != soft.shape:
            self._soft, self._mean = (cv2.resize(known, soft.shape[::-1]) for known in (self._soft, self._mean))
        left = noise / (2 * np.sqrt(np.pi) * np.hypot(BLUR * amount, 2 * BLUR))  # of it in the smoothed brightness
        moved = np.abs(soft - self._soft) / (STILL * left + 1e-6)
        share = np.clip(moved - 1, 1 - amount * (1 - SLOW), 1.0).astype(np.float32)
        self._mean += (blurred - self._mean) * share[..., None]
        self._soft += (soft - self._soft) * share
        return self._mean.round().astype(np.uint8)


class CalmTracker:
    """A tracker that looks at pictures without noise. See `pipeline.face.tracker.Tracker`."""

    def __init__(self, tracker: Tracker) -> None:
        self._tracker, self._calm = tracker, Denoiser()
        self._place: Array | None = None  # x, y and width in units
        self.name = tracker.name

    @property
    def lopsided(self) -> bool:
        return self._tracker.lopsided

    @property
    def faces(self) -> int:
        return self._tracker.faces

    @property
    def blink(self) -> Array | None:
        return self._tracker.blink

    def track(self, image: Image, time_s: float) -> Array | None:
        where = None if self._place is None else in_pixels(self._place, image)
        face = self._tracker.track(self._calm(image, where), time_s)
        self._place = None if face is None else place(face)
        return face

    def next_face(self) -> bool:
        return self._tracker.next_face()

    def close(self) -> None:
        self._tracker.close()


def measured(image: Image) -> tuple[float, float]:
    """Standard deviation of the noise in a picture (h, w, 3), in grey levels, and that over the picture's contrast."""
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    size = tuple(max(n // BLOCK, 1) for n in grey.shape[::-1])
    blocks = cv2.resize(np.abs(cv2.filter2D(grey, cv2.CV_32F, MASK)), size, interpolation=cv2.INTER_AREA)
    light = cv2.resize(grey, size, interpolation=cv2.INTER_AREA).astype(np.float32)
    noise = float(np.percentile(blocks, CALM)) * float(np.sqrt(np.pi / 2))
    return noise, noise / max(float(np.ptp(cv2.GaussianBlur(light, (0, 0), 1.0))), 1.0)


def _part(image: Image, where: Array | None) -> Image:
    if where is None:
        return image
    x, y, half = float(where[0]), float(where[1]), max(float(where[2]), 32.0) / 2
    return image[max(int(y - half), 0) : int(y + half), max(int(x - half), 0) : int(x + half)]
