"""The driver's neutral face, averaged over the first second it is seen well."""

from __future__ import annotations

import numpy as np

from .face import topology as topo
from .face.motion import Array, Neutral, eye_centres, eye_distance, eye_openness, face_axes

WINDOW_S = 1.0
PATIENCE_S = 3.0  # then the best frames so far have to do
MIN_FRAMES = 5
MAX_TURN = 0.22  # nose off the middle of the eyes, in eye distances
MAX_TILT = 0.35  # radians
MAX_SPEED = 1.5  # eye distances per second


class Calibration:
    """Collects landmarks until a neutral can be trusted."""

    def __init__(self) -> None:
        self._frames: list[tuple[float, Array, bool]] = []

    def add(self, landmarks: Array, time_s: float) -> Neutral | None:
        """Add (478, 3) landmarks; the neutral once a good second, or a long bad one, is over."""
        self._frames.append((time_s, landmarks, self._is_good(landmarks, time_s)))
        good = [f for f in self._frames if f[2]]
        if len(good) >= MIN_FRAMES and time_s - good[0][0] >= WINDOW_S:
            return self.neutral()
        waited = time_s - self._frames[0][0]
        return self.neutral() if waited >= PATIENCE_S and len(self._frames) >= MIN_FRAMES else None

    def neutral(self) -> Neutral | None:
        """The neutral of what was seen so far, good frames first; None before any face."""
        return Neutral.of(self.landmarks()) if self._frames else None

    def landmarks(self) -> Array:
        """(478, 3) mean over `chosen`."""
        return np.asarray(np.mean([self._frames[k][1] for k in self.chosen()], axis=0), np.float32)

    def chosen(self) -> list[int]:
        """Which of the frames added so far the neutral is made of: good ones if there are any, and of them
        the half with the most closed mouths, without blinks."""
        index = np.array([k for k, f in enumerate(self._frames) if f[2]] or range(len(self._frames)))
        faces = [self._frames[k][1] for k in index]
        gaps = np.array([np.linalg.norm(f[13] - f[14]) for f in faces])
        openness = np.array([eye_openness(f).mean() for f in faces])
        keep = (gaps <= np.median(gaps)) & (openness >= 0.85 * np.median(openness))
        return [int(k) for k in (index[keep] if keep.any() else index)]

    def _is_good(self, landmarks: Array, time_s: float) -> bool:
        """Roughly frontal and still."""
        distance = eye_distance(landmarks)
        axes = face_axes(landmarks)
        turn = abs(float((landmarks[topo.NOSE_TIP] - eye_centres(landmarks).mean(axis=0))[:2] @ axes[0, :2])) / distance
        tilt = abs(float(np.arctan2(axes[0, 1], axes[0, 0])))
        if not self._frames:
            return turn < MAX_TURN and tilt < MAX_TILT
        before, previous, _ = self._frames[-1]
        moved = np.linalg.norm((landmarks - previous)[list(topo.RIGID), :2].mean(axis=0)) / distance
        still = moved / max(time_s - before, 1e-3) < MAX_SPEED
        return turn < MAX_TURN and tilt < MAX_TILT and bool(still)
