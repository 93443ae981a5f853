"""A fleet's faults, measured: `python -m bench.fleet` (root, Redis, Ray; some ten minutes).

Two Ray nodes with a worker each, four streams of the mesh engine, each with a publisher and a viewer of `streamer.client` in this
process. Everything shares the machine's cores: what kills and freezes do to others is said beside the same time without any.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from signal import SIGCONT, SIGKILL, SIGSTOP
from typing import Any

import av
import httpx
import numpy as np
from aiortc import MediaStreamTrack, RTCConfiguration, RTCPeerConnection
from aiortc.mediastreams import MediaStreamError

from pipeline.portrait import DEMO_CLIP
from streamer.client import Client
from streamer.webrtc import aiortc_patches

from .cluster import HEAD, Cluster, enter, of, save
from .machine import machine

FPS, SIDE, CLOCK = 15, 256, 90_000
STREAMS = ("s0", "s1", "s2", "s3")
# Each worker plans with more cores than there are, so that it has room for all streams when the other is gone.
SECTIONS: dict[str, Any] = {
    "engine": {"max_side": SIDE}, "budget": {"max_frames": FPS}, "device": {"min_fps": 2, "cores": 4}, "fleet": {},
}  # fmt: skip
WINDOW_S = 8.0  # in which what others see is compared
RESULT = Path(__file__).parent / "results" / "fleet.json"


class Camera(MediaStreamTrack):
    """The demo clip there and back, in real time."""

    kind = "video"

    def __init__(self, pictures: list[av.VideoFrame]) -> None:
        super().__init__()
        self._pictures, self._k, self._began = pictures, 0, time.monotonic()

    async def recv(self) -> av.VideoFrame:
        self._k += 1
        await asyncio.sleep(max(self._began + self._k / FPS - time.monotonic(), 0))
        there = self._k % (2 * len(self._pictures) - 2)
        picture = self._pictures[min(there, 2 * len(self._pictures) - 2 - there)]
        frame = av.VideoFrame.from_ndarray(picture.to_ndarray(), format=picture.format.name)
        frame.pts, frame.time_base = self._k * CLOCK // FPS, Fraction(1, CLOCK)
        return frame


class Viewer:
    """seen: when each picture came, by the monotonic clock."""

    def __init__(self, url: str) -> None:
        self.seen: list[float] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self.client = Client(url, self._connection)

    def _connection(self) -> RTCPeerConnection:
        connection = _peer()
        connection.addTransceiver("video", direction="recvonly")

        @connection.on("track")
        def _on_track(track: MediaStreamTrack) -> None:
            self._tasks.add(task := asyncio.ensure_future(self._watch(track)))
            task.add_done_callback(self._tasks.discard)

        return connection

    async def _watch(self, track: MediaStreamTrack) -> None:
        with suppress(MediaStreamError):
            while True:
                await track.recv()
                self.seen.append(time.monotonic())

    def back(self, moment: float) -> float:
        """How long after it pictures came again: what was on its way then still came, so the longest pause is what counts."""
        times = [moment, *(each for each in self.seen if each > moment)]
        return max((b - a, b) for a, b in pairwise(times))[1] - moment

    def gap(self, begin: float, end: float) -> float:
        """The longest time without a picture, in seconds."""
        times = [begin, *(each for each in self.seen if begin < each < end), end]
        return max(b - a for a, b in pairwise(times))


def _peer() -> RTCPeerConnection:
    return RTCPeerConnection(RTCConfiguration(iceServers=[]))


class Clients:
    """A publisher and a viewer of each stream; they run until cancelled."""

    def __init__(self, url: str, streams: tuple[str, ...]) -> None:
        pictures = _pictures()

        def camera() -> RTCPeerConnection:
            connection = _peer()
            connection.addTrack(Camera(pictures))
            return connection

        self.publishers = {name: Client(f"{url}/live/{name}/whip", camera) for name in streams}
        self.viewers = {name: Viewer(f"{url}/live/{name}/whep") for name in streams}

    async def run(self) -> None:
        clients = [*self.publishers.values(), *(viewer.client for viewer in self.viewers.values())]
        async with asyncio.TaskGroup() as group:
            for client in clients:
                group.create_task(client.run())

    def sessions(self, streams: list[str]) -> list[int]:
        """How many each client had."""
        return [n for s in streams for n in (self.publishers[s].sessions, self.viewers[s].client.sessions)]


def _pictures() -> list[av.VideoFrame]:
    with av.open(str(DEMO_CLIP)) as clip:
        frames = [frame.reformat(SIDE, SIDE, "yuv420p") for frame, _ in zip(clip.decode(video=0), range(4 * FPS), strict=False)]
    return frames


class Faults:
    """One after the other, on one cluster."""

    def __init__(self, cluster: Cluster, clients: Clients) -> None:
        self._cluster, self._clients = cluster, clients
        self._http = httpx.AsyncClient(base_url=cluster.url, timeout=20, trust_env=False)
        self.figures: dict[str, Any] = {}

    async def settled(self) -> None:
        """Two streams on each worker, all driven, all watched."""
        await self._until(self._both, "two workers")
        where = await self._where()
        crowded = next((w for w in set(where.values()) if sum(v == w for v in where.values()) > 2), None)
        for stream in [s for s in STREAMS if where.get(s) in (None, crowded)][2 if crowded else 0 :]:
            await self._http.delete(f"/api/streams/{stream}")
            await self._put(stream)
        await self._until(self._all_driven, "all streams driven and watched")
        await asyncio.sleep(3)

    async def _put(self, stream: str) -> int:
        return (await self._http.put(f"/api/streams/{stream}", json={})).status_code

    async def _both(self) -> bool:
        return len(await asyncio.to_thread(self._cluster.alive)) == 2

    async def _where(self) -> dict[str, str]:
        state = await asyncio.to_thread(self._cluster.state)
        return dict(state.get("streams", {}))

    async def _all_driven(self) -> bool:
        now = time.monotonic()
        recent = all(viewer.seen and now - viewer.seen[-1] < 1 for viewer in self._clients.viewers.values())
        states = {each["name"]: each for each in await self._states()}
        return recent and all(states.get(s, {}).get("fps", 0) > 3 and states[s]["publisher"] for s in STREAMS)

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
        gap = max(self._clients.viewers[s].gap(begin, time.monotonic()) for s in streams)
        return {"age_p95_ms": round(statistics.median(ages), 1) if ages else -1.0, "gap_s": round(gap, 2)}

    async def quiet(self) -> None:
        """The same time without a fault."""
        self.figures["no fault"] = await self._ages(list(STREAMS), 2 * WINDOW_S)

    async def kills(self, count: int) -> None:
        """kill -9 of one worker, of the other, and so on."""
        rows = []
        for k in range(count):
            await self.settled()
            victim = sorted(await asyncio.to_thread(self._cluster.alive))[k % 2]
            rows.append(await self._lose(victim, self._kill))
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
        await self.settled()
        names = sorted(await asyncio.to_thread(self._cluster.alive))
        second = next(name for name in names if self._cluster.is_second(name))
        row = await self._lose(second, self._freeze)
        self.figures["node frozen"] = row
        with suppress(Exception):
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
            await self._until(lambda: self._are_back(lost, sent), "pictures again", 60)
            back = [self._clients.viewers[s].back(moment) for s in lost]
        finally:
            seen = await watching if watching else {}
            undo()
        row = {"lost": lost, "picture_s": [round(each, 2) for each in back], "others": seen}
        return row | {"others_uninterrupted": self._clients.sessions(others) == before}

    async def _are_back(self, lost: list[str], before: list[int]) -> bool:
        now = time.monotonic()
        again = all(new > old for new, old in zip(self._clients.sessions(lost), before, strict=True))
        return again and all(now - self._clients.viewers[s].seen[-1] < 0.5 for s in lost)

    async def head(self, away_s: float) -> None:
        """kill -9 of the head; it is started again after a while. Meanwhile the fleet is asked all the time."""
        await self.settled()
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
        gap = max(viewer.gap(begin, time.monotonic()) for viewer in self._clients.viewers.values())
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
        """kill -9 of the director: until the fleet's state is told again, and what sessions saw."""
        await self.settled()
        before, begin = self._clients.sessions(list(STREAMS)), time.monotonic()
        of("director")[0].send(SIGKILL)
        await asyncio.sleep(0.2)

        async def told() -> bool:
            state = await asyncio.to_thread(self._cluster.state)
            return len([w for w in state.get("workers", []) if w["alive"]]) == 2

        await self._until(told, "the fleet's state")
        seconds = time.monotonic() - begin
        await asyncio.sleep(3)
        gap = max(viewer.gap(begin, time.monotonic()) for viewer in self._clients.viewers.values())
        same = self._clients.sessions(list(STREAMS)) == before
        self.figures["director killed"] = {"seconds": round(seconds, 2), "gap_s": round(gap, 2), "uninterrupted": same}

    async def drain(self) -> None:
        """A worker is emptied: a stream with a source of its own moves at once, a browser's when its driver comes anew."""
        await self.settled()
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
        self.figures["drain"] = {"source_s": round(pattern_s, 2), "driven by browsers": len(mine), "stayed": len(stayed)}
        await self._http.delete("/api/streams/pattern")

    async def costs(self) -> None:
        """What a request through the front takes beside one to the worker. There is no way to one without the fleet's key: the
        worker's refusal is what is timed there."""
        state = await asyncio.to_thread(self._cluster.state)
        stream, worker = next((s, w) for s, w in state["streams"].items() if w)
        url = next(each["url"] for each in state["workers"] if each["worker"] == worker)
        async with httpx.AsyncClient(trust_env=False) as http:
            front = [await _timed(http, f"{self._cluster.url}/api/streams/{stream}") for _ in range(200)]
            refusal = [await _timed(http, f"{url}/api/streams/{stream}") for _ in range(200)]
        self.figures["a request"] = {
            "front_p50_ms": _p(front, 50), "front_p95_ms": _p(front, 95), "refusal_p50_ms": _p(refusal, 50),
        }  # fmt: skip

    def standing(self, up_s: float) -> None:
        self.figures["start_s"] = round(up_s, 1)
        self.figures["memory_mb"] = self._cluster.memory_mb()
        self.figures["listening"] = self._cluster.listening()


