"""The stages, by the name of their engine; each engine is opened once."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Protocol

from pipeline.clock import Clock, steady
from pipeline.engine import Engine, Prepared
from pipeline.heartbeat import Heartbeat
from pipeline.lane import Lane
from pipeline.runners import Feed, StageThread
from pipeline.stage import WATCH_S, AnimationStage

log = logging.getLogger(__name__)

LOG_S = 2.0


class Running(Protocol):
    """A lane that runs, or a stage."""

    heart: Heartbeat

    def stop(self) -> bool:
        """End it; whether it did. Blocks."""

    def leave(self) -> None:
        """Ask it to end, whenever it can."""


class Runner(Running, Protocol):
    """What runs a stage."""

    def run(self, lane: Lane, feed: Feed) -> Running:
        """Let a lane begin."""


Run = Callable[[AnimationStage, Lane, Feed], Running]


class Stages:
    """open_engine: may take seconds, and raises PuppetError where an engine cannot be had here. runner: what runs a
    stage from now on."""

    def __init__(
        self,
        open_engine: Callable[[str], Engine],
        gather_s: float,
        runner: Callable[[AnimationStage], Runner] = StageThread,
        clock: Clock = steady,
        watch_s: float = WATCH_S,
    ) -> None:
        self._open = open_engine
        self._gather_s = gather_s
        self._runner = runner
        self._clock = clock
        self._watch_s = watch_s
        self._by_name: dict[str, AnimationStage] = {}
        self._runners: dict[AnimationStage, Runner] = {}
        self._opening = asyncio.Lock()

    @property
    def stages(self) -> list[AnimationStage]:
        """Those that run."""
        return list(self._runners)

    def open(self, name: str) -> AnimationStage:
        """The stage of an engine; PuppetError if it cannot be opened. "auto" and the name of what it chose share one."""
        if name not in self._by_name:
            engine = self._open(name)
            same = (s for s in self._by_name.values() if s.engine.name == engine.name)
            stage = next(same, None) or AnimationStage(engine, self._gather_s, self._clock, self._watch_s)
            self._by_name[name] = self._by_name[engine.name] = stage
        return self._by_name[name]

    async def opened(self, name: str) -> AnimationStage:
        """`open` on a thread, one at a time."""
        async with self._opening:
            return await asyncio.to_thread(self.open, name)

    async def started(self, stage: AnimationStage, prepared: Prepared) -> None:
        """Warm a stage up with some portrait and start it, unless that was done."""
        async with self._opening:
            if stage in self._runners:
                return
            frame_s = await asyncio.to_thread(stage.engine.warm_up, prepared, _Logged(stage.engine.name, self._clock))
            stage.measured(frame_s)
            log.info("engine %s: a frame takes %.1f ms", stage.engine.name, 1000 * frame_s)
            self._runners[stage] = self._runner(stage)

    def heart(self, stage: AnimationStage) -> Heartbeat:
        """Of a stage that runs."""
        return self._runners[stage].heart

    def again(self, stage: AnimationStage) -> AnimationStage:
        """A fresh stage for the engine of one whose thread has died or hangs, which is left behind; its lanes have to go over."""
        fresh = AnimationStage(stage.engine, self._gather_s, self._clock, self._watch_s)
        if (frame_s := stage.frame_s()) is not None:
            fresh.measured(frame_s)
        self._runners.pop(stage).leave()
        self._runners[fresh] = self._runner(fresh)
        self._by_name = {name: fresh if known is stage else known for name, known in self._by_name.items()}
        return fresh

    def run(self, stage: AnimationStage, lane: Lane, feed: Feed) -> Running:
        """Let a lane of a started stage begin."""
        return self._runners[stage].run(lane, feed)

    async def stop(self) -> None:
        """End all stages; their lanes have ended before."""
        for stage, runner in self._runners.items():
            if stage.lost:
                continue  # its thread may wait for the device for ever
            if not await asyncio.to_thread(runner.stop):
                log.error("the animation stage of engine %s did not stop", stage.engine.name)


class _Logged:
    """Progress as lines of the log, one in LOG_S at most: what is over in a moment is not told of."""

    def __init__(self, what: str, clock: Clock) -> None:
        self._what = what
        self._clock = clock
        self._told_s = clock()

    def __call__(self, done: int, total: int | None) -> None:
        now = self._clock()
        if total and done < total and now - self._told_s >= LOG_S:
            log.info("%s: warming up, %d of %d", self._what, done, total)
            self._told_s = now
