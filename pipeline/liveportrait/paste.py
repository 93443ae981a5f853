"""Generated crops back into their picture, on the device and in batches."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..face.motion import Array
from ..frames import Image
from .crop import SIDE, FaceBox, mask_in_picture


class PasteBack:
    """The part of a picture that a crop covers, prepared once. part: its rows and columns."""

    def __init__(self, still: Image, box: FaceBox, device: torch.device, feather: bool = True) -> None:
        """still: (h, w, 3) RGB. feather: the crop fades into the picture at its edge."""
        height, width = still.shape[:2]
        corners = np.array([[x, y, 1] for x in (0, SIDE) for y in (0, SIDE)]) @ box.to_picture()[:2].T
        (x0, y0), (x1, y1) = np.floor(corners.min(axis=0)), np.ceil(corners.max(axis=0)) + 1
        (x0, x1), (y0, y1) = np.clip([x0, x1], 0, width).astype(int), np.clip([y0, y1], 0, height).astype(int)
        self.part = (slice(y0, y1), slice(x0, x1))
        self._still = still
        u, v = places(box, np.arange(x0, x1), np.arange(y0, y1))
        grid = torch.from_numpy(np.stack([u, v], axis=-1)).float().to(device)
        self._grid = grid * (2 / (SIDE - 1)) - 1
        mask = mask_in_picture(box.to_picture(), (width, height))[self.part] if feather else np.ones(u.shape, np.float32)
        self._mask = torch.from_numpy(np.ascontiguousarray(mask)).to(device)

    def to(self, device: torch.device) -> PasteBack:
        """The same, there; itself."""
        self._grid, self._mask = self._grid.to(device), self._mask.to(device)
        return self

    def on_canvas(self, side: int) -> tuple[Tensor, Tensor, Tensor]:
        """Grid (1, side, side, 2), mask (1, side, side) and background (1, 3, side, side) of the whole picture in the
        corner of a square; for `pasted`."""
        device = self._grid.device
        height, width = self._still.shape[:2]
        grid = torch.full((1, side, side, 2), 2.0, device=device)  # outside the crop
        mask = torch.zeros(1, side, side, device=device)
        behind = torch.zeros(1, 3, side, side, device=device)
        grid[0, :height, :width][self.part] = self._grid
        mask[0, :height, :width][self.part] = self._mask
        behind[0, :, :height, :width] = torch.from_numpy(self._still.copy()).to(device).permute(2, 0, 1).float() / 255
        return grid, mask, behind


def places(box: FaceBox, x: Array, y: Array) -> tuple[Array, Array]:
    """Where in the crop the pixels of columns x and rows y come from, (len(y), len(x)) each.

    The published result comes from OpenCV's `warpAffine`: it takes what x gives and what y gives in steps of 1/1024 pixel, and
    their sum in steps of 1/32. A step beside it is up to 8 grey levels at a hard edge.
    """
    to_crop = inverted(box.to_picture()[:2])

    def steps(values: Array) -> Array:
        return np.rint(values * 1024).astype(np.int64)

    across, down = (steps(a * x) + steps(b * y + c)[:, None] for a, b, c in to_crop)
    return (across + 16 >> 5) / 32, (down + 16 >> 5) / 32


def inverted(matrix: Array) -> Array:
    """(2, 3) the reverse of an affine map, rounded at each step as OpenCV's `invertAffineTransform` rounds it, which a machine
    that only measures its GPU does not have."""
    (a, b, x), (c, d, y) = matrix.tolist()
    share = 1 / (a * d - b * c)
    a, b, c, d = d * share, -b * share, -c * share, a * share
    return np.array([[a, b, -a * x - b * y], [c, d, -c * x - d * y]])


def pasted(crops: Tensor, grid: Tensor, mask: Tensor, behind: Tensor) -> Tensor:
    """Crops (B, 3, SIDE, SIDE) -> whole pictures (B, 3, side, side) in 0..1."""
    there = F.grid_sample(crops.clamp(0, 1), grid, padding_mode="zeros", align_corners=True)
    return torch.lerp(behind, there, mask[:, None])


def to_bytes(pictures: Tensor) -> Tensor:
    """(B, 3, h, w) in 0..1 -> (B, h, w, 3) uint8, truncated as published."""
    return (pictures.float().clamp(0, 1) * 255).to(torch.uint8).permute(0, 2, 3, 1)


def to_nearest_bytes(pictures: Tensor) -> Tensor:
    """The same rounded, for pictures that were pasted: where nothing covers them, bytes come back as they were."""
    return to_bytes(pictures + 0.5 / 255)
