"""One engine for tests, and what runs lanes and stage without threads where the time is virtual."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from pipeline.clips import Progress
from pipeline.engine import Engine
from pipeline.face import canonical
from pipeline.face.faces import faces_by
from pipeline.face.motion import Array, Neutral
from pipeline.follow.follower import Follower
from pipeline.follow.neutral import FaceState
from pipeline.frames import Driving, Image, TimedFrame, opaque, planar
from pipeline.heartbeat import Heartbeat
from pipeline.lane import Lane
from pipeline.portrait import Portrait
from pipeline.runners import Feed
from pipeline.shapes.shapes import Held
from pipeline.stage import AnimationStage, Work
from streamer.stream.intake import Intake

from .virtual_time import VirtualLoop

FACE = canonical.face() * 100
GREY = 128
REST = 126  # how bright a portrait of that grey is in planar YUV


class Time(Protocol):
    """A clock that also lets time pass."""

    def __call__(self) -> float: ...

    def sleep(self, seconds: float) -> None: ...


class WallTime:
    """The time of the machine, for an engine in a real server."""

    def __call__(self) -> float:
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)


@dataclass
class ManualTime:
    """Time that passes when a test says so."""

    now: float = 0.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


class LoopTime:
    """The running virtual loop's time; what takes time holds up everything, as on one core."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        self._loop = loop

    def __call__(self) -> float:
        return self._loop.now

    def sleep(self, seconds: float) -> None:
        self._loop.now += seconds


class FakeEngine:
    """An engine whose time per frame and faults a test sets.

    engine: a real one, which it then is but for that. Without one it pretends: a picture is as bright as its driver's,
    against the neutral, through the same keeper of neutrals as a real one's. seconds: for each frame, on the clock `time`,
    which passes while `submit` waits, or until the pictures are asked for if it `overlaps`. bright: pictures of a real
    engine are as bright as their drivers. fault: called with each batch, may raise. lost: the tracker's fault.
    """

    on_cpu = True
    by_size = False
    lacks: frozenset[str] = frozenset()
    unseen: frozenset[str] = frozenset()
    faces = faces_by(None)

    def __init__(
        self,
        time: Time,
        engine: Engine | None = None,
        *,
        name: str = "fake",
        seconds: float = 0.0,
        max_batch: int = 1,
        overlaps: bool = False,
        bright: bool = False,
    ) -> None:
        self.name, self.seconds, self.max_batch, self.overlaps = name, seconds, max_batch, overlaps
        self.fault: Callable[[Sequence[tuple[Any, Any]]], object] = lambda work: None
        self.bright = bright or engine is None
        self._time = time
        self._engine = engine
        self._free_s = float("-inf")
        self.puppeteers: list[Any] = []
        if engine is not None:
            self.lacks, self.unseen = engine.lacks, engine.unseen

    def prepare(self, portrait: Portrait, max_side: int, max_crop: int) -> Any:
        return FakePrepared() if self._engine is None else self._engine.prepare(portrait, max_side, max_crop)

    def open(self) -> Any:
        puppeteer: Any = FakePuppeteer() if self._engine is None else self._engine.open()
        self.puppeteers.append(Bright(puppeteer) if self.bright and self._engine is not None else puppeteer)
        return self.puppeteers[-1]

    def warm_up(self, prepared: Any, progress: Progress) -> float:
        return self.seconds + (0.0 if self._engine is None else self._engine.warm_up(prepared, progress))

    def submit(self, work: Sequence[tuple[Any, Any]]) -> Callable[[], Sequence[Image | None]]:
        self._free_s = max(self._free_s, self._time()) + self.seconds * len(work)
        if not self.overlaps:
            self._wait()
        self.fault(work)
        pictures = [bright(p, seen) for p, seen in work] if self.bright or self._engine is None else self._engine.submit(work)()
        free_s = self._free_s

        def collect() -> Sequence[Image | None]:
            self._wait(free_s)
            return pictures

        return collect

    def _wait(self, until_s: float | None = None) -> None:
        left_s = (self._free_s if until_s is None else until_s) - self._time()
        if left_s > 0:
            self._time.sleep(left_s)


