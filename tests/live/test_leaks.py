"""Nothing is left behind: counted, so that one lost object of a kind is seen."""

from __future__ import annotations

import asyncio
import gc
import os
import re
import threading
from collections import Counter
from contextlib import AsyncExitStack
from pathlib import Path

import aioice.ice
import httpx
import pytest
from aiortc import RTCDtlsTransport, RTCIceTransport, RTCPeerConnection, RTCRtpReceiver, RTCRtpSender

from streamer.webrtc.broadcast import Broadcast
from streamer.webrtc.encoders import LiveEncoder
from streamer.webrtc.sessions import Session
from streamer.webrtc.tracks import SoundTrack, ViewerTrack

from ..conftest import run_server
from ..peers import connected, negotiate, peer, pictures, publishing, watching
from ..waiting import until

ROUNDS, VIEWERS = int(os.environ.get("PUPPETCAST_TEST_ROUNDS", "2")), 8  # 20 rounds leave nothing behind either
KINDS = (
    RTCPeerConnection, RTCRtpSender, RTCRtpReceiver, RTCDtlsTransport, RTCIceTransport, aioice.ice.StunProtocol,
    Session, ViewerTrack, SoundTrack, Broadcast, LiveEncoder, asyncio.Task,
)  # fmt: skip

# Pools add threads to themselves as they are used, up to their limits, and the test's loop has one like the server's.
POOLS = Counter(
    {f"thread {pool}_{k}": n for pool, n in (("encoder", 1), ("asyncio", 2)) for k in range((os.cpu_count() or 1) + 4)}
)


def census() -> Counter[str]:
    """How much there is of what a session needs; also threads and descriptors, of any purpose."""
    gc.collect()
    kinds = Counter(kind.__name__ for thing in gc.get_objects() for kind in KINDS if issubclass(type(thing), kind))
    kinds["descriptors"] = len(os.listdir("/proc/self/fd"))
    # MediaPipe numbers the thread of each tracker, and another driver is followed by another one.
    kinds.update(
        f"thread {re.sub(r'^ThreadPoolExecutor-[0-9]+', 'ThreadPoolExecutor', each.name)}" for each in threading.enumerate()
    )
    return kinds


async def visits(http: httpx.AsyncClient, count: int) -> None:
    """So many viewers at once, with sound: they come, see a picture and go."""
    async with AsyncExitStack() as stack:
        viewers = [await stack.enter_async_context(peer()) for _ in range(count)]
        for viewer in viewers:
            viewer.addTransceiver("video", direction="recvonly")
            viewer.addTransceiver("audio", direction="recvonly")
        await asyncio.gather(*(negotiate(http, viewer, "/live/live/whep") for viewer in viewers))
        await connected(*viewers)
        await asyncio.gather(*(pictures(viewer.getTransceivers()[0].receiver, 1) for viewer in viewers))


@pytest.mark.long
@pytest.mark.timeout(300)
async def test_viewers_and_publishers_leave_nothing_behind(model: Path) -> None:
    with run_server(auth={"requests_per_minute": 100_000}) as server:
        limits = httpx.Limits(max_keepalive_connections=0)  # idle ones would be descriptors, too
        async with httpx.AsyncClient(base_url=server.url, timeout=60, limits=limits) as http:

            async def round_of_visits() -> None:
                await visits(http, VIEWERS)  # of a still picture: what they cost is not the question
                async with publishing(http) as camera, watching(http, "H264") as (viewer, receiver):
                    await connected(camera, viewer)
                    await pictures(receiver, 5)
                await until(lambda: not len(server.sessions))

            await round_of_visits()  # what is made once, and stays
            before = census() | POOLS
            for _ in range(ROUNDS):
                await round_of_visits()
            await until(lambda: census() - before, holds=lambda surplus: not surplus)
