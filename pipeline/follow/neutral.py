"""When a neutral is taken, and what of the face there is to say."""

from __future__ import annotations

import math
from enum import StrEnum

from ..face.motion import Array
from .blend import Leap, Presence
from .calibration import Calibrating, Calibration
from .tuning import Tuning

LEAP_GAP_S = 0.15  # a face not seen for longer may have moved on,
LEAP_GAPS = 4.0  # unless the driver's frames come as seldom as that


class FaceState(StrEnum):
    """What the tracker sees. calibrating: a neutral is being taken; an earlier one moves the portrait meanwhile."""

    NO_FACE = "no_face"
    CALIBRATING = "calibrating"
    TRACKING = "tracking"
    PAUSED = "paused"


class NeutralKeeper:
    """When a neutral is taken, and what of the face there is to say; for every engine's follower.

    `Calibration` runs where `calibration` is one. A follower asks `found` or `lost` for each frame.
    resting: (478, 3) landmarks of the neutral, in any unit; None while none is taken.
    """

    def __init__(self, calibrated: bool = False, resting: Array | None = None) -> None:
        self.resting = resting
        self.calibration: Calibration | None = None if calibrated else Calibration()
        self.calibrated = calibrated
        self.state = FaceState.NO_FACE
        self.presence, self.leap = Presence(), Leap()
        self._seen_s = float("-inf")
        self._gap_s = 0.0  # between frames, lately
        self._paused = False

    @property
    def calibrating(self) -> Calibrating:
        """How far the calibration has come; finished where none runs."""
        running = self.calibration  # asked from another thread than the one that ends it
        return Calibrating(1.0) if running is None else running.state

    def recalibrate(self) -> None:
        """Take a new neutral; the present one goes on until then."""
        self.calibration = Calibration()

    def reset(self) -> None:
        """Forget the neutral: it may be another's face."""
        self.calibrated, self.resting = False, None
        self.calibration = Calibration()

    def done(self, resting: Array | None = None) -> None:
        """The calibration has ended, with this face at rest."""
        self.calibration, self.calibrated, self.resting = None, True, resting
        self.leap.happened()

    def found(self, time_s: float, tuning: Tuning) -> float:
        """A face is seen; since when it was not, in seconds (infinite for the first time)."""
        gap_s = time_s - self._seen_s
        if max(LEAP_GAP_S, LEAP_GAPS * self._gap_s) < gap_s < math.inf:
            self.leap.happened()
        self._gap_s += 0.2 * (min(gap_s, 1.0) - self._gap_s)
        if self.calibrated and not self._paused and 0 < tuning.recalibrate_after_s < gap_s < math.inf:
            self.reset()
        self._seen_s, self._paused = time_s, False
        self.state = FaceState.TRACKING if self.calibration is None else FaceState.CALIBRATING
        return gap_s

    def lost(self, time_s: float, tuning: Tuning) -> float:
        """No face is seen, or none is looked for; how far the motion is still shown, 1 to 0."""
        self.state = FaceState.PAUSED if tuning.paused else FaceState.NO_FACE
        self._paused = self._paused or tuning.paused
        if self.calibration is not None:
            self.calibration.missed()
        return self.presence(time_s, False, time_s - self._seen_s)
