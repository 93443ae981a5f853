"""The asyncio graph: source -> queue -> stage -> fan-out -> sinks."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import deque
from dataclasses import dataclass
from enum import StrEnum
from itertools import islice
from statistics import median
from typing import Protocol

from pipeline.budget import FrameBudget
from pipeline.engine import Engine, Source
from pipeline.frames import AnimatedFrame
from pipeline.stage import AnimationStage

from .audio import AudioLine
from .config import Budget, Device, Puppet
from .errors import Overloaded, StreamBusy
from .framequeue import FrameQueue

log = logging.getLogger(__name__)

SAMPLES = 300
AGE_SAMPLES = 30
UNKNOWN_AGE_S = 0.04  # of a picture, before any was sent


class SourceState(StrEnum):
    """Where a source is. starting: opening; live: frames come; stalled: none for a while; waiting: before the next try;
    failed: no try will come, or only a slow one."""

    STARTING = "starting"
    LIVE = "live"
    STALLED = "stalled"
    WAITING = "waiting"
    FAILED = "failed"


@dataclass
class SourceStatus:
    """Written by who reads the source, read by anyone. detail: why it is not live, in words; restarts: how often it was
    opened again."""

    name: str
    state: SourceState = SourceState.STARTING
    detail: str = ""
    restarts: int = 0


@dataclass
class OutputStatus:
    """A way out that the config names, and that is no sink of its own. state: starting, live or waiting."""

    kind: str
    name: str
    state: str = "starting"
    detail: str = ""


@dataclass(frozen=True)
class SinkState:
    """What a sink does. bitrate: bits per second; dropped: frames that were not sent to some viewer."""

    codec: str
    viewers: int
    bitrate: int
    frames: int
    key_frames: int
    dropped: int


class Sink(Protocol):
    """Takes animated frames, and nothing else."""

    def offer(self, frame: AnimatedFrame) -> None:
        """Take a frame; never blocks, keeps only the newest."""

    def state(self) -> SinkState:
        """What it does now."""


@dataclass(frozen=True)
class Shown:
    """The portrait on show."""

    id: str
    source: Source


class Stream:
    """One named stream. All methods belong to the event loop's thread."""

    def __init__(self, name: str, stage: AnimationStage, shown: Shown, budget: Budget, device: Device, puppet: Puppet) -> None:
        self.name = name
        self.shown = shown
        self.before: str | None = None  # the portrait that was on show before
        self.queue = FrameQueue()
        self.sinks: set[Sink] = set()
        self.outputs: list[OutputStatus] = []
        self.latest: AnimatedFrame | None = None
        self.publisher: str | None = None
        self.source: SourceStatus | None = None  # of a driver that is no browser
        self.ages_s: deque[float] = deque(maxlen=SAMPLES)
        self._loop = asyncio.get_running_loop()
        self._lock = threading.Lock()
        self._waiting: AnimatedFrame | None = None
        self._stage = stage
        self._device = device
        self._limits = budget
        self._budget = FrameBudget(**budget.model_dump())
        self.audio = AudioLine(self.age_s)
        self.queue.on_sound = self.audio.put
        self.lane = stage.lane(shown.source, self.queue, self._budget, self._from_stage)
        self.puppet = puppet
        self.tune(puppet)

    @property
    def engine(self) -> Engine:
        """What animates it."""
        return self._stage.engine

    def tune(self, puppet: Puppet) -> None:
        """Follow the driver in another way from the next frame on."""
        if puppet.mirror != self.lane.mirror:  # the neutral would be that of the other side
            self.lane.mirror = puppet.mirror
            self.lane.reset()
        self.puppet = puppet
        self.audio.muted = puppet.muted
        fps, age_ms = puppet.max_fps or self._limits.max_frames, puppet.max_age_ms or self._limits.max_age_ms
        frames = max(round(fps * self._limits.window_s), 1) if puppet.max_fps else fps
        if (frames, age_ms) != (self._budget.max_frames, self._budget.max_age_ms):
            self._budget.limit(frames, age_ms)
        self.lane.tune(puppet.tuning())

    async def switch(self, stage: AnimationStage, shown: Shown) -> None:
        """Go over to another engine, with a portrait prepared for it; viewers see a cross-fade."""
        old = self.lane
        if not await asyncio.to_thread(old.stop):
            log.error("stream '%s': its thread did not stop", self.name)
        self._stage, self.shown = stage, shown
        self.lane = stage.lane(shown.source, self.queue, self._budget, self._from_stage)
        self.lane.take_over(old)
        self.lane.tune(self.puppet.tuning())
        self.lane.start()

    def start(self) -> None:
        self.lane.start()

    async def stop(self) -> None:
        """End the lane's thread and the sound."""
        self.queue.wake()
        await self.audio.stop()
        if not await asyncio.to_thread(self.lane.stop):
            log.error("stream '%s': its thread did not stop", self.name)

    def claim(self, publisher: str, named: bool = False) -> None:
        """Become the stream's driver; StreamBusy if it has one, Overloaded if the others would become too slow.

        named: by the config, so it is let in all the same; the budget then slows all streams alike.
        """
        if self.publisher is not None:
            raise StreamBusy(f"stream '{self.name}' already has a publisher; end that one first")
        if not named:
            self._admit()
        self.publisher = publisher
        self.lane.driven = True
        self.lane.reset()

    def _admit(self) -> None:
        driven = sum(lane.driven for lane in self._stage.lanes)
        if self._device.max_streams and driven >= self._device.max_streams:
            raise Overloaded(f"{driven} streams are driven already, the limit (device.max_streams); try again later")
        fps = self._stage.fps_with_one_more(self._device.max_busy)
        if driven and fps is not None and fps < self._device.min_fps:
            raise Overloaded(
                f"one more driven stream would leave each of the {driven + 1} with {fps:.1f} frames per second; "
                f"device.min_fps promises {self._device.min_fps:g}; try again later"
            )

    def release(self, publisher: str) -> None:
        """Stop being the driver; no effect for anyone else."""
        if self.publisher == publisher:
            self.publisher = None
            self.lane.driven = False
            self.queue.clear()
            self.audio.clear()

    def show(self, shown: Shown) -> None:
        """Change the portrait."""
        if shown.id != self.shown.id:
            self.before = self.shown.id
        self.shown = shown
        self.lane.set_source(shown.source)

    def sent(self, age_s: float) -> None:
        """A frame of this age has left for a viewer."""
        self.ages_s.append(age_s)

    def age_s(self) -> float:
        """How old the picture is when it leaves, lately; as it leaves the stage where nobody watches."""
        recent = list(islice(reversed(self.ages_s), AGE_SAMPLES)) or list(islice(reversed(self.lane.stats.stage_s), AGE_SAMPLES))
        return median(recent) if recent else UNKNOWN_AGE_S

    def _from_stage(self, frame: AnimatedFrame) -> None:
        """On the stage's thread: hand over the newest frame, without letting calls pile up."""
        with self._lock:
            scheduled, self._waiting = self._waiting is not None, frame
        if not scheduled:
            try:
                self._loop.call_soon_threadsafe(self._fan_out)
            except RuntimeError:  # the loop has been closed: the server is going down
                log.debug("frame after the end of stream '%s'", self.name)

    def _fan_out(self) -> None:
        with self._lock:
            frame, self._waiting = self._waiting, None
        if frame is None:
            return
        self.latest = frame
        for sink in tuple(self.sinks):
            sink.offer(frame)