class FakePrepared:
    """A portrait of one grey, 16 by 16 pixels. name: for logs."""

    has_doubtful_matte = False
    has_matte = False
    fps = 0.0
    face_box = (0.3, 0.3, 0.4, 0.4)

    def at(self, time_s: float) -> FakePrepared:
        return self

    def __init__(self, name: str = "", grey: int = GREY) -> None:
        self.name = name
        self.still: Image = np.full((16, 16, 3), grey, np.uint8)
        self.yuv = planar(self.still)

    def over(self, background: Image) -> FakePrepared:
        return self

    def cut_out(self, seen: Any, yuv: Image) -> Image:
        return opaque(yuv)


def bright(prepared: Any, level: int) -> Image:
    """The portrait's picture, as bright as `level`."""
    yuv = prepared.yuv.copy() if isinstance(prepared, FakePrepared) else planar(prepared.still)
    yuv[: prepared.still.shape[0]] = level
    return yuv


class FakeTracker:
    """Sees a face where a picture is not black. fault: called for each picture, may raise."""

    name = "fake"
    faces = 1
    lopsided = False
    blink = None

    def __init__(self) -> None:
        self.fault: Callable[[], object] = lambda: None

    def track(self, image: Image, time_s: float) -> Array | None:
        self.fault()
        return FACE if image[0, 0, 0] else None

    def next_face(self) -> bool:
        return self.faces > 1

    def close(self) -> None:
        self.faces = 0


class FakePuppeteer(Follower):
    """Follows how bright a driver is, against how bright it was when it was calibrated."""

    tracker: FakeTracker
    drivers = None

    def __init__(self) -> None:
        tracker = FakeTracker()
        super().__init__(lambda: tracker)
        self._neutral = self._last = self._shown = self._offset = 0.0
        self.given: Neutral | None = None  # by somebody who took it elsewhere

    def go_on(self, neutral: Neutral) -> None:
        self.given = neutral

    def follow(self, driving: Driving) -> int:
        level, keeper, time_s = int(driving.image[0, 0, 0]), self.keeper, driving.time_s
        landmarks = None if self.tuning.paused else self.tracker.track(driving.image, time_s)
        if landmarks is None:
            target = self._last * keeper.lost(time_s, self.tuning)
        else:
            keeper.found(time_s, self.tuning)
            if keeper.calibration is not None and keeper.calibration.add(landmarks, time_s) is not None:
                self._neutral = level
                keeper.done(landmarks)
            if keeper.calibrated:
                self._last = level - self._neutral
            target = self._last * keeper.presence(time_s, keeper.calibrated, float("inf"))
        now, share = keeper.leap(time_s)
        if now:
            self._offset = self._shown - target
        self._shown = target + self._offset * share
        return self._level(self._shown, self.holding(time_s, keeper.state is not FaceState.NO_FACE))

    def at_rest(self, time_s: float) -> int | None:
        held = self.holding(time_s, driven=False)
        return self._level(0.0, held) if held.shapes.values else None

    @staticmethod
    def _level(shown: float, held: Held) -> int:
        return round(min(max(REST + shown + 100 * held.shapes["jawOpen"], 0), 255))

    def animate(self, prepared: FakePrepared, image: Image, time_s: float) -> Image:
        return np.full_like(prepared.still, self.follow(Driving(image, time_s)))

    def calibrate(self, frames: Iterable[tuple[float, Image]]) -> None:
        for _, image in frames:
            self._neutral = int(image[0, 0, 0])
            self.keeper.done()

    def render(self, prepared: FakePrepared, seen: int) -> Image:
        return np.full_like(prepared.still, seen)


class Bright:
    """A real puppeteer that says how bright its driver is, face or not."""

    state = FaceState.TRACKING

    def __init__(self, puppeteer: Any) -> None:
        self._puppeteer = puppeteer

    def __getattr__(self, name: str) -> Any:
        return getattr(self._puppeteer, name)

    def follow(self, driving: Driving) -> int:
        return int(driving.image.mean())


class FakeVideoFrame:
    """A camera's picture of one grey, black for no face; costs nothing to scale."""

    width = height = 2

    def __init__(self, level: int) -> None:
        self._image = np.full((2, 2, 3), level, np.uint8)

    def to_ndarray(self, **_: object) -> Image:
        return self._image


