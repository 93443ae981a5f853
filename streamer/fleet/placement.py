"""Which worker gets a stream: the fullest that has room for it, by what workers have reported. No clock, no I/O.

Shares are of one worker: 1.0 is all of its cores, or of its device, whichever is fuller. Times are seconds of any one clock.
A few streams on a fixed number of workers are better spread; where workers come and go, packing leaves holes that are big enough.
What a stream will take is a guess until it is driven: as much room is kept beyond it as such guesses lately were too low.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from math import inf
from typing import Any, NamedTuple

from .base import At, FleetFull
from .guesses import Guesses

DEAD_AFTER_S = 1.0  # a worker that has said nothing for so long gets nothing
EXCLUDED_S = 5.0  # nor does one that has refused a stream get that one
SETTLE_S = 2.0  # a rate is of the last second: so long after its first picture a stream's share is not yet what it will be
ROUNDING = 1e-9


@dataclass(frozen=True)
class Cost:
    """What a stream will take. share: of a worker; sessions: its driver and its viewers; kbps: to all viewers; measured: whether
    this very stream took that share before."""

    share: float
    sessions: int = 2
    kbps: float = 0.0
    measured: bool = False


@dataclass(frozen=True)
class Load:
    """What a worker reports. held: its streams, and the share of each; None while nobody drives it, or nothing is measured.
    takes: whether it would let one more in, as it says itself."""

    worker: str
    epoch: str
    share: float
    sessions_free: int
    held: Mapping[str, float | None]
    kbps_free: float = inf
    draining: bool = False
    takes: bool = True

    @classmethod
    def told(cls, at: At, answer: Mapping[str, Any], uplink_kbps: float = inf) -> Load:
        """By the answer to GET /api/load; uplink_kbps: what the worker can send."""
        held = {name: each["share"] if each["driven"] and each["fps"] else None for name, each in answer["streams"].items()}
        kbps = max(uplink_kbps - answer["bitrate_kbps"], 0.0)
        return cls(at.worker, at.epoch, answer["share"], answer["sessions_free"], held, kbps, takes=answer["takes"])


class Found(NamedTuple):
    """What a report shows that is not as it should be. lost: streams that the worker had, and has no more; stray: that it has,
    though they are on another one."""

    lost: list[str]
    stray: list[str]


@dataclass
class _Bound:
    """A stream on a worker. room: the share kept for it; driven: its share by the last report; settled: from when on that is all
    it takes; reserved: what is kept beyond what it takes."""

    worker: str
    cost: Cost
    room: float = 0.0
    held: bool = False
    driven: float | None = None
    settled: float = inf
    reserved: float = field(init=False)

    def __post_init__(self) -> None:
        self.reserved = self.room

    def take(self, share: float | None, now: float) -> bool:
        """By a report; whether it has just settled."""
        self.held, self.driven = True, share
        if share is not None:
            self.settled = min(self.settled, now + SETTLE_S)
        if now >= self.settled:
            just, self.settled, self.reserved = self.settled > -inf, -inf, 0.0
            return just
        if self.settled < inf:
            self.reserved = max(self.room - (share or 0.0), 0.0)
        return False


@dataclass
class _Worker:
    load: Load
    heard: float
    draining: bool = False
    streams: dict[str, _Bound] = field(default_factory=dict)
    used: float = 0.0

    def count(self) -> None:
        """What is known to be taken, and what is promised beyond that."""
        self.used = self.load.share + sum(each.reserved for each in self.streams.values())

    def has(self, cost: Cost) -> bool:
        """Whether there are sessions and bitrate for it."""
        waiting = [each.cost for each in self.streams.values() if not each.held]
        sessions = self.load.sessions_free - sum(each.sessions for each in waiting)
        return sessions >= cost.sessions and self.load.kbps_free - sum(each.kbps for each in waiting) >= cost.kbps


class Table:
    """Who has what. limit: the share up to which workers are filled; spread: the emptiest gets a stream, not the fullest."""

    def __init__(self, limit: float, dead_after_s: float = DEAD_AFTER_S, spread: bool = False) -> None:
        self.limit, self.dead_after_s, self.spread = limit, dead_after_s, spread
        self._workers: dict[str, _Worker] = {}
        self._bound: dict[str, _Bound] = {}
        self._guesses = Guesses()
        self._excluded: dict[tuple[str, str], tuple[float, str]] = {}  # stream, worker: until when, and why
        self._by_use: list[tuple[float, str]] = []  # all that are not draining, the emptiest first

    def place(self, stream: str, cost: Cost, now: float) -> str:
        """The worker of a stream, which from now on has it. FleetFull where none has room.

        One that has a worker stays there, but for one that nobody drives, on a worker that drains: it goes where there is room.
        """
        bound = self._bound.get(stream)
        here = self._live(bound.worker, now) if bound else None
        if bound and here and not (here.draining and bound.driven is None):
            return bound.worker
        room = self.room(cost)
        found = self._room_for(stream, cost, room, now)
        if bound and here and found is None:
            return bound.worker
        if found is None:
            raise FleetFull(f"no worker has room for '{stream}'")
        self._bind(stream, _Bound(found, cost, room))
        return found

    def report(self, load: Load, now: float) -> Found:
        """What a worker says of itself. One of another epoch is another process, which has only what it says."""
        before = self._workers.get(load.worker)
        lost: list[str] = []
        if before is None or before.load.epoch != load.epoch:
            lost = self.gone(load.worker)
            before = _Worker(load, now)
            self._workers[load.worker] = before
        with_it = self._leave(load.worker)
        before.load, before.heard, before.draining = load, now, before.draining or load.draining
        lost += [stream for stream, each in with_it.streams.items() if each.held and stream not in load.held]
        stray = [stream for stream in load.held if stream in self._bound and self._bound[stream].worker != load.worker]
        for stream in lost:
            self._forget(stream, load.worker)
        for stream, share in load.held.items():
            if stream not in stray:
                self._hear(stream, share, before, now)
        self._enter(load.worker)
        return Found([stream for stream in lost if stream not in load.held], stray)

    def refused(self, stream: str, worker: str, now: float, why: str = "a driver was refused there a moment ago") -> bool:
        """The worker would not have what was placed there: for a while it does not get it. Whether the stream has lost its
        place, as it has where nobody drives it."""
        self._excluded = {key: each for key, each in self._excluded.items() if each[0] > now}
        self._excluded[stream, worker] = now + EXCLUDED_S, why
        bound = self._bound.get(stream)
        if bound is None or bound.worker != worker or bound.driven is not None:
            return False
        self.release(stream)
        return True

    def why_kept_from(self, stream: str, worker: str, now: float) -> str:
        """In words, where the worker has refused the stream lately; else empty."""
        until, why = self._excluded.get((stream, worker), (0.0, ""))
        return why if until > now else ""

    def release(self, stream: str) -> None:
        """It has no worker any more."""
        if stream in self._bound:
            worker = self._bound[stream].worker
            self._leave(worker)
            self._forget(stream, worker)
            self._enter(worker)

    def gone(self, worker: str) -> list[str]:
        """The worker is dead; the streams that were there."""
        if worker not in self._workers:
            return []
        streams = list(self._leave(worker).streams)
        for stream in streams:
            self._forget(stream, worker)
        del self._workers[worker]
        return streams

    def drain(self, worker: str) -> None:
        """It gets no more streams, as long as its process lives, or until it is to be kept."""
        if worker in self._workers:
            self._leave(worker).draining = True

    def keep(self, worker: str) -> None:
        """It does get streams again."""
        if worker in self._workers:
            self._leave(worker).draining = False
            self._enter(worker)

    def where(self, stream: str, now: float) -> str | None:
        """The worker that has it, if that one is alive."""
        bound = self._bound.get(stream)
        return bound.worker if bound and self._live(bound.worker, now) else None

    def on(self, worker: str) -> list[str]:
        """The streams of a worker."""
        return list(self._workers[worker].streams) if worker in self._workers else []

    def silent(self, now: float) -> list[str]:
        """Workers that have said nothing for too long."""
        return [name for name in self._workers if self._live(name, now) is None]

    def used(self, worker: str) -> float:
        """The share of a worker that is taken or promised."""
        return self._workers[worker].used

    def draining(self) -> list[str]:
        return [name for name, each in self._workers.items() if each.draining]

    def emptiest(self) -> str | None:
        """Of those that are not draining, the one that is best done without."""
        return self._by_use[0][1] if self._by_use else None

    def room(self, cost: Cost) -> float:
        """The share that is kept for a stream until it is known what it takes."""
        return min(cost.share * (1.0 if cost.measured else self._guesses.factor), self.limit)

    def places(self, cost: Cost, now: float) -> int:
        """How many streams of that cost could be placed now: holes that are too small do not count."""
        room = self.room(cost)
        return sum(self._holes(name, used, cost, room) for used, name in self._by_use if self._takes(name, now))

    def _holes(self, name: str, used: float, cost: Cost, room: float) -> int:
        by_share = (self.limit - used + ROUNDING) / room
        return max(int(min(by_share, self._workers[name].load.sessions_free / cost.sessions)), 0)

    def _room_for(self, stream: str, cost: Cost, room: float, now: float) -> str | None:
        for name in self._candidates(room):
            if self._takes(name, now) and not self.why_kept_from(stream, name, now) and self._workers[name].has(cost):
                return name
        return None

    def _candidates(self, room: float) -> Iterator[str]:
        """Those whose share has it, the best first."""
        end = bisect_left(self._by_use, (self.limit - room + ROUNDING, ""))
        order: Iterable[int] = range(end) if self.spread else reversed(range(end))
        return (self._by_use[k][1] for k in order)

    def _live(self, worker: str, now: float) -> _Worker | None:
        found = self._workers.get(worker)
        return found if found and now - found.heard <= self.dead_after_s else None

    def _takes(self, worker: str, now: float) -> bool:
        live = self._live(worker, now)
        return live is not None and live.load.takes

    def _bind(self, stream: str, bound: _Bound) -> None:
        self.release(stream)
        self._bound[stream] = bound
        self._leave(bound.worker).streams[stream] = bound
        self._enter(bound.worker)

    def _hear(self, stream: str, share: float | None, worker: _Worker, now: float) -> None:
        """A report holds the stream: from its first picture on what it takes is reported, and after a while all of it."""
        bound = self._bound.setdefault(stream, _Bound(worker.load.worker, Cost(0.0, measured=True)))
        worker.streams[stream] = bound
        if bound.take(share, now) and share and not bound.cost.measured:
            self._guesses.learn(bound.cost.share, share)

    def _forget(self, stream: str, worker: str) -> None:
        self._bound.pop(stream, None)
        self._workers[worker].streams.pop(stream, None)

    def _leave(self, worker: str) -> _Worker:
        """Take it out of the order; whatever changes its use stands between this and `_enter`."""
        found = self._workers[worker]
        k = bisect_left(self._by_use, (found.used, worker))
        if k < len(self._by_use) and self._by_use[k] == (found.used, worker):
            del self._by_use[k]
        return found

    def _enter(self, worker: str) -> None:
        found = self._workers[worker]
        found.count()
        if not found.draining:
            insort(self._by_use, (found.used, worker))
