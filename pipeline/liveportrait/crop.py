"""Where a face is cut out of a picture for the networks, and how the result goes back.

Landmarks are the 203 points of the published landmarker or anything with the same two middles
(eyes, lips) and the same bounding box; `from_mesh` makes those of the 478-point mesh agree.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np

from ..face.motion import Array
from ..frames import Image

SIDE = 512
EYES_203, LIPS_203 = ((0, 6, 12, 18), (24, 30, 36, 42)), (48, 66)
FEATHER = 16  # pixels over which the soft mask of a crop fades at its edge


@dataclass(frozen=True)
class Rectangle:
    """How a face is cut. scale: side against the larger side of the landmarks' box in the face's own axes;
    up: shift along those axes, in sides; rotate: turn the face upright."""

    scale: float
    up: float
    rotate: bool = True


SOURCE = Rectangle(2.3, -0.125)
DRIVING = Rectangle(2.2, -0.1, rotate=False)
TIGHT = Rectangle(1.5, -0.1)


@dataclass(frozen=True)
class FaceBox:
    """A square around a face. centre: (2,) and side in pixels; angle: radians of the face's x axis."""

    centre: Array
    side: float
    angle: float

    @classmethod
    def of(cls, points: Array, eyes: Array, lips: Array, rectangle: Rectangle) -> FaceBox:
        """points: (n, 2) pixels; eyes, lips: (2,) the middle between the eyes and that of the lips."""
        down = lips - eyes
        length = float(np.linalg.norm(down))
        y = (down / length if length > 1e-3 else np.array([0.0, 1.0])).astype(np.float32)
        x = np.array([y[1], -y[0]], np.float32)
        axes = np.stack([x, y])
        turned = points @ axes.T
        low, high = turned.min(axis=0), turned.max(axis=0)
        side = float((high - low).max()) * rectangle.scale
        centre = ((low + high) / 2) @ axes + y * (rectangle.up * side)
        # As published, in float32: near 0 its arc cosine is coarser than an arc tangent, by up to 0.001 pixels.
        angle = math.copysign(float(np.arccos(np.clip(x[0], -1, 1))), x[1])
        return cls(centre, side, angle if rectangle.rotate else 0.0)

    def to_crop(self, size: int = SIDE) -> Array:
        """(3, 3) picture -> crop of `size` pixels."""
        zoom = size / self.side
        c, s = zoom * math.cos(self.angle), zoom * math.sin(self.angle)
        linear = np.array([[c, s], [-s, c]])
        matrix = np.eye(3)
        matrix[:2, :2], matrix[:2, 2] = linear, size / 2 - linear @ self.centre
        return matrix

    def to_picture(self, size: int = SIDE) -> Array:
        """(3, 3) crop -> picture."""
        return np.asarray(np.linalg.inv(self.to_crop(size)))


def box_203(points: Array, rectangle: Rectangle) -> FaceBox:
    """The box of 203 landmarks (203, 2)."""
    eyes = np.stack([points[list(e)].mean(axis=0) for e in EYES_203]).mean(axis=0)
    return FaceBox.of(points, eyes, points[list(LIPS_203)].mean(axis=0), rectangle)


def cut(image: Image, to_crop: Array, size: int = SIDE) -> Image:
    """(size, size, 3) crop; black outside the picture."""
    return np.asarray(cv2.warpAffine(image, to_crop[:2], (size, size), flags=cv2.INTER_LINEAR), np.uint8)


def shrink(crop: Image, size: int = 256) -> Image:
    """The networks' input from a source crop."""
    return np.asarray(cv2.resize(crop, (size, size), interpolation=cv2.INTER_AREA), np.uint8)


def transform(points: Array, matrix: Array) -> Array:
    """(n, 2) points under a (3, 3) affine matrix."""
    return points @ matrix[:2, :2].T + matrix[:2, 2]


def soft_mask() -> Image:
    """(SIDE, SIDE) 255 inside, fading in a straight line to 0 over the outer FEATHER pixels, with round corners."""
    index = np.arange(SIDE, dtype=np.float32)
    outside = np.maximum(np.maximum(FEATHER - index, index - (SIDE - FEATHER)), 0)
    distance = np.hypot(outside[:, None], outside[None, :])
    return np.asarray(255 * np.clip(1 - distance / FEATHER, 0, 1), np.uint8)


def mask_in_picture(to_picture: Array, size: tuple[int, int]) -> Array:
    """(height, width) 0..1: how much of each pixel comes from the crop. size: width, height."""
    warped = cv2.warpAffine(soft_mask(), to_picture[:2], size, flags=cv2.INTER_LINEAR)
    return np.asarray(warped, np.float32) / 255


def paste(crop: Image, picture: Image, to_picture: Array, mask: Array) -> Image:
    """`picture` with the generated crop (SIDE, SIDE, 3) in its place; mask by `mask_in_picture`."""
    height, width = picture.shape[:2]
    warped = cv2.warpAffine(crop, to_picture[:2], (width, height), flags=cv2.INTER_LINEAR)
    return np.asarray(np.clip(mask[..., None] * warped + (1 - mask[..., None]) * picture, 0, 255), np.uint8)
