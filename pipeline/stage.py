"""The animation stage: one thread per device animates for all streams."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from statistics import median

from .budget import FrameBudget
from .engine import Engine, Source
from .frames import AnimatedFrame, Image
from .lane import IDLE_S, SAMPLES, Feed, Job, Lane

log = logging.getLogger(__name__)

ACTIVE_S = 1.0  # a lane that animated within this time counts as active


_Batch = tuple[list[Job], Callable[[], list[Image]], float]  # jobs, what waits for their pictures, when it began


class AnimationStage:
    """Owns an engine's device: one thread takes what the lanes have followed, fairly and in batches.

    gather_s: how long at most a batch waits for lanes that are expected to have a frame soon.
    """

    def __init__(self, engine: Engine, gather_s: float) -> None:
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
