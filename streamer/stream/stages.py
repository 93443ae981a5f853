"""Engines by name, each opened once and with the stage that owns its device."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

from pipeline.engine import Engine, Source
from pipeline.stage import AnimationStage

log = logging.getLogger(__name__)


class Engines:
    """open_engine: may take seconds, and raises PuppetError where an engine cannot be had here."""

    def __init__(self, open_engine: Callable[[str], Engine], gather_s: float) -> None:
        self._open = open_engine
        self._gather_s = gather_s
        self._by_name: dict[str, AnimationStage] = {}
        self._opening = asyncio.Lock()

    @property
    def stages(self) -> list[AnimationStage]:
        return list(dict.fromkeys(self._by_name.values()))

    def open(self, name: str) -> AnimationStage:
        """The stage of an engine; PuppetError if it cannot be opened. "auto" and the name of what it chose share one."""
        if name not in self._by_name:
            engine = self._open(name)
            same = (s for s in self.stages if s.engine.name == engine.name)
            stage = next(same, None) or AnimationStage(engine, self._gather_s)
            self._by_name[name] = self._by_name[engine.name] = stage
        return self._by_name[name]

    async def opened(self, name: str) -> AnimationStage:
        """`open` on a thread, one at a time."""
        async with self._opening:
            return await asyncio.to_thread(self.open, name)

    async def started(self, stage: AnimationStage, source: Source) -> None:
        """Warm a stage up with some portrait and start it, unless that was done."""
        async with self._opening:
            if stage.started:
                return
            start = time.perf_counter()
            frame_s = await asyncio.to_thread(stage.engine.warm_up, source, _Logged(stage.engine.name))
            stage.measured(frame_s)
            took_s = time.perf_counter() - start
            log.info("engine %s warmed up in %.1f s: %.1f ms a frame", stage.engine.name, took_s, 1000 * frame_s)
            stage.start()

    async def stop(self) -> None:
        """End all stages; their lanes have ended before."""
        for stage in self.stages:
            if stage.started and not await asyncio.to_thread(stage.stop):
                log.error("the animation stage of engine %s did not stop", stage.engine.name)


class _Logged:
    """Progress as lines of the log, one for each tenth at most."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._tenth = 0

    def __call__(self, done: int, total: int | None) -> None:
        tenth = 10 * done // total if total else 0
        if tenth > self._tenth and done != total:
            log.info("%s: warming up, %d of %d", self._what, done, total)
            self._tenth = tenth
