"""From driving pictures to smoothed motion: tracker, calibration, filters, and a face that is lost.

Nothing that changes by leaps is shown by leaps: a face that is lost or found, a new neutral, another face.
"""

from __future__ import annotations

import math
from enum import StrEnum

import numpy as np

from .calibration import Calibrating, Calibration
from .face.motion import Array, Motion, Neutral, rest
from .face.tracker import Tracker
from .mesh.crop import Image
from .smoothing import MotionSmoother
from .tuning import Tuning, tuned

HOLD_S = 0.3  # a lost face keeps its last motion this long
REST_S = 0.7  # and then takes this long to come to rest
WAKE_S = 0.5  # a face that is found takes this long from rest to its whole motion
BLEND_S = 1.0  # what a leap is spread over
LEAP_GAP_S = 0.15  # a face not seen for longer may have moved on


class FaceState(StrEnum):
    """What the tracker sees. calibrating: a neutral is being taken; an earlier one moves the portrait meanwhile."""

    NO_FACE = "no_face"
    CALIBRATING = "calibrating"
    TRACKING = "tracking"
    PAUSED = "paused"


class Presence:
    """How much of a motion is shown, from 0 (at rest) to 1: goes down when the face is lost, up when it is found."""

    def __init__(self, level: float = 0.0) -> None:
        self._level = level
        self._time = float("nan")

    def __call__(self, time_s: float, seen: bool, lost_s: float = 0.0) -> float:
        """At `time_s`; lost_s: for how long it has not been seen."""
        dt = max(time_s - self._time, 0.0) if math.isfinite(self._time) else 0.0
        self._time = time_s
        if seen:
            self._level = min(self._level + dt / WAKE_S, 1.0)
        elif lost_s > HOLD_S:
            self._level = max(self._level - dt / REST_S, 0.0)
        return eased(self._level)


class Leap:
    """Spreads a leap over BLEND_S: the share of it that is still to be taken back."""

    def __init__(self) -> None:
        self._since_s = float("-inf")
        self.pending = False

    def happened(self) -> None:
        """The next value comes from elsewhere."""
        self.pending = True

    def __call__(self, time_s: float) -> tuple[bool, float]:
        """At `time_s`: whether the leap is now, and its share, 1 to 0."""
        now, self.pending = self.pending, False
        if now:
            self._since_s = time_s
        return now, 1.0 - eased(min((time_s - self._since_s) / BLEND_S, 1.0))


def eased(share: float) -> float:
    """0..1 -> 0..1, slow at both ends."""
    return share * share * (3.0 - 2.0 * share)


class NeutralKeeper:
    """When a neutral is taken, and what of the face there is to say; for every engine's follower.

    `Calibration` runs where `calibration` is one. A follower asks `found` or `lost` for each frame.
    """

    def __init__(self, calibrated: bool = False) -> None:
        self.calibration: Calibration | None = None if calibrated else Calibration()
        self.calibrated = calibrated
        self.state = FaceState.NO_FACE
        self.presence, self.leap = Presence(), Leap()
        self._seen_s = float("-inf")
        self._paused = False

    @property
    def calibrating(self) -> Calibrating:
        """How far the calibration has come; finished where none runs."""
        return Calibrating(1.0) if self.calibration is None else self.calibration.state

    def recalibrate(self) -> None:
        """Take a new neutral; the present one goes on until then."""
        self.calibration = Calibration()

    def reset(self) -> None:
        """Forget the neutral: it may be another's face."""
        self.calibrated = False
        self.calibration = Calibration()

    def done(self) -> None:
        """The calibration has ended."""
        self.calibration, self.calibrated = None, True
        self.leap.happened()

    def found(self, time_s: float, tuning: Tuning) -> float:
        """A face is seen; since when it was not, in seconds (infinite for the first time)."""
        gap_s = time_s - self._seen_s
        if LEAP_GAP_S < gap_s < math.inf:
            self.leap.happened()
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


class Follower:
    """What every engine's follower of one driver has."""

    def __init__(self, tracker: Tracker, calibrated: bool = False) -> None:
        self.tracker = tracker
        self.tuning = Tuning()
        self.keeper = NeutralKeeper(calibrated)

    def recalibrate(self) -> None:
        """Take a new neutral; the present one goes on until then."""
        self.keeper.recalibrate()

    def reset(self) -> None:
        """Come to rest and take a new neutral."""
        self.keeper.reset()

    def next_face(self) -> bool:
        """Follow another face, with a neutral of its own; whether there is one."""
        if not self.tracker.next_face():
            return False
        self.reset()
        return True

    def close(self) -> None:
        self.tracker.close()


class FollowingPuppeteer:
    """The part of `engine.Puppeteer` that its follower does."""

    def __init__(self, follower: Follower) -> None:
        self._own = follower
        self.tracker_name = follower.tracker.name

    @property
    def state(self) -> FaceState:
        return self._own.keeper.state

    @property
    def calibrating(self) -> Calibrating:
        return self._own.keeper.calibrating

    @property
    def faces(self) -> int:
        return self._own.tracker.faces

    def tune(self, tuning: Tuning) -> None:
        self._own.tuning = tuning

    def recalibrate(self) -> None:
        self._own.recalibrate()

    def reset(self) -> None:
        self._own.reset()

    def next_face(self) -> bool:
        return self._own.next_face()

    def close(self) -> None:
        self._own.close()


class FaceFollower(Follower):
    """One driver's face. Times are seconds on any steady clock, increasing."""

    def __init__(self, tracker: Tracker) -> None:
        super().__init__(tracker)
        self._neutral: Neutral | None = None
        self._smooth = MotionSmoother()
        self._last = rest()
        self._shown = rest()
        self._offset: Array = np.zeros(0)

    def known(self, neutral: Neutral | None, tracker: Tracker) -> None:
        """Begin anew with a neutral from beforehand: the first frame is already animated. tracker: takes the place of
        the one that has seen it."""
        self.tracker.close()
        self.tracker, self._neutral, self._smooth = tracker, neutral, MotionSmoother()
        self.keeper = NeutralKeeper(neutral is not None)
        if neutral is not None:
            self.keeper.presence = Presence(1.0)

    def follow(self, image: Image, time_s: float) -> Motion:
        """The motion of the face in `image` (h, w, 3) RGB; rest where there is none."""
        landmarks = None if self.tuning.paused else self.tracker.track(image, time_s)
        self._shown = self._blended(self._target(landmarks, time_s), time_s)
        return self._shown

    def _target(self, landmarks: Array | None, time_s: float) -> Motion:
        if landmarks is None:
            return self._last.toward_rest(1.0 - self.keeper.lost(time_s, self.tuning))
        self.keeper.found(time_s, self.tuning)
        if self.keeper.calibration is not None:
            neutral = self.keeper.calibration.add(landmarks, time_s)
            if neutral is not None:
                self._neutral, self._smooth = neutral, MotionSmoother()
                self.keeper.done()
        if not self.keeper.calibrated or self._neutral is None:
            return self._last.toward_rest(1.0 - self.keeper.presence(time_s, False, math.inf))
        smooth = self._smooth(self._neutral.motion(landmarks), time_s, self.tuning.smoothing)
        self._last = tuned(smooth, self.tuning)
        return self._last.toward_rest(1.0 - self.keeper.presence(time_s, True))

    def _blended(self, target: Motion, time_s: float) -> Motion:
        now, share = self.keeper.leap(time_s)
        if now:
            self._offset = self._shown.flat() - target.flat()
        return target.plus(self._offset * np.float32(share)) if share > 0 else target
