"""A frame's whole way on the device: whether it is right, and how long it takes."""

from __future__ import annotations

import gc
import shutil
import time
from collections import Counter
from collections.abc import Iterator
from functools import partial
from typing import Any

import torch

from bench.gpu.checks import CHECKS, shown
from bench.gpu.setup import GAP_S, Scene, Setup, StepFailed
from bench.similarity import psnr
from bench.timing import parts, peak_mb, quantiles, seconds, times
from pipeline.liveportrait.device import DevicePath
from pipeline.liveportrait.options import Build, Compile

TOP = 40  # kernels


def checks(setup: Setup) -> Iterator[dict[str, Any]]:
    """Each of `bench.gpu.checks`; one that fails does not keep the others from being made."""
    failed = []
    for name, check in CHECKS.items():
        try:
            yield {name: check(setup)}
        except StepFailed as exc:
            failed.append(name)
            yield {name: {"failed": str(exc)}}
    if failed:
        raise StepFailed(f"not as it must be: {', '.join(failed)}")


def graphs(setup: Setup) -> Iterator[dict[str, Any]]:
    """Not compiled, by replayed graphs where the device has them: each network, the whole way, and its kernels."""
    scene = setup.usual
    picture = scene.runtime.upload([setup.footage.crops[0]])
    captured = scene.runtime.graphs
    each, _ = parts(scene.runtime, scene.portrait, picture, scene.reference, captured, setup.count(100))
    yield {"precision": str(scene.runtime.precision), "graph": captured, "networks": each}
    path = scene.captured()
    for batch in setup.measured:
        yield {f"batch {batch}": whole(scene, path, batch)}
    yield {"peak_mb": peak_mb(setup.where)}
    for batch in setup.measured:
        yield {f"kernels at batch {batch}": kernels(scene, path, batch)}


def product(setup: Setup) -> Iterator[dict[str, Any]]:
    """The default build with an empty cache of compiled kernels, and how near its picture comes to plain float32."""
    shutil.rmtree(setup.work / "compiled", ignore_errors=True)
    yield from _product(setup)


def restart(setup: Setup) -> Iterator[dict[str, Any]]:
    """The same once more, with the kernels that were compiled then."""
    yield {"cached_files": sum(path.is_file() for path in (setup.work / "compiled").rglob("*"))}
    yield from _product(setup)


def _product(setup: Setup) -> Iterator[dict[str, Any]]:
    build = Build(compile=Compile.ON) if setup.cuda else Build()  # a compiler that fails is to be told of
    start = time.perf_counter()
    scene = setup.scene(build=build)
    yield {"precision": str(scene.runtime.precision), "load_s": round(time.perf_counter() - start, 1)}
    path = scene.path()
    build_s = seconds(lambda: path.capture(lambda done, total: None, setup.measured))  # as a server begins
    yield {"build_s": round(build_s, 1), "batches": path.batches}
    for batch in setup.measured:
        yield {f"batch {batch}": whole(scene, path, batch)}
    yield {"peak_mb": peak_mb(setup.where)}
    for batch in setup.measured:
        yield {f"kernels at batch {batch}": kernels(scene, path, batch)}
    [ours] = shown(path, [(scene.portrait, scene.sight(0))])
    [theirs] = shown(setup.exact.path(1), [(setup.exact.portrait, setup.exact.sight(0))])
    yield {"psnr_db": round(min(psnr(ours, theirs), 99.0), 1)}  # planes; of equal ones it is infinite


def whole(scene: Scene, path: DevicePath, batch: int) -> dict[str, Any]:
    """launch: on the device alone, from static buffer to static buffer; submit_to_collect: from the host's picture to the
    host's picture; both in milliseconds for the batch. overlapped_fps: frames a second with the next batch under way."""
    setup, work = scene.setup, _work(scene, batch)
    path.submit(work)()  # the batch is in its buffers
    launch = quantiles(times(lambda: path.steps.whole(batch), setup.where, setup.count(100)))
    collected = quantiles([seconds(partial(_shown, scene, path, batch, k)) for k in range(setup.count(100))])
    gc.freeze()  # whose search through the compiler's objects is Python's, not the device's
    frozen = quantiles([seconds(partial(_shown, scene, path, batch, k)) for k in range(setup.count(100))])
    gc.unfreeze()
    times_ms = {"launch": launch, "submit_to_collect": collected, "without_collections": frozen}
    return times_ms | {"overlapped_fps": round(overlapped(scene, path, batch), 1)}


def overlapped(scene: Scene, path: DevicePath, batch: int) -> float:
    """Frames a second where each batch is collected after the next was submitted."""
    count = scene.setup.count(100)
    start = time.perf_counter()
    pending = path.submit(_work(scene, batch))
    for k in range(1, count):
        following = path.submit(_work(scene, batch, k))
        pending()
        pending = following
    pending()
    return batch * count / (time.perf_counter() - start)


def _shown(scene: Scene, path: DevicePath, batch: int, frame: int) -> None:
    path.submit(_work(scene, batch, frame))()


def _work(scene: Scene, batch: int, frame: int = 0) -> list[Any]:
    """A frame for each of `batch` streams, all of one portrait."""
    return [(scene.portrait, scene.sight(frame + row, row, GAP_S)) for row in range(batch)]


def kernels(scene: Scene, path: DevicePath, batch: int) -> dict[str, Any]:
    """How many there are in a batch, and which take longest: [milliseconds, times] of each."""
    activity = torch.profiler.ProfilerActivity.CUDA if scene.setup.cuda else torch.profiler.ProfilerActivity.CPU
    count = scene.setup.count(10)
    with torch.profiler.profile(activities=[activity]) as profile:
        for _ in range(count):
            path.steps.whole(batch)
        scene.runtime.synchronize()
    spent: Counter[str] = Counter()
    calls: Counter[str] = Counter()
    for event in profile.key_averages():
        us = event.self_device_time_total if scene.setup.cuda else event.self_cpu_time_total
        if us > 0:  # the host's calls take none of the device's time
            spent[event.key] += us
            calls[event.key] += event.count
    top = {_short(name): [round(us / count / 1000, 4), round(calls[name] / count, 1)] for name, us in spent.most_common(TOP)}
    return {"a_batch": round(sum(calls.values()) / count), "top": top}


def _short(name: str) -> str:
    """Kernels of one family differ at the end."""
    return name if len(name) <= 240 else f"{name[:120]} ... {name[-115:]}"
