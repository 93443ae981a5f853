"""Viewers and other WebRTC peers: too many, too slow, or sending garbage."""

from __future__ import annotations

import asyncio
import json
import random
import re
import socket
import struct
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from aiortc import RTCPeerConnection

from .cameras import vanish
from .house import SDP, House, fresh_connection, negotiate, watching
from .strangers import attacker


async def half_open(house: House) -> str:
    """Offers to publish that nobody follows up, again and again, while the real one drives."""
    async with attacker(house) as http:
        codes = []
        for _ in range(10):
            connection = fresh_connection()
            connection.addTransceiver("video", direction="sendonly")
            await connection.setLocalDescription(await connection.createOffer())
            sdp = connection.localDescription.sdp
            codes.append((await http.post("/live/live/whip", content=sdp, headers={"Content-Type": SDP})).status_code)
            await connection.close()
    return f"answers {sorted(set(codes))}"


async def long_offers(house: House) -> str:
    body = "\r\n".join(["v=0", "o=- 1 1 IN IP4 0.0.0.0", "s=-", "t=0 0", "m=video 9 UDP/TLS/RTP/SAVPF 96", "a=mid:0"]
                       + [f"a=rtpmap:{n % 128} VP8/90000" for n in range(2300)])  # fmt: skip
    async with attacker(house) as http:
        replies = [await http.post("/live/live/whep", content=body, headers={"Content-Type": SDP}) for _ in range(15)]
    assert {r.status_code for r in replies} == {400}, replies[0].text
    return "all 400"


async def many_viewers(house: House, count: int = 50) -> str:
    """Viewers who all come at once, from two addresses, and go again."""
    viewers: list[RTCPeerConnection] = []
    async with attacker(house) as one, attacker(house, address="127.0.0.3") as other:
        try:
            viewers = list(await asyncio.gather(*(watching((one, other)[k % 2]) for k in range(count))))
            async with asyncio.timeout(60):
                while not all(viewer.connectionState == "connected" for viewer in viewers):
                    await asyncio.sleep(0.1)
        finally:
            await asyncio.gather(*(viewer.close() for viewer in viewers))
    return f"{count} connected"


async def idle_viewers(house: House) -> str:
    """So many seats as one address may have; another viewer still finds one."""
    async with attacker(house) as http:
        answers, sessions = [], []
        for _ in range(40):
            connection = fresh_connection()
            connection.addTransceiver("video", direction="recvonly")
            reply = await negotiate(http, connection, "/live/live/whep")
            answers.append(reply.status_code)
            sessions.append((connection, reply.headers.get("location")))
        other = await watching(house.http)
        for connection, location in [*sessions, (other, None)]:
            if location:
                await http.delete(location)
            await connection.close()
    return f"{answers.count(201)} of 40 let in; another address still is"


async def vanishing_viewer(house: House) -> None:
    """One whose machine is gone: it closes nothing, and its sockets say nothing any more."""
    connection = await watching(house.http)
    await asyncio.sleep(0.5)
    vanish(connection)


def targets(house: House) -> list[tuple[str, int]]:
    """Where the server takes media from our viewer."""
    ice = house.viewer.getTransceivers()[0].receiver.transport.transport._connection
    return [pair.remote_addr for pair in ice._nominated.values()]


async def flood(house: House, make: Callable[[random.Random], bytes], count: int) -> None:
    rng = random.Random(1)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        for k in range(count):
            for target in targets(house):
                sender.sendto(make(rng), target)
            if k % 100 == 99:
                await asyncio.sleep(0.02)


def garbage(rng: random.Random) -> bytes:
    return rng.choice([b"\x80", b"\x81\xc8", b"\x16\xfe", b"\x00"]) + rng.randbytes(rng.randint(1, 1200))


def stun(rng: random.Random) -> bytes:
    return struct.pack("!HHI12s", 1, 0, 0x2112A442, rng.randbytes(12))


