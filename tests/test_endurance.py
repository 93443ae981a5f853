"""What hard use does: a lossy and slow line, and viewers who come and go."""

from __future__ import annotations

import asyncio
import gc
import os
import random
import threading
import time

import aioice.ice
import httpx
import numpy as np
import psutil
import pytest

from pipeline import memory

from .conftest import run_server
from .test_broadcast import watching
from .test_webrtc import Camera, negotiate, peer, until

pytestmark = pytest.mark.slow

LOSSY_S = 15
VIEWERS = int(os.environ.get("PUPPETCAST_TEST_VIEWERS", "140"))  # 300 leave nothing behind either


@pytest.fixture
def bad_line(monkeypatch):
    """5 % of all datagrams are lost and the others take 100 ms, in both directions."""
    rng = random.Random(11)
    send = aioice.ice.StunProtocol.send_data

    async def bad(self, data: bytes, addr) -> None:
        if rng.random() < 0.05:
            return
        asyncio.get_running_loop().call_later(0.1, lambda: asyncio.ensure_future(send(self, data, addr)))

    monkeypatch.setattr(aioice.ice.StunProtocol, "send_data", bad)


async def arrivals(receiver, seconds: float) -> list[float]:
    times: list[float] = []
    try:
        async with asyncio.timeout(seconds):
            while True:
                await receiver.track.recv()
                times.append(time.monotonic())
    except TimeoutError:
        return times


@pytest.mark.timeout(120)
async def test_pictures_recover_on_a_bad_line(model, bad_line):
    with run_server(webrtc={"bitrate_kbps": 1000}) as server:
        async with httpx.AsyncClient(base_url=server.url) as http, peer() as camera:
            camera.addTrack(Camera())
            await negotiate(http, camera, "/live/live/whip")
            async with watching(http, "VP8") as (viewer, receiver):
                await until(lambda: viewer.connectionState == camera.connectionState == "connected", 20)
                await asyncio.wait_for(receiver.track.recv(), 15)
                taken: list[float] = []
                put = server.control.stream("live").queue.put
                server.control.stream("live").queue.put = lambda frame: (taken.append(time.monotonic()), put(frame))[1]
                seen = await arrivals(receiver, LOSSY_S)
    for name, times in (("camera to server", taken), ("server to viewer", seen)):
        gaps = np.diff(times)
        freezes = gaps[gaps > 0.3]
        print(f"{name}: {len(times) / LOSSY_S:.1f} pictures a second, {len(freezes)} freezes, longest {gaps.max():.2f} s")
        assert len(times) > 100
        assert gaps.max() <= 2.0


@pytest.mark.timeout(400)
async def test_viewers_come_and_go(model):
    with run_server(auth={"requests_per_minute": 100000}) as server:
        process = psutil.Process()
        async with httpx.AsyncClient(base_url=server.url) as http:
            await http.post("/api/streams/live/demo")

            async def once(codec: str) -> None:
                async with watching(http, codec) as (viewer, _):
                    await until(lambda: viewer.connectionState == "connected", 10)

            async def cycles(count: int) -> tuple[int, int, int, int]:
                for k in range(count):
                    await once("VP8" if k % 2 else "H264")
                await until(lambda: not len(server.sessions), 15)
                await asyncio.sleep(1)
                gc.collect()
                memory.give_back()
                fds = len(os.listdir("/proc/self/fd"))
                return process.memory_info().rss // 1_000_000, threading.active_count(), fds, len(asyncio.all_tasks())

            before = await cycles(60)
            after = await cycles(VIEWERS)
        print(f"after 60 and {60 + VIEWERS} viewers: memory {before[0]}, {after[0]} MB")
        print(f"threads, files, tasks {before[1:]}, {after[1:]}")
        assert after[0] - before[0] < 60, "a leak of an encoder or a connection would be hundreds"
        assert after[1] <= before[1] + 2
        assert after[2] <= before[2] + 2
        assert after[3] <= before[3]
