"""Pictures on their way to the networks and back: camera planes, the crop for M, and the pasted picture as planes."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..frames import Driving, Image
from .crop import SIDE, FaceBox
from .networks import INPUT

if TYPE_CHECKING:
    import av

PLANES = (720, 1280)  # camera pictures are scaled down to fit into this
BLACK = (16, 128)  # luma and chroma
FROM_YUV = ((1.164384, 0.0, 1.596027), (1.164384, -0.391762, -0.812968), (1.164384, 2.017232, 0.0))  # BT.601, studio swing
TO_YUV = ((65.481, 128.553, 24.966), (-37.797, -74.203, 112.0), (112.0, -93.786, -18.214))  # of RGB in 0..1


def planes_of(driving: Driving, box: FaceBox) -> tuple[Image, Image, Any]:
    """Luma (h, w) and chroma (2, h / 2, w / 2) of the camera's picture, and the matrix crop -> that picture (3, 3).
    box: of the face in `driving.image`, in units."""
    frame = driving.frame or _as_frame(driving.image, driving.mirrored)
    factor = min(1.0, PLANES[0] / frame.height, PLANES[1] / frame.width)
    width, height = (max(2, round(n * factor) & ~1) for n in (frame.width, frame.height))
    planes = np.asarray(frame.reformat(width, height, "yuv420p").to_ndarray(), np.uint8)
    x, y = (max(frame.width, frame.height) * n for n in (width / frame.width, height / frame.height))
    to_planes = np.array([[-x if driving.mirrored else x, 0, width / 2 - 0.5], [0, y, height / 2 - 0.5], [0, 0, 1]])
    return planes[:height], planes[height:].reshape(2, height // 2, width // 2), to_planes @ box.to_picture()


def _as_frame(image: Image, mirrored: bool) -> av.VideoFrame:
    import av

    return av.VideoFrame.from_ndarray(np.ascontiguousarray(image[:, ::-1] if mirrored else image), format="rgb24")


def cut_planes(y: Tensor, uv: Tensor, crop: Tensor, from_yuv: Tensor) -> Tensor:
    """(B, 1, h, w), (B, 2, h / 2, w / 2) and crop -> picture matrices (B, 6) -> M's input (B, 3, 256, 256) in 0..1:
    `crop.cut` and the halving of `follow.driving_input` on the device."""
    chroma = F.interpolate(uv.float() - 128, scale_factor=2)
    yuv = torch.cat([y.float() - 16, chroma], dim=1)
    rgb = torch.einsum("cd,bdhw->bchw", from_yuv, yuv).clamp(0, 255)
    index = torch.arange(SIDE, device=y.device, dtype=torch.float32)
    a, b, c = crop.reshape(-1, 2, 3, 1).unbind(dim=2)  # each (B, 2, 1)
    xy = (a * index)[:, :, None, :] + (b * index)[:, :, :, None] + c[..., None]  # B, 2, SIDE, SIDE
    x, y_ = (torch.floor(xy * 32 + 0.5) / 32).unbind(dim=1)  # as OpenCV samples
    grid = torch.stack([x * (2 / (y.shape[3] - 1)) - 1, y_ * (2 / (y.shape[2] - 1)) - 1], dim=-1)
    cut = F.grid_sample(rgb, grid, padding_mode="zeros", align_corners=True)
    return F.avg_pool2d(cut, SIDE // INPUT) / 255


def to_planes(picture: Tensor, to_yuv: Tensor) -> Tensor:
    """(B, 3, h, w) in 0..1 -> planar YUV 4:2:0 (B, h · 3 / 2, w) uint8; chroma is the mean of four pixels."""
    y = torch.einsum("d,bdhw->bhw", to_yuv[0], picture) + 16
    uv = torch.einsum("cd,bdhw->bchw", to_yuv[1:], F.avg_pool2d(picture, 2)) + 128
    planes = torch.cat([y.flatten(1), uv.flatten(1)], dim=1).reshape(len(picture), -1, picture.shape[3])
    return (planes + 0.5).clamp(0, 255).to(torch.uint8)


def plane_encoder(device: torch.device) -> Callable[[Tensor], Tensor]:
    """`to_planes` with its matrix on the device already."""
    to_yuv = torch.tensor(TO_YUV, device=device)
    return lambda picture: to_planes(picture, to_yuv)


def corner(planes: Image, size: tuple[int, ...]) -> Image:
    """Planar YUV (h · 3 / 2, w) of the picture in the corner of square planes (S · 3 / 2, S). size: h, w, ..."""
    height, width = size[:2]
    side = planes.shape[1]
    chroma = planes[side:].reshape(2, side // 2, side // 2)[:, : height // 2, : width // 2]
    return np.concatenate([planes[:height, :width], chroma.reshape(height // 2, width)])
