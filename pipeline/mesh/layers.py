"""Shared by the eye and mouth layers: soft polygon masks and textures that move with the head."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np

from ..face.motion import Array
from ..frames import Image
from .pose import Pose

SUBPIXEL = 4  # fractional bits of polygon corners


@dataclass(frozen=True)
class Box:
    """A rectangle of crop pixels."""

    x0: int
    y0: int
    x1: int
    y1: int

    @classmethod
    def around(cls, points: Array, pad: float, side: int) -> Box | None:
        """The box around (n, 2) points, inside the crop; None where nothing is left."""
        x0, y0 = (min(max(math.floor(low - pad), 0), side) for low in points.min(axis=0).tolist())
        x1, y1 = (min(max(math.ceil(high + pad), 0), side) for high in points.max(axis=0).tolist())
        return None if min(x1 - x0, y1 - y0) < 2 else cls(x0, y0, x1, y1)

    @property
    def size(self) -> tuple[int, int]:
        """Width and height."""
        return self.x1 - self.x0, self.y1 - self.y0

    @property
    def origin(self) -> Array:
        return np.array([self.x0, self.y0], np.float32)

    def above_and_below(self, rows: int, side: int) -> Box:
        """The box with `rows` more at top and bottom, inside the crop."""
        return Box(self.x0, max(self.y0 - rows, 0), self.x1, min(self.y1 + rows, side))

    def of(self, image: Image) -> Image:
        """The box's part of an image, as a view."""
        return image[self.y0 : self.y1, self.x0 : self.x1]


def subpixel(points: Array, box: Box) -> Array:
    """(n, 2) points in crop pixels as OpenCV draws them into the box."""
    return np.rint((points - box.origin - 0.5) * 2**SUBPIXEL).astype(np.int32)


def polygon_mask(points: Array, box: Box, blur: float) -> Array:
    """(h, w) float mask of a polygon in crop pixels, its edge blurred by `blur` pixels."""
    width, height = box.size
    mask = np.zeros((height, width), np.uint8)
    cv2.fillPoly(mask, [subpixel(points, box)], 255, cv2.LINE_AA, SUBPIXEL)
    sharp = mask * np.float32(1 / 255)  # bytes would take several times as long to blur
    return np.asarray(cv2.GaussianBlur(sharp, (0, 0), blur), np.float32) if blur > 0.3 else sharp


def affine(pose: Pose, pivot: Array, centre: Array, shift: Array) -> Array:
    """(2, 3) map of the plane through `centre` (3,) under the rigid pose, moved by `shift` (2,)."""
    linear = pose.linear[:2, :2]
    at = pose.linear[:2] @ (centre - pivot) + pivot[:2] + pose.shift + shift - linear @ centre[:2]
    return np.concatenate([linear, at[:, None]], axis=1).astype(np.float32)


def draw(texture: Array, origin: Array, placement: Array, box: Box) -> Array:
    """The part of a moved texture that lies in `box`: (h, w, channels) float32.

    texture: its top left corner lies at `origin` (2,) of the resting crop.
    """
    matrix = placement.copy()
    half = np.float32(0.5)  # pixel centres lie half a pixel inside
    matrix[:, 2] += placement[:, :2] @ (origin + half) - box.origin - half
    return np.asarray(
        cv2.warpAffine(texture, matrix, box.size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE), np.float32
    )


def blend(image: Image, box: Box, colour: Array, alpha: Array) -> None:
    """Put `colour` (h, w, 3) over the box of `image` with `alpha` (h, w)."""
    under = box.of(image).astype(np.float32)
    box.of(image)[:] = np.clip(under + (colour - under) * alpha[..., None] + 0.5, 0, 255).astype(np.uint8)


def placed(points: Array, placement: Array) -> Array:
    """(n, 2) points under a (2, 3) map."""
    return np.asarray(points @ placement[:, :2].T + placement[:, 2], np.float32)


def filled(image: Image, known: Array, fine: float) -> Array:
    """(h, w, 3) float32: `image` where `known` (h, w) is true, elsewhere a smooth continuation of it.

    Coarse means first, then ever finer ones as far as they reach, the finest over `fine` pixels.
    """
    weight = known.astype(np.float32)
    seen = image.astype(np.float32) * weight[..., None]
    out = np.empty_like(seen)
    out[:] = seen.sum(axis=(0, 1)) / max(float(weight.sum()), 1.0)
    for scale in (16, 8, 4, 2, 1):
        reach = cv2.GaussianBlur(weight, (0, 0), scale * fine)
        mean = cv2.GaussianBlur(seen, (0, 0), scale * fine) / np.maximum(reach, 1e-4)[..., None]
        out += (mean - out) * np.clip(reach * 4, 0, 1)[..., None]
    return np.asarray(np.where(known[..., None], image, out), np.float32)
