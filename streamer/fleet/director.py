"""Which worker has which stream: one director, which looks at every worker, places streams, and moves them when workers go.

What it knows of workers is what they say; what is wanted of streams is kept by a store. So one that begins anew asks all workers
once, and goes on.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Protocol

from pipeline.errors import PuppetError

from ..errors import StreamerError, UnknownStream
from ..timers import pause
from .base import VERSION, At, DirectorAway, FleetFull, UnknownWorker, key_of
from .homes import Homes
from .members import Away, Members
from .wanted import Store, Stream, Wanted

if TYPE_CHECKING:  # a director that is begun anew is not to load what reads a configuration
    from ..config import Fleet

log = logging.getLogger(__name__)

SHOWN = ("share", "free", "sessions", "sessions_free", "cores", "takes", "why")


class Engine(Store, Protocol):
    """What starts workers, and begins them anew."""

    async def workers(self) -> list[At]:
        """Those that it knows of, whether they answer or not. Whatever it raises is tried again."""


class FleetDirector:
    """One per fleet; all methods belong to its loop, and `run` has to be running. secret: the fleet's; token: one that is good
    for everything, if its servers ask for tokens."""

    def __init__(self, engine: Engine, config: Fleet, secret: str, token: str = "") -> None:
        self._engine, self._drain_s = engine, config.drain_s
        self._poll_s, self._dead_after_s = config.poll_ms / 1000, config.dead_after_ms / 1000
        self._start = key_of(secret, "", "")  # each start has another secret
        self._members = Members(secret, token)
        self._wanted = Wanted(engine)
        self._homes = Homes(config, self._wanted, self._members)
        self._looks: dict[str, asyncio.Task[None]] = {}  # by epoch
        self._empty_by: dict[str, float] = {}  # by epoch: when the last stream has to go
        self._others: set[str] = set()  # epochs of workers of other versions
        self._problem = ""  # of the engine's
        self._ready = False

    # What the front asks: see `base.Director`

    async def workers(self) -> list[At]:
        self._check()
        return [self._homes.workers[name] for name in self._homes.loads]

    async def where(self, stream: str) -> At:
        self._check()
        self._check_stream(stream)
        async with self._homes.locks[stream]:
            self._check_stream(stream)  # it may have been deleted meanwhile
            return await self._homes.at_home(stream)

    async def gone(self, at: At) -> None:
        self._check()
        if self._homes.workers.get(at.worker) == at:
            await self._look(at)  # for one connection that was not to be had, all of its sessions would end

    async def refused(self, stream: str, at: At) -> None:
        self._check()
        self._homes.counts["refused"] += 1
        async with self._homes.locks[stream]:
            if self._homes.home(stream) == at:
                await self._homes.elsewhere(stream, at)

    async def streams(self) -> list[str]:
        self._check()
        return list(self._wanted.streams)

    async def put(self, stream: str, settings: dict[str, Any]) -> bool:
        self._check()
        given = {key: value for key, value in settings.items() if key != "spec"}
        async with self._homes.locks[stream]:
            before = self._wanted.streams.get(stream)
            spec = settings.get("spec") or (None if before is None else before.spec)
            try:
                await self._wanted.keep(stream, Stream(given, spec))
                await (self._homes.begin(stream) if before is None else self._homes.change(stream, settings))
            except (StreamerError, PuppetError) as exc:
                self._homes.counts["refused"] += isinstance(exc, FleetFull)
                await (self._wanted.take_back(stream) if before is None else self._wanted.keep(stream, before))
                raise
        return before is None

    async def delete(self, stream: str) -> None:
        self._check()
        async with self._homes.locks[stream]:
            self._check_stream(stream)
            await self._homes.end(stream)

    async def drain(self, worker: str) -> None:
        at = self._worker(worker)
        log.info("worker %s is being emptied", worker)
        await self._wanted.drain(at.epoch)

    async def keep(self, worker: str) -> None:
        at = self._worker(worker)
        log.info("worker %s is not to be emptied any more", worker)
        self._empty_by.pop(at.epoch, None)
        self._homes.table.keep(worker)
        await self._wanted.ended(at.epoch)

    async def state(self) -> dict[str, Any]:
        self._check()
        homes = self._homes
        return {
            "version": VERSION,
            "workers": [self._state_of(at) for at in homes.workers.values()],
            "streams": {name: None if (at := homes.home(name)) is None else at.worker for name in self._wanted.streams},
            "waiting": {name: why for name, why in homes.waiting.why().items() if homes.home(name) is None},
            "placed": homes.counts["placed"], "moved": homes.counts["moved"], "refused": homes.counts["refused"],
        }  # fmt: skip

    def _state_of(self, at: At) -> dict[str, Any]:
        load = self._homes.loads.get(at.worker, {})
        return {
            "worker": at.worker, "epoch": at.epoch, "url": at.url, "alive": bool(load),
            "draining": at.epoch in self._wanted.draining, "streams": self._homes.table.on(at.worker),
            **{key: load[key] for key in SHOWN if key in load},
        }  # fmt: skip

    def _check(self) -> None:
        if not self._ready:
            raise DirectorAway("the fleet's director is being started; try again in a second")

    def _worker(self, name: str) -> At:
        self._check()
        if (at := self._homes.workers.get(name)) is None:
            raise UnknownWorker(f"no worker '{name[:40]}'; workers: {', '.join(self._homes.workers) or 'none'}")
        return at

    def _check_stream(self, stream: str) -> None:
        if stream not in self._wanted.streams:
            raise UnknownStream(f"no stream '{stream[:40]}'; streams: {', '.join(self._wanted.streams) or 'none'}")

    # What it does by itself

    async def run(self, streams: dict[str, dict[str, Any]] | None = None) -> None:
        """Until cancelled. streams: settings of those that the configuration has."""
        try:
            await self._wanted.read()
            await self._meet()
            await self._find()
            await asyncio.gather(*(self._look(at) for at in self._homes.workers.values() if at.worker not in self._homes.loads))
            await self._wanted.configure(self._start, streams or {})
            self._ready = True
            while True:
                self._step()
                await pause(self._poll_s)
                await self._find()
        finally:
            self._ready = False
            for task in self._looks.values():
                task.cancel()
            await asyncio.gather(*self._looks.values(), return_exceptions=True)
            await self._homes.close()
            await self._members.close()

    async def _meet(self) -> None:
        """Look at the workers that there were: the engine may take its time to name them, and a stream that one of them has would
        be placed anew meanwhile. Those that do not answer are its to name."""
        found = self._homes.workers
        found |= {at.worker: at for at in self._wanted.met if self._is_of_this_version(at)}
        await asyncio.gather(*(self._look(at) for at in found.values()))
        for worker in found.keys() - self._homes.loads.keys():
            del found[worker]

    def _step(self) -> None:
        for at in self._homes.workers.values():
            if at.epoch not in self._looks:
                self._looks[at.epoch] = asyncio.create_task(self._watch(at), name=f"look at {at.worker}")
        for stream in self._wanted.streams:
            if self._homes.home(stream) is None:
                self._homes.settle(stream)
        for at in self._homes.workers.values():
            if at.epoch in self._wanted.draining:
                self._empty(at)

    async def _find(self) -> None:
        """Ask the engine who is there. While it cannot tell, workers that are known are enough."""
        try:
            async with asyncio.timeout(self._dead_after_s):
                found = await self._engine.workers()
        except Exception as exc:
            self._tell(f"who the workers are cannot be asked for: {exc or type(exc).__name__}")
            return
        self._tell("")
        for at in found:
            if self._homes.workers.get(at.worker) != at and self._is_of_this_version(at):
                await self._replace(at)

    async def _replace(self, at: At) -> None:
        if (before := self._homes.workers.get(at.worker)) is not None:
            self._homes.lost(before, "another process has taken its place")
            self._homes.forget(before)
            if (task := self._looks.pop(before.epoch, None)) is not None:
                task.cancel()
            self._empty_by.pop(before.epoch, None)
            with suppress(DirectorAway):
                await self._wanted.ended(before.epoch)
        log.info("worker %s is at %s", at.worker, at.url)
        self._homes.workers[at.worker] = at
        with suppress(DirectorAway):
            await self._wanted.meet(at)

    def _tell(self, problem: str) -> None:
        if problem and problem != self._problem:
            log.warning("%s", problem)
        self._problem = problem

    def _is_of_this_version(self, at: At) -> bool:
        if at.version != VERSION and at.epoch not in self._others:
            self._others.add(at.epoch)
            log.error("worker %s has version %s, this fleet %s: it gets no streams; update it", at.worker, at.version, VERSION)
        return at.version == VERSION

    async def _watch(self, at: At) -> None:
        """Look at a worker again and again, and with each look at what one of its streams does."""
        turn = 0
        while True:
            if await self._look(at) and (streams := self._homes.table.on(at.worker)):
                turn += 1
                await self._learn(streams[turn % len(streams)], at)
            await pause(self._poll_s)

    async def _look(self, at: At) -> bool:
        """Whether it lives, and is the worker that was meant."""
        try:
            answer = await self._members.load(at, self._dead_after_s)
        except Away as exc:
            self._homes.lost(at, str(exc))
            return False
        except (StreamerError, PuppetError, ValueError) as exc:
            log.warning("worker %s: %s", at.worker, exc)
            return False
        if self._homes.workers.get(at.worker) == at:
            self._homes.hear(at, answer)
        return True

    async def _learn(self, stream: str, at: At) -> None:
        try:
            await self._homes.learn(stream, at)
        except Away as exc:
            self._homes.lost(at, str(exc))
        except (StreamerError, PuppetError) as exc:
            log.debug("stream '%s' on worker %s: %s", stream, at.worker, exc)  # it has just ended

    def _empty(self, at: At) -> None:
        """Move away what can be moved without ending a driver's session, and at last all."""
        self._homes.table.drain(at.worker)
        now = asyncio.get_running_loop().time()
        late = now >= self._empty_by.setdefault(at.epoch, now + self._drain_s)
        for stream in self._homes.table.on(at.worker):
            told = self._homes.loads.get(at.worker, {}).get("streams", {}).get(stream)
            wanted = self._wanted.streams.get(stream)
            if told and wanted and (late or not told["driven"] or not wanted.waits):
                self._homes.send_from(stream, at)
