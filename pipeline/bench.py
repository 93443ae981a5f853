"""How fast the mesh engine is here: tracker and warp apart, and together.

python -m pipeline.bench [CLIP]
"""

from __future__ import annotations

import json
import os
import platform
import sys
import time
from importlib.metadata import version
from pathlib import Path
from statistics import median

import av
import numpy as np

from . import models
from .calibration import Calibration
from .face.motion import rest
from .face.tracker import open_tracker
from .mesh.crop import Image
from .mesh.engine import MeshSource
from .portrait import BUNDLED, bundled

FRAMES = 300


def main() -> None:
    """Print a JSON result; progress goes to stderr."""
    clip = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(str(BUNDLED / "demo.mp4"))
    frames = _frames(clip)
    model = models.find(models.FACE_LANDMARKER)
    result = {
        "clip": clip.name,
        "frames": len(frames),
        "cpu": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "versions": {p: version(p) for p in ("av", "mediapipe", "numpy", "opencv-contrib-python")},
        "tracker": "mediapipe" if model else "cascade",
        **_measure(frames, model),
    }
    print(json.dumps(result, indent=2))


def _frames(clip: Path) -> list[Image]:
    with av.open(str(clip)) as source:
        out = []
        for frame in source.decode(video=0):
            out.append(np.asarray(frame.to_ndarray(format="rgb24"), np.uint8))
            if len(out) == FRAMES:
                break
        return out


def _measure(frames: list[Image], model: Path | None) -> dict[str, float]:
    source = MeshSource.of(bundled("astronaut"), 512, 512)
    tracker, calibration = open_tracker(model), Calibration()
    neutral = None
    track_s, warp_s = [], []
    start = time.perf_counter()
    for k, image in enumerate(frames):
        a = time.perf_counter()
        landmarks = tracker.track(image, k / 30)
        b = time.perf_counter()
        if landmarks is not None and neutral is None:
            neutral = calibration.add(landmarks, k / 30)
        motion = rest() if landmarks is None or neutral is None else neutral.motion(landmarks)
        source.render(motion)
        track_s.append(b - a)
        warp_s.append(time.perf_counter() - b)
        print(f"\r{k + 1}/{len(frames)}", end="", file=sys.stderr)
    total = time.perf_counter() - start
    print(file=sys.stderr)
    tracker.close()
    return {
        "track_p50_ms": round(median(track_s) * 1000, 2),
        "warp_p50_ms": round(median(warp_s) * 1000, 2),
        "frames_per_s": round(len(frames) / total, 1),
    }


if __name__ == "__main__":
    main()
