"""Where streams are, and how they get from one worker to another."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, defaultdict
from collections.abc import Coroutine
from contextlib import suppress
from statistics import median
from typing import TYPE_CHECKING, Any

from pipeline.errors import PuppetError

from ..errors import StreamerError
from ..timers import pause
from .base import At, FleetFull
from .members import Away, Full, Members
from .placement import Cost, Load, Table
from .waiting import AGAIN_S, Waiting
from .wanted import Stream, Wanted

if TYPE_CHECKING:  # a director that is begun anew is not to load what reads a configuration
    from ..config import Fleet

log = logging.getLogger(__name__)

TRIES = 3  # workers that a stream is offered to, one after the other
Answer = dict[str, Any]  # to GET /api/load


class Homes:
    """What is wanted, and what workers tell; all belongs to one loop. Whoever has a stream's lock may begin and end it.

    loads: the last answer of each worker that lives. counts: "placed", "moved", "refused". waiting: streams without a worker.
    """

    def __init__(self, config: Fleet, wanted: Wanted, members: Members) -> None:
        self._config, self._wanted, self._members = config, wanted, members
        self._dead_after_s = config.dead_after_ms / 1000
        self.table = Table(config.limit, self._dead_after_s + 2 * config.poll_ms / 1000 + AGAIN_S, config.spread)
        self.workers: dict[str, At] = {}
        self.loads: dict[str, Answer] = {}
        self.counts: Counter[str] = Counter()
        self.waiting = Waiting()
        self.locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._shares: dict[str, float] = {}  # of streams, when they were last driven
        self._leaving: set[tuple[str, str]] = set()  # streams, and the epochs of the workers that they leave
        self._moves: dict[str, asyncio.Task[None]] = {}  # by stream

    async def close(self) -> None:
        """Move nothing any more."""
        moves = list(self._moves.values())
        for task in moves:
            task.cancel()
        await asyncio.gather(*moves, return_exceptions=True)

    # What workers tell

    def hear(self, at: At, answer: Answer) -> None:
        """A worker has told its load."""
        if at.worker not in self.loads:
            log.info("worker %s answers", at.worker)
            self.waiting.room()
        self.loads[at.worker] = answer = self._without_leaving(at, answer)
        load = Load.told(at, answer, self._config.uplink_kbps or float("inf"))
        self._shares |= {name: share for name, share in load.held.items() if share}
        for stream in self.table.report(load, _now()).stray:
            self._move(stream, self._send_away(stream, at))  # it was placed elsewhere while this worker was away
        for stream in load.held:
            if stream not in self._wanted.streams:
                self._move(stream, self._adopt(stream, at))

    def _without_leaving(self, at: At, answer: Answer) -> Answer:
        there = answer["streams"]
        for stream in [name for name, epoch in self._leaving if epoch == at.epoch]:
            if stream in there:
                self._move(stream, self._send_away(stream, at))  # perhaps it could not be told before
            else:
                self._leaving.discard((stream, at.epoch))
        return {**answer, "streams": {name: each for name, each in there.items() if (name, at.epoch) not in self._leaving}}

    def lost(self, at: At, why: str) -> None:
        """The worker is dead until it answers again: its streams are placed anew at once."""
        if self.loads.pop(at.worker, None) is not None:
            log.warning("worker %s is gone: %s", at.worker, why)
        for stream in self.table.gone(at.worker):
            self.counts["moved"] += 1
            self.settle(stream)

    def forget(self, at: At) -> None:
        """That process is no more."""
        self._leaving = {each for each in self._leaving if each[1] != at.epoch}

    async def learn(self, stream: str, at: At) -> None:
        """What a stream does now, for whoever goes on with it. Away, UnknownStream."""
        if (wanted := self._wanted.streams.get(stream)) is not None:
            spec = await self._members.spec(at, stream, self._dead_after_s)
            if self.home(stream) == at and self._wanted.streams.get(stream) is wanted:  # nothing came between
                await self._wanted.keep(stream, Stream(wanted.settings, spec))

    async def _adopt(self, stream: str, at: At) -> None:
        """A worker has a stream that the store does not know: it is wanted, as far as it can tell what it is."""
        async with self.locks[stream]:
            if stream not in self._wanted.streams and (stream, at.epoch) not in self._leaving:
                await self._wanted.keep(stream, Stream({}, await self._members.spec(at, stream)))

    # Where streams are: all but `home` under the stream's lock

    def home(self, stream: str) -> At | None:
        """The worker that has it, if that one lives."""
        worker = self.table.where(stream, _now())
        return None if worker is None else self.workers[worker]

    async def at_home(self, stream: str) -> At:
        """Where the stream is, after it was begun there if need be. FleetFull; what PUT raises."""
        try:
            at = await self._at_home(stream)
        except (StreamerError, PuppetError) as exc:
            if self.waiting.note(stream, exc, _now()):
                log.warning("stream '%s' cannot begin: %s", stream, exc)
            raise
        self.waiting.over(stream)
        return at

    async def _at_home(self, stream: str) -> At:
        before = self.home(stream)
        if before is not None and before.worker in self.table.draining():
            with suppress(StreamerError, PuppetError):  # its driver may have gone, and this be the next one
                self.hear(before, await self._members.load(before, self._dead_after_s))
        worker = self._place(stream)
        if before is not None and before.worker == worker:
            return before
        if before is not None:
            with suppress(StreamerError, PuppetError):
                await self._take(stream, before)
        return await self.begin(stream)

    async def begin(self, stream: str) -> At:
        """Begin it on a worker that takes it. FleetFull; what PUT raises."""
        for _ in range(TRIES):
            at = self.workers[self._place(stream)]
            try:
                await self._put(stream, at)
            except Away as exc:
                self.table.release(stream)
                self.lost(at, str(exc))
            except Full as exc:
                log.info("%s", exc)
                self.counts["refused"] += 1
                self.table.refused(stream, at.worker, _now(), str(exc))
            except BaseException:
                self.table.release(stream)
                raise
            else:
                self.counts["placed"] += 1
                log.info("stream '%s' is on worker %s", stream, at.worker)
                return at
        raise self._full(stream)

    async def change(self, stream: str, settings: dict[str, Any]) -> None:
        """Let it go by other settings. FleetFull; what PUT raises."""
        at = await self.at_home(stream)
        try:
            await self._members.put(at, stream, settings)
            await self.learn(stream, at)  # what it did before is older than these settings
        except Away as exc:
            self.lost(at, str(exc))
            await self.begin(stream)

    async def end(self, stream: str) -> None:
        """It is wanted no more."""
        at = self.home(stream)
        self.waiting.over(stream)
        await self._wanted.forget(stream)
        self.table.release(stream)
        if at is not None:
            await self._leave(stream, at)

    async def elsewhere(self, stream: str, at: At) -> None:
        """Move it from a worker that refused it a driver, or is being emptied; where no other has room, it stays: FleetFull.
        One that somebody drives stays."""
        if self.table.refused(stream, at.worker, _now()):
            await self._away_from(stream, at)

    async def _away_from(self, stream: str, at: At) -> None:
        self.table.release(stream)
        try:
            self._place(stream)
        except FleetFull:
            self.hear(at, await self._members.load(at, self._dead_after_s))  # it is there as before
            raise
        with suppress(StreamerError, PuppetError):
            await self._take(stream, at)
        await self.begin(stream)

    def _place(self, stream: str) -> str:
        try:
            return self.table.place(stream, self._cost(stream), _now())
        except FleetFull as exc:
            raise self._full(stream) from exc

    def _full(self, stream: str) -> FleetFull:
        """Why there is no place for it, as workers have said it themselves."""
        if not self.loads:
            return FleetFull(f"no worker for '{stream}': none of the fleet answers")
        draining = self.table.draining()
        whys = Counter(self._why_not(stream, worker) for worker in self.loads if worker not in draining)
        told = "; ".join(why if count == 1 else f"{why} ({count} workers)" for why, count in whys.most_common(3))
        return FleetFull(f"no worker has room for '{stream}': {told or 'all are being emptied'}")

    def _why_not(self, stream: str, worker: str) -> str:
        load, why = self.loads[worker], self.table.why_kept_from(stream, worker, _now())
        return why or (f"worker {worker}: {load['why']}" if not load["takes"] else "full")

    def _cost(self, stream: str) -> Cost:
        """Its own share, when it was last driven; else what others take."""
        own = self._shares.get(stream)
        guess = own or (median(self._shares.values()) if self._shares else self._config.cost)
        return Cost(min(guess, self._config.limit), measured=own is not None)

    async def _put(self, stream: str, at: At) -> None:
        """With what it did before, as far as the worker can do that."""
        wanted = self._wanted.streams[stream]
        self._leaving.discard((stream, at.epoch))
        spec = {} if wanted.spec is None else {"spec": wanted.spec}
        for left_out in await self._members.put(at, stream, {**wanted.settings, **spec}, partly=True):
            log.warning("stream '%s' goes on without %s", stream, left_out)

    async def _take(self, stream: str, at: At) -> None:
        """End it there, and know what it did: whoever goes on begins when it has ended, as a stream is in one place."""
        self._leaving.add((stream, at.epoch))
        self.counts["moved"] += 1
        spec = await self._members.spec(at, stream)
        await self._wanted.keep(stream, Stream(self._wanted.streams[stream].settings, spec))
        await self._leave(stream, at)

    async def _leave(self, stream: str, at: At) -> None:
        """Only of one that is wanted nowhere nothing is kept: what workers share is a moving stream's, wherever it is."""
        self._leaving.add((stream, at.epoch))
        with suppress(Away):  # it is told when it answers again
            await self._members.delete(at, stream, keep=stream in self._wanted.streams)

    async def _send_away(self, stream: str, at: At) -> None:
        async with self.locks[stream]:
            if self.home(stream) != at:
                await self._leave(stream, at)

    # What is done beside everything else

    def settle(self, stream: str) -> None:
        """Let it have a worker, as soon as one has room."""
        if self.waiting.is_due(stream, _now()):
            self._move(stream, self._settle(stream))

    async def _settle(self, stream: str) -> None:
        async with self.locks[stream]:
            if stream in self._wanted.streams:
                with suppress(StreamerError, PuppetError):  # it waits, and why is told
                    await self.at_home(stream)

    def send_from(self, stream: str, at: At) -> None:
        """Let it leave a worker, driven or not, as soon as another has room."""
        self._move(stream, self._send_from(stream, at))

    async def _send_from(self, stream: str, at: At) -> None:
        async with self.locks[stream]:
            if self.home(stream) == at and stream in self._wanted.streams:
                await self._away_from(stream, at)

    def _move(self, stream: str, work: Coroutine[Any, Any, None]) -> None:
        """One thing of a stream at a time; what is still to be done then is seen by the next look."""
        if stream in self._moves:
            work.close()
            return
        self._moves[stream] = task = asyncio.create_task(_tried(stream, work), name=f"move {stream}")
        task.add_done_callback(lambda _: self._moves.pop(stream, None))


async def _tried(stream: str, work: Coroutine[Any, Any, None]) -> None:
    try:
        await work
        return
    except FleetFull as exc:
        log.debug("%s", exc)
    except (StreamerError, PuppetError) as exc:
        log.warning("stream '%s': %s", stream, exc)
    except Exception:
        log.exception("stream '%s': a fault of the director's", stream)
    await pause(AGAIN_S)


def _now() -> float:
    return asyncio.get_running_loop().time()
