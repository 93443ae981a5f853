"""How long things take on a device, and LivePortrait's networks by themselves. Needs torch and NumPy alone."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pipeline.follow.tuning import Tuning
from pipeline.frames import Image
from pipeline.liveportrait.build import Captured, searching
from pipeline.liveportrait.folding import DTYPES
from pipeline.liveportrait.motion import Face, Gains, drive
from pipeline.liveportrait.options import MotionOptions, Precision
from pipeline.liveportrait.paste import to_bytes
from pipeline.liveportrait.prepared import DevicePortrait
from pipeline.liveportrait.runtime import Runtime


def times(run: Callable[[], Any], where: torch.device, count: int | None = None) -> list[float]:
    """Seconds of each of `count` runs, after some that do not count."""
    if where.type != "cuda":
        run()
        return [seconds(run) for _ in range(count or 4)]
    for _ in range(10):
        run()
    event = partial(torch.cuda.Event, enable_timing=True)
    events = [(event(), event()) for _ in range(count or 100)]
    for before, after in events:
        before.record()
        run()
        after.record()
    torch.cuda.synchronize(where)
    return [before.elapsed_time(after) / 1000 for before, after in events]


def seconds(run: Callable[[], Any]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def quantiles(seconds: list[float]) -> dict[str, float]:
    """In milliseconds."""
    p50, p95, p99 = (1000 * np.percentile(seconds, [50, 95, 99])).tolist()
    return {"p50": round(p50, 3), "p95": round(p95, 3), "p99": round(p99, 3)}


def matrix_peak(where: torch.device, precision: Precision, size: int | None = None) -> float:
    """TFLOP/s of a large matrix product: the best of some."""
    size = size or (8192 if where.type == "cuda" else 2048)
    a, b = (torch.randn(size, size, device=where).to(DTYPES[precision]) for _ in range(2))
    return 2 * size**3 / min(times(lambda: a @ b, where, 20)) / 1e12


def peak_mb(device: torch.device) -> float:
    """Of the device's memory, or of this process'."""
    if device.type == "cuda":
        return round(torch.cuda.max_memory_allocated(device) / 1e6)
    unit = 1 if sys.platform == "darwin" else 1024
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6)


def parts(
    runtime: Runtime, portrait: DevicePortrait, picture: Tensor, reference: Face, graph: bool, count: int | None = None
) -> tuple[dict[str, dict[str, float]], Image]:
    """Milliseconds of each network at batch 1 and of all of them in turn, and the picture (512, 512, 3).
    picture: M's input; reference: what its motion is measured against. graph: each is captured, and replayed."""
    face, gains = reference._replace(motion=runtime.motion(picture)), Gains.of(Tuning(), runtime.device)

    def keypoints(seen: Face = face) -> Tensor:
        return drive(portrait.face, seen, reference.motion, gains, runtime.controllers, MotionOptions())

    driven = keypoints()
    warped = runtime.warp(portrait.features, driven)

    def networks() -> Tensor:
        return runtime.render(portrait.features, keypoints(face._replace(motion=runtime.motion(picture))))

    each: dict[str, Callable[[], Any]] = {
        "M": lambda: runtime.motion(picture),
        "composition+S": keypoints,
        "W": lambda: runtime.warp(portrait.features, driven),
        "G": lambda: runtime.generate(warped),
        "M+W+G+S": networks,
    }
    with searching():
        out = to_bytes(networks())[0].cpu().numpy()
    if graph:
        each = {name: Captured(run, runtime.device).replay for name, run in each.items()}
    return {name: quantiles(times(run, runtime.device, count)) for name, run in each.items()}, out
