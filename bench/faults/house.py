"""A server with a camera and a viewer, and what becomes of them while something goes wrong."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from itertools import pairwise

import av
import httpx
import numpy as np
from aiortc import MediaStreamTrack, RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.codecs import get_capabilities
from aiortc.mediastreams import MediaStreamError

from bench import stamp
from pipeline.clips import open_clip, pictures
from pipeline.frames import CLOCK, Image
from pipeline.portrait import DEMO_CLIP
from streamer.http.whip import SDP as SDP
from streamer.limits import Bitrates
from streamer.webrtc.encoders import LiveVp8Encoder

from . import mark
from .inside import SIDE
from .server import RULE, Process

FPS = 6  # of the camera: few, so that a busy machine keeps up
GAP_S = 1.5  # a viewer that gets no new picture for so long is interrupted
LIMIT_S = 25.0  # what has not recovered by then has not
STEADY = 5  # so many new pictures in a row, none of them GAP_S after the one before, are a stream that goes on


@cache
def faces() -> list[Image]:
    """Pictures of the demo clip, at FPS, with the mark around them."""
    with open_clip(DEMO_CLIP) as clip:
        some = (frame for k, frame in enumerate(pictures(clip)) if k % (30 // FPS) == 0)
        cut = (f.reformat(SIDE, SIDE, "yuv420p").to_ndarray() for f, _ in zip(some, range(60), strict=False))
        return [mark.marked(np.asarray(face, np.uint8), SIDE) for face in cut]


class Camera(MediaStreamTrack):
    """A face in front of a pattern, numbered, at FPS, as VP8. sent_s: when each number left, also those of cameras before."""

    kind = "video"

    def __init__(self, sent_s: dict[int, float]) -> None:
        super().__init__()
        self._faces = faces()
        self._number = max(sent_s, default=0)
        self._start_s = time.monotonic() - self._number / FPS
        self._encoder, self.sent_s = LiveVp8Encoder(Bitrates()), sent_s

    async def recv(self) -> av.Packet:
        self._number += 1
        await asyncio.sleep(self._start_s + self._number / FPS - time.monotonic())
        yuv = self._faces[self._number % len(self._faces)].copy()
        stamp.write(yuv[:SIDE], self._number)
        frame = av.VideoFrame.from_ndarray(yuv, format="yuv420p")
        frame.pts, frame.time_base = self._number * 90_000 // FPS, CLOCK
        self.sent_s[self._number] = time.monotonic()
        packet = await asyncio.to_thread(self._encoder.encode, frame, self._number % FPS == 1)
        assert packet is not None
        return packet


@dataclass
class Seen:
    """Pictures that left the server by one way: when each came that a camera had sent, and how much of it is in them."""

    sent_s: dict[int, float] = field(default_factory=dict)
    numbers: dict[int, float] = field(default_factory=dict)
    looked_at: int = 0
    leaked: int = 0
    most: float = 0.0

    def look(self, share: float) -> None:
        self.looked_at += 1
        self.leaked += share > mark.LEAKED
        self.most = max(self.most, share)

    async def watch(self, track: MediaStreamTrack) -> None:
        """Until it ends."""
        with suppress(MediaStreamError):
            while True:
                frame = await track.recv()
                assert isinstance(frame, av.VideoFrame)
                number = stamp.read(np.asarray(frame.to_ndarray(format="gray"), np.uint8))
                if number in self.sent_s:  # a portrait at rest has none, but some can be read from it
                    self.numbers.setdefault(number, time.monotonic())
                self.look(mark.of_frame(frame))


def fresh_connection() -> RTCPeerConnection:
    return RTCPeerConnection(RTCConfiguration(iceServers=[]))


async def negotiate(http: httpx.AsyncClient, connection: RTCPeerConnection, path: str) -> httpx.Response:
    """Offer, and take the answer, if there is one."""
    await connection.setLocalDescription(await connection.createOffer())
    reply = await http.post(path, content=connection.localDescription.sdp, headers={"Content-Type": SDP})
    if reply.status_code == 201:
        await connection.setRemoteDescription(RTCSessionDescription(reply.text, "answer"))
    return reply


async def watching(http: httpx.AsyncClient, stream: str = "live", codec: str = "VP8") -> RTCPeerConnection:
    """A connection that has asked to watch."""
    connection = fresh_connection()
    transceiver = connection.addTransceiver("video", direction="recvonly")
    transceiver.setCodecPreferences([c for c in get_capabilities("video").codecs if c.name == codec])
    (await negotiate(http, connection, f"/live/{stream}/whep")).raise_for_status()
    return connection


class House:
    """The camera, the viewer, and what both have sent and seen. recovered_s is counted from the end of a fault."""

    def __init__(self, server: Process, http: httpx.AsyncClient) -> None:
        self.server, self.http = server, http
        self.seen, self.snapshots, self.mjpeg = Seen(), Seen(), Seen()
        self.said: list[str] = []
        self._tasks: list[asyncio.Task[None]] = []
        self.connections: list[RTCPeerConnection] = []

    async def publish(self) -> None:
        """Let a camera drive, in the place of the one before."""
        camera, self.publisher = Camera(self.seen.sent_s), fresh_connection()
        self.publisher.addTransceiver(camera, direction="sendonly")
        (await negotiate(self.http, self.publisher, "/live/live/whip?take_over=true")).raise_for_status()
        self.connections.append(self.publisher)

    async def watch(self) -> None:
        """Let a viewer watch, in the place of the one before."""
        self.viewer = await watching(self.http)
        self.connections.append(self.viewer)
        self._tasks.append(asyncio.create_task(self.seen.watch(self.viewer.getReceivers()[0].track)))

    async def watch_jpeg(self) -> None:
        """The pictures of /mjpeg, a few of each second."""

        async def read() -> None:
            with suppress(httpx.HTTPError):
                data = b""
                async with self.http.stream("GET", "/live/live/mjpeg", timeout=None) as answer:
                    async for chunk in answer.aiter_bytes():
                        *whole, data = (data + chunk).split(b"--frame\r\n")
                        for part in whole[-1:]:
                            if part:
                                self.mjpeg.look(mark.of_jpeg(part.partition(b"\r\n\r\n")[2]))
                                await asyncio.sleep(0.3)

        self._tasks.append(asyncio.create_task(read()))

    async def snapshot(self) -> None:
        """One of /snapshot.jpg."""
        with suppress(httpx.HTTPError):
            reply = await self.http.get("/live/live/snapshot.jpg")
            if reply.status_code == 200:
                self.snapshots.look(mark.of_jpeg(reply.content))

    async def steady(self, since_s: float, limit_s: float = LIMIT_S) -> bool:
        """Wait until the viewer gets new pictures again, one after the other; whether it does."""
        end = time.monotonic() + limit_s
        while time.monotonic() < end:
            await asyncio.sleep(0.1)
            if self.publisher.connectionState in ("failed", "closed"):
                await self.publish()
            if self.viewer.connectionState in ("failed", "closed"):
                await self.watch()
            times = sorted(at for at in self.seen.numbers.values() if at > since_s)[-STEADY:]
            if len(times) == STEADY and all(b - a < GAP_S for a, b in pairwise([*times, time.monotonic()])):
                return True
        return False

    def recovery_s(self, since_s: float, lasts_s: float) -> float:
        """The longest time without new pictures since a fault began, less what that lasts itself; 0 without an interruption."""
        times = [since_s, *sorted(at for at in self.seen.numbers.values() if at > since_s)]
        longest_s = max((b - a for a, b in pairwise(times)), default=0.0)
        return max(longest_s - lasts_s, 0.0) if longest_s > GAP_S else 0.0

    def lost(self, since_s: float) -> int:
        """Pictures of the camera since then that the viewer never saw; the newest are still on their way."""
        until_s = time.monotonic() - 0.5
        return sum(since_s < at < until_s and number not in self.seen.numbers for number, at in self.seen.sent_s.items())

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.gather(*(connection.close() for connection in self.connections), return_exceptions=True)


@asynccontextmanager
async def housed(server: Process, url: str = "") -> AsyncIterator[House]:
    """A server with a camera that drives and a viewer that sees it."""
    async with httpx.AsyncClient(base_url=url or server.url, headers=RULE, timeout=20) as http:
        house = House(server, http)
        try:
            await house.publish()
            await house.watch()
            if not await house.steady(time.monotonic(), 60):
                raise RuntimeError("no pictures come, though nothing is wrong yet")
            yield house
        finally:
            await house.close()
