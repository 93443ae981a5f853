"""An own Triton kernel, for CUDA devices: imported only where Triton is. `networks` is what it is held against."""

from __future__ import annotations

import logging

import torch
import torch.nn.functional as F
import triton
import triton.language as tl
from torch import Tensor

from .networks import KEYPOINT_VARIANCE, KEYPOINTS, MOTIONS, TINY, DenseMotion, PortraitFeatures

log = logging.getLogger(__name__)
BLOCK = 16  # voxels of one program


@triton.jit  # type: ignore[untyped-decorator]
def sparse_motions_kernel(  # type: ignore[no-untyped-def]
    volume, source, driving, out, volume_step, source_step, driving_step,
    C: tl.constexpr, D: tl.constexpr, H: tl.constexpr, W: tl.constexpr, MOVES: tl.constexpr,
    SHARPNESS: tl.constexpr, WIDE: tl.constexpr, CHANNELS: tl.constexpr, VOXELS: tl.constexpr,
):  # fmt: skip
    """A tile of VOXELS × CHANNELS of the result; each channel is a part of a motion: 0 the heat map, then C moved channels."""
    voxel = tl.program_id(0) * VOXELS + tl.arange(0, VOXELS)[:, None]
    row = tl.program_id(1)
    channel = tl.arange(0, CHANNELS)[None, :]
    motion, part = channel // (C + 1), channel % (C + 1)
    point, moves = (motion - 1) * 3, (motion > 0) & (motion < MOVES)  # the background does not move
    resting, driven = source + row * source_step + point, driving + row * driving_step + point
    sx, sy, sz = (
        tl.load(resting, mask=moves, other=0.0),
        tl.load(resting + 1, mask=moves, other=0.0),
        tl.load(resting + 2, mask=moves, other=0.0),
    )
    dx, dy, dz = (
        tl.load(driven, mask=moves, other=0.0),
        tl.load(driven + 1, mask=moves, other=0.0),
        tl.load(driven + 2, mask=moves, other=0.0),
    )
    gx = (voxel % W) * (2 / (W - 1)) - 1
    gy = (voxel // W % H) * (2 / (H - 1)) - 1
    gz = (voxel // (W * H)) * (2 / (D - 1)) - 1
    near = (gx - dx) * (gx - dx) + (gy - dy) * (gy - dy) + (gz - dz) * (gz - dz)
    was = (gx - sx) * (gx - sx) + (gy - sy) * (gy - sy) + (gz - sz) * (gz - sz)
    heat = tl.exp(-SHARPNESS * near) - tl.exp(-SHARPNESS * was)
    px, py, pz = ((gx + (sx - dx) + 1) * W - 1) / 2, ((gy + (sy - dy) + 1) * H - 1) / 2, ((gz + (sz - dz) + 1) * D - 1) / 2
    lx, ly, lz = tl.floor(px), tl.floor(py), tl.floor(pz)
    moved = tl.full((VOXELS, CHANNELS), 0.0, tl.float32)
    for corner in tl.static_range(8):
        i, j, k = corner % 2, corner // 2 % 2, corner // 4
        x, y, z = lx + i, ly + j, lz + k
        weight = (1 - tl.abs(px - x)) * (1 - tl.abs(py - y)) * (1 - tl.abs(pz - z))
        inside = (x >= 0) & (x < W) & (y >= 0) & (y < H) & (z >= 0) & (z < D) & (part > 0) & (motion < MOVES)
        at = (((part - 1) * D + z.to(tl.int32)) * H + y.to(tl.int32)) * W + x.to(tl.int32)
        moved += weight * tl.load(volume + row * volume_step + at, mask=inside, other=0.0).to(tl.float32)
    value = tl.where(part > 0, moved, tl.where(moves, heat, 0.0))
    place = (row * (D * H * W) + voxel) * WIDE + channel
    tl.store(out + place, value.to(out.dtype.element_ty), mask=(voxel < D * H * W) & (channel < WIDE))


@torch.library.custom_op("puppetcast::sparse_motions", mutates_args=())
def sparse_motions(volume: Tensor, source: Tensor, driving: Tensor, wide: int, dtype: torch.dtype) -> Tensor:
    """`DenseMotion.sparse_motions` in one kernel: no grid of places, no copies of the volume, one write.

    volume: (B or 1, C, D, H, W); source: (B or 1, K, 3), driving: (B, K, 3) float32 -> (B, D, H, W, wide) of `dtype`, with
    zeros in the channels past the last motion's.
    """
    volume, source, driving = volume.contiguous(), source.contiguous(), driving.contiguous()
    batch, (channels, *shape) = len(driving), volume.shape[1:]
    out = torch.empty(batch, *shape, wide, dtype=dtype, device=driving.device)
    steps = [t.stride(0) if len(t) > 1 else 0 for t in (volume, source, driving)]
    voxels = shape[0] * shape[1] * shape[2]
    sparse_motions_kernel[(triton.cdiv(voxels, BLOCK), batch)](
        volume, source, driving, out, *steps, channels, *shape, MOTIONS, 0.5 / KEYPOINT_VARIANCE,
        wide, triton.next_power_of_2(wide), BLOCK,
    )  # fmt: skip
    return out


@sparse_motions.register_fake
def _(volume: Tensor, source: Tensor, driving: Tensor, wide: int, dtype: torch.dtype) -> Tensor:
    return torch.empty(len(driving), *volume.shape[2:], wide, dtype=dtype, device=driving.device)


@torch.inference_mode()
def agree(device: torch.device) -> bool:
    """Whether the kernel can be made on `device` and computes there what PyTorch does; a warning says why not."""
    try:
        error = difference(device)
    except Exception as exc:  # Triton, its compiler and the driver have errors of their own
        log.warning("the Triton kernel cannot be used (%s); going on without, more slowly", str(exc).splitlines()[:1])
        return False
    if not error < 1e-4:
        log.warning("the Triton kernel is wrong by %g on %s; going on without, more slowly", error, device)
    return error < 1e-4


def difference(device: torch.device, batch: int = 2) -> float:
    """The largest one between the kernel and PyTorch, for random keypoints, some of them outside."""
    random = torch.Generator().manual_seed(1)
    motion = DenseMotion(TINY).to(device)
    volume = torch.rand(1, TINY.compressed, *TINY.volume[1:], TINY.side, TINY.side, generator=random).to(device)
    resting, driven = (torch.rand(n, KEYPOINTS, 3, generator=random).to(device) * 2 - 1 for n in (1, batch))
    portrait = PortraitFeatures(volume, volume, resting, motion.heat(resting))
    wanted = motion.sparse_motions(portrait, driven, F.pad(resting - driven, (0, 0, 1, 0)))
    wide = TINY.seen + 4
    got = sparse_motions(volume, resting, driven, wide, torch.float32).permute(0, 4, 1, 2, 3)
    return float((got - F.pad(wanted, (0, 0, 0, 0, 0, 0, 0, 4))).abs().max())
