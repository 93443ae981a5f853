"""What W's hourglass is given, axis by axis, for processors: the same as `DenseMotion.sparse_motions` in a fraction of the time.

A motion shifts the whole volume, so that what it samples is a product of three small matrices, one for each axis; so is a
Gaussian around a keypoint.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from .networks import KEYPOINT_VARIANCE


def sparse_motions(volume: Tensor, source: Tensor, driving: Tensor, dtype: torch.dtype) -> Tensor:
    """volume: (B or 1, C, D, H, W); source: (B or 1, K, 3), driving: (B, K, 3) float32 -> (B, (K + 1) · (1 + C), D, H, W) of
    `dtype`, channels-last."""
    with torch.autocast(driving.device.type, enabled=False):  # half precision is too coarse for places
        heat = F.pad(gaussians(driving, volume) - gaussians(source, volume), (0, 0, 0, 0, 0, 0, 1, 0))
        parts = torch.cat([heat[:, :, None], moved(volume.float(), F.pad(source - driving, (0, 0, 1, 0)))], dim=2)
    flat = parts.to(dtype).flatten(3).flatten(1, 2)  # B, 110, D · H · W
    last = torch.stack([each.t().contiguous() for each in flat])  # a transposed copy of a matrix is PyTorch's fastest
    return last.reshape(len(driving), *volume.shape[2:], -1).permute(0, 4, 1, 2, 3)


def gaussians(keypoints: Tensor, volume: Tensor) -> Tensor:
    """(B, K, 3) -> (B, K, D, H, W)"""
    x, y, z = (
        torch.exp(-0.5 / KEYPOINT_VARIANCE * (axis(size, keypoints) - keypoints[..., k, None]).square())
        for k, size in enumerate(volume.shape[:1:-1])
    )
    return z[..., :, None, None] * (y[..., :, None] * x[..., None, :])[..., None, :, :]


def moved(volume: Tensor, shifts: Tensor) -> Tensor:
    """(B or 1, C, D, H, W), (B, M, 3) -> (B, M, C, D, H, W), each sampled at the grid and its shift, with zeros outside."""
    depth, height, width = volume.shape[2:]
    x, y, z = (weights(size, shifts, shifts[..., k]) for k, size in enumerate((width, height, depth)))
    size = *shifts.shape[:2], volume.shape[1], depth, height, width
    rows = volume[:, None].flatten(2, 4) @ x.transpose(2, 3)  # B, M, C · D · H, W
    columns = y[:, :, None] @ rows.reshape(*size[:2], -1, height, width)  # B, M, C · D, H, W
    return (z[:, :, None] @ columns.reshape(*size[:4], -1)).reshape(size)


def weights(size: int, like: Tensor, shift: Tensor) -> Tensor:
    """(B, M) in grid coordinates -> (B, M, size, size): how much of each voxel of an axis comes to each place of it, linearly."""
    at = ((axis(size, like) + shift[..., None] + 1) * size - 1) / 2  # as `grid_sample` has it without align_corners
    return (1 - (at[..., None] - torch.arange(size, device=like.device)).abs()).relu()


def axis(size: int, like: Tensor) -> Tensor:
    """Coordinates of an axis as in `coordinate_grid`."""
    return torch.arange(size, device=like.device) * (2 / (size - 1)) - 1
