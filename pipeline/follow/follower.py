"""The part of a puppeteer that is the same for every engine."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from ..face.motion import Array, Neutral, eye_distance
from ..face.tracker import Tracker
from ..frames import Image
from ..shapes.ease import Room, free
from ..shapes.shapes import NOTHING, Held
from .calibration import Calibrating
from .framing import Framing
from .idle import IdleLife
from .leeway import WATCHED, Leeway
from .neutral import FaceState, NeutralKeeper
from .tuning import Tuning

FAR = 10  # times the picture's longer side


class Follower:
    """Follows one driver; see `pipeline.engine.Puppeteer`."""

    def __init__(self, open_tracker: Callable[[], Tracker]) -> None:
        self._open_tracker = open_tracker
        self.tracker = open_tracker()
        self.tracker_name = self.tracker.name
        self.tuning = Tuning()
        self.keeper = NeutralKeeper()
        self.framing = Framing()
        self._asked: Callable[[Room], Held] = lambda room: NOTHING
        self.leeway = Leeway()
        self._idle: IdleLife | None = None

    @property
    def state(self) -> FaceState:
        return self.keeper.state

    @property
    def calibrating(self) -> Calibrating:
        return self.keeper.calibrating

    @property
    def faces(self) -> int:
        return self.tracker.faces

    def track(self, image: Image, time_s: float) -> Array | None:
        """(478, 3) landmarks of the face, in the unit of the driver's first picture, whatever the size and shape of this one;
        None where no face is seen, or none is looked for. What lies far outside of the picture, or nowhere, is no face: filters
        would remember it for long."""
        landmarks = None if self.tuning.paused else self.tracker.track(image, time_s)
        if landmarks is not None and not (np.abs(landmarks) < FAR * max(image.shape)).all():  # not so for NaN either
            landmarks = None
        framed = None if landmarks is None else self.framing(landmarks, image.shape, time_s)
        self.give_way(framed, time_s)
        return framed

    def give_way(self, landmarks: Array | None, time_s: float) -> None:
        """See to the leeway of what comes and goes, by (478, 3) landmarks of the driver."""
        self.leeway.see(None if landmarks is None else landmarks[WATCHED, :2] / eye_distance(landmarks), time_s)

    def room(self, ahead: Callable[[float], Held]) -> float:
        """See `Room`. An engine that knows where landmarks go tells more exactly."""
        return self.leeway.share

    def tune(self, tuning: Tuning) -> None:
        self.tuning = tuning
        if tuning.idle and self._idle is None:
            self._idle = IdleLife()

    def pose(self, held: Callable[[Room], Held]) -> None:
        self._asked = held

    @property
    def idle_s(self) -> float | None:
        return None if self._idle is None or not (self._lives or self._idle.shows) else self._idle.wait_s

    @property
    def _lives(self) -> bool:
        """Whether there is to be idle life while nobody drives."""
        return self.tuning.idle and not self.tuning.paused

    def holding(self, time_s: float, driven: bool) -> Held:
        """What is shown beside the driver's motion: what is held, and idle life while nobody drives."""
        held = self._asked(self.room if driven else free)
        if self._idle is None:
            return held
        alive = self._idle(time_s, driven or not self._lives)
        return replace(held, shapes=held.shapes.plus(alive)) if alive.values else held

    @property
    def resting(self) -> Array | None:
        return self.keeper.resting

    @property
    def neutral(self) -> Neutral | None:
        return None

    def go_on(self, neutral: Neutral) -> None:
        """No effect: an engine that measures against more than landmarks takes its own."""

    def recalibrate(self) -> None:
        """Take a new neutral; the present one goes on until then."""
        self.keeper.recalibrate()

    def reset(self) -> None:
        """Come to rest and take a new neutral, of the face that is found then: a tracker that has followed another driver would
        go on where that one's face was, and see one in whatever is there now."""
        self._begin()
        self.keeper.reset()

    def _begin(self) -> None:
        """With a tracker that has seen nothing."""
        self.tracker.close()
        self.tracker = self._open_tracker()
        self.framing, self.leeway = Framing(), Leeway()

    def next_face(self) -> bool:
        """Follow another face, with a neutral of its own; whether there is one."""
        if not self.tracker.next_face():
            return False
        self.keeper.reset()
        return True

    def close(self) -> None:
        self.tracker.close()
