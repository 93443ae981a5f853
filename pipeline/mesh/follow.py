"""From driving pictures to the smoothed motion of one face: tracker, calibration, filters, gains."""

from __future__ import annotations

import math

import numpy as np

from ..face.motion import Array, Motion, Neutral, rest
from ..face.tracker import Tracker
from ..follow.blend import Presence
from ..follow.follower import Follower
from ..follow.neutral import NeutralKeeper
from ..follow.smoothing import MotionSmoother
from ..follow.tuning import tuned
from ..frames import Image


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
