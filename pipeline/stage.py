"""The animation stage: which frames a device animates next, for all streams. Told the time; `runners` has its thread."""

from __future__ import annotations

import logging
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import count
from statistics import median
from typing import Any

from .clock import Clock, steady
from .engine import Engine, Prepared
from .errors import DeviceLost
from .frames import Image, checked, planar

log = logging.getLogger(__name__)

ACTIVE_S = 1.0  # a lane that was served within this time will soon have another frame
WATCH_S = 2.0  # a device that takes so long for a batch is lost
SLOWER = 20  # times as slow as lately is no slowness any more
SAMPLES = 60  # so few that a device that becomes slow is known to be within seconds


@dataclass(eq=False)
class Turn:
    """A lane's place among the others. served_s: when the device last worked for it; number: the how manieth frame of all
    that was; closed: it is served no more; picture: its last one; device_s, follow_s: seconds that its
    last frames took."""

    served_s: float = float("-inf")
    number: int = 0
    closed: bool = False
    picture: Image | None = None
    device_s: deque[float] = field(default_factory=lambda: deque(maxlen=SAMPLES))
    follow_s: deque[float] = field(default_factory=lambda: deque(maxlen=SAMPLES))


@dataclass(frozen=True)
class Cost:
    """Of one frame, in seconds. device_s: of what animates; cores_s: of the processor's cores."""

    device_s: float
    cores_s: float

    def share(self, fps: float, cores: float) -> float:
        """Of the device, or of that many cores, whichever `fps` frames a second fill more; 1 is all."""
        return fps * max(self.device_s, self.cores_s / cores)


@dataclass(frozen=True, eq=False)
class Work:
    """A driving frame that has been followed, for the device.

    prepared: the portrait; seen: what the engine's puppeteer says of the frame; follow_s: seconds that took. Either
    `done` is called, with the picture as planar YUV and its seconds of the device, as if the lane had its share of it
    alone; or `failed`, with the seconds that were spent; or neither, if it is withdrawn.
    """

    turn: Turn
    prepared: Prepared
    seen: Any
    follow_s: float
    done: Callable[[Image, float], None]
    failed: Callable[[float], None]


@dataclass(frozen=True)
class _Batch:
    works: list[Work]
    pictures: Callable[[], Sequence[Image | None]]  # waits for the device
    start_s: float


