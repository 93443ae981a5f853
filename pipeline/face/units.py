"""The unit that trackers answer in: the picture's longer side, counted from its middle.

A driver's picture may change its size at any moment, and where a phone is turned its sides are exchanged: what is seen of the
same face then stays where it was, as the middle and the longer side are those of the sensor.
"""

from __future__ import annotations

import math

import numpy as np

from .motion import Array

ROUNDED = 0.03  # what scaling to whole pixels makes of a shape


def in_units(pixels: Array, image: Array) -> Array:
    """(…, 3) x, y and a length (depth, width) in units, from pixels of `image` (h, w, …): 0 is the middle of the first."""
    return np.asarray((pixels - _middle(image)) / max(image.shape[:2]), np.float32)


def in_pixels(units: Array, image: Array) -> Array:
    """The reverse, in a picture of any size."""
    return np.asarray(units * max(image.shape[:2]) + _middle(image), np.float32)


def differ(one: tuple[int, int], other: tuple[int, int]) -> bool:
    """Whether two pictures have another shape, not only another size. one, other: height and width."""
    return abs(math.log(one[0] / one[1] * other[1] / other[0])) > ROUNDED


def _middle(image: Array) -> Array:
    height, width = image.shape[:2]
    return np.array([(width - 1) / 2, (height - 1) / 2, 0], np.float32)
