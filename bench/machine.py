"""What a figure must be read with, and the committed figures of machines of the same class."""

from __future__ import annotations

import json
import platform
import subprocess
import time
from datetime import date
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any

import cv2
import numpy as np

from pipeline.cores import available, whole

RESULTS = Path(__file__).parent / "results"
MODULES = {"opencv-contrib-python": "cv2"}
PACKAGES = ("aiortc", "av", "mediapipe", "numpy", "opencv-contrib-python", "torch")  # torch may be absent
CLASS = ("cpu", "cores")  # figures of machines that differ in one of these are not compared


def machine() -> dict[str, Any]:
    """What a figure must be read with: date, commit, processor, versions."""
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty"], capture_output=True, text=True, check=False
    ).stdout.strip()
    return {
        "date": date.today().isoformat(),
        "commit": commit or "unknown",
        "cpu": _processor(),
        "cores": whole(available()),
        "python": platform.python_version(),
        "versions": {p: version(p) for p in PACKAGES if find_spec(MODULES.get(p, p)) is not None},
    }


def speed() -> float:
    """How fast this machine is now: pictures of 512² a second, blurred and resampled. Figures are compared by it."""
    picture = np.random.default_rng(1).integers(0, 256, (512, 512, 3), np.uint8)
    at = np.stack(np.meshgrid(*[np.arange(512, dtype=np.float32) * 0.98 + 3] * 2), axis=-1)

    def seconds() -> float:
        start_s = time.perf_counter()
        cv2.remap(cv2.GaussianBlur(picture, (0, 0), 2.0), at, np.empty(0, np.float32), cv2.INTER_LINEAR)
        return time.perf_counter() - start_s

    return round(1 / median(seconds() for _ in range(1000)), 1)


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def committed(kind: str) -> tuple[Path, dict[str, Any]] | None:
    """The committed figures of a benchmark on a machine of this class, and their file; None if there are none."""
    here = machine()
    for path in sorted(RESULTS.glob(f"{kind}*.json")):
        figures = json.loads(path.read_text("utf-8"))
        if all(figures.get(key) == here[key] for key in CLASS):
            return path, figures
    return None