class AnimationStage:
    """Owns an engine's device: takes what lanes have followed, fairly and in batches.

    gather_s: how long at most a batch waits for lanes that are expected to have a frame soon. watch_s: how long at most
    the device may take for one, where that is not the processor itself; 0 for as long as it wants. lost: why the device
    cannot be used any more, in words; empty while it can. Whoever runs it sees to it that `offer`, `waits`, `withdraw`,
    `wait_s` and `take` do not meet, and calls `step` from one thread.
    """

    def __init__(self, engine: Engine, gather_s: float = 0.002, clock: Clock = steady, watch_s: float = WATCH_S) -> None:
        self.engine = engine
        self.gather_s = gather_s
        self.lost = ""
        self._watch_s = float("inf") if engine.on_cpu or not watch_s else watch_s
        self._asked_s: deque[float] = deque()  # when, of each batch whose pictures have not come
        self.batches: Counter[int] = Counter()  # how many batches of each size
        self._clock = clock
        self._waiting: dict[Turn, Work] = {}
        self._active: set[Turn] = set()
        self._numbers = count(1)
        self._pending: _Batch | None = None  # what the device works on
        self._free_s = float("-inf")  # when the device had last done a batch
        self._frame_s: deque[float] = deque(maxlen=SAMPLES)  # seconds of the device for one frame
        self._follow_s: deque[float] = deque(maxlen=SAMPLES)

    def cost(self, turn: Turn | None = None) -> Cost | None:
        """What a frame takes lately, the median: of a lane's, once it has been served, or of all; None before any measurement.
        The cores follow, and animate where they are the device."""
        device_s, follow_s = (turn.device_s, turn.follow_s) if turn and turn.device_s else (self._frame_s, self._follow_s)
        if not device_s:
            return None
        frame_s = median(tuple(device_s))
        return Cost(frame_s, median(tuple(follow_s) or [0.0]) + (frame_s if self.engine.on_cpu else 0.0))

    def frame_s(self) -> float | None:
        """Seconds of the device for one frame, lately; None before any measurement."""
        return median(self._frame_s) if self._frame_s else None

    def measured(self, seconds: float) -> None:
        """A frame takes the device so long: known from the warm-up."""
        self._frame_s.append(seconds)

    def limit_s(self, least_s: float) -> float:
        """How long a piece of its work may take: that, or many times what it takes lately, or what a device may."""
        device_s = 0.0 if self.engine.on_cpu else self._watch_s
        return max(least_s, SLOWER * self.engine.max_batch * (self.frame_s() or 0.0), device_s)

    def watch(self) -> None:
        """See whether the device still answers; from any thread, now and then."""
        since_s = next(iter(tuple(self._asked_s)), None)
        if since_s is not None and self._clock() - since_s > self._watch_s:
            self._lose(f"no picture has come within {self._watch_s:g} s")

    def _lose(self, why: str) -> None:
        if not self.lost:
            self.lost = why
            log.error("engine %s: %s", self.engine.name, why)

    def offer(self, work: Work) -> None:
        """Have a frame animated, unless its turn is closed or the device is lost; in the place of one of the same turn that
        still waits."""
        if not work.turn.closed and not self.lost:
            self._waiting[work.turn] = work

    def waits(self, work: Work) -> bool:
        """Whether the device has not taken it yet."""
        return self._waiting.get(work.turn) is work

    def close(self, turn: Turn) -> None:
        """Serve a lane no more."""
        turn.closed = True
        self._waiting.pop(turn, None)

    def wait_s(self) -> float | None:
        """How long the next batch may wait for more: None for as long as there is nothing to do."""
        if self._pending is not None:  # a batch that is done is not kept waiting
            return 0.0
        if not self._waiting:
            return None
        return self.gather_s if len(self._waiting) < min(self.engine.max_batch, self._sharing()) else 0.0

    def take(self) -> list[Work]:
        """What the device does next: the lanes that were served longest ago first."""
        works = sorted(self._waiting.values(), key=lambda work: work.turn.number)[: self.engine.max_batch]
        for work in works:
            del self._waiting[work.turn]
        return works

    def step(self, works: list[Work]) -> None:
        """Give the device what was taken, and hand out the pictures of the batch before; of this one too where the
        device does not work beside us. So the next batch is prepared while the device works.

        One stream must not spoil the others' frames: those of a batch that failed are tried again one by one, once the
        device has nothing else of ours, as then none of its buffers is waited for; but for those of which a newer one was
        on its way, as motion must not go back."""
        started = self._submit(works) if works else None
        again = [] if self._pending is None else self._collect(self._pending)
        self._pending = started
        if started is not None and (again or not self.engine.overlaps):
            self._pending = None
            newer = {work.turn for work in works}
            again = [*(work for work in again if work.turn not in newer), *self._collect(started)]
        for work in again:
            self._collect(self._submit([work]))

    def _sharing(self) -> int:
        """How many lanes share the device now."""
        since = self._clock() - ACTIVE_S
        self._active = {turn for turn in self._active if turn.served_s > since}
        return len(self._active)

    def _submit(self, works: list[Work]) -> _Batch:
        start_s = self._clock()
        self._asked_s.append(start_s)
        self.batches[len(works)] += 1
        try:
            return _Batch(works, self.engine.submit([(work.prepared, work.seen) for work in works]), start_s)
        except Exception as exc:  # whatever an engine does, it is told where the pictures would have come
            failure = exc

        def fail() -> list[Image]:
            raise failure

        return _Batch(works, fail, start_s)

    def _collect(self, batch: _Batch) -> list[Work]:
        """Hand out a batch's pictures; what is to be tried again."""
        start_s = max(batch.start_s, self._free_s)
        try:
            made = batch.pictures()
            if len(made) != len(batch.works):
                raise ValueError(f"{len(made)} pictures came of {len(batch.works)} frames")
            pictures = [
                planar(work.prepared.still) if picture is None else checked(picture)
                for picture, work in zip(made, batch.works, strict=True)
            ]
            for picture, work in zip(pictures, batch.works, strict=True):
                height, width = work.prepared.still.shape[:2]
                if picture.shape != (height * 3 // 2, width):
                    raise ValueError(f"a picture of {picture.shape} came of a portrait of {width}x{height} pixels")
        except Exception as exc:  # whatever an engine does, the lanes go on with their last frames
            self._served(batch)
            if isinstance(exc, DeviceLost):
                self._lose(str(exc))
            if len(batch.works) > 1 and not self.lost:
                return batch.works
            for work in batch.works:
                work.failed(self._free_s - start_s)
            return []
        self._served(batch)
        each = (self._free_s - start_s) / len(batch.works)
        painted = sum(yuv is not None and yuv is not work.turn.picture for work, yuv in zip(batch.works, made, strict=True))
        if painted:  # what stands still says nothing of what the next frame takes
            self._frame_s.append((self._free_s - start_s) / painted)
        self._follow_s.extend(work.follow_s for work in batch.works)
        sharing = self._sharing()
        for work, yuv, new in zip(batch.works, pictures, made, strict=True):
            if new is not None and yuv is not work.turn.picture:
                work.turn.device_s.append(each)
            work.turn.follow_s.append(work.follow_s)
            work.turn.picture = yuv
            work.done(yuv, each * sharing)
        return []

    def _served(self, batch: _Batch) -> None:
        """Those of a batch have had their turn, the ones that failed too."""
        self._free_s = self._clock()
        self._asked_s.popleft()
        for work in batch.works:
            work.turn.served_s, work.turn.number = self._free_s, next(self._numbers)
            self._active.add(work.turn)
