"""The director, with workers that are processes of their own: kill, freeze, drain, and a director that begins anew."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from signal import SIGKILL

import httpx
import pytest

from streamer.config import Fleet
from streamer.fleet.base import At, DirectorAway
from streamer.fleet.director import FleetDirector

from ..waiting import LIMIT_S
from .workers import WORD, Workers

FLEET = Fleet(dead_after_ms=5000, drain_s=0)
DEMO = {"portrait": "ada"}


@pytest.fixture(scope="module")
def workers(tmp_path_factory, model) -> Iterator[Workers]:
    started = Workers(tmp_path_factory.mktemp("fleet"))
    try:
        started.start("w0", "w1")
        yield started
    finally:
        started.end()


@asynccontextmanager
async def directed(workers: Workers, fleet: Fleet = FLEET, secret: str = WORD) -> AsyncIterator[FleetDirector]:
    director = FleetDirector(workers, fleet, secret)
    running = asyncio.create_task(director.run())
    try:
        await _ready(director)
        yield director
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def _ready(director: FleetDirector) -> None:
    async with asyncio.timeout(LIMIT_S):
        while True:
            try:
                if await director.workers():
                    return
            except DirectorAway:
                pass
            await asyncio.sleep(0.05)


async def ask(at: At, method: str, path: str, **request):
    async with httpx.AsyncClient(headers=at.headers(WORD), timeout=LIMIT_S) as http:
        return await http.request(method, at.url + path, **request)


async def test_all(workers):
    async with directed(workers) as director:
        assert await director.put("one", {})
        assert await director.put("two", {})
        print(await director.state())
        a = await director.where("one")
        r = await ask(a, "PATCH", "/api/streams/one", json={"mirror": True, "recording": True})
        print(r.status_code, r.text[:300])
        import time

        t = time.monotonic()
        workers.signal(a.worker, SIGKILL)
        await director.gone(a)
        b = await director.where("one")
        print(a, b, time.monotonic() - t)
        print((await ask(b, "GET", "/api/streams/one")).json())
