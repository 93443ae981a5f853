"""How fast the mesh engine is here: tracker and warp apart, and together."""

from __future__ import annotations

import time
from contextlib import ExitStack, closing
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from pipeline import models
from pipeline.clips import Progress, open_clip
from pipeline.face.faces import TRACKERS, Faces, faces_by, faces_if_here
from pipeline.face.motion import rest
from pipeline.follow.calibration import Calibration
from pipeline.frames import Image
from pipeline.mesh.prepared import MeshPrepared
from pipeline.portrait import bundled

FRAMES = 300


def mesh(clip: Path, progress: Progress = lambda done, total: None) -> dict[str, Any]:
    """Milliseconds a frame for tracker and warp at 512², and frames per second of both in turn."""
    frames = _frames(clip)
    faces = faces_by(models.find(models.FACE_LANDMARKER))
    figures = _measure(frames, faces, progress)
    return {"clip": clip.name, "frames": len(frames), "tracker": faces.name, **figures, "cpu_ms": _costs(frames)}


def _costs(frames: list[Image]) -> dict[str, float]:
    """Milliseconds of processor time a frame for each tracker that is here, frame by frame in turn."""
    model = models.find(models.FACE_LANDMARKER)
    with ExitStack() as stack:
        ways = [way for name in TRACKERS if (way := faces_if_here(name, model)) is not None]
        trackers = {way.name: stack.enter_context(closing(way.open_tracker())) for way in ways}
        spent: dict[str, list[float]] = {name: [] for name in trackers}
        for k, image in enumerate(frames):
            for name, tracker in trackers.items():
                start = time.process_time()
                tracker.track(image, k / 30)
                spent[name].append(time.process_time() - start)
    return {name: round(1000 * sum(each) / len(each), 2) for name, each in spent.items()}


def _frames(clip: Path) -> list[Image]:
    with open_clip(clip) as source:
        out = []
        for frame in source.decode(video=0):
            out.append(np.asarray(frame.to_ndarray(format="rgb24"), np.uint8))
            if len(out) == FRAMES:
                break
        return out


def _measure(frames: list[Image], faces: Faces, progress: Progress) -> dict[str, float]:
    source = MeshPrepared.of(bundled("astronaut"), 512, 512)
    tracker, calibration = faces.open_tracker(), Calibration()
    neutral = None
    track_s, warp_s = [], []
    start = time.perf_counter()
    for k, image in enumerate(frames):
        a = time.perf_counter()
        landmarks = tracker.track(image, k / 30)
        b = time.perf_counter()
        if landmarks is not None and neutral is None:
            neutral = calibration.add(landmarks, k / 30, tracker.blink)
        motion = rest() if landmarks is None or neutral is None else neutral.motion(landmarks, tracker.blink)
        source.render(motion)
        track_s.append(b - a)
        warp_s.append(time.perf_counter() - b)
        progress(k + 1, len(frames))
    total = time.perf_counter() - start
    tracker.close()
    return {
        "track_p50_ms": round(median(track_s) * 1000, 2),
        "warp_p50_ms": round(median(warp_s) * 1000, 2),
        "frames_per_s": round(len(frames) / total, 1),
    }
