"""Own Triton kernels for W, for CUDA devices: imported only where Triton is. `networks` is what they are held against."""

from __future__ import annotations

import logging

import torch
import torch.nn.functional as F
import triton
import triton.language as tl
from torch import Tensor

from .networks import KEYPOINT_VARIANCE, KEYPOINTS, MOTIONS, TINY, DenseMotion, PortraitFeatures
from .spade_kernels import tail_difference

log = logging.getLogger(__name__)
BLOCK = 16  # voxels of one program


@triton.jit  # type: ignore[untyped-decorator]
def sparse_motions_kernel(  # type: ignore[no-untyped-def]
    volume, source, driving, out, volume_step, source_step, driving_step,
    C: tl.constexpr, D: tl.constexpr, H: tl.constexpr, W: tl.constexpr, MOVES: tl.constexpr,
    SHARPNESS: tl.constexpr, WIDE: tl.constexpr, CHANNELS: tl.constexpr, VOXELS: tl.constexpr,
):  # fmt: skip
    """A tile of CHANNELS × VOXELS of the result; each channel is a part of a motion: 0 the heat map, then C moved channels.
    Neighbouring threads have neighbouring voxels, as what those are moved from lies together; stored the other way round."""
    first = tl.program_id(0) * VOXELS
    voxel = first + tl.arange(0, VOXELS)[None, :]
    row = tl.program_id(1)
    channel = tl.arange(0, CHANNELS)[:, None]
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
    moved = tl.full((CHANNELS, VOXELS), 0.0, tl.float32)
    for corner in tl.static_range(8):
        i, j, k = corner % 2, corner // 2 % 2, corner // 4
        x, y, z = lx + i, ly + j, lz + k
        weight = (1 - tl.abs(px - x)) * (1 - tl.abs(py - y)) * (1 - tl.abs(pz - z))
        inside = (x >= 0) & (x < W) & (y >= 0) & (y < H) & (z >= 0) & (z < D) & (part > 0) & (motion < MOVES)
        at = (((part - 1) * D + z.to(tl.int32)) * H + y.to(tl.int32)) * W + x.to(tl.int32)
        moved += weight * tl.load(volume + row * volume_step + at, mask=inside, other=0.0).to(tl.float32)
    value = tl.where(part > 0, moved, tl.where(moves, heat, 0.0)).to(out.dtype.element_ty)
    to, channels = first + tl.arange(0, VOXELS)[:, None], tl.arange(0, CHANNELS)[None, :]
    place = (row * (D * H * W) + to) * WIDE + channels
    tl.store(out + place, tl.trans(value), mask=(to < D * H * W) & (channels < WIDE))


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


@triton.jit  # type: ignore[untyped-decorator]
def sample_kernel(  # type: ignore[no-untyped-def]
    volume, mask, shifts, out, volume_step, row_step, motion_step, z_step, y_step, x_step,
    C: tl.constexpr, D: tl.constexpr, H: tl.constexpr, W: tl.constexpr, MOVES: tl.constexpr, MOTIONS: tl.constexpr,
    VOXELS: tl.constexpr,
):  # fmt: skip
    """Of VOXELS voxels: the softmax over the motions, the place that comes of it, and all C channels there."""
    voxel = tl.program_id(0) * VOXELS + tl.arange(0, VOXELS)
    row = tl.program_id(1)
    x, y, z = voxel % W, voxel // W % H, voxel // (W * H)
    within = voxel < D * H * W
    motion = tl.arange(0, MOTIONS)[None, :]
    counts = motion < MOVES
    at = mask + row * row_step + motion * motion_step + (z * z_step + y * y_step + x * x_step)[:, None]
    level = tl.load(at, mask=counts & within[:, None], other=0.0).to(tl.float32)
    level = tl.where(counts, level, float("-inf"))
    share = tl.exp(level - tl.max(level, axis=1)[:, None])
    share = share / tl.sum(share, axis=1)[:, None]
    shift = shifts + (row * MOVES + motion) * 3
    px = x * (2 / (W - 1)) - 1 + tl.sum(share * tl.load(shift, mask=counts, other=0.0), axis=1)
    py = y * (2 / (H - 1)) - 1 + tl.sum(share * tl.load(shift + 1, mask=counts, other=0.0), axis=1)
    pz = z * (2 / (D - 1)) - 1 + tl.sum(share * tl.load(shift + 2, mask=counts, other=0.0), axis=1)
    px, py, pz = ((px + 1) * W - 1) / 2, ((py + 1) * H - 1) / 2, ((pz + 1) * D - 1) / 2
    lx, ly, lz = tl.floor(px), tl.floor(py), tl.floor(pz)
    channel = tl.arange(0, C)[None, :]
    value = tl.full((VOXELS, C), 0.0, tl.float32)
    for corner in tl.static_range(8):
        i, j, k = corner % 2, corner // 2 % 2, corner // 4
        cx, cy, cz = lx + i, ly + j, lz + k
        weight = (1 - tl.abs(px - cx)) * (1 - tl.abs(py - cy)) * (1 - tl.abs(pz - cz))
        inside = (cx >= 0) & (cx < W) & (cy >= 0) & (cy < H) & (cz >= 0) & (cz < D) & within
        place = (cz.to(tl.int32) * H + cy.to(tl.int32)) * W + cx.to(tl.int32)
        found = volume + row * volume_step + channel * (D * H * W) + place[:, None]
        value += weight[:, None] * tl.load(found, mask=inside[:, None], other=0.0).to(tl.float32)
    to = out + (((row * H + y) * W + x) * (C * D) + z)[:, None] + channel * D
    tl.store(to, value.to(out.dtype.element_ty), mask=within[:, None] & (channel < C))