PICTURES = [FakeVideoFrame(level) for level in range(256)]


def camera_frame(level: int, captured_s: float) -> TimedFrame:
    """A driving frame of one grey."""
    return TimedFrame(PICTURES[level], captured_s)  # type: ignore[arg-type]


class VirtualStage:
    """Runs a stage and its lanes on a virtual loop, in the place of `runners.StageThread`."""

    def __init__(self, stage: AnimationStage) -> None:
        self._stage = stage
        self._loop = asyncio.get_running_loop()
        self._lanes: list[VirtualLane] = []
        self._rung = False
        self._left = False  # it has died, or was left behind
        self.heart = Heartbeat(lambda: not self._left, self._loop.time)

    def run(self, lane: Lane, feed: Feed) -> VirtualLane:
        running = VirtualLane(self, lane, feed)
        self._lanes.append(running)
        running.wake()
        return running

    def stop(self) -> bool:
        return self._left or not self._lanes

    def leave(self) -> None:
        self._left = True

    def ring(self) -> None:
        """Look at everything before the time goes on."""
        if not self._rung:
            self._rung = True
            self._loop.call_soon(self._work)

    def offer(self, work: Work) -> None:
        self._stage.offer(work)

    def waits(self, work: Work) -> bool:
        return self._stage.waits(work)

    def end(self, lane: VirtualLane) -> None:
        self._stage.close(lane.lane.turn)
        self._lanes = [other for other in self._lanes if other is not lane]

    def _work(self) -> None:
        self._rung = False
        if self._left:
            return
        for lane in self._lanes:
            lane.step()
        wait_s = self._stage.wait_s()
        if wait_s:
            self._loop.call_later(wait_s, self._go)
        elif wait_s is not None:
            self._go()

    def _go(self) -> None:
        self._stage.step(self._stage.take())
        if self._stage.wait_s() is not None or any(lane.due for lane in self._lanes):
            self.ring()


class VirtualLane:
    """Steps one lane; a `Feed` that rings where a thread would wait for it."""

    def __init__(self, stage: VirtualStage, lane: Lane, feed: Feed) -> None:
        self.lane = lane
        self._stage, self._feed = stage, feed
        self._loop = asyncio.get_running_loop()
        self._work: Work | None = None
        self._due_s = float("inf")
        self._timer_s = float("inf")  # when the timer goes off that is set
        self.heart = Heartbeat(lambda: True, self._loop.time)
        assert isinstance(feed, Intake)
        feed._changed = Bell(self.wake)  # type: ignore[assignment]

    def wake(self) -> None:
        self._due_s = self._loop.time()
        self._stage.ring()

    @property
    def due(self) -> bool:
        """Whether there may be something to do."""
        return self._loop.time() >= self._due_s

    def step(self) -> None:
        if not self.due or (self._work is not None and self._stage.waits(self._work)):
            return
        self._work = self.lane.step(self._feed.take(0.0))
        if self._work is not None:
            self._stage.offer(self._work)
        wait_s = self.lane.wait_s
        self._due_s = float("inf") if wait_s is None else self._loop.time() + wait_s
        if self._due_s < self._timer_s:
            self._set_timer()

    def _set_timer(self) -> None:
        self._timer_s = self._due_s
        self._loop.call_at(self._due_s, self._timer)

    def _timer(self) -> None:
        self._timer_s = float("inf")
        if self._loop.time() >= self._due_s:
            self._stage.ring()
        elif self._due_s < float("inf"):
            self._set_timer()

    def stop(self) -> bool:
        self.leave()
        return True

    def leave(self) -> None:
        self._due_s = float("inf")
        self._stage.end(self)
        self.lane.close()


class Bell:
    """In the place of a `threading.Condition`: nobody waits, whoever would be woken is told."""

    def __init__(self, ring: Callable[[], None]) -> None:
        self.notify_all = ring

    def __enter__(self) -> None: ...

    def __exit__(self, *exc: object) -> None: ...

    def wait_for(self, predicate: Callable[[], bool], timeout_s: float | None = None) -> bool:
        return predicate()
