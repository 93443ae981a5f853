"""The machine, what it can do at best, and the weights."""

from __future__ import annotations

import os
import platform
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bench.flop import frame_tflop
from bench.gpu.setup import Setup
from bench.timing import matrix_peak, times
from pipeline.liveportrait.folding import FOLDINGS, Folding
from pipeline.liveportrait.options import Precision


def machine(setup: Setup) -> Iterator[dict[str, Any]]:
    """What every figure must be read with."""
    root = Path(__file__).parents[2]
    yield {
        "device": torch.cuda.get_device_name(setup.where) if setup.cuda else f"{setup.where} ({platform.machine()})",
        "driver": _said_by("nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader") if setup.cuda else None,
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version() if setup.cuda else None,  # type: ignore[no-untyped-call]
        "python": platform.python_version(),
        "numpy": np.__version__,
        "cores": os.cpu_count(),
        "commit": _said_by("git", "-C", str(root), "describe", "--always", "--dirty"),
        "driver_clip": setup.footage.name,
        "tiny": setup.tiny,
    }


def _said_by(*command: str) -> str | None:
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def ceilings(setup: Setup) -> Iterator[dict[str, Any]]:
    """Copies in GB/s (read and written on the device; one way between host and device), matrix products of 8192³ in TFLOP/s."""
    count = (1 << 30) // (1024 if setup.tiny else 1)
    here = torch.zeros(count, dtype=torch.uint8, device=setup.where)
    other = torch.empty_like(here)
    yield {"copy_gb_s": round(2 * count / min(times(lambda: other.copy_(here), setup.where, 20)) / 1e9, 1)}
    if setup.cuda:
        host = torch.zeros(count // 8, dtype=torch.uint8, pin_memory=True)
        device = here[: len(host)]
        for name, to, given in (("up", device, host), ("down", host, device)):
            spent = min(times(lambda to=to, given=given: to.copy_(given, non_blocking=True), setup.where, 20))  # type: ignore[misc]
            yield {f"{name}_gb_s": round(len(host) / spent / 1e9, 1)}
    size = 256 if setup.tiny else 8192
    torch.backends.cuda.matmul.allow_tf32 = False
    for precision in (Precision.FP16, Precision.BF16, Precision.FP32):
        yield {f"{precision}_tflops": round(matrix_peak(setup.where, precision, size), 2)}
    if setup.cuda:
        torch.backends.cuda.matmul.allow_tf32 = True
        yield {"tf32_tflops": round(matrix_peak(setup.where, Precision.FP32, size), 2)}
    if not setup.tiny:  # counting takes its time
        forms = {"plain": None, "folded": FOLDINGS.get(setup.where.type, Folding())}
        yield {"frame_tflop": {name: round(frame_tflop(folding, setup.sizes), 3) for name, folding in forms.items()}}


def weights(setup: Setup) -> Iterator[dict[str, Any]]:
    """Checkpoints with random weights, the same ones every time."""
    start = time.perf_counter()
    folder = setup.checkpoints()
    files = [path for path in folder.rglob("*") if path.is_file()]
    yield {"seconds": round(time.perf_counter() - start, 1), "mb": round(sum(p.stat().st_size for p in files) / 1e6, 1)}
