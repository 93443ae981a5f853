"""From driving pictures to smoothed motion: tracker, calibration, filters, and a face that is lost."""

from __future__ import annotations

from enum import StrEnum

from .calibration import Calibration
from .face.motion import Motion, Neutral, rest
from .face.tracker import Tracker
from .mesh.crop import Image
from .smoothing import MotionSmoother

HOLD_S = 0.3  # a lost face keeps its last motion this long
EASE_S = 0.7  # and then takes this long to come to rest


class FaceState(StrEnum):
    """What the tracker sees."""

    NO_FACE = "no_face"
    CALIBRATING = "calibrating"
    TRACKING = "tracking"


def rest_share(lost_s: float) -> float:
    """How far a face that has been lost for so long has come to rest, 0..1."""
    return min(max((lost_s - HOLD_S) / EASE_S, 0.0), 1.0)


class FaceFollower:
    """One driver's face. Times are seconds on any steady clock, increasing."""

    def __init__(self, tracker: Tracker, neutral: Neutral | None = None) -> None:
        self.tracker = tracker
        self.state = FaceState.NO_FACE
        self._neutral = neutral
        self._calibration = Calibration()
        self._smooth = MotionSmoother()
        self._last = rest()
        self._seen_s = float("-inf")

    def follow(self, image: Image, time_s: float) -> Motion:
        """The motion of the face in `image` (h, w, 3) RGB; rest where there is none."""
        landmarks = self.tracker.track(image, time_s)
        if landmarks is None:
            return self._lost(time_s)
        if self._neutral is None:
            self.state = FaceState.CALIBRATING
            self._neutral = self._calibration.add(landmarks, time_s)
            return rest()
        self.state = FaceState.TRACKING
        self._seen_s = time_s
        self._last = self._smooth(self._neutral.motion(landmarks), time_s)
        return self._last

    def _lost(self, time_s: float) -> Motion:
        self.state = FaceState.NO_FACE
        return self._last.toward_rest(rest_share(time_s - self._seen_s))

    def recalibrate(self) -> None:
        """Forget the neutral and take a new one."""
        self._neutral, self._calibration = None, Calibration()

    def close(self) -> None:
        self.tracker.close()
