"""What must hold of a frame's way on the device. Each takes a `Setup`, returns figures, and raises `StepFailed`; what needs
CUDA says so where there is none. `tests/gpu` runs the same ones."""

from __future__ import annotations

import resource
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import torch

from bench.gpu.setup import GAP_S, Scene, Setup, StepFailed
from bench.similarity import psnr
from pipeline.errors import PuppetError
from pipeline.frames import Image
from pipeline.liveportrait.device import DevicePath
from pipeline.liveportrait.options import Precision

NO_CUDA = {"skipped": "no CUDA"}
# Of a picture's planes against plain float32's, with random weights, whose hard edges are worse than a face's: dB
NEAR = {Precision.FP32: 50.0, Precision.FP16: 40.0, Precision.BF16: 25.0}
SAME_DB = 50.0  # of a graph's picture and the eager one's: algorithms may differ, what they compute may not
HOST_MB = 64  # what so many frames may add to the host's memory: libraries take some at their first use


def shown(path: DevicePath, work: list[Any]) -> list[Image]:
    """The pictures of a batch, kept."""
    return collected(path.submit(work))


def collected(collect: Callable[[], list[tuple[Image | None, bool]]]) -> list[Image]:
    """The same of a batch that was begun."""
    pictures = collect()
    if not all(finite for _, finite in pictures):
        raise StepFailed("a picture is not finite")
    return [picture.copy() for picture, _ in pictures if picture is not None]


def parity(setup: Setup, precision: Precision, batch: int) -> dict[str, Any]:
    """Every picture of a batch against plain networks in float32, one by one."""
    scene, plain = setup.scene(precision), setup.exact
    exact = plain.path(1)
    pictures = shown(scene.captured(batch), [(scene.portrait, scene.sight(row, row)) for row in range(batch)])
    theirs = [shown(exact, [(plain.portrait, plain.sight(row, row))])[0] for row in range(batch)]
    worst = min(psnr(a, b) for a, b in zip(pictures, theirs, strict=True))
    if not worst >= NEAR[precision]:
        raise StepFailed(f"{precision}, batch {batch}: {worst:.1f} dB from float32, less than {NEAR[precision]}")
    return {"psnr_db": round(min(worst, 99.0), 1)}


def graph_is_eager(setup: Setup) -> dict[str, Any]:
    """Frames in turn, so that the filter takes part, by replay and without."""
    scene = setup.usual
    graph, eager = scene.ready, scene.path()
    worst, most = 99.0, 0
    for k in range(setup.count(8)):
        work = [(scene.portrait, scene.sight(k + row, row, GAP_S if k else 0.0)) for row in range(setup.largest)]
        for ours, theirs in zip(shown(graph, work), shown(eager, work), strict=True):
            worst = min(worst, psnr(ours, theirs))
            most = max(most, int(np.abs(ours.astype(int) - theirs).max()))
    if not worst >= SAME_DB:
        raise StepFailed(f"a graph's pictures are {worst:.1f} dB from those without")
    return {"psnr_db": round(worst, 1), "most_levels": most}


def rows_isolated(setup: Setup) -> dict[str, Any]:
    """A stream's picture does not depend on its neighbour's."""
    scene = setup.usual
    path, frames = scene.ready, range(1, 4)
    pictures = [shown(path, [(scene.portrait, scene.sight(0)), (scene.portrait, scene.sight(k, 1))]) for k in frames]
    if any(not np.array_equal(a[0], b[0]) for a, b in pairwise(pictures)):
        raise StepFailed("a stream's picture changes with its neighbour's")
    if any(np.array_equal(a[1], b[1]) for a, b in pairwise(pictures)):
        raise StepFailed("the neighbour's frames all look the same, so that nothing was shown")
    return {"neighbours": len(frames)}


def filter_survives_a_rebuild(setup: Setup) -> dict[str, Any]:
    """On a path that was made anew, each row begins with what is seen, not with nothing."""
    scene = setup.usual
    before = shown(scene.ready, [(scene.portrait, scene.sight(0, row)) for row in range(2)])
    after = shown(scene.captured(2), [(scene.portrait, scene.sight(0, row, GAP_S)) for row in range(2)])
    worst = min(psnr(a, b) for a, b in zip(before, after, strict=True))
    if not worst >= SAME_DB:
        raise StepFailed(f"after a rebuild a stream's picture is {worst:.1f} dB from what it was")
    return {"psnr_db": round(min(worst, 99.0), 1)}


def two_in_flight(setup: Setup) -> dict[str, Any]:
    """Each batch's own pictures, with the next one under way, and where a batch is tried again one by one meanwhile."""
    scene = setup.usual
    path = scene.ready
    work = [[(scene.portrait, scene.sight(k, k))] for k in range(3)]
    alone = [shown(path, one)[0] for one in work]
    pending = [path.submit(one) for one in work[:2]]
    got = [collected(collect)[0] for collect in pending]
    _same(got, alone[:2], "two batches in flight are mixed up")
    last = path.submit(work[2])
    try:
        again = [shown(path, one)[0] for one in work[:2]]
    except (AssertionError, PuppetError):  # a path that refuses mixes nothing up
        again = alone[:2]
    _same([*again, *collected(last)], alone, "a batch that is tried again mixes up one in flight")
    return {"batches": len(alone)}


def _same(got: list[Image], wanted: list[Image], otherwise: str) -> None:
    if any(not np.array_equal(a, b) for a, b in zip(got, wanted, strict=True)):
        raise StepFailed(otherwise)


def memory_is_flat(setup: Setup) -> dict[str, Any]:
    """300 frames add nothing to the device's memory, and little to the host's."""
    scene, count = setup.usual, setup.count(300)
    path = scene.ready
    _run(scene, path, setup.count(50))
    before, host = _allocated(setup), _host_mb()
    _run(scene, path, count)
    figures = {"frames": count, "device_bytes": _allocated(setup) - before, "host_mb": round(_host_mb() - host, 1)}
    if figures["device_bytes"] > 0 or figures["host_mb"] > HOST_MB:
        raise StepFailed(f"memory grows: {figures}")
    return figures


def _run(scene: Scene, path: DevicePath, count: int) -> None:
    for k in range(count):
        path.submit([(scene.portrait, scene.sight(k, 0, GAP_S))])()


def _allocated(setup: Setup) -> int:
    if not setup.cuda:
        return 0
    torch.cuda.synchronize(setup.where)
    return torch.cuda.memory_allocated(setup.where) + torch.cuda.memory_reserved(setup.where)


def _host_mb() -> float:
    """The most this process had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def no_host_synchronisation(setup: Setup) -> dict[str, Any]:
    """Submitting waits for nothing."""
    if not setup.cuda:
        return NO_CUDA
    scene = setup.usual
    path = scene.ready
    shown(path, [(scene.portrait, scene.sight(0))])
    torch.cuda.set_sync_debug_mode("error")
    try:
        collect = path.submit([(scene.portrait, scene.sight(k, k, GAP_S)) for k in range(setup.largest)])
    except RuntimeError as exc:
        raise StepFailed(f"a submit waits for the device: {str(exc).splitlines()[0]}") from exc
    finally:
        torch.cuda.set_sync_debug_mode("default")
    return {"pictures": len(collect())}


CHECKS: dict[str, Callable[[Setup], dict[str, Any]]] = {
    check.__name__: check
    for check in (
        graph_is_eager, rows_isolated, filter_survives_a_rebuild, two_in_flight, memory_is_flat, no_host_synchronisation,
    )
}  # fmt: skip
