"""Who looks after everything that streams depend on: a thread or task that dies or hangs is begun anew, a device that is lost
is done without, or the process ends for who starts it again; and all of it is told."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import nullcontext
from functools import partial

from pipeline.clock import Clock, steady
from pipeline.engine import Engine
from pipeline.errors import PuppetError
from pipeline.stage import AnimationStage

from ..backoff import Backoff
from ..config import Device
from ..errors import StreamerError
from ..timers import pause
from .stages import Stages
from .status import HANG_S, Part
from .stream import Shown, Stream

log = logging.getLogger(__name__)

LOOK_S = 0.25
ASLEEP_S = 2.0  # who has not looked for so long was stopped himself, and everything with him
LATE_S = 5.0
HEALTHY_S = 30.0  # after so long the next failure counts as the first
EXIT_CODE = 75  # EX_TEMPFAIL of sysexits: starting again can help


class _Tries:
    """When a part may be begun anew."""

    def __init__(self) -> None:
        self._backoff = Backoff(0.0, 1.0, 2.0, 5.0, 10.0, 30.0)
        self._troubled_s = self._next_s = float("-inf")
        self.task: asyncio.Task[None] | None = None  # that does

    def due(self, now_s: float) -> bool:
        """Whether one in trouble may; that then counts as a try."""
        healthy, self._troubled_s = now_s - self._troubled_s > HEALTHY_S, now_s
        if now_s < self._next_s or not (self.task is None or self.task.done()):
            return False
        self._next_s = now_s + self._backoff.after(healthy)
        return True


class Supervisor:
    """All methods belong to the event loop's thread. prepared: a stream's portrait for an engine. end: asks the process to end
    with an exit code. beside: parts of the server that belong to no stream. alive: told again and again while nothing stands
    still.

    restarts: how often each part was begun anew, by stream ("" for what is common to streams) and name.
    """

    def __init__(
        self,
        limits: Device,
        engines: Stages,
        streams: Mapping[str, Stream],
        prepared: Callable[[Engine, Stream], Awaitable[Shown]],
        end: Callable[[int], None],
        beside: Callable[[], Iterable[Part]] = tuple,
        alive: Callable[[], None] = lambda: None,
        clock: Clock = steady,
    ) -> None:
        self.limits, self._engines, self._streams = limits, engines, streams
        self._prepared = prepared
        self._end, self._beside, self._alive, self._clock = end, beside, alive, clock
        self._done: set[AnimationStage] = set()
        self._leaving: set[asyncio.Task[None]] = set()  # devices that are lost
        self._tries: dict[tuple[str, str], _Tries] = {}
        self._looked_s = float("inf")  # not yet: there is nothing to look after
        self._awake_s = clock()
        self._troubles: dict[tuple[str, str], str] = {}
        self.restarts: Counter[tuple[str, str]] = Counter()

    async def run(self) -> None:
        """Until it is cancelled."""
        self._looked_s = self._clock()
        try:
            while True:
                await pause(LOOK_S)
                try:
                    self.look()
                except Exception:  # nobody looks after this one
                    log.exception("looking after the streams failed")
        finally:
            for task in (*self._leaving, *(tries.task for tries in self._tries.values())):
                if task is not None:
                    task.cancel()

    def forget(self, name: str) -> None:
        """A stream has been removed."""
        for known in (self._tries, self._troubles, self.restarts):
            for key in [key for key in known if key[0] == name]:
                del known[key]

    def stalled(self) -> str:
        """What stands still, in words; nothing where all goes on."""
        if self._clock() - self._looked_s > LATE_S:
            return "nobody looks after the streams"
        return "; ".join(f"{f'stream {stream!r}: ' if stream else ''}{words}" for (stream, _), words in self._troubles.items())

    def look(self) -> None:
        """See how everything is, and begin anew what is due."""
        now_s = self._clock()
        if now_s - self._looked_s > ASLEEP_S:
            self._awake_s = now_s
        self._looked_s = now_s
        self._look_at_devices()
        self._troubles.clear()
        for of, part in self._parts():
            if trouble := part.heart.trouble(part.limit_s, self._awake_s):
                self._troubles[of, part.name] = f"{part.name} {trouble}, and is begun anew"
                self._begin_anew(of, part)
        for name, stream in self._streams.items():
            common = f"animation stage of engine {stream.engine.name}"
            words = [text for (of, part), text in self._troubles.items() if of == name or part == common]
            stream.stalled = "; ".join(words) or stream.stands(HANG_S)
        if not self._troubles:
            self._alive()

    def _parts(self) -> Iterator[tuple[str, Part]]:
        """Everything that is looked after, with its stream's name."""
        for stage in self._engines.stages:
            if not stage.lost:  # its thread may wait for the device for ever
                name = f"animation stage of engine {stage.engine.name}"
                yield "", Part(name, self._engines.heart(stage), partial(self._renew, stage), stage.limit_s(HANG_S))
        for name, stream in self._streams.items():
            for part in stream.parts():
                yield name, part
        for part in self._beside():
            yield "", part

    def _begin_anew(self, stream: str, part: Part) -> None:
        key = stream, part.name
        tries = self._tries.setdefault(key, _Tries())
        if tries.due(self._clock()):
            self.restarts[key] += 1
            log.error("%s%s", f"stream '{stream}': " if stream else "", self._troubles[key])
            tries.task = asyncio.create_task(self._restarted(stream, part), name=f"restart of {part.name}")

    async def _restarted(self, name: str, part: Part) -> None:
        stream = self._streams.get(name)
        try:
            async with nullcontext() if stream is None else stream.turn:
                if not name or (stream is not None and not stream.removed):
                    await part.restart()
        except Exception:  # it is tried again, more slowly each time
            log.exception("%s could not be begun anew", part.name)

    async def _renew(self, stage: AnimationStage) -> None:
        fresh = self._engines.again(stage)

        async def go_over(stream: Stream) -> None:
            async with stream.turn:
                if stream.stage is stage and not stream.removed:
                    await stream.go_over(fresh)

        await asyncio.gather(*(go_over(stream) for stream in self._streams.values()))

    def _look_at_devices(self) -> None:
        for stage in self._engines.stages:
            stage.watch()
            if stage.lost and stage not in self._done:
                self._done.add(stage)
                self._leaving.add(asyncio.create_task(self._lost(stage), name="leaving a lost device"))

    async def _lost(self, stage: AnimationStage) -> None:
        if self.limits.on_loss == "exit":
            log.error("ending with exit code %d (device.on_loss)", EXIT_CODE)
            self._end(EXIT_CODE)
            return
        for stream in tuple(self._streams.values()):
            async with stream.turn:
                if stream.stage is stage and not stream.removed:
                    await self._tried(stream)

    async def _tried(self, stream: Stream) -> None:
        try:
            await self._go_on(stream)
        except (PuppetError, StreamerError) as exc:  # the others have to go on
            log.error("stream '%s' cannot go on with the engine mesh: %s", stream.name, exc)

    async def _go_on(self, stream: Stream) -> None:
        other = await self._engines.opened("mesh")
        shown = await self._prepared(other.engine, stream)
        await self._engines.started(other, shown.prepared)
        problem = f"{stream.engine.name}: {stream.stage.lost}; restart to use it again"
        await stream.switch(other, shown)
        stream.problem = problem
        log.warning("stream '%s' goes on with the engine mesh", stream.name)


def unready(streams: Mapping[str, Stream]) -> dict[str, str]:
    """Why streams have no picture that moves, by their names."""
    problems = {name: trouble for name, stream in streams.items() if (trouble := stream.stage.lost or stream.stalled)}
    return {name: "no picture yet" for name, stream in streams.items() if stream.latest is None} | problems
