"""The animation stage: one thread per device animates for all streams; each stream follows its driver beside it."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from statistics import median
from typing import Any, Protocol

import cv2
import numpy as np

from .budget import FrameBudget
from .calibration import Calibrating
from .engine import Engine, Puppeteer, Source
from .follow import FaceState, eased
from .frames import _SEAL, AnimatedFrame, Driving, Image, TimedFrame, planar
from .tuning import Tuning

log = logging.getLogger(__name__)

TRACKING_SIDE = 512  # driving frames are scaled to this for tracking
IDLE_S = 0.5  # how often a waiting thread looks whether it should stop
REST_AFTER_S = 2.0  # a driver that sends nothing for so long lets the puppet rest
FADE_S = 0.4  # from one portrait to the next
FADE_STEP_S = 1 / 30  # between its pictures, where no driver sends any
ACTIVE_S = 1.0  # a lane that animated within this time counts as active
SAMPLES = 300


class Feed(Protocol):
    """Where a lane takes driving frames from."""

    def take(self, timeout_s: float) -> TimedFrame | None:
        """The newest frame, waiting for one; None when none came."""


@dataclass
class LaneStats:
    """Counted by the stage, read by anyone. stage_s: seconds of the last animated frames, from taken to done; done_s:
    when they were done."""

    frames_in: int = 0
    animated: int = 0
    errors: int = 0
    skipped: Counter[str] = field(default_factory=Counter)
    stage_s: deque[float] = field(default_factory=lambda: deque(maxlen=SAMPLES))
    done_s: deque[float] = field(default_factory=lambda: deque(maxlen=SAMPLES))

    def fps(self, window_s: float = 1.0) -> float:
        """Frames animated in a second, lately."""
        since = time.monotonic() - window_s
        return sum(done > since for done in list(self.done_s)) / window_s


@dataclass(frozen=True)
class Job:
    """A driving frame that has been followed. seen: what the engine's puppeteer says of it."""

    lane: Lane
    source: Source
    seen: Any
    captured_s: float
    taken_s: float
    follow_s: float
    epoch: int


