"""The square crop of a portrait in which everything moves, and its paste-back."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from ..face import topology as topo
from ..face.motion import Array
from ..frames import Image
from .extend import beyond_border, cut
from .matte import Matte

CROP_SCALE = 2.1  # crop side against the larger side of the face oval
RAISE = 0.06  # the crop is raised by this share of its side: hair needs more room than the neck


@dataclass(frozen=True)
class Crop:
    """A square of the picture, in whole pixels; it may reach beyond."""

    x: int
    y: int
    side: int

    @classmethod
    def around(cls, landmarks: Array) -> Crop:
        """The crop around the face oval of (478, 3) landmarks in pixels."""
        oval = landmarks[list(topo.OVAL), :2]
        low, high = oval.min(axis=0), oval.max(axis=0)
        side = max(round(CROP_SCALE * float((high - low).max())), 32)
        centre = (low + high) / 2 - (0.0, RAISE * side)
        x, y = np.round(centre - side / 2).astype(int)
        return cls(int(x), int(y), side)

    def free(self, image: Image) -> Array:
        """(4,) pixels from the crop's left, top, right and bottom border to the picture's; negative where it ends before."""
        height, width = image.shape[:2]
        return np.array([self.x, self.y, width - self.x - self.side, height - self.y - self.side], np.float32)

    def cut(self, image: Image) -> Image:
        """The (side, side, 3) pixels of the crop."""
        return cut(image, self.x, self.y, self.side)

    def quick(self, image: Image) -> Image:
        """The same without blur beyond the border, for a picture of many."""
        height, width = image.shape[:2]
        rows, columns = self.inside(image)
        before, after = (rows.start - self.y, columns.start - self.x), (self.y + self.side - height, self.x + self.side - width)
        (top, left), (bottom, right) = before, (max(side, 0) for side in after)
        return np.asarray(cv2.copyMakeBorder(image[rows, columns], top, bottom, left, right, cv2.BORDER_REFLECT_101), np.uint8)

    def beyond(self, image: Image) -> Array:
        """(side, side) how far a pixel of the crop lies outside the picture, in sides."""
        return beyond_border(image, self.x, self.y, self.side)

    def coverage(self, image: Image, matte: Matte) -> Array:
        """(side, side) 0..1 of the person; beyond the picture's border it goes on as it is there."""
        rows, columns = self.inside(image)
        found = matte.coverage(image[rows, columns])
        across = np.clip(np.arange(self.x, self.x + self.side), columns.start, columns.stop - 1) - columns.start
        down = np.clip(np.arange(self.y, self.y + self.side), rows.start, rows.stop - 1) - rows.start
        return found[down[:, None], across[None, :]]

    def paste(self, patch: Image, image: Image) -> Image:
        """A copy of `image` with `patch` (side, side, ...) put back; pixels outside stay as they are."""
        rows, columns = self.inside(image)
        out = image.copy()
        out[rows, columns] = patch[rows.start - self.y : rows.stop - self.y, columns.start - self.x : columns.stop - self.x]
        return out

    def inside(self, image: Image) -> tuple[slice, slice]:
        """The rows and columns of `image` in the crop."""
        height, width = image.shape[:2]
        return slice(max(self.y, 0), min(self.y + self.side, height)), slice(max(self.x, 0), min(self.x + self.side, width))
