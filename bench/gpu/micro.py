"""Parts of W, G and M by themselves, each as the published code has it and in a form that computes the same."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.gpu.setup import Setup
from bench.timing import quantiles, times
from pipeline.liveportrait.build import Captured, autocast
from pipeline.liveportrait.motion import face_motion
from pipeline.liveportrait.networks import MOTIONS
from pipeline.liveportrait.options import PLAIN, Precision

Run = Callable[[], Any]


def micro(setup: Setup) -> Iterator[dict[str, Any]]:
    """Milliseconds of both forms, and how far apart their results are, against the largest value."""
    bench = Micro(setup)
    for part in (padded, mask_in_2d, shared_convolutions, phases, sparse_motion, softmax_and_sum, half_linears, beside):
        for name, figures in part(bench):
            yield {name: figures}


class Micro:
    """Random tensors in the precision that pays here, and pairs of runs."""

    def __init__(self, setup: Setup) -> None:
        self.setup, self.where = setup, setup.where
        self.dtype = torch.float16 if setup.cuda else torch.float32
        self.depth, self.size = (2, 8) if setup.tiny else (16, 64)
        self._generator = torch.Generator().manual_seed(1)

    def tensor(self, *shape: int) -> Tensor:
        """Its channels together where that is a layout."""
        t = torch.randn(shape, generator=self._generator).to(self.where, self.dtype)
        layouts = {4: torch.channels_last, 5: torch.channels_last_3d}
        return t.contiguous(memory_format=layouts[len(shape)]) if self.setup.cuda and len(shape) in layouts else t

    def wide(self, channels: int) -> int:
        return max(channels // 16, 2) if self.setup.tiny else channels

    def ms(self, run: Run) -> float:
        """Captured where that is possible, as the product does it."""
        replay = Captured(run, self.where).replay if self.setup.cuda else run
        return quantiles(times(replay, self.where, self.setup.count(50)))["p50"]

    def pair(self, present: Run, other: Run) -> dict[str, float]:
        a, b = present().float(), other().float()
        error = float((a - b).abs().max() / a.abs().max())
        before, after = self.ms(present), self.ms(other)
        return {"ms": before, "other_ms": after, "ratio": round(before / after, 2), "error": float(f"{error:.2g}")}


Figures = Iterator[tuple[str, dict[str, Any]]]


def padded(bench: Micro) -> Figures:
    """W's convolutions whose channels are no multiple of eight, and with zeros up to the next one."""
    for name, given, out, kernel in (
        ("down0 110->64", 110, 64, 3),
        ("decoder 142->142", 142, 142, 3),
        ("mask 142->22", 142, 22, 7),
    ):
        given, out = (bench.wide(n) if out != MOTIONS else n for n in (given, out))
        more, most = (-(-n // 8) * 8 for n in (given, out))
        x, weight = bench.tensor(1, given, bench.depth, bench.size, bench.size), bench.tensor(out, given, *[kernel] * 3)
        wider, zeros = bench.tensor(1, more, bench.depth, bench.size, bench.size) * 0, bench.tensor(most, more, *[kernel] * 3) * 0
        wider[:, :given], zeros[:out, :given] = x, weight
        yield (
            f"padded {name}",
            bench.pair(partial(F.conv3d, x, weight, padding=kernel // 2), partial(_first, out, wider, zeros, kernel // 2)),
        )


def _first(count: int, x: Tensor, weight: Tensor, padding: int) -> Tensor:
    """Some of a convolution's outputs."""
    return F.conv3d(x, weight, padding=padding)[:, :count]


def mask_in_2d(bench: Micro) -> Figures:
    """The mask's 7³ as one 7² with an output for each plane of the kernel, and a sum of shifted slices in float32."""
    channels = bench.wide(144)
    x, weight = bench.tensor(1, channels, bench.depth, bench.size, bench.size), bench.tensor(MOTIONS, channels, 7, 7, 7)
    flat = weight.permute(2, 0, 1, 3, 4).flatten(0, 1).contiguous()

    def sliced() -> Tensor:
        slices = x.permute(0, 2, 1, 3, 4).flatten(0, 1)
        convolved = F.conv2d(slices, flat, padding=3)
        planes = convolved.reshape(bench.depth, 7, MOTIONS, *x.shape[3:]).float()
        padded = F.pad(planes, (0, 0, 0, 0, 0, 0, 0, 0, 3, 3))
        return sum(padded[k : k + bench.depth, k] for k in range(7)).permute(1, 0, 2, 3)[None]  # type: ignore[union-attr]

    yield "mask 7^3 as 2-D", bench.pair(lambda: F.conv3d(x, weight, padding=3), sliced)


def shared_convolutions(bench: Micro) -> Figures:
    """The twelve convolutions that G's middle makes of the same map, and one with all their outputs."""
    given, out = bench.wide(256), bench.wide(128)
    x, weights = bench.tensor(1, given, bench.size, bench.size), [bench.tensor(out, given, 3, 3) for _ in range(12)]
    together = torch.cat(weights)
    one = F.conv2d
    yield (
        "SPADE's 12 shared as one",
        bench.pair(lambda: torch.cat([one(x, w, padding=1) for w in weights], 1), lambda: one(x, together, padding=1)),
    )


def phases(bench: Micro) -> Figures:
    """A 3² convolution of a map enlarged by its nearest: as it is, and at the map's own size with an output for each phase."""
    given, out = bench.wide(256), bench.wide(128)
    for scale in (2, 4):
        x, weight = bench.tensor(1, given, bench.size, bench.size), bench.tensor(out, given, 3, 3)
        taps = torch.zeros(out, scale, scale, given, 3, 3, device=bench.where, dtype=torch.float32)
        for (py, ky), (px, kx) in itertools.product(itertools.product(range(scale), range(3)), repeat=2):
            taps[:, py, px, :, 1 + (py + ky - 1) // scale, 1 + (px + kx - 1) // scale] += weight[:, :, ky, kx]
        flat = taps.to(bench.dtype).flatten(0, 2)
        yield (
            f"enlarged {scale} x and convolved, by phases",
            bench.pair(partial(_enlarged_first, x, weight, scale), partial(_enlarged_last, x, flat, scale)),
        )


def _enlarged_first(x: Tensor, weight: Tensor, scale: int) -> Tensor:
    return F.conv2d(F.interpolate(x, scale_factor=scale), weight, padding=1)


def _enlarged_last(x: Tensor, weight: Tensor, scale: int) -> Tensor:
    return F.pixel_shuffle(F.conv2d(x, weight, padding=1), scale)


def sparse_motion(bench: Micro) -> Figures:
    """What W's hourglass is given, in float32: 22 moved copies of the compressed volume. No other form here."""
    volume = bench.tensor(1, 4, bench.depth, bench.size, bench.size).float()
    grid = (bench.tensor(MOTIONS, bench.depth, bench.size, bench.size, 3) / 4).float()
    copies = volume.repeat_interleave(MOTIONS, dim=0)
    yield "sparse motion", {"ms": bench.ms(lambda: F.grid_sample(copies, grid, align_corners=False))}


def softmax_and_sum(bench: Micro) -> Figures:
    """From W's mask to the deformed volume, as it is. No other form here."""
    mask = bench.tensor(1, MOTIONS, bench.depth, bench.size, bench.size)
    shifts, volume = bench.tensor(1, MOTIONS, 3).float() / 8, bench.tensor(1, bench.wide(32), *mask.shape[2:]).float()

    def run() -> Tensor:
        places = (mask.float().softmax(dim=1)[..., None] * shifts[:, :, None, None, None]).sum(dim=1)
        return F.grid_sample(volume, places, align_corners=False).flatten(1, 2)

    yield "softmax, sum and sample", {"ms": bench.ms(run)}


def half_linears(bench: Micro) -> Figures:
    """M under autocast with its linear layers' weights in float32, and in half precision."""
    scene = bench.setup.scene(Precision.FP16, PLAIN)
    motion, picture = scene.runtime._networks.motion, torch.rand(1, 3, 256, 256, device=bench.where)

    def run() -> Tensor:
        with autocast(bench.where, Precision.FP16 if bench.setup.cuda else Precision.FP32):
            return face_motion(motion(picture)).keypoints()

    exact, before = run(), bench.ms(run)
    if bench.setup.cuda:
        for module in motion.modules():
            if isinstance(module, nn.Linear):
                module.half()
    after, error = bench.ms(run), float((run() - exact).abs().max())
    yield "M with linear layers in half", {"ms": before, "other_ms": after, "ratio": round(before / after, 2), "error": error}


def beside(bench: Micro) -> Figures:
    """M of the next frame after G of this one, and beside it on a stream of its own."""
    if not bench.setup.cuda:
        yield "M beside G", {"skipped": "no CUDA"}
        return
    runtime = bench.setup.usual.runtime
    picture, warped = torch.rand(1, 3, 256, 256, device=bench.where), torch.randn(1, 256, 64, 64, device=bench.where)
    each: tuple[Run, Run] = (lambda: runtime.motion(picture)), (lambda: runtime.generate(warped))
    m, g = (Captured(run, bench.where) for run in each)
    stream = torch.cuda.Stream(bench.where)  # type: ignore[no-untyped-call]

    def both() -> None:
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            m.replay()
        g.replay()
        torch.cuda.current_stream().wait_stream(stream)

    def in_turn() -> None:
        m.replay()
        g.replay()

    one, other = (quantiles(times(run, bench.where, bench.setup.count(50)))["p50"] for run in (in_turn, both))
    yield "M beside G", {"ms": one, "other_ms": other, "ratio": round(one / other, 2)}
