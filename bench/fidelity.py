"""How faithfully an output follows its driver, by landmarks found anew in both."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np
from numpy.typing import NDArray

from pipeline.clips import Progress, open_clip, picture, pictures
from pipeline.engine import Engine
from pipeline.face import topology as topo
from pipeline.face.mediapipe import MediaPipeTracker
from pipeline.face.motion import Array, Neutral, eye_openness
from pipeline.offline.animate import animate
from pipeline.offline.mux import Output
from pipeline.portrait import Portrait

MEASURES = ("mouth", "openness", "brows", "yaw", "pitch", "roll", "x", "y", "gaze_x", "gaze_y")
FIGURES = ("correlation", "slope")


@dataclass(frozen=True)
class Follow:
    """Pearson correlation and least-squares slope of output against driver."""

    correlation: float
    slope: float


def measures(frames: list[Array], neutral: Neutral) -> NDArray[np.float64]:
    """(n, 10) rows of MEASURES for (478, 3) landmarks: mouth gap and brow height in eye distances,
    openness as lid gap over eye width, angles in radians, translation in eye distances, gaze in eye widths."""
    rows = []
    for landmarks in frames:
        motion = neutral.motion(landmarks)
        gap = motion.expression[14, 1] - motion.expression[13, 1]
        brows = motion.expression[[*topo.RIGHT_BROW, *topo.LEFT_BROW], 1].mean()
        yaw, pitch, roll, _, x, y = motion.pose.tolist()
        openness = float(eye_openness(landmarks).mean())
        rows.append((gap, openness, brows, yaw, pitch, roll, x, y, *motion.gaze.mean(axis=0).tolist()))
    return np.array(rows)


def follow(driver: NDArray[np.float64], output: NDArray[np.float64]) -> Follow:
    """Compare two series of one measure, frame by frame."""
    d, o = driver - driver.mean(), output - output.mean()
    power = float(d @ d)
    if power < 1e-12 or float(o @ o) < 1e-12:
        return Follow(0.0, 0.0)
    return Follow(float(d @ o) / (power * float(o @ o)) ** 0.5, float(d @ o) / power)


def best_lag(driver: NDArray[np.float64], output: NDArray[np.float64], max_lag: int) -> tuple[int, Follow]:
    """The lag in frames (0..max_lag) at which the output follows best, and how well."""
    tries = []
    for lag in range(max_lag + 1):
        n = min(len(driver), len(output) - lag)
        tries.append((lag, follow(driver[:n], output[lag : lag + n])))
    return max(tries, key=lambda t: t[1].correlation)


def track(clip: Path, model: Path) -> list[Array | None]:
    """(478, 3) landmarks of each frame of a clip, None where no face is seen; by MediaPipe."""
    tracker = MediaPipeTracker(model)
    try:
        with open_clip(clip) as source:
            return [tracker.track(picture(f), float(f.time or 0.0)) for f in pictures(source)]
    finally:
        tracker.close()


def compare(driver: list[Array | None], output: list[Array | None]) -> dict[str, Follow]:
    """How the output follows in each of MEASURES, over the frames that show a face in both.

    Each is measured against its own median frame: a constant difference does not matter here.
    """
    both = [(d, o) for d, o in zip(driver, output, strict=True) if d is not None and o is not None]
    series = [measures(frames, Neutral.of(np.median(np.stack(frames), axis=0))) for frames in map(list, zip(*both, strict=True))]
    return {name: follow(series[0][:, k], series[1][:, k]) for k, name in enumerate(MEASURES)}


def report(
    portraits: list[Portrait], clips: list[Path], engine: Engine, model: Path, folder: Path, progress: Progress
) -> dict[str, object]:
    """Animate every portrait with every clip into `folder` and compare; rows by pair, and medians over the pairs."""
    rows: dict[str, dict[str, Follow]] = {}
    for clip in clips:
        driver = track(clip, model)
        for portrait in portraits:
            name = f"{Path(portrait.name).stem}-{clip.stem}"
            out = folder / f"{name}.mp4"
            animate(engine, portrait, clip, Output(out))
            rows[name] = compare(driver, track(out, model))
            progress(len(rows), len(clips) * len(portraits))
    return {
        "median": {m: _rounded(*(median(getattr(r[m], k) for r in rows.values()) for k in FIGURES)) for m in MEASURES},
        "pairs": {name: {m: _rounded(f.correlation, f.slope) for m, f in row.items()} for name, row in rows.items()},
    }


def _rounded(correlation: float, slope: float) -> dict[str, float]:
    return dict(zip(FIGURES, (round(correlation, 3), round(slope, 3)), strict=True))
