"""What a figure must be read with, and the committed figures of machines of the same class."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
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
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "versions": {p: version(p) for p in ("aiortc", "av", "mediapipe", "numpy", "opencv-contrib-python", "torch")},
    }


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
