"""How faithfully an output follows its driver, by landmarks found anew in both."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .face import topology as topo
from .face.motion import Array, Neutral, eye_openness

MEASURES = ("mouth", "openness", "brows", "yaw", "pitch", "roll", "x", "y", "gaze_x", "gaze_y")


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