class Lane:
    """One stream's way through the stage: its queue, budget, driver and portrait. `emit` gets each new frame, on some
    thread of the stage.

    Following runs on a thread of the lane's own, at most one frame ahead of the device. A failing engine never stops
    the lane and never shows the camera: viewers keep the last frame.
    """

    def __init__(
        self, stage: AnimationStage, source: Source, feed: Feed, budget: FrameBudget, emit: Callable[[AnimatedFrame], None]
    ) -> None:
        self._stage = stage
        self._source = source
        self._feed = feed
        self._emit = emit
        self._number = 0
        self._epoch = 0  # pictures of an earlier one are not shown any more
        self._sealing = threading.Lock()
        self._requests: deque[Callable[[Puppeteer], object]] = deque()  # done between two frames
        self._last: Image | None = None
        self._fade: tuple[Image, float] | None = None  # the picture that goes, and since when
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="follower", daemon=True)
        self.budget = budget
        self.stats = LaneStats()
        self._resting = True
        self.driven = False  # somebody is this stream's driver: it counts when another wants to be admitted
        self.mirror = False
        self.face = FaceState.NO_FACE
        self.calibrating = Calibrating()
        self.faces = 0
        self.tracker_name = ""
        self.served_s = float("-inf")

    def start(self) -> None:
        self._thread.start()

    def stop(self, timeout_s: float = 5.0) -> bool:
        """Ask the thread to end and wait; whether it did."""
        self._stop.set()
        self._stage.remove(self)
        if self._thread.ident is None:  # never started
            return True
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def set_source(self, source: Source) -> None:
        """Show another portrait from the next frame on; the last picture fades away over it."""
        self._requests.append(lambda puppeteer: self._change(source))

    def take_over(self, other: Lane) -> None:
        """Go on, before the start, where another lane of the stream has ended: fade from its picture, count on."""
        self.driven, self.mirror, self.stats, self._number = other.driven, other.mirror, other.stats, other._number
        if other._last is not None:
            self._fade = other._last, time.monotonic()

    def tune(self, tuning: Tuning) -> None:
        """Follow under `tuning` from the next frame on."""
        self._requests.append(lambda puppeteer: puppeteer.tune(tuning))

    def recalibrate(self) -> None:
        """Take a new neutral from the next frames; the present one goes on meanwhile."""
        self._requests.append(lambda puppeteer: puppeteer.recalibrate())

    def reset(self) -> None:
        """Come to rest and take a new neutral: another driver."""
        self._requests.append(lambda puppeteer: puppeteer.reset())

    def next_face(self) -> None:
        """Follow the next face that the driver shows."""
        self._requests.append(lambda puppeteer: puppeteer.next_face())

    def _run(self) -> None:
        puppeteer = self._stage.engine.open()
        self.tracker_name = puppeteer.tracker_name
        try:
            self._rest()
            last_s = time.monotonic()
            self._resting = True
            while not self._stop.is_set():
                fading = self._fade is not None
                frame = self._feed.take(FADE_STEP_S if fading else IDLE_S)
                while self._requests:
                    self._do(self._requests.popleft(), puppeteer)
                if frame is not None:
                    last_s, self._resting = time.monotonic(), False
                    self._one(puppeteer, frame)
                elif not self._resting and time.monotonic() - last_s > REST_AFTER_S:
                    self._resting = True
                    self.face = FaceState.NO_FACE
                    self._fade_out()
                    self._rest()
                elif fading and self._resting:
                    self._rest()
        finally:
            puppeteer.close()

    def _do(self, request: Callable[[Puppeteer], object], puppeteer: Puppeteer) -> None:
        try:
            request(puppeteer)
        except Exception:  # whatever a tracker does, the stream goes on
            self.failed(0.0)

    def _change(self, source: Source) -> None:
        self._source = source
        self._fade_out()
        if self._resting:
            self._rest()

    def _fade_out(self) -> None:
        if self._last is not None:
            self._fade = self._last, time.monotonic()

    def _one(self, puppeteer: Any, frame: TimedFrame) -> None:
        self.stats.frames_in += 1
        reason = self.budget.admit(frame.captured_s)
        if reason is not None:
            self.stats.skipped[reason] += 1
            return
        taken_s = time.monotonic()
        try:
            seen = puppeteer.follow(driving(frame, self.mirror))
        except Exception:  # whatever a tracker does, the stream goes on with its last frame
            self.failed(time.monotonic() - taken_s)
            return
        self.face, self.calibrating, self.faces = puppeteer.state, puppeteer.calibrating, puppeteer.faces
        follow_s = time.monotonic() - taken_s
        job = Job(self, self._source, seen, frame.captured_s, taken_s, follow_s, self._epoch)
        self._stage.offer(job, self._stop)

    def done(self, job: Job, yuv: Image, device_s: float) -> None:
        """On the stage's thread: the picture of a job, and its share of the device's time."""
        self.budget.spent(max(job.follow_s, device_s))
        self.served_s = now = time.monotonic()
        if job.epoch == self._epoch:
            self.stats.animated += 1
            self.stats.stage_s.append(now - job.taken_s)
            self.stats.done_s.append(now)
            self._show(yuv, job.captured_s)

    def failed(self, spent_s: float) -> None:
        """Following or animating raised."""
        self.budget.spent(spent_s)
        self.served_s = time.monotonic()  # a lane that fails has had its turn all the same
        self.stats.errors += 1
        if self.stats.errors & (self.stats.errors - 1) == 0:  # 1, 2, 4, 8, …: a broken engine does not flood the log
            log.exception("animation failed (%d so far); viewers keep the last frame", self.stats.errors)

    def _rest(self) -> None:
        """Show the still portrait."""
        self._epoch += 1
        self._show(planar(self._source.still), time.monotonic())

    def _show(self, yuv: Image, captured_s: float) -> None:
        with self._sealing:
            if self._fade is not None:
                yuv = self._faded(yuv, *self._fade)
            self._last = yuv
            self._number += 1
            self._emit(AnimatedFrame(yuv, captured_s, self._number, _SEAL))

    def _faded(self, yuv: Image, before: Image, since_s: float) -> Image:
        share = (time.monotonic() - since_s) / FADE_S
        if share >= 1:
            self._fade = None
            return yuv
        return cross_faded(before, yuv, eased(share))


_Batch = tuple[list[Job], Callable[[], list[Image]], float]  # jobs, what waits for their pictures, when it began


