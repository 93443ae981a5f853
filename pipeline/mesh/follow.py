"""From driving pictures to the smoothed motion of one face: tracker, calibration, filters, gains."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np

from ..face.motion import Array, Motion, Neutral, rest
from ..face.pair import level
from ..face.tracker import Tracker
from ..follow.blend import Presence
from ..follow.calibration import Calibration
from ..follow.follower import Follower
from ..follow.leeway import way
from ..follow.moment import Moment
from ..follow.neutral import FaceState, NeutralKeeper
from ..follow.recentre import Recentring
from ..follow.smoothing import MotionSmoother
from ..follow.tuning import tuned
from ..frames import Driving, Image
from ..shapes.shapes import Held
from . import template
from .followed import Followed
from .mixing import Mixer
from .picture import motion_of
from .posing import places, posed
from .prepared import MeshPrepared


class MeshPuppeteer(Follower):
    """See `pipeline.engine.Puppeteer`. Times are seconds on any steady clock, increasing."""

    clips_as_source = False

    def __init__(self, open_tracker: Callable[[], Tracker]) -> None:
        super().__init__(open_tracker)
        self._neutral: Neutral | None = None
        self._smooth, self._recentre = MotionSmoother(), Recentring()
        self._last = rest()
        self._shown = rest()
        self._offset: Array = np.zeros(0)
        self._mixer = Mixer()
        self._places = places(rest())  # of the last picture

    @property
    def drivers(self) -> MeshPuppeteer:
        return self

    @property
    def neutral(self) -> Neutral | None:
        return self._neutral if self.keeper.calibrated else None

    def go_on(self, neutral: Neutral) -> None:
        self._measure(neutral)

    def follow(self, driving: Driving) -> Followed:
        """The motion of the face; rest where there is none. What is held goes beside it."""
        motion = self._motion(driving.image, driving.time_s)
        self.leeway.see(places(motion), driving.time_s)
        held = self.holding(driving.time_s, driven=self.keeper.state is not FaceState.NO_FACE)
        shown = posed(motion, held)
        self._places = places(shown)
        return self._at(driving.time_s, shown)

    def give_way(self, landmarks: Array | None, time_s: float) -> None:
        """What is shown of the driver's motion is what counts."""

    def room(self, ahead: Callable[[float], Held]) -> float:
        def step(share: float) -> float:
            return way(places(posed(self._shown, ahead(share))), self._places)

        whole, most = step(1.0), self.leeway.most
        if whole <= most:
            return 1.0
        # The largest of many lengths bends up only: a step in between is no longer than the straight line says.
        none = step(0.0)
        return (most - none) / (whole - none) if none < most else 0.0

    def at_rest(self, time_s: float) -> Followed | None:
        held = self.holding(time_s, driven=False)
        if not held.shapes.values:
            return None
        self._shown = rest()  # whoever comes to drive begins there
        shown = posed(rest(), held)
        self._places = places(shown)
        return self._at(time_s, shown)

    def look(self, image: Image) -> Followed | None:
        """See `pipeline.engine.Drivers`."""
        landmarks = self.tracker.track(image, 0.0)
        return None if landmarks is None else self._at(0.0, tuned(motion_of(landmarks, self.tracker.blink), self.tuning))

    def moments(self, path: Path) -> list[Moment]:
        """See `pipeline.engine.Drivers`."""
        return [
            Moment(time_s, self._at(time_s, tuned(motion, self.tuning)), followed)
            for time_s, motion, followed in template.load(path).motions()
        ]

    def _at(self, time_s: float, motion: Motion) -> Followed:
        return Followed(**vars(motion), time_s=time_s, mixer=self._mixer)

    def render(self, prepared: MeshPrepared, seen: Followed) -> Image:
        return seen.render(prepared)

    def animate(self, prepared: MeshPrepared, image: Image, time_s: float) -> Image:
        return self.follow(Driving(image, time_s)).render(prepared)

    def calibrate(self, frames: Iterable[tuple[float, Image]]) -> None:
        self._neutral, self._smooth, self._recentre = self._neutral_of(frames), MotionSmoother(), Recentring()
        self._begin()  # the frames now come again
        self.keeper = NeutralKeeper(self._neutral is not None, None if self._neutral is None else self._neutral.landmarks)
        if self._neutral is not None:
            self.keeper.presence = Presence(1.0)  # the first frame is already animated

    def _neutral_of(self, frames: Iterable[tuple[float, Image]]) -> Neutral | None:
        calibration = Calibration()
        for time_s, image in frames:
            landmarks = self.track(image, time_s)
            neutral = None if landmarks is None else calibration.add(landmarks, time_s, self.tracker.blink)
            if neutral is not None:
                return neutral
        return calibration.neutral()

    def _motion(self, image: Image, time_s: float) -> Motion:
        landmarks = self.track(image, time_s)
        self._shown = self._blended(self._target(landmarks, time_s), time_s)
        return self._shown

    def _target(self, landmarks: Array | None, time_s: float) -> Motion:
        if landmarks is None:
            return self._last.toward_rest(1.0 - self.keeper.lost(time_s, self.tuning))
        self.keeper.found(time_s, self.tuning)
        if self.keeper.calibration is not None:
            neutral = self.keeper.calibration.add(landmarks, time_s, self.tracker.blink)
            if neutral is not None:
                self._measure(neutral)
        if not self.keeper.calibrated or self._neutral is None:
            return self._last.toward_rest(1.0 - self.keeper.presence(time_s, False, math.inf))
        motion = self._neutral.motion(landmarks, self.tracker.blink)
        smooth = self._smooth(level(motion) if self.tracker.lopsided else motion, time_s, self.tuning.smoothing)
        centred = replace(smooth, pose=self._recentre(smooth.pose, time_s, self.tuning.recentre_s))
        self._last = tuned(centred, self.tuning)
        return self._last.toward_rest(1.0 - self.keeper.presence(time_s, True))

    def _measure(self, neutral: Neutral) -> None:
        """Against this one from now on."""
        self._neutral, self._smooth, self._recentre = neutral, MotionSmoother(), Recentring()
        self.keeper.done(neutral.landmarks)

    def _blended(self, target: Motion, time_s: float) -> Motion:
        now, share = self.keeper.leap(time_s)
        if now:
            self._offset = self._shown.flat() - target.flat()
        return target.plus(self._offset * np.float32(share)) if share > 0 else target
