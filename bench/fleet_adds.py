"""What a fleet on Ray adds to its servers: memory, and processor time at rest, for a stream and for a request."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import time
from typing import Any

import httpx
import numpy as np

from streamer.fleet.base import At
from streamer.fleet.worker import SECRET

from .cluster import HEAD, PROGRAM, Cluster

REST_S = 15.0
REQUESTS = 200
OURS = ("worker", "redis")  # what is there without a fleet, or is not a program of it
WORD = "of a worker that is alone"


class Adds:
    """Figures are processor time, which what else the machine does lengthens little; times of a request are as they come."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self.rest: dict[str, float] = {}

    async def used(self, seconds: float) -> dict[str, float]:
        """Percent of a core, by part."""
        before, began = await asyncio.to_thread(self._cluster.cpu_s), time.monotonic()
        await asyncio.sleep(seconds)
        after, took = await asyncio.to_thread(self._cluster.cpu_s), time.monotonic() - began
        return {part: round(100 * (after[part] - before[part]) / took, 2) for part in after}

    async def at_rest(self) -> dict[str, Any]:
        """Before there is a stream."""
        memory, listening = self._cluster.memory_mb(), self._cluster.listening()
        self.rest = await self.used(REST_S)
        added = {part: value for part, value in memory.items() if part not in OURS}
        sums = {"memory_added_mb": round(sum(added.values())), "rest_percent": self.rest}
        return {"memory_mb": memory, **sums, "listening": listening}

    async def of_streams(self, count: int) -> dict[str, Any]:
        """Beside rest, of all parts but the workers: what looks at streams, as no picture passes them."""
        driven = await self.used(REST_S)
        added = sum(driven[part] - self.rest[part] for part in driven if part not in OURS)
        return {"driven_percent": driven, "percent_of_a_core_per_stream": round(added / count, 2)}

    async def of_requests(self, stream: str) -> dict[str, Any]:
        """A stream's state, through the front, and of a worker that is alone: one request after the other."""
        path = f"/api/streams/{stream}"
        before = await asyncio.to_thread(self._cluster.cpu_s)
        front, took = await _asked(self._cluster.url + path, {})
        after = await asyncio.to_thread(self._cluster.cpu_s)
        rest = await self.used(took)
        each = {p: (after[p] - before[p] - rest[p] / 100 * took) * 1000 / REQUESTS for p in ("proxy", "front", "director")}
        return {
            "front_p50_ms": _p(front, 50), "front_p95_ms": _p(front, 95),
            "processor_ms": {part: round(value, 2) for part, value in each.items()}, **await asyncio.to_thread(self._alone),
        }  # fmt: skip

    def _alone(self) -> dict[str, float]:
        module = PROGRAM[-1] + ".fleet.worker"
        command = [*PROGRAM[:-1], module, str(self._cluster.config), "--name", "alone", "--host", HEAD]
        environment = {**self._cluster.environment, SECRET: WORD}
        with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as worker:
            try:
                assert worker.stdout is not None
                at = At(**json.loads(worker.stdout.readline()))
                httpx.put(f"{at.url}/api/streams/one", json={}, headers=at.headers(WORD), timeout=60).raise_for_status()
                before = _cpu_s(worker.pid)
                times, _ = asyncio.run(_asked(f"{at.url}/api/streams/one", at.headers(WORD)))
                spent = (_cpu_s(worker.pid) - before) * 1000 / REQUESTS
            finally:
                worker.kill()
        return {"alone_p50_ms": _p(times, 50), "alone_p95_ms": _p(times, 95), "alone_processor_ms": round(spent, 2)}


async def _asked(url: str, headers: dict[str, str]) -> tuple[list[float], float]:
    """What each request took, ms; what all of them did, s."""
    times, began = [], time.monotonic()
    async with httpx.AsyncClient(trust_env=False, headers=headers, timeout=30) as http:
        for _ in range(REQUESTS):
            start = time.perf_counter()
            (await http.get(url)).raise_for_status()
            times.append((time.perf_counter() - start) * 1000)
    return times, time.monotonic() - began


def _cpu_s(pid: int) -> float:
    with open(f"/proc/{pid}/stat") as file:
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _p(values: list[float], q: float) -> float:
    return round(float(np.percentile(values, q)), 2)