async def key_flood(house: House) -> None:
    """Picture loss is told five hundred times."""
    receiver: Any = house.viewer.getReceivers()[0]
    for _ in range(500):
        with suppress(Exception):
            await receiver._send_rtcp_pli(next(iter(receiver._RTCRtpReceiver__remote_streams), 1))
        await asyncio.sleep(0.002)


async def channel_of(house: House) -> tuple[RTCPeerConnection, Any]:
    """A viewer with a data channel, open."""
    connection = fresh_connection()
    connection.addTransceiver("video", direction="recvonly")
    channel = connection.createDataChannel("commands")
    (await negotiate(house.http, connection, "/live/live/whep")).raise_for_status()
    async with asyncio.timeout(60):
        while channel.readyState != "open":
            await asyncio.sleep(0.05)
    return connection, channel


async def deep_channel(house: House) -> str:
    """What cannot be read comes by a data channel; the next command is done all the same."""
    connection, channel = await channel_of(house)
    answers: asyncio.Queue[str] = asyncio.Queue()
    channel.on("message", answers.put_nowait)
    for text in ("[" * 12_000, '{"id": NaN}', '{"id": 7, "change": {"mirror": false}}'):
        channel.send(text)
    try:
        async with asyncio.timeout(10):
            said = [json.loads(await answers.get()) for _ in range(3)]
    finally:
        await connection.close()
    assert said[-1]["id"] == 7, said[-1]
    assert "state" in said[-1], said[-1]
    return "the next command is done"


async def command_flood(house: House) -> None:
    connection, channel = await channel_of(house)
    for k in range(1000):
        channel.send(json.dumps({"id": k, "change": {"smoothing": k % 2}}))
    await asyncio.sleep(1)
    await connection.close()


async def many_channels(house: House) -> str:
    """Three hundred data channels, each with a command as soon as it is open: the first four are listened to."""
    connection, answered = fresh_connection(), set()
    connection.addTransceiver("video", direction="recvonly")
    for k in range(300):
        channel = connection.createDataChannel(f"c{k}")
        channel.on("open", lambda channel=channel: channel.send('{"change": {"mirror": false}}'))
        channel.on("message", lambda _, k=k: answered.add(k))
    (await negotiate(house.http, connection, "/live/live/whep")).raise_for_status()
    try:
        async with asyncio.timeout(30):
            while not answered:
                await asyncio.sleep(0.1)
        await asyncio.sleep(2)
    finally:
        await connection.close()
    assert len(answered) <= 4, len(answered)
    return "four at most are listened to"


async def slow_viewer(house: House) -> None:
    """One that says that it can take next to nothing."""
    slow = await watching(house.http)
    receiver: Any = slow.getReceivers()[0]
    remote = receiver._RTCRtpReceiver__remote_bitrate_estimator
    remote.add = lambda *args, **kwargs: (60_000, list(receiver._RTCRtpReceiver__remote_streams))
    await asyncio.sleep(3)
    await slow.close()


async def bad_candidates(house: House) -> None:
    """Candidates that point at addresses that are not to be asked."""
    connection = fresh_connection()
    connection.addTransceiver("video", direction="recvonly")
    await connection.setLocalDescription(await connection.createOffer())
    own = re.sub(r"a=candidate:.*\r\n", "", connection.localDescription.sdp)
    hosts = ("224.0.0.251", "169.254.169.254", "255.255.255.255", "10.9.8.7", "0.0.0.0")
    lines = "".join(f"a=candidate:{k} 1 udp 2113937151 {host} 5000 typ host\r\n" for k, host in enumerate(hosts))
    (await house.http.post("/live/live/whep", content=own + lines, headers={"Content-Type": SDP})).raise_for_status()
    await connection.close()


async def joins(house: House) -> None:
    """The viewer goes, and comes anew."""
    await house.viewer.close()
    await house.watch()
