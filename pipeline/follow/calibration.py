"""The driver's neutral face: a robust average over a second in which it is seen well."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..face import topology as topo
from ..face.motion import Array, Neutral, eye_centres, eye_distance, eye_gaze, eye_openness, face_axes, looking

WINDOW_S = 1.0  # of good frames
PATIENCE_S = 3.0  # then the best frames so far have to do
MIN_FRAMES = 5
MIN_GOOD = 3  # of fewer good ones a single one that is half a blink would be the neutral
MAX_GAP_S = 0.2  # a frame stands for no more time than this
MAX_TURN = 0.22  # nose off the middle of the eyes, in eye distances
MAX_TILT = 0.35  # radians
MAX_SPEED = 1.5  # eye distances per second
MAX_MOUTH = 0.10  # lips apart, in mouth widths
OPEN = 0.85  # of the usual opening of the eyes, below which they may be about to blink
GLANCE = 0.04  # eye widths from where both eyes look straight ahead, within which they do


@dataclass(frozen=True)
class Calibrating:
    """How far a calibration has come. share: 0..1; problem: what keeps it, in words for the driver; empty if nothing."""

    share: float = 0.0
    problem: str = ""


class Calibration:
    """Collects landmarks until a neutral can be trusted."""

    def __init__(self) -> None:
        self._frames: list[tuple[float, Array, bool]] = []
        self._blinks: list[Array | None] = []
        self._good_s = 0.0
        self._problem = "Come into view: no face is seen."

    def __len__(self) -> int:
        """How many frames were added."""
        return len(self._frames)

    @property
    def state(self) -> Calibrating:
        """How far it has come."""
        return Calibrating(min(self._good_s / WINDOW_S, 1.0), self._problem)

    def missed(self) -> None:
        """No face was seen."""
        self._problem = "Come into view: no face is seen."

    def add(self, landmarks: Array, time_s: float, blink: Array | None = None) -> Neutral | None:
        """Add (478, 3) landmarks, and (2,) blink scores where the tracker has them; the neutral once a good second, or a
        long bad one, is over."""
        self._problem = self._check(landmarks, time_s)
        if not self._problem:
            since_s = time_s - self._frames[-1][0] if self._frames else 0.0
            self._good_s += min(max(since_s, 0.0), MAX_GAP_S)
        self._frames.append((time_s, landmarks, not self._problem))
        self._blinks.append(blink)
        if self._good_s >= WINDOW_S and sum(good for _, _, good in self._frames) >= MIN_FRAMES:
            return self.neutral()
        waited = time_s - self._frames[0][0]
        return self.neutral() if waited >= PATIENCE_S and len(self._frames) >= MIN_FRAMES else None

    def neutral(self) -> Neutral | None:
        """The neutral of what was seen so far, good frames first; None before any face."""
        return Neutral.of(self.landmarks(), self._blink()) if self._frames else None

    def landmarks(self) -> Array:
        """(478, 3) median over `chosen`: a frame that went wrong does not count. The irises are where they are in the frames in
        which both eyes look straight ahead, whatever the mouth does: those with the mouth shut may all look aside. Where too few
        look ahead they stay, as before a camera that stands aside."""
        face = np.asarray(np.median([self._frames[k][1] for k in self.chosen()], axis=0), np.float32)
        wide = [f for _, f, _ in self._frames if eye_openness(f).mean() >= OPEN * eye_openness(face).mean()]
        ahead = [gaze for gaze in map(eye_gaze, wide) if abs(float(gaze[:, 0].mean())) <= GLANCE]
        return face if len(ahead) < MIN_GOOD else looking(face, np.median(ahead, axis=0))

    def _blink(self) -> Array | None:
        """(2,) median of the blink scores over `chosen`, None where the tracker has none."""
        scores = [b for b in (self._blinks[k] for k in self.chosen()) if b is not None]
        return np.asarray(np.median(scores, axis=0), np.float32) if scores else None

    def chosen(self) -> list[int]:
        """Which of the frames added so far the neutral is made of: good ones if there are some, and of them
        the half with the most closed mouths, without blinks."""
        good = [k for k, f in enumerate(self._frames) if f[2]]
        index = np.array(good if len(good) >= MIN_GOOD else range(len(self._frames)))
        faces = [self._frames[k][1] for k in index]
        gaps = np.array([np.linalg.norm(f[13] - f[14]) for f in faces])
        openness = np.array([eye_openness(f).mean() for f in faces])
        keep = (gaps <= np.median(gaps)) & (openness >= OPEN * np.median(openness))
        return [int(k) for k in (index[keep] if keep.any() else index)]

    def _check(self, landmarks: Array, time_s: float) -> str:
        """What is wrong with a frame, in words; empty if it is frontal, still, and the mouth is shut."""
        distance = eye_distance(landmarks)
        axes = face_axes(landmarks)
        turn = abs(float((landmarks[topo.NOSE_TIP] - eye_centres(landmarks).mean(axis=0))[:2] @ axes[0, :2])) / distance
        tilt = abs(float(np.arctan2(axes[0, 1], axes[0, 0])))
        if turn >= MAX_TURN:
            return "Look straight into the camera."
        if tilt >= MAX_TILT:
            return "Hold your head upright."
        if self._frames:
            before, previous, _ = self._frames[-1]
            moved = np.linalg.norm((landmarks - previous)[list(topo.RIGID), :2].mean(axis=0)) / distance
            if moved / max(time_s - before, 1e-3) >= MAX_SPEED:
                return "Hold still."
        left, right = landmarks[list(topo.MOUTH_CORNERS)]
        apart = np.linalg.norm(landmarks[13] - landmarks[14]) / max(float(np.linalg.norm(right - left)), 1e-6)
        return "Close your mouth." if apart > MAX_MOUTH else ""