@torch.library.custom_op("puppetcast::sample", mutates_args=())
def sample(volume: Tensor, mask: Tensor, shifts: Tensor, dtype: torch.dtype) -> Tensor:
    """`DenseMotion.sample` in one kernel: neither shares nor places are written.

    volume: (B or 1, C, D, H, W), C a power of two; mask: (B, 22, D, H, W) in any order of memory; shifts: (B, 22, 3) float32
    -> (B, H, W, C · D) of `dtype`.
    """
    volume, shifts = volume.contiguous(), shifts.contiguous()
    channels, depth, height, width = volume.shape[1:]
    out = torch.empty(len(shifts), height, width, channels * depth, dtype=dtype, device=shifts.device)
    step = volume.stride(0) if len(volume) > 1 else 0
    sample_kernel[(triton.cdiv(depth * height * width, BLOCK), len(shifts))](
        volume, mask, shifts, out, step, *mask.stride(), channels, depth, height, width,
        MOTIONS, triton.next_power_of_2(MOTIONS), BLOCK,
    )  # fmt: skip
    return out


@sample.register_fake
def _(volume: Tensor, mask: Tensor, shifts: Tensor, dtype: torch.dtype) -> Tensor:
    channels, depth, height, width = volume.shape[1:]
    return torch.empty(len(shifts), height, width, channels * depth, dtype=dtype, device=shifts.device)


@torch.inference_mode()
def agree(device: torch.device) -> bool:
    """Whether the kernels can be made on `device` and compute there what PyTorch does; a warning says why not."""
    try:
        error = max(difference(device), sample_difference(device), tail_difference(device))
    except Exception as exc:  # Triton, its compiler and the driver have errors of their own
        log.warning("the Triton kernels cannot be used (%s); going on without, more slowly", str(exc).splitlines()[:1])
        return False
    if not error < 1e-4:
        log.warning("the Triton kernels are wrong by %g on %s; going on without, more slowly", error, device)
    return error < 1e-4


def difference(device: torch.device, batch: int = 2) -> float:
    """The largest one between `sparse_motions` and PyTorch, for random keypoints, some of them outside."""
    random = torch.Generator().manual_seed(1)
    motion = DenseMotion(TINY).to(device)
    volume = torch.rand(1, TINY.compressed, *TINY.volume[1:], TINY.side, TINY.side, generator=random).to(device)
    resting, driven = (torch.rand(n, KEYPOINTS, 3, generator=random).to(device) * 2 - 1 for n in (1, batch))
    portrait = PortraitFeatures(volume, volume, resting, motion.heat(resting))
    wanted = motion.sparse_motions(portrait, driven, F.pad(resting - driven, (0, 0, 1, 0)))
    wide = TINY.seen + 4
    got = sparse_motions(volume, resting, driven, wide, torch.float32).permute(0, 4, 1, 2, 3)
    return float((got - F.pad(wanted, (0, 0, 0, 0, 0, 0, 0, 4))).abs().max())


def sample_difference(device: torch.device, batch: int = 2) -> float:
    """The same of `sample`, for masks that lie in memory as convolutions of slices leave them, and places outside."""
    random = torch.Generator().manual_seed(2)
    shape = TINY.volume[1], MOTIONS, TINY.side, TINY.side
    volume = torch.rand(1, *TINY.volume, TINY.side, TINY.side, generator=random).to(device)
    mask = (torch.randn(batch, *shape, generator=random) * 4).to(device).transpose(1, 2)
    shifts = (torch.rand(batch, MOTIONS, 3, generator=random) * 2 - 1).to(device)
    wanted = DenseMotion(TINY).to(device).sample(volume, mask, shifts)
    got = sample(volume, mask, shifts, torch.float32).permute(0, 3, 1, 2)
    return float((got - wanted).abs().max())