class AnimationStage:
    """Owns an engine's device: one thread takes what the lanes have followed, fairly and in batches.

    gather_s: how long at most a batch waits for lanes that are expected to have a frame soon.
    """

    def __init__(self, engine: Engine, gather_s: float = 0.002) -> None:
        self.engine = engine
        self.lanes: list[Lane] = []
        self.batches: Counter[int] = Counter()  # how many batches of each size
        self._gather_s = gather_s
        self._ready: dict[Lane, Job] = {}
        self._changed = threading.Condition()
        self._stopping = False
        self._frame_s: deque[float] = deque(maxlen=SAMPLES)  # seconds of the device for one frame
        self._follow_s: deque[float] = deque(maxlen=SAMPLES)
        self._thread = threading.Thread(target=self._run, name="animation-stage", daemon=True)
        self.started = False

    def start(self) -> None:
        self.started = True
        self._thread.start()

    def stop(self, timeout_s: float = 5.0) -> bool:
        """Ask the thread to end and wait; whether it did. The lanes have been stopped before."""
        self._stopping = True
        self.wake()
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def wake(self) -> None:
        """Let whoever waits look again."""
        with self._changed:
            self._changed.notify_all()

    def remove(self, lane: Lane) -> None:
        """Serve a lane no more."""
        if lane in self.lanes:
            self.lanes.remove(lane)
        self.wake()

    def lane(self, source: Source, feed: Feed, budget: FrameBudget, emit: Callable[[AnimatedFrame], None]) -> Lane:
        """A lane for one more stream."""
        lane = Lane(self, source, feed, budget, emit)
        self.lanes.append(lane)
        return lane

    def fps_with_one_more(self, max_busy: float) -> float | None:
        """Frames per second that every driven lane would get if one more were driven; None before any measurement.

        The device, and the processor's cores that follow (and animate, where they are the device), may be busy for
        `max_busy` of the time.
        """
        frame_s = self.frame_s()
        if frame_s is None:
            return None
        count = 1 + sum(lane.driven for lane in self.lanes)
        cpu_s = median(self._follow_s or [0.0]) + (frame_s if self.engine.on_cpu else 0.0)
        cores = os.cpu_count() or 1
        return min(max_busy / (count * frame_s), cores * max_busy / (count * cpu_s) if cpu_s else float("inf"))

    def frame_s(self) -> float | None:
        """Seconds of the device for one frame, lately; None before any measurement."""
        return median(self._frame_s) if self._frame_s else None

    def measured(self, seconds: float) -> None:
        """A frame takes the device so long: known from the warm-up."""
        self._frame_s.append(seconds)

    def offer(self, job: Job, stop: threading.Event) -> None:
        """Called by a lane: wait until the device takes its frame. None waits behind an older one of its lane."""
        with self._changed:
            self._ready[job.lane] = job
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._ready.get(job.lane) is not job or stop.is_set() or self._stopping)
            self._ready.pop(job.lane, None)

    def _run(self) -> None:
        pending: _Batch | None = None
        free_s = 0.0
        while not self._stopping:
            # While the device works on one batch, the next is prepared; a batch that is done is not kept waiting.
            jobs = self._gather(wait=pending is None)
            started = self._submit(jobs) if jobs else None
            if pending is not None:
                free_s = self._collect(*pending, free_s)
            pending = started
            if pending is not None and not self.engine.overlaps:
                free_s, pending = self._collect(*pending, free_s), None

    def _gather(self, wait: bool) -> list[Job]:
        """What the device does next: the lanes that were served longest ago first."""
        with self._changed:
            if wait:
                self._changed.wait_for(lambda: self._ready or self._stopping, IDLE_S)
                wanted = min(self.engine.max_batch, self._active())
                if 0 < len(self._ready) < wanted:
                    self._changed.wait_for(lambda: len(self._ready) >= wanted or self._stopping, self._gather_s)
            jobs = sorted(self._ready.values(), key=lambda job: job.lane.served_s)[: self.engine.max_batch]
            for job in jobs:
                del self._ready[job.lane]
            self._changed.notify_all()
            return jobs

    def _active(self) -> int:
        since = time.monotonic() - ACTIVE_S
        return sum(lane.served_s > since for lane in self.lanes)

    def _submit(self, jobs: list[Job]) -> _Batch:
        start = time.monotonic()
        self.batches[len(jobs)] += 1
        try:
            return jobs, self.engine.submit([(job.source, job.seen) for job in jobs]), start
        except Exception as exc:  # whatever an engine does, it is told where the pictures would have come
            failure = exc

        def fail() -> list[Image]:
            raise failure

        return jobs, fail, start

    def _collect(self, jobs: list[Job], collect: Callable[[], list[Image]], start_s: float, free_s: float) -> float:
        """Hand out the pictures of a batch; when the device was free again. free_s: when it was free for this one."""
        start_s = max(start_s, free_s)
        try:
            pictures = collect()
        except Exception:  # whatever an engine does, the lanes go on with their last frames
            if len(jobs) == 1:
                jobs[0].lane.failed(time.monotonic() - start_s)
            else:  # one stream must not spoil the others' frames
                for job in jobs:
                    self._collect(*self._submit([job]), start_s)
            return time.monotonic()
        now = time.monotonic()
        each = (now - start_s) / len(jobs)
        self._frame_s.append(each)
        self._follow_s.extend(job.follow_s for job in jobs)
        sharing = max(self._active(), 1)
        for job, yuv in zip(jobs, pictures, strict=True):
            job.lane.done(job, yuv, each * sharing)
        return now


def cross_faded(before: Image, yuv: Image, share: float) -> Image:
    """Planar YUV 4:2:0 between two pictures; the one before is scaled to the size of the other."""
    if before.shape != yuv.shape:
        height, width = yuv.shape[0] * 2 // 3, yuv.shape[1]
        picture = cv2.cvtColor(before, cv2.COLOR_YUV2RGB_I420)
        before = planar(np.asarray(cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA), np.uint8))
    return np.asarray(cv2.addWeighted(before, 1.0 - share, yuv, share, 0.0), np.uint8)


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
