"""The asyncio graph: source -> queue -> stage -> fan-out -> sinks."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import deque
from dataclasses import dataclass
from typing import Protocol

from pipeline.engine import Engine, Source
from pipeline.frames import AnimatedFrame
from pipeline.stage import AnimationStage

from .config import Budget
from .errors import StreamBusy
from .framequeue import FrameQueue

log = logging.getLogger(__name__)

SAMPLES = 300


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

    def __init__(self, name: str, engine: Engine, shown: Shown, budget: Budget, make_budget: type) -> None:
        self.name = name
        self.shown = shown
        self.queue = FrameQueue()
        self.sinks: set[Sink] = set()
        self.latest: AnimatedFrame | None = None
        self.engine_name = engine.name
        self.publisher: str | None = None
        self.ages_s: deque[float] = deque(maxlen=SAMPLES)
        self._loop = asyncio.get_running_loop()
        self._lock = threading.Lock()
        self._waiting: AnimatedFrame | None = None
        self.stage = AnimationStage(engine.open, shown.source, self.queue, make_budget(**budget.model_dump()), self._from_stage)

    def start(self) -> None:
        self.stage.start()

    async def stop(self) -> None:
        """End the stage's thread."""
        self.queue.wake()
        if not await asyncio.to_thread(self.stage.stop):
            log.error("stream '%s': the stage did not stop", self.name)

    def claim(self, publisher: str) -> None:
        """Become the stream's driver; StreamBusy if it has one."""
        if self.publisher is not None:
            raise StreamBusy(f"stream '{self.name}' already has a publisher; end that one first")
        self.publisher = publisher
        self.stage.recalibrate()

    def release(self, publisher: str) -> None:
        """Stop being the driver; no effect for anyone else."""
        if self.publisher == publisher:
            self.publisher = None
            self.queue.clear()

    def show(self, shown: Shown) -> None:
        """Change the portrait."""
        self.shown = shown
        self.stage.set_source(shown.source)

    def sent(self, age_s: float) -> None:
        """A frame of this age has left for a viewer."""
        self.ages_s.append(age_s)

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
