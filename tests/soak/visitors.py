"""What comes to a server in an hour of its life, one at a time; each does one thing and is gone."""

from __future__ import annotations

import asyncio
import io
import os
import random
import signal
from collections.abc import Awaitable, Callable
from contextlib import suppress

import httpx
import numpy as np
from aiortc.mediastreams import MediaStreamError
from PIL import Image

from pipeline.portrait import BUNDLED
from streamer.webrtc.sdp import LEAST_PASSWORD

from ..peers import SDP, connected, negotiate, peer, pictures, publishing, watching

SECONDS = 3.0  # that somebody stays at most


class Visitors:
    """fail: tells the server to fail on the next frames; pid: of the server."""

    def __init__(self, http: httpx.AsyncClient, rng: random.Random, fail: Callable[[], object], pid: int) -> None:
        self._http, self._rng, self._fail, self._pid = http, rng, fail, pid

    async def come(self) -> str:
        """One visit; what it was."""
        visit = self._rng.choice(VISITS)
        try:
            async with asyncio.timeout(30):
                await visit(self)
        except (httpx.TransportError, TimeoutError, AssertionError, MediaStreamError) as exc:  # too many, stopped, or cut off
            return f"{visit.__name__} ({type(exc).__name__})"
        return visit.__name__

    async def _stay(self) -> None:
        await asyncio.sleep(self._rng.uniform(0.1, SECONDS))

    async def watch(self) -> None:
        async with watching(self._http, self._rng.choice(["VP8", "H264"])) as (viewer, receiver):
            await connected(viewer)
            await pictures(receiver, self._rng.randint(1, 20))

    async def publish(self) -> None:
        async with publishing(self._http) as camera:
            await connected(camera)
            await self._stay()

    async def vanish(self) -> None:
        """An offer, and nothing more."""
        async with peer() as viewer:
            viewer.addTransceiver("video", direction="recvonly")
            await negotiate(self._http, viewer, "/live/live/whep")

    async def command(self) -> None:
        keys = {"pose_gain": 1.2, "smoothing": 0.5, "mirror": True, "calibrate": True, "pose_gain ": 1, "engine": "none"}
        key = self._rng.choice(list(keys))
        await self._http.patch("/api/streams/live", json={key: keys[key]})

    async def record(self) -> None:
        await self._http.patch("/api/streams/pattern", json={"recording": True})
        await self._stay()
        await self._http.patch("/api/streams/pattern", json={"recording": False})

    async def portrait(self) -> None:
        """Upload one, show it, go back, delete it."""
        data = (BUNDLED / f"{self._rng.choice(['astronaut', 'clara', 'mei'])}.jpg").read_bytes()
        reply = await self._http.post("/api/portraits", files={"file": ("a.jpg", data)})
        if reply.is_success:
            key = reply.json()["id"]
            for change in ({"portrait": key}, {"previous_portrait": True}):
                await self._http.patch("/api/streams/live", json=change)
                await self._stay()
            await self._http.delete(f"/api/portraits/{key}")

    async def read_slowly(self) -> None:
        """A listener or an MJPEG viewer who hardly reads."""
        url = self._rng.choice(["/api/events", "/live/pattern/mjpeg"])
        async with self._http.stream("GET", url) as reply:
            with suppress(StopAsyncIteration):
                await anext(reply.aiter_bytes())
            await self._stay()

    async def nonsense(self) -> None:
        """What no program of good will sends."""
        noise = Image.fromarray(np.frombuffer(self._rng.randbytes(64 * 64 * 3), np.uint8).reshape(64, 64, 3))
        out = io.BytesIO()
        noise.save(out, "PNG")
        fragment = f"a=ice-ufrag:abcd\r\na=ice-pwd:{LEAST_PASSWORD * 'a'}\r\n"
        tries: list[Awaitable[httpx.Response]] = [
            self._http.post("/live/live/whep", content="v=0\r\nm=video", headers=SDP),
            self._http.patch("/api/streams/live", content="[" * 1000, headers={"Content-Type": "application/json"}),
            self._http.post("/api/portraits", files={"file": ("a.png", out.getvalue()[: self._rng.randint(1, 12000)])}),
            self._http.patch("/live/live/sessions/none", content=fragment),
            self._http.get(f"/api/portraits/{self._rng.randrange(10)}/face", headers={"Host": "a.test"}),
        ]
        for reply in await asyncio.gather(*tries):
            assert reply.status_code < 500, reply.text

    async def fail(self) -> None:
        """The engine fails on some frames."""
        self._fail()

    async def stop(self) -> None:
        """The whole process stands still for a moment."""
        os.kill(self._pid, signal.SIGSTOP)
        try:
            await asyncio.sleep(self._rng.uniform(0.1, 1.0))
        finally:
            os.kill(self._pid, signal.SIGCONT)


V = Visitors
VISITS = [
    V.watch, V.watch, V.watch, V.watch, V.publish, V.publish, V.command, V.command, V.record, V.portrait, V.read_slowly, V.vanish,
    V.nonsense, V.fail, V.stop,
]  # fmt: skip
