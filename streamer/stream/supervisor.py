"""What becomes of streams whose device is lost: it is told, and they go on, or the process ends for who starts it again."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping

from pipeline.engine import Engine
from pipeline.errors import PuppetError
from pipeline.stage import AnimationStage

from ..config import Device
from ..errors import StreamerError
from .stages import Stages
from .stream import Shown, Stream

log = logging.getLogger(__name__)

LOOK_S = 0.25
EXIT_CODE = 75  # EX_TEMPFAIL of sysexits: starting again can help


class Supervisor:
    """All methods belong to the event loop's thread. turns: a lock for each stream's commands. prepared: a portrait, by its
    id, for an engine. end: asks the process to end with an exit code."""

    def __init__(
        self,
        limits: Device,
        engines: Stages,
        streams: Mapping[str, Stream],
        turns: Mapping[str, asyncio.Lock],
        prepared: Callable[[Engine, str], Awaitable[Shown]],
        end: Callable[[int], None],
    ) -> None:
        self._limits, self._engines, self._streams = limits, engines, streams
        self._turns, self._prepared = turns, prepared
        self._end = end
        self._done: set[AnimationStage] = set()

    async def run(self) -> None:
        """Until it is cancelled."""
        while True:
            await asyncio.sleep(LOOK_S)
            for stage in self._engines.stages:
                stage.watch()
                if stage.lost and stage not in self._done:
                    self._done.add(stage)
                    await self._lost(stage)

    async def _lost(self, stage: AnimationStage) -> None:
        if self._limits.on_loss == "exit":
            log.error("ending with exit code %d (device.on_loss)", EXIT_CODE)
            self._end(EXIT_CODE)
            return
        for stream in self._streams.values():
            async with self._turns[stream.name]:
                if stream.stage is stage:
                    await self._tried(stream)

    async def _tried(self, stream: Stream) -> None:
        try:
            await self._go_on(stream)
        except (PuppetError, StreamerError) as exc:  # the others have to go on
            log.error("stream '%s' cannot go on with the engine mesh: %s", stream.name, exc)

    async def _go_on(self, stream: Stream) -> None:
        other = await self._engines.opened("mesh")
        shown = await self._prepared(other.engine, stream.shown.id)
        await self._engines.started(other, shown.prepared)
        problem = f"{stream.engine.name}: {stream.stage.lost}; restart to use it again"
        await stream.switch(other, shown)
        stream.problem = problem
        log.warning("stream '%s' goes on with the engine mesh", stream.name)


def unready(streams: Mapping[str, Stream]) -> dict[str, str]:
    """Why streams have no picture that moves, by their names."""
    problems = {name: stream.stage.lost for name, stream in streams.items() if stream.stage.lost}
    return {name: "no picture yet" for name, stream in streams.items() if stream.latest is None} | problems
