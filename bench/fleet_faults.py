"""What happens to a fleet on Ray when parts of it die, hang or are emptied: each as one step, whose figures are kept by name."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Callable
from contextlib import suppress
from signal import SIGCONT, SIGKILL, SIGSTOP
from typing import Any

import httpx
import numpy as np

from .cluster import Cluster, Process, of, processes
from .fleet_clients import PAGE, Clients

STREAMS = ("s0", "s1", "s2", "s3")
WINDOW_S = 8.0  # in which what others see is compared
DIRECTORS = 5  # that are killed


class Faults:
    """One after the other, on one cluster."""

    def __init__(self, cluster: Cluster, clients: Clients, figures: dict[str, Any]) -> None:
        self._cluster, self._clients = cluster, clients
        self._http = httpx.AsyncClient(base_url=cluster.url, timeout=20, trust_env=False)
        self.figures = figures

    async def settled(self) -> None:
        """Two streams on each worker, all driven, all watched."""
        await self._until(self._both, "two workers")
        await self._until(self._even, "two streams on each")
        await self._until(self._all_driven, "all streams driven and watched")
        await asyncio.sleep(3)

    async def _even(self) -> bool:
        """Whether each worker has two; else one is moved: it is placed anew on the emptiest."""
        where = await self._where()
        crowded = next((s for s in STREAMS if s != PAGE and sum(where.get(o) == where.get(s) for o in STREAMS) > 2), None)
        if crowded is not None:
            await self._http.delete(f"/api/streams/{crowded}")
            await self._put(crowded)
        return crowded is None

    async def _put(self, stream: str) -> int:
        return (await self._http.put(f"/api/streams/{stream}", json={})).status_code

    async def _both(self) -> bool:
        return len(await asyncio.to_thread(self._cluster.alive)) == 2

    async def _where(self) -> dict[str, str]:
        state = await asyncio.to_thread(self._cluster.state)
        return dict(state.get("streams", {}))

    async def _all_driven(self) -> bool:
        now = time.monotonic()
        recent = all(viewer.seen and now - viewer.seen[-1] < 2 for viewer in self._clients.watchers.values())
        states = {each["name"]: each for each in await self._states()}
        return recent and all(states.get(s, {}).get("fps") and states[s]["publisher"] for s in STREAMS)

    async def _states(self) -> list[dict[str, Any]]:
        try:
            reply = await self._http.get("/api/streams")
        except httpx.HTTPError:
            return []
        return list(reply.json()) if reply.status_code == 200 else []

    async def _until(self, holds: Callable[[], Any], what: str, limit_s: float = 180.0) -> None:
        end = time.monotonic() + limit_s
        while time.monotonic() < end:
            if await holds():
                return
            await asyncio.sleep(0.1)
        raise TimeoutError(f"not within {limit_s:g} s: {what}")

    async def placement(self) -> None:
        """Streams placed one after the other."""
        began = time.monotonic()
        codes = [await self._put(stream) for stream in STREAMS]
        where = await self._where()
        self.figures["placement"] = {"codes": codes, "where": where, "seconds": round(time.monotonic() - began, 2)}

    async def _ages(self, streams: list[str], seconds: float) -> dict[str, float]:
        """What the streams' states and viewers tell of so many seconds. ms, but gap_s."""
        begin, ages = time.monotonic(), []
        while time.monotonic() < begin + seconds:
            await asyncio.sleep(1)
            ages += [each["age_p95_ms"] for each in await self._states() if each["name"] in streams and each["age_p95_ms"]]
        gap = max(self._clients.watchers[s].gap(begin, time.monotonic()) for s in streams)
        return {"age_p95_ms": round(statistics.median(ages), 1) if ages else -1.0, "gap_s": round(gap, 2)}

    async def quiet(self) -> None:
        """The same time without a fault."""
        self.figures["no fault"] = await self._ages(list(STREAMS), 2 * WINDOW_S)

    async def kills(self, count: int) -> None:
        """kill -9 of the worker that has the page; without one, of each in turn."""
        rows: list[dict[str, Any]] = []
        for k in range(count):
            if k:
                await self.settled()
            names, where = sorted(await asyncio.to_thread(self._cluster.alive)), await self._where()
            rows.append(await self._lose(where[PAGE] if self._clients.page else names[k % 2], self._kill))
            print(f"kill {k + 1}: {rows[-1]}", flush=True)
            self.figures["kill -9"] = {"rows": rows, **_summary(rows)}

    def _kill(self, worker: str) -> Callable[[], None]:
        self._cluster.process_of(worker).send(SIGKILL)
        return lambda: None

    def _freeze(self, worker: str) -> Callable[[], None]:
        process = self._cluster.process_of(worker)
        frozen = [self._cluster.node_of(process), process]
        for each in frozen:
            each.send(SIGSTOP)

        def thaw() -> None:
            for each in frozen:
                with suppress(ProcessLookupError):
                    each.send(SIGCONT)

        return thaw

    async def freeze(self) -> None:
        """The second node hangs: its raylet and its worker."""
        names = sorted(await asyncio.to_thread(self._cluster.alive))
        second = next(name for name in names if self._cluster.is_second(name))
        node = await asyncio.to_thread(lambda: self._cluster.node_of(self._cluster.process_of(second)))
        row = await self._lose(second, self._freeze)
        self.figures["node frozen"] = row
        with suppress(Exception):
            await self._until(lambda: asyncio.to_thread(lambda: node not in processes()), "the node's end", 30)
            await asyncio.to_thread(self._cluster.join)  # it is fenced when it goes on

    async def _lose(self, victim: str, by: Callable[[str], Callable[[], None]]) -> dict[str, Any]:
        where = await self._where()
        lost = [s for s in STREAMS if where.get(s) == victim]
        others = [s for s in STREAMS if s not in lost]
        before, sent = self._clients.sessions(others), self._clients.sessions(lost)
        undo = await asyncio.to_thread(by, victim)
        moment = time.monotonic()
        watching = asyncio.create_task(self._ages(others, WINDOW_S)) if others else None
        try:
            await self._until(lambda: self._shown(lost, sent, moment), "pictures again", 60)
        finally:
            seen = await watching if watching else {}
            undo()
        row = {"picture_s": {s: self._clients.watchers[s].back(moment) for s in lost}, "others": seen}
        return row | {"others_uninterrupted": self._clients.sessions(others) == before}

    async def _shown(self, lost: list[str], before: list[int], moment: float) -> bool:
        """Whether all have new sessions, and a picture."""
        posted = all(new > old for new, old in zip(self._clients.sessions(lost), before, strict=True))
        return posted and all(self._clients.watchers[s].back(moment) for s in lost)

    async def head(self, away_s: float) -> None:
        """kill -9 of the head; it is started again after a while. Meanwhile the fleet is asked all the time."""
        before, begin = self._clients.sessions(list(STREAMS)), time.monotonic()
        again = await asyncio.to_thread(self._cluster.kill_head)
        failed = asked = 0
        new: set[int] = set()
        while time.monotonic() < begin + away_s:
            asked += 1
            failed += not await self._states()
            new.add(await self._put("later"))
            await self._http.delete("/api/streams/later")
            await asyncio.sleep(1)
        gap = max(viewer.gap(begin, time.monotonic()) for viewer in self._clients.watchers.values())
        again()
        back = time.monotonic()

        async def takes() -> bool:
            return await self._put("later") in (200, 201)

        await self._until(takes, "a new stream")
        self.figures["head killed"] = {
            "away_s": round(back - begin, 1), "gap_s": round(gap, 2), "asked": asked, "failed": failed,
            "uninterrupted": self._clients.sessions(list(STREAMS)) == before, "new streams meanwhile": sorted(new),
            "new_stream_s": round(time.monotonic() - back, 2),
        }  # fmt: skip
        await self._http.delete("/api/streams/later")

    async def director(self) -> None:
        """kill -9 of the director, again and again, and at last of its stand-in, too: until the fleet's state is told again, and
        what sessions saw."""
        rows: list[dict[str, Any]] = []
        for k in range(DIRECTORS):
            if k:
                await self.settled()
            rows.append(await self._undirected([await asyncio.to_thread(self._cluster.director)]))
            print(f"director {k + 1}: {rows[-1]}", flush=True)
        await self.settled()
        both = await self._undirected(await asyncio.to_thread(of, "director"))
        self.figures["director killed"] = {
            "seconds": [row["seconds"] for row in rows], "gap_s": max(row["gap_s"] for row in rows),
            "uninterrupted": all(row["uninterrupted"] for row in (*rows, both)), "with its stand-in_s": both["seconds"],
        }  # fmt: skip

    async def _undirected(self, victims: list[Process]) -> dict[str, Any]:
        before, begin = self._clients.sessions(list(STREAMS)), time.monotonic()
        for each in victims:
            each.send(SIGKILL)

        async def told() -> bool:
            state = await asyncio.to_thread(self._cluster.state)
            return len([w for w in state.get("workers", []) if w["alive"]]) == 2

        await self._until(told, "the fleet's state")
        seconds = time.monotonic() - begin
        await self._until(self._two_directors, "a stand-in")
        gap = max(viewer.gap(begin, time.monotonic()) for viewer in self._clients.watchers.values())
        same = self._clients.sessions(list(STREAMS)) == before
        return {"seconds": round(seconds, 2), "gap_s": round(gap, 2), "uninterrupted": same}

    async def _two_directors(self) -> bool:
        return len(await asyncio.to_thread(of, "director")) == 2

    async def drain(self) -> None:
        """A worker is emptied: a stream with a source of its own moves at once, a browser's when its driver comes anew."""
        await self._http.put("/api/streams/pattern", json={"source": "pattern", "fps": 5})
        where = await self._where()
        worker = where["pattern"]
        mine = [s for s in STREAMS if where[s] == worker]
        began = time.monotonic()
        await self._http.post(f"/api/fleet/{worker}/drain")

        async def moved() -> bool:
            return (await self._where()).get("pattern") not in (None, worker)

        await self._until(moved, "the pattern elsewhere")
        pattern_s = time.monotonic() - began
        await asyncio.sleep(2)
        stayed = [s for s in mine if (await self._where())[s] == worker]
        figures = {"source_s": round(pattern_s, 2), "driven by browsers": len(mine), "stayed": len(stayed)}
        driven = next((s for s in mine if s in self._clients.publishers), "")  # none where a fault before has moved them all
        self.figures["drain"] = figures | (await self._drive_anew(driven, worker) if driven else {})
        await self._http.delete("/api/streams/pattern")
        (await asyncio.to_thread(self._cluster.process_of, worker)).send(SIGKILL)  # the next one of its name takes streams

    async def _drive_anew(self, stream: str, drained: str) -> dict[str, Any]:
        """A driver goes, and another one comes."""
        begin, before = time.monotonic(), self._clients.sessions([stream])
        await self._clients.drive_anew(stream)

        async def elsewhere() -> bool:
            return (await self._where()).get(stream) not in (None, drained) and await self._shown([stream], before, begin)

        await self._until(elsewhere, "a browser's stream elsewhere, with a new driver")
        return {"moved with its next driver_s": self._clients.watchers[stream].back(begin)}


def _p(values: list[float], q: float) -> float:
    return round(float(np.percentile(values, q)), 2)


def _summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    times = [each for row in rows for each in row["picture_s"].values()]
    page = [row["picture_s"][PAGE] for row in rows if PAGE in row["picture_s"]]
    ages = [row["others"]["age_p95_ms"] for row in rows if row["others"]]
    return {
        "kills": len(rows), "picture_p50_s": _p(times, 50), "picture_p95_s": _p(times, 95), "worst_s": max(times),
        "page_p95_s": _p(page, 95) if page else None,
        "others_uninterrupted": all(row["others_uninterrupted"] for row in rows),
        "others_age_p95_ms": _p(ages, 50) if ages else None,
    }  # fmt: skip
