"""Own Triton kernels for the end of G's SPADEs, for CUDA devices: imported only where Triton is. See `kernels`.

A picture is read once for its statistics, in parts, and once for everything else: normalised, enlarged, scaled, shifted and put
through the activation, for the block's way and its shortcut together.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
import triton
import triton.language as tl
from torch import Tensor

from .spade import SLOPE

CHUNKS = 32  # parts of a picture whose statistics are taken each by a program; a power of two
PIXELS, CHANNELS = 64, 64  # of a program's tile


@triton.jit  # type: ignore[untyped-decorator]
def moments_kernel(  # type: ignore[no-untyped-def]
    x, out, C: tl.constexpr, COUNT: tl.constexpr, CHUNK: tl.constexpr, PIXELS: tl.constexpr, CHANNELS: tl.constexpr
):
    """Mean and sum of squared differences from it, of a part of each channel; by Chan et al., Am. Stat. 37 (1983) 242."""
    part, row = tl.program_id(0), tl.program_id(2)
    channel = tl.program_id(1) * CHANNELS + tl.arange(0, CHANNELS)
    mean, spread = tl.full((CHANNELS,), 0.0, tl.float32), tl.full((CHANNELS,), 0.0, tl.float32)
    for start in range(0, CHUNK, PIXELS):
        pixel = part * CHUNK + start + tl.arange(0, PIXELS)
        within = ((start + tl.arange(0, PIXELS) < CHUNK) & (pixel < COUNT))[:, None] & (channel < C)[None, :]
        place = (row * COUNT + pixel)[:, None] * C + channel[None, :]
        tile = tl.load(x + place, mask=within, other=0.0).to(tl.float32)
        ends = tl.minimum(CHUNK, COUNT - part * CHUNK)
        count = tl.maximum(tl.minimum(PIXELS, ends - start), 0).to(tl.float32)
        some = tl.maximum(count, 1.0)
        middle = tl.sum(tile, axis=0) / some
        apart = tl.where(within, tile - middle[None, :], 0.0)
        share = count / tl.maximum(start + count, 1.0)
        spread += tl.sum(apart * apart, axis=0) + (middle - mean) * (middle - mean) * start * share
        mean += (middle - mean) * share
    to = out + ((row * tl.num_programs(0) + part) * 2) * C + channel
    tl.store(to, mean, mask=channel < C)
    tl.store(to + C, spread, mask=channel < C)


@triton.jit  # type: ignore[untyped-decorator]
def _modulation(map_, bias, place, channel, within, C: tl.constexpr):  # type: ignore[no-untyped-def]
    """Gain and shift of a tile."""
    gain = tl.load(map_ + place * (2 * C) + channel, mask=within, other=0.0).to(tl.float32)
    shift = tl.load(map_ + place * (2 * C) + C + channel, mask=within, other=0.0).to(tl.float32)
    more, lower = tl.load(bias + channel, mask=channel < C, other=0.0), tl.load(bias + C + channel, mask=channel < C, other=0.0)
    return gain + more.to(tl.float32), shift + lower.to(tl.float32)


@triton.jit  # type: ignore[untyped-decorator]
def tail_kernel(  # type: ignore[no-untyped-def]
    x, moments, first, second, first_bias, second_bias, activated, plain,
    C: tl.constexpr, H: tl.constexpr, W: tl.constexpr, SCALE: tl.constexpr, BOTH: tl.constexpr, SLOPE: tl.constexpr,
    EPS: tl.constexpr, CHUNKS: tl.constexpr, CHUNK: tl.constexpr, PIXELS: tl.constexpr, CHANNELS: tl.constexpr,
):  # fmt: skip
    """A tile of pixels × channels of the result, SCALE · H high and SCALE · W wide."""
    row = tl.program_id(2)
    channel = tl.program_id(1) * CHANNELS + tl.arange(0, CHANNELS)[None, :]
    part = tl.arange(0, CHUNKS)[:, None]
    count = tl.minimum(tl.maximum(H * W - part * CHUNK, 0), CHUNK).to(tl.float32)
    at = moments + ((row * CHUNKS + part) * 2) * C + channel
    means = tl.load(at, mask=channel < C, other=0.0)
    mean = tl.sum(means * count, axis=0)[None, :] / (H * W)
    apart = means - mean
    spread = tl.sum(tl.load(at + C, mask=channel < C, other=0.0) + apart * apart * count, axis=0)[None, :]
    rate = 1 / tl.sqrt(spread / (H * W) + EPS)
    pixel = tl.program_id(0) * PIXELS + tl.arange(0, PIXELS)[:, None]
    within = (pixel < SCALE * SCALE * H * W) & (channel < C)
    source = pixel // (SCALE * W) // SCALE * W + pixel % (SCALE * W) // SCALE
    given = tl.load(x + (row * (H * W) + source) * C + channel, mask=within, other=0.0).to(tl.float32)
    normal = (given - mean) * rate
    place = row * (SCALE * SCALE * H * W) + pixel
    gain, shift = _modulation(first, first_bias, place, channel, within, C)
    value = normal * gain + shift
    value = tl.where(value > 0, value, value * SLOPE)
    tl.store(activated + place * C + channel, value.to(activated.dtype.element_ty), mask=within)
    if BOTH:
        gain, shift = _modulation(second, second_bias, place, channel, within, C)
        tl.store(plain + place * C + channel, (normal * gain + shift).to(plain.dtype.element_ty), mask=within)


@torch.library.custom_op("puppetcast::spade_tail", mutates_args=())
def spade_tail(x: Tensor, maps: list[Tensor], biases: list[Tensor], scale: int) -> list[Tensor]:
    """x: (B, C, H, W); maps: one or two of (B, 2 · C, scale · H, scale · W), gain and shift, without their biases (2 · C) -> for
    each the normalised x, enlarged, scaled and shifted, (B, scale · H, scale · W, C) in the map's dtype; the first put through
    the leaky ReLU. The biases are added here, as they would be in a pass of their own over the largest maps that there are."""
    x, *maps = (t.contiguous(memory_format=torch.channels_last) for t in (x, *maps))
    batch, channels, height, width = x.shape
    outs = _outs(x, maps, biases, scale)
    chunk = triton.cdiv(height * width, CHUNKS)
    moments = torch.empty(batch, CHUNKS, 2, channels, device=x.device)
    tile = min(CHANNELS, triton.next_power_of_2(channels))
    moments_kernel[(CHUNKS, triton.cdiv(channels, tile), batch)](x, moments, channels, height * width, chunk, PIXELS, tile)
    tail_kernel[(triton.cdiv(scale * scale * height * width, PIXELS), triton.cdiv(channels, tile), batch)](
        x, moments, maps[0], maps[-1], biases[0], biases[-1], outs[0], outs[-1],
        channels, height, width, scale, len(maps) > 1, SLOPE, 1e-5, CHUNKS, chunk, PIXELS, tile,
    )  # fmt: skip
    return outs


@spade_tail.register_fake
def _outs(x: Tensor, maps: list[Tensor], biases: list[Tensor], scale: int) -> list[Tensor]:
    batch, channels, height, width = x.shape
    return [torch.empty(batch, scale * height, scale * width, channels, dtype=m.dtype, device=x.device) for m in maps]


def tail_difference(device: torch.device, batch: int = 2) -> float:
    """The largest one between `spade_tail` and PyTorch, for a picture whose channels lie far from zero."""
    random = torch.Generator().manual_seed(3)
    worst = 0.0
    for scale, count in ((1, 1), (2, 2)):
        x = torch.randn(batch, 12, 9, 11, generator=random).to(device) + 30
        maps = [torch.randn(batch, 24, 9 * scale, 11 * scale, generator=random).to(device) for _ in range(count)]
        biases = [torch.randn(24, generator=random).to(device) for _ in range(count)]
        normal = F.interpolate(F.instance_norm(x), scale_factor=scale)
        whole = [m + bias[:, None, None] for m, bias in zip(maps, biases, strict=True)]
        wanted = [normal * gain + shift for gain, shift in (m.chunk(2, dim=1) for m in whole)]
        wanted[0] = F.leaky_relu(wanted[0], SLOPE)
        for got, want in zip(spade_tail(x, maps, biases, scale), wanted, strict=True):
            worst = max(worst, float((got.permute(0, 3, 1, 2) - want).abs().max()))
    return worst