async def _timed(http: httpx.AsyncClient, url: str) -> float:
    began = time.perf_counter()
    await http.get(url)
    return (time.perf_counter() - began) * 1000


def _p(values: list[float], q: float) -> float:
    return round(float(np.percentile(values, q)), 2)


def _summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    times = [each for row in rows for each in row["picture_s"]]
    ages = [row["others"]["age_p95_ms"] for row in rows if row["others"]]
    return {
        "picture_p50_s": _p(times, 50), "picture_p95_s": _p(times, 95), "worst_s": max(times),
        "others_uninterrupted": all(row["others_uninterrupted"] for row in rows),
        "others_age_p95_ms": _p(ages, 50) if ages else None,
    }  # fmt: skip


async def measure(cluster: Cluster, up_s: float, given: argparse.Namespace) -> dict[str, Any]:
    """All of it, or those that are asked for; what fails is told in its place."""
    clients = Clients(cluster.url, STREAMS)
    faults = Faults(cluster, clients)
    await faults.placement()
    faults.standing(up_s)
    running = asyncio.create_task(clients.run())
    steps = {
        "quiet": faults.quiet, "kills": lambda: faults.kills(given.kills), "director": faults.director,
        "head": lambda: faults.head(given.head_away), "costs": faults.costs, "freeze": faults.freeze, "drain": faults.drain,
    }  # fmt: skip
    try:
        await faults.settled()
        for name, step in steps.items():
            if name in (given.only or steps):
                try:
                    await step()
                except Exception as exc:
                    faults.figures[f"{name} failed"] = f"{type(exc).__name__}: {exc}"
                print(name, {k: v for k, v in faults.figures.items() if k != "listening"}, flush=True)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    return faults.figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--head-away", type=float, default=60.0, help="seconds")
    parser.add_argument("--only", nargs="*", help="some of: quiet kills director head costs freeze drain")
    parser.add_argument("--dead-after-ms", type=int, default=1500)
    parser.add_argument("-o", "--out", type=Path, default=RESULT)
    given = parser.parse_args()
    enter("bench.fleet", sys.argv[1:])
    cluster = Cluster(SECTIONS | {"fleet": {"dead_after_ms": given.dead_after_ms}})
    aiortc_patches.install([HEAD])
    figures = asyncio.run(measure(cluster, cluster.up(), given))
    save({"machine": machine(), **figures}, given.out)


if __name__ == "__main__":
    main()
