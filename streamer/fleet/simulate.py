"""A fleet of any size in a moment: the same placement, with streams, workers and their deaths made up by a seed.

Streams come at random times and stay for exponential ones; the share of each is lognormal. A stream that finds no room asks
again, as clients do. Workers are begun and drained by the wish for spare places, counted as places that exist.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from itertools import count
from math import ceil, exp, inf, log
from random import Random
from typing import Any

import numpy as np

from .base import FleetFull
from .placement import SETTLE_S, Cost, Load, Table
from .plan import Plan

POLL_S, LOOK_S, SAMPLE_S = 0.25, 5.0, 10.0
SESSIONS = 200  # of a worker
START_S = 1.0  # until a stream that has its place shows its first picture


@dataclass
class _Stream:
    name: str
    share: float
    guess: float
    asked_s: float
    on: _Worker | None = None
    driven: bool = False

    def cost(self) -> Cost:
        """What was driven before was measured."""
        return Cost(self.share, measured=True) if self.driven else Cost(self.guess)


@dataclass
class _Worker:
    name: str
    streams: dict[str, _Stream] = field(default_factory=dict)
    alive: bool = True
    told_s: float = -1.0

    def share(self) -> float:
        return sum(each.share for each in self.streams.values() if each.driven)

    def load(self) -> Load:
        held = {name: each.share if each.driven else None for name, each in self.streams.items()}
        return Load(self.name, "1", self.share(), SESSIONS - 2 * len(held), held)


class Simulation:
    """`run` it once. Nobody is silent in it: a dead worker is told, `dead_s` after its death."""

    def __init__(self, plan: Plan) -> None:
        self.plan, self.random, self.now = plan, Random(plan.seed), 0.0
        self.table = Table(plan.limit, inf, plan.spread)
        self.workers: dict[str, _Worker] = {}
        self.waiting: dict[str, _Stream] = {}
        self.waits: dict[str, list[float]] = {"new": [], "moved": []}
        self.shares = Counter[int]()  # in thousandths, of each worker at each sample
        self.series: list[dict[str, float]] = []
        self.counts = Counter[str]()
        self._booting = 0
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._number = count()

    def run(self, progress: Callable[[int, int], None] = lambda done, of: None) -> dict[str, Any]:
        """progress: minutes simulated, of how many."""
        self._begin()
        end = self.plan.minutes * 60
        minute = 0
        while self._events and self._events[0][0] <= end:
            self.now, _, event = heapq.heappop(self._events)
            if self.now // 60 > minute:
                minute = int(self.now // 60)
                progress(minute, int(self.plan.minutes))
            event()
        for stream in self.waiting.values():
            self._waited(stream, end)
        return self._figures()

    def _at(self, delay_s: float, event: Callable[[], None]) -> None:
        heapq.heappush(self._events, (self.now + delay_s, next(self._number), event))

    def _begin(self) -> None:
        """A fleet that has been at work for long: its streams are placed, and the spare places are there."""
        for _ in range(ceil(self.plan.streams * self.plan.mean_share / self.plan.limit)):
            self._work()
        for _ in range(self.plan.streams):
            stream = self._stream()
            stream.driven = True
            while not self._place(stream):
                self._work()
        while self._wish() > self.table.places(self.plan.p95, self.now):
            self._work()
        self.waits = {"new": [], "moved": []}
        self.counts.clear()
        self._at(self._next_arrival_s(), self._arrive)
        self._at(0.0, self._look)
        self._at(SAMPLE_S, self._sample)
        for _ in range(int(self.plan.streams * self.plan.burst / 100)):
            self._at(self.plan.minutes * 30 + self.random.uniform(0, 60), self._come)

    def _next_arrival_s(self) -> float:
        return self.random.expovariate(self.plan.streams * self.plan.arrivals / 100 / 60)

    def _arrive(self) -> None:
        self._at(self._next_arrival_s(), self._arrive)
        self._come()

    def _come(self) -> None:
        self._ask(self._stream())

    def _stream(self) -> _Stream:
        share = min(exp(self.random.gauss(log(self.plan.median_share), self.plan.sigma)), self.plan.limit)
        guess = min(share * exp(self.random.gauss(0.0, self.plan.error)), self.plan.limit) if self.plan.error else share
        stream = _Stream(str(next(self._number)), share, guess, self.now)
        self._at(self.random.expovariate(self.plan.arrivals / 100 / 60), lambda: self._leave(stream))
        return stream

    def _leave(self, stream: _Stream) -> None:
        if self.waiting.pop(stream.name, None):
            self.counts["given_up"] += 1
            self._waited(stream, self.now)
        if stream.on:
            stream.on.streams.pop(stream.name, None)
            self._report_soon(stream.on)
        stream.on, stream.share = None, 0.0

    def _ask(self, stream: _Stream) -> None:
        """Until there is room, or it leaves."""
        if stream.share and not self._place(stream):
            self.waiting[stream.name] = stream
            self._at(self.plan.retry_s, lambda: self._ask(stream))

    def _place(self, stream: _Stream) -> bool:
        """Whoever finds that a worker is dead says so, and asks for the next."""
        while True:
            try:
                worker = self.workers[self.table.place(stream.name, stream.cost(), self.now)]
            except FleetFull:
                self.counts["refused"] += 1
                return False
            if worker.alive:
                break
            self._gone(worker)
        self.waiting.pop(stream.name, None)
        self._waited(stream, self.now)
        stream.on, worker.streams[stream.name] = worker, stream
        self._at(START_S, lambda: self._drive(stream))
        self._report_soon(worker)
        return True

    def _waited(self, stream: _Stream, until_s: float) -> None:
        self.waits["moved" if stream.driven else "new"].append(until_s - stream.asked_s)

    def _drive(self, stream: _Stream) -> None:
        if stream.on:
            stream.driven = True
            self._report_soon(stream.on)
            if self.plan.error:
                settling = stream.on
                self._at(SETTLE_S + POLL_S, lambda: self._report_soon(settling))

    def _report_soon(self, worker: _Worker) -> None:
        """At the next poll. Of polls that would show nothing new there are none."""
        poll_s = (self.now // POLL_S + 1) * POLL_S
        if worker.told_s < poll_s:
            worker.told_s = poll_s
            self._at(poll_s - self.now, lambda: self._polled(worker))

    def _polled(self, worker: _Worker) -> None:
        load = worker.load()
        self._at(self.plan.report_late_s, lambda: self._reported(worker, load))

    def _reported(self, worker: _Worker, load: Load) -> None:
        if worker.alive:
            self.table.report(load, self.now)
            if not worker.streams and worker.name in self.table.draining():
                self._end(worker)

    def _work(self) -> None:
        """A worker is there."""
        worker = _Worker(f"w{next(self._number)}")
        self.workers[worker.name] = worker
        self.table.report(worker.load(), self.now)
        if self.plan.mttf_hours:
            self._at(self.random.expovariate(1 / self.plan.mttf_hours / 3600), lambda: self._die(worker))

    def _boot(self) -> None:
        self._booting += 1
        self.counts["workers_begun"] += 1
        self._at(self.plan.boot_s, self._booted)

    def _booted(self) -> None:
        self._booting -= 1
        self._work()

    def _die(self, worker: _Worker) -> None:
        if worker.alive:
            self.counts["deaths"] += 1
            self.counts["moved"] += len(worker.streams)
            self._stop(worker)
            self._at(self.plan.dead_s, lambda: self._gone(worker))

    def _stop(self, worker: _Worker) -> None:
        """Its streams have no picture from now on."""
        worker.alive = False
        for stream in worker.streams.values():
            stream.on, stream.asked_s = None, self.now

    def _gone(self, worker: _Worker) -> None:
        """It is known that the worker is dead: its streams ask for another one."""
        if self.workers.pop(worker.name, None):
            self.table.gone(worker.name)
            for stream in worker.streams.values():
                self._ask(stream)

    def _end(self, worker: _Worker) -> None:
        """A worker that is done without. Whoever is still there, after `drain_s`, moves."""
        if worker.alive:
            self.counts["workers_ended"] += 1
            self.counts["moved"] += len(worker.streams)
            self._stop(worker)
            self._gone(worker)

    def _wish(self) -> float:
        return self.plan.streams * self.plan.spare / 100

    def _look(self) -> None:
        """The wish for spare places of streams of p95 cost, and what is done for it."""
        self._at(LOOK_S, self._look)
        each = max(int(self.plan.limit / self.table.room(self.plan.p95)), 1)
        places = self.table.places(self.plan.p95, self.now) + self._booting * each
        missing = self._wish() + len(self.waiting) - places
        for _ in range(ceil(missing / each)):
            self._boot()
        if -missing > max(0.1 * self._wish(), 2 * each) and not self._booting and (emptiest := self.table.emptiest()):
            self.table.drain(emptiest)
            drained = self.workers[emptiest]
            self._at(self.plan.drain_s, lambda: self._end(drained))
            self._report_soon(drained)

    def _sample(self) -> None:
        self._at(SAMPLE_S, self._sample)
        shares = np.array([each.share() for each in self.workers.values() if each.alive])
        self.shares.update(np.round(shares * 1000).astype(int).tolist())
        self.series.append(
            {
                "s": self.now,
                "workers": len(shares),
                "streams": sum(len(each.streams) for each in self.workers.values()),
                "waiting": len(self.waiting),
                "places": self.table.places(self.plan.p95, self.now),
                "share_mean": round(float(shares.mean()), 3),
                "share_p99": round(float(np.percentile(shares, 99)), 3),
                "share_max": round(float(shares.max()), 3),
            }
        )

    def _figures(self) -> dict[str, Any]:
        shares = np.repeat([k / 1000 for k in self.shares], list(self.shares.values()))
        means = {key: float(np.mean([each[key] for each in self.series])) for key in ("workers", "streams", "share_mean")}
        return {
            "plan": asdict(self.plan),
            "workers": round(means["workers"]),
            "streams": round(means["streams"]),
            "unused_percent": round(100 * (1 - means["share_mean"] / self.plan.limit), 1),
            "share": _spread(shares),
            "waited_s": {kind: _spread(np.array(waits)) for kind, waits in self.waits.items() if waits},
            **{kind: self.counts[kind] for kind in COUNTED},
            "series": self.series,
        }


COUNTED = ("refused", "given_up", "deaths", "moved", "workers_begun", "workers_ended")


def _spread(values: np.ndarray) -> dict[str, float]:
    return {
        "p50": round(float(np.percentile(values, 50)), 3), "p99": round(float(np.percentile(values, 99)), 3),
        "max": round(float(values.max()), 3), "n": len(values),
    }  # fmt: skip
