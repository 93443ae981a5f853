"""The other side of a connection: publishers and viewers, by aiortc as it comes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import av
import httpx
import numpy as np
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription, VideoStreamTrack
from aiortc.codecs import get_capabilities
from aiortc.rtcrtpreceiver import RTCRtpReceiver

from pipeline.frames import TimedFrame
from streamer.stream.intake import Intake

from .waiting import LIMIT_S

SDP = {"Content-Type": "application/sdp"}


class Camera(VideoStreamTrack):
    """A publisher's camera of 256 x 256."""

    async def recv(self) -> av.VideoFrame:
        pts, base = await self.next_timestamp()
        picture = np.full((256, 256, 3), pts // 3000 % 256, np.uint8)
        frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
        frame.pts, frame.time_base = pts, base
        return frame


class Silent(VideoStreamTrack):
    """A camera that is there, and never sends a picture."""

    async def recv(self) -> av.VideoFrame:
        await asyncio.Event().wait()
        raise AssertionError("never")


@asynccontextmanager
async def peer() -> AsyncIterator[RTCPeerConnection]:
    """A connection that is closed at the end."""
    connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    try:
        yield connection
    finally:
        await connection.close()


async def offer_of(kind: str, audio: bool = False) -> str:
    """The offer of a client that publishes (whip), or watches (whep)."""
    async with peer() as connection:
        if kind == "whip":
            connection.addTransceiver(Camera(), direction="sendonly")
        else:
            connection.addTransceiver("video", direction="recvonly")
        if audio:
            connection.addTransceiver("audio", direction="sendonly" if kind == "whip" else "recvonly")
        await connection.setLocalDescription(await connection.createOffer())
        return connection.localDescription.sdp


async def negotiate(http: httpx.AsyncClient, connection: RTCPeerConnection, path: str, token: str = "") -> httpx.Response:
    """Offer what the connection has, and take the answer."""
    await connection.setLocalDescription(await connection.createOffer())
    headers = SDP | ({"Authorization": f"Bearer {token}"} if token else {})
    reply = await http.post(path, content=connection.localDescription.sdp, headers=headers)
    assert reply.status_code == 201, reply.text
    await connection.setRemoteDescription(RTCSessionDescription(reply.text, "answer"))
    return reply


async def connected(*connections: RTCPeerConnection, seconds: float = LIMIT_S) -> None:
    """Wait until all of them are."""
    async with asyncio.timeout(seconds):
        for connection in connections:
            changed = asyncio.Event()
            connection.on("connectionstatechange", changed.set)
            while connection.connectionState != "connected":
                assert connection.connectionState not in ("failed", "closed"), connection.connectionState
                changed.clear()
                await changed.wait()
            connection.remove_listener("connectionstatechange", changed.set)


@asynccontextmanager
async def publishing(http: httpx.AsyncClient, track: VideoStreamTrack | None = None) -> AsyncIterator[RTCPeerConnection]:
    """A publisher of a Camera, or of `track`, by WHIP."""
    async with peer() as connection:
        connection.addTrack(track or Camera())
        await negotiate(http, connection, "/live/live/whip")
        yield connection


@asynccontextmanager
async def watching(http: httpx.AsyncClient, codec: str = "VP8") -> AsyncIterator[tuple[RTCPeerConnection, RTCRtpReceiver]]:
    """A viewer by WHEP: its connection and receiver."""
    async with peer() as connection:
        transceiver = connection.addTransceiver("video", direction="recvonly")
        transceiver.setCodecPreferences([c for c in get_capabilities("video").codecs if c.name == codec])
        await negotiate(http, connection, "/live/live/whep")
        yield connection, transceiver.receiver


async def pictures(receiver: RTCRtpReceiver, count: int, seconds: float = LIMIT_S) -> list[av.VideoFrame]:
    """The next pictures that a viewer gets."""
    async with asyncio.timeout(seconds):
        return [await receiver.track.recv() for _ in range(count)]  # type: ignore[misc]


def watched(intake: Intake) -> list[TimedFrame]:
    """The driving frames that a stream takes from now on."""
    taken: list[TimedFrame] = []
    put = intake.put

    def watch(frame: TimedFrame) -> None:
        taken.append(frame)
        put(frame)

    intake.put = watch  # type: ignore[method-assign]
    return taken
