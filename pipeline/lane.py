"""One stream's way through the animation stage: told the time and the newest frame, it says what the device is to do."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

import cv2
import numpy as np

from .budget import FrameBudget
from .clock import Clock, steady
from .engine import Prepared, Puppeteer
from .face.likeness import LOOKING, STRANGE, FaceLock
from .face.motion import Neutral
from .fade import Fade
from .follow.neutral import FaceState
from .follow.tuning import Tuning
from .frames import AnimatedFrame, Driving, Image, TimedFrame, planar
from .mark.marker import Marker
from .shapes.ease import Easing, Hold
from .shapes.shapes import NOTHING
from .stage import Turn, Work

log = logging.getLogger(__name__)

TRACKING_SIDE = 512  # driving frames are scaled to this for tracking
REST_AFTER_S = 2.0  # a driver that sends nothing for so long lets the puppet rest
FADE_STEP_S = 1 / 30  # between its pictures, where no driver sends any
SAMPLES = 300


@dataclass
class Stats:
    """Counted by a stream's lane, read by anyone. still: of the animated frames, those that show the picture before again.
    stage_s: seconds of the last animated frames, from taken to done; done_s: when they were done; failing_s: when the first of
    those failed that have failed since the last of them."""

    animated: int = 0
    still: int = 0
    errors: int = 0
    failing_s: float | None = None
    stage_s: deque[float] = field(default_factory=lambda: deque(maxlen=SAMPLES))
    done_s: deque[float] = field(default_factory=lambda: deque(maxlen=SAMPLES))


class Gate(NamedTuple):
    """What of drivers may be shown. epoch: pictures of an earlier one are not shown any more; barred: why nothing, in words;
    lock: the face that whoever drives must have."""

    epoch: int
    barred: str
    lock: FaceLock | None


class Screen:
    """What a stream shows, whichever lane animates it: numbers its pictures, fades from one portrait to the next, and has a
    marker mark and seal them. For any thread; `emit` gets each new frame on the one that shows it.

    prepared: the portrait on show. gate: what of drivers may be shown with it.
    """

    def __init__(self, prepared: Prepared, emit: Callable[[AnimatedFrame], None], marker: Marker, clock: Clock = steady) -> None:
        self.prepared = prepared
        self.marker = marker
        self.stats = Stats()
        self.gate = Gate(0, "", None)
        self._emit = emit
        self._clock = clock
        self._number = 0
        self._animated: Image | None = None  # as the engine gave it
        self._last: Image | None = None
        self._cut: Callable[[], Image] | None = None  # makes the cut-out of the last one, as if nothing faded
        self._fade: Fade | None = None
        self._showing = threading.Lock()

    @property
    def fading(self) -> bool:
        """Whether an earlier picture still goes away."""
        return self._fade is not None

    def fps(self, window_s: float = 1.0) -> float:
        """Frames animated in a second, lately."""
        since = self._clock() - window_s
        return sum(done > since for done in list(self.stats.done_s)) / window_s

    def change(self, prepared: Prepared, barred: str = "", lock: FaceLock | None = None) -> None:
        """Show another portrait from the next picture on; the last one fades away over it. barred, lock: of its `gate`."""
        with self._showing:
            self.prepared = prepared
            self._begin_fade()
            self._restrict(barred, lock)

    def restrict(self, barred: str, lock: FaceLock | None) -> None:
        """Let the portrait on show be driven under other terms."""
        with self._showing:
            if (barred, lock) != self.gate[1:]:
                self._begin_fade()
                self._restrict(barred, lock)

    def _restrict(self, barred: str, lock: FaceLock | None) -> None:
        """Nothing that was followed under the terms of before is shown where there are some now."""
        self.gate = Gate(self.gate.epoch + bool(barred or lock), barred, lock)
        if (barred or lock) and self._last is not None:
            self._show_rest()

    def fade(self) -> None:
        """Let the last picture fade away over those to come."""
        with self._showing:
            self._begin_fade()

    def rest(self) -> None:
        """Show the portrait at rest, a clip as it goes on, and nothing that is still on its way."""
        with self._showing:
            self.gate = self.gate._replace(epoch=self.gate.epoch + 1)
            self._show_rest()

    def _show_rest(self) -> None:
        yuv = planar(self.prepared.at(self._clock()).still)
        self._show(yuv, self._clock(), partial(self.prepared.cut_out, None, yuv))

    def animated(self, yuv: Image, captured_s: float, taken_s: float, epoch: int, cut: Callable[[], Image]) -> None:
        """Show a picture whose driving frame was taken at `taken_s`, in the given epoch. cut: makes its cut-out."""
        with self._showing:
            if epoch != self.gate.epoch:
                return
            now_s = self._clock()
            self.stats.animated += 1
            self.stats.failing_s = None
            self.stats.still += yuv is self._animated
            self._animated = yuv
            self.stats.stage_s.append(now_s - taken_s)
            self.stats.done_s.append(now_s)
            self._show(yuv, captured_s, cut)

    def _begin_fade(self) -> None:
        if self._last is not None and self._cut is not None:
            self._fade = Fade(self._last, self._clock(), self._cut)

    def _show(self, yuv: Image, captured_s: float, cut: Callable[[], Image]) -> None:
        self._cut = cut
        if self._fade is not None:
            now_s = self._clock()
            if self._fade.within(now_s):
                yuv, cut = self._fade.over(yuv, now_s), self._fade.over_cut(cut, now_s)
            else:
                self._fade = None
        self._last = yuv
        self._number += 1
        self._emit(self.marker.frame(yuv, captured_s, self._number, cut))


class Lane:
    """One stream's driver, budget and requests. `step` belongs to one thread, everything else to any.

    A failing engine or tracker never stops a lane and never shows the camera: viewers keep the last frame.
    mirrored: whether the driver is seen as in a mirror, asked for each frame. easing: what of shapes is held. told: called
    when `refused` has changed.
    """

    def __init__(
        self,
        puppeteer: Puppeteer,
        screen: Screen,
        budget: FrameBudget,
        mirrored: Callable[[], bool] = lambda: False,
        clock: Clock = steady,
        easing: Easing | None = None,
        told: Callable[[], None] = lambda: None,
    ) -> None:
        self.puppeteer = puppeteer
        self.turn = Turn()
        self._screen = screen
        self._budget = budget
        self._mirrored = mirrored
        self._clock = clock
        self._easing = easing or Easing()
        self._held: tuple[Hold, ...] = ()  # what is held in the last picture without a driver
        self._resting = True  # that is the portrait at rest
        self._requests: deque[Callable[[], object]] = deque([screen.rest])  # done between two frames
        self._rested_s = float("-inf")  # when a portrait that moves was shown without a driver
        self._driven_s: float | None = None  # when the last frame came; None at rest
        self._stands = False  # the engine failed, so the last picture stands still
        self._told = told
        self.refused = ""  # why this driver's face does not move the portrait, in words

    @property
    def face(self) -> FaceState:
        """What is seen of the driver's face."""
        return FaceState.NO_FACE if self._driven_s is None else self.puppeteer.state

    @property
    def wait_s(self) -> float | None:
        """How long the next step may wait for a frame; None for as long as none comes."""
        if self._requests:
            return 0.0
        if self._driven_s is not None:
            return max(self._driven_s + REST_AFTER_S - self._clock(), 0.0)
        moves = self._screen.fading or self._easing.moving or self._easing.holds != self._held
        fps = self._screen.prepared.fps
        # A clip needs no idle life.
        lives_s = max(self._rested_s + 1 / fps - self._clock(), 0.0) if fps else self.puppeteer.idle_s
        waits = [FADE_STEP_S if moves else None, lives_s]
        return min((wait_s for wait_s in waits if wait_s is not None), default=None)

    def tune(self, tuning: Tuning) -> None:
        """Follow under `tuning` from the next frame on."""
        self._requests.append(lambda: self.puppeteer.tune(tuning))

    def recalibrate(self) -> None:
        """Take a new neutral from the next frames; the present one goes on meanwhile."""
        self._requests.append(self.puppeteer.recalibrate)

    def reset(self) -> None:
        """Come to rest and take a new neutral: another driver."""
        self._requests.append(self.puppeteer.reset)

    def go_on(self, neutral: Neutral) -> None:
        """Measure against a neutral that was taken before; not where it matters whose face it is."""
        self._requests.append(lambda: None if self._screen.gate.lock else self.puppeteer.go_on(neutral))

    def next_face(self) -> None:
        """Follow the next face that the driver shows."""
        self._requests.append(self.puppeteer.next_face)

    def close(self) -> None:
        """After the last step."""
        self.puppeteer.close()

    def step(self, frame: TimedFrame | None) -> Work | None:
        """Do what was asked for, then follow `frame`, the newest; None if none came in time. What the device is to do."""
        while self._requests:
            self._try(self._requests.popleft())
        now_s, gate = self._clock(), self._screen.gate
        if gate.barred:
            if self._driven_s is not None:
                self._driven_s = None
                self._rest()
            return self._at_rest(now_s, gate)
        if frame is not None:
            if self._driven_s is None:
                self._screen.fade()  # the driver may go on anywhere
            self._driven_s = now_s
            return self._follow(frame, now_s, gate)
        if self._driven_s is None:
            return self._at_rest(now_s, gate)
        if now_s >= self._driven_s + REST_AFTER_S:
            self._driven_s = None
            self._screen.fade()
            self._rest()
        return None

    def _rest(self) -> None:
        self._held, self._resting = (), True
        self._screen.rest()

    def _at_rest(self, now_s: float, gate: Gate) -> Work | None:
        """Without a driver: what is held, idle life, or else the portrait itself. What is held by hand is a driver's, too, where
        not everybody may be one."""
        self._held, self._rested_s = self._easing.holds, now_s
        plays = bool(self._screen.prepared.fps) and not self._held and not self._easing.moving
        try:
            held = self._easing.at(now_s)  # whatever becomes of the picture, it goes on
            shown = NOTHING if gate.barred or gate.lock else held
            self.puppeteer.pose(lambda room: shown)
            seen = None if plays else self.puppeteer.at_rest(now_s)
        except Exception:  # whatever an engine does, the stream goes on with its last frame
            self._failed(self._clock() - now_s)
            return None
        if seen is None:
            if self._screen.fading or plays or not self._resting:
                self._resting = True
                self._screen.rest()
            return None
        if self._budget.admit(now_s) is not None:
            return None
        self._resting = False
        return self._work(now_s, now_s, gate, lambda: seen)

    def _try(self, request: Callable[[], object]) -> None:
        try:
            request()
        except Exception:  # whatever a tracker does, the stream goes on
            self._failed(0.0)

    def _follow(self, frame: TimedFrame, taken_s: float, gate: Gate) -> Work | None:
        if self._budget.admit(frame.captured_s) is not None:
            return None

        def follow() -> Any:
            self.puppeteer.pose(lambda room: self._easing.at(taken_s, room))
            return self.puppeteer.follow(driving(frame, self._mirrored()))

        work = self._work(frame.captured_s, taken_s, gate, follow)
        return None if self._keeps_out(gate.lock) else work

    def _keeps_out(self, lock: FaceLock | None) -> bool:
        """Whether it is not this driver's face that may move the portrait. Who is another's is looked at again and again: they
        may change places."""
        why = "" if lock is None else lock.refusal(self.puppeteer.resting, self.puppeteer.tracker_name)
        if why == STRANGE:
            self.puppeteer.reset()
        if why == LOOKING and self.refused == STRANGE:
            return True
        if why and not self.refused:
            self._screen.fade()
            self._rest()
        if why != self.refused:
            self.refused = why
            self._told()
        return bool(why)

    def _work(self, captured_s: float, taken_s: float, gate: Gate, follow: Callable[[], Any]) -> Work | None:
        try:
            seen = follow()
        except Exception:  # whatever a tracker does, the stream goes on with its last frame
            self._failed(self._clock() - taken_s)
            return None
        follow_s, prepared = self._clock() - taken_s, self._screen.prepared

        def done(yuv: Image, device_s: float) -> None:
            self._budget.spent(max(follow_s, device_s))
            if self._stands and not self._screen.fading:
                self._screen.fade()  # the driver has gone on meanwhile
            self._stands = False
            self._screen.animated(yuv, captured_s, taken_s, gate.epoch, partial(prepared.cut_out, seen, yuv))

        def failed(spent_s: float) -> None:
            self._stands = True
            self._failed(spent_s)

        return Work(self.turn, prepared, seen, follow_s, done, failed)

    def _failed(self, spent_s: float) -> None:
        """Following or animating raised."""
        self._budget.spent(spent_s)
        stats = self._screen.stats
        stats.errors += 1
        stats.failing_s = self._clock() if stats.failing_s is None else stats.failing_s
        if stats.errors & (stats.errors - 1) == 0:  # 1, 2, 4, 8, …: a broken engine does not flood the log
            log.exception("animation failed (%d so far); viewers keep the last frame", stats.errors)


def driving(frame: TimedFrame, mirror: bool) -> Driving:
    """What a puppeteer follows."""
    image = rgb(frame, TRACKING_SIDE)
    seen = np.asarray(cv2.flip(image, 1), np.uint8) if mirror else image
    return Driving(seen, frame.captured_s, frame.frame, mirror)


def rgb(frame: TimedFrame, max_side: int) -> Image:
    """(h, w, 3) RGB of a driving frame, scaled down to `max_side`."""
    source = frame.frame
    factor = min(1.0, max_side / max(source.width, source.height))
    width, height = max(2, round(source.width * factor)), max(2, round(source.height * factor))
    return np.asarray(source.to_ndarray(width=width, height=height, format="rgb24"), np.uint8)
