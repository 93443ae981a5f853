"""What must be survived: a weight that is no number, memory that is not there, a portrait prepared during a capture."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import torch

from bench.gpu.checks import NO_CUDA, shown
from bench.gpu.setup import Scene, Setup, StepFailed
from pipeline.errors import ModelError
from pipeline.liveportrait.options import Precision


def faults(setup: Setup) -> Iterator[dict[str, Any]]:
    """Each of FAULTS."""
    failed = []
    for fault in FAULTS:
        try:
            yield {fault.__name__: fault(setup)}
        except StepFailed as exc:
            failed.append(fault.__name__)
            yield {fault.__name__: {"failed": str(exc)}}
    if failed:
        raise StepFailed(f"not survived: {', '.join(failed)}")


def nan_weight(setup: Setup) -> dict[str, Any]:
    """The picture is told to be no picture; the next precision paints it; and where there is none, that is an error."""
    scene = setup.scene(Precision.BF16)
    work, path = [(scene.portrait, scene.sight(0))], scene.captured(1)
    shown(path, work)
    _spoil(scene)
    if path.submit(work)()[0][1]:
        raise StepFailed("a picture of NaN is taken for one")
    scene.runtime = scene.runtime.lower()
    shown(scene.captured(1), work)
    _spoil(scene)
    try:
        scene.runtime.lower()
    except ModelError as exc:
        return {"goes_on_in": str(Precision.FP32), "at_the_end": str(exc)}
    raise StepFailed("networks that are broken in every precision are no error")


def _spoil(scene: Scene) -> None:
    """In place, so that captured graphs see it."""
    with torch.inference_mode():
        next(reversed(list(scene.runtime._networks.generator.parameters()))).fill_(torch.nan)


def out_of_memory(setup: Setup) -> dict[str, Any]:
    """A capture that finds no memory is an error of its own kind, after which a smaller one works."""
    if not setup.cuda:
        return NO_CUDA
    scene = setup.scene()
    shown(scene.captured(1), [(scene.portrait, scene.sight(0))])
    free, total = torch.cuda.mem_get_info(setup.where)
    torch.cuda.set_per_process_memory_fraction(1.05 * torch.cuda.memory_reserved(setup.where) / total, setup.where)
    try:
        batches = scene.captured().batches
    except torch.OutOfMemoryError:
        batches = []
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0, setup.where)
        torch.cuda.empty_cache()
    shown(scene.captured(1), [(scene.portrait, scene.sight(0))])
    return {"free_gb": round(free / 1e9, 1), "batches_that_fitted": batches}


def capture_beside_prepare(setup: Setup) -> dict[str, Any]:
    """Another thread prepares portraits while graphs are captured; both succeed."""
    if not setup.cuda:
        return NO_CUDA
    scene, over, prepared = setup.scene(), threading.Event(), []
    errors: list[BaseException] = []

    def prepare() -> None:
        try:
            while not over.is_set():
                with torch.inference_mode(), scene.runtime.on_device():
                    prepared.append(bool(scene.prepare().resting.isfinite().all()))
        except BaseException as exc:
            errors.append(exc)

    thread = threading.Thread(target=prepare)
    thread.start()
    try:
        path = scene.captured()
    finally:
        over.set()
        thread.join()
    if errors:
        raise StepFailed(f"preparing failed beside a capture: {errors[0]}")
    shown(path, [(scene.portrait, scene.sight(0))])
    return {"portraits": len(prepared)}


FAULTS: tuple[Callable[[Setup], dict[str, Any]], ...] = (nan_weight, out_of_memory, capture_beside_prepare)
