"""What others do to the server: clients without manners, peers that send garbage, servers that vanish."""

from __future__ import annotations

import asyncio
import io
import json
import random
import re
import socket
import struct
import time
from collections.abc import Callable
from contextlib import suppress
from fractions import Fraction
from typing import Any
from urllib.parse import urlsplit

import aiomqtt
import av
import httpx
import numpy as np
from aiortc import MediaStreamTrack, RTCPeerConnection
from aiortc.codecs import get_capabilities
from PIL import Image as Pillow

from pipeline.frames import CLOCK

from .house import FPS, SDP, House, fresh_connection, negotiate, watching

ATTACKER = "127.0.0.2"  # another address than that of the viewer, who is not to pay for it


def attacker(house: House, token: str = "rule", **options: Any) -> httpx.AsyncClient:
    """A client from ATTACKER."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    transport = httpx.AsyncHTTPTransport(local_address=ATTACKER, limits=httpx.Limits(max_connections=100))
    return httpx.AsyncClient(base_url=house.http.base_url, headers=headers, transport=transport, timeout=20, **options)


def address(house: House) -> tuple[str, int]:
    parts = urlsplit(str(house.http.base_url))
    return str(parts.hostname), int(parts.port or 0)


async def wrong_tokens(house: House, count: int = 300) -> str:
    async with attacker(house, "guess") as http:
        answers = [(await http.patch("/api/streams/live", json={"mirror": True})).status_code for _ in range(count)]
    assert answers.count(401) <= 10, answers.count(401)
    return f"{answers.count(401)} of {count} wrong tokens were looked at"


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


async def idle_connections(house: House) -> None:
    """Three hundred that say nothing, or never end their request's head."""
    streams = []
    for n in range(300):
        with suppress(OSError):
            streams.append((await asyncio.open_connection(*address(house), local_addr=(ATTACKER, 0)))[1])
            if n % 2:
                streams[-1].write(b"GET / HTTP/1.1\r\nHost: localhost\r\nX: ")
    await asyncio.sleep(1)
    for writer in streams:
        writer.close()


async def never_read(house: House) -> None:
    """Listeners and watchers of MJPEG who ask and never read."""
    writers = []
    for n in range(100):
        _, writer = await asyncio.open_connection(*address(house), local_addr=(ATTACKER, 0), limit=1)
        path = "/api/events" if n % 2 else "/live/live/mjpeg"
        writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer rule\r\n\r\n".encode())
        writers.append(writer)
    await asyncio.sleep(1)
    for writer in writers:
        writer.transport.abort()


async def large_json(house: House) -> str:
    async with attacker(house) as http:
        reply = await http.patch("/api/streams/live", content=b'{"portrait": "' + b"x" * 20_000_000 + b'"}')
    assert reply.status_code == 413, reply.status_code
    return "413"


async def deep_json(house: House) -> str:
    async with attacker(house) as http:
        reply = await http.patch("/api/streams/live", content=b"[" * 12_000, headers={"Content-Type": "application/json"})
    assert reply.status_code == 422, reply.status_code
    return "422"


async def endless_upload(house: House) -> str:
    async def parts() -> Any:
        yield b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.png"\r\n\r\n'
        for _ in range(1200):
            yield bytes(100_000)

    with suppress(httpx.TransportError):
        async with attacker(house) as http:
            reply = await http.post(
                "/api/portraits", content=parts(), headers={"Content-Type": "multipart/form-data; boundary=b"}
            )
            return str(reply.status_code)
    return "cut off"


def bomb() -> bytes:
    """A PNG of 6,300² pixels in some 50 KB."""
    out = io.BytesIO()
    Pillow.new("1", (6300, 6300)).save(out, "PNG", optimize=True)
    return out.getvalue()


BOMB = bomb()


async def picture_bombs(house: House) -> str:
    async with attacker(house) as http:
        files = {"file": ("a.png", BOMB, "image/png")}
        replies = await asyncio.gather(*(http.post("/api/portraits", files=files) for _ in range(12)))
    codes = sorted({reply.status_code for reply in replies})
    assert set(codes) <= {422, 503}, codes
    return f"answers {codes}"


async def many_viewers(house: House, count: int = 50) -> str:
    """Viewers who all come at once, and go again."""
    viewers: list[RTCPeerConnection] = []
    async with httpx.AsyncClient(base_url=house.http.base_url, headers=house.http.headers, timeout=60) as http:
        try:
            viewers = list(await asyncio.gather(*(watching(http) for _ in range(count))))
            async with asyncio.timeout(30):
                while not all(viewer.connectionState == "connected" for viewer in viewers):
                    await asyncio.sleep(0.1)
        finally:
            await asyncio.gather(*(viewer.close() for viewer in viewers))
    return f"{count} connected"


async def idle_viewers(house: House) -> str:
    """So many seats as one address may have; another viewer still finds one."""
    async with attacker(house) as http:
        answers = []
        for _ in range(70):
            connection = fresh_connection()
            connection.addTransceiver("video", direction="recvonly")
            answers.append((await negotiate(http, connection, "/live/live/whep")).status_code)
            await connection.close()
    other = await watching(house.http)
    await other.close()
    return f"{answers.count(201)} of 70 let in; another address still is"


async def vanishing_viewer(house: House) -> None:
    """One whose machine is gone: it closes nothing, and its sockets say nothing any more."""
    connection = await watching(house.http)
    await asyncio.sleep(0.5)
    vanish(connection)


def vanish(connection: RTCPeerConnection) -> None:
    for transceiver in connection.getTransceivers():
        ice = transceiver.sender.transport.transport._connection
        for protocol in ice._protocols:
            protocol.transport.abort()


async def vanishing_camera(house: House) -> None:
    """The camera's machine is gone, and another one comes to drive."""
    vanish(house.publisher)
    await asyncio.sleep(0.5)
    await house.publish()


async def camera_changes(house: House) -> None:
    """Another publisher takes over."""
    await house.publish()


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
    receiver = house.viewer.getReceivers()[0]
    for _ in range(500):
        with suppress(Exception):
            await receiver._send_rtcp_pli(next(iter(receiver._RTCRtpReceiver__remote_streams), 1))
        await asyncio.sleep(0.002)


class Garbage(MediaStreamTrack):
    """A camera whose packets are wrong. make: a packet's bytes from right ones."""

    kind = "video"

    def __init__(self, codec: str, make: Callable[[bytes, int], bytes], size: Callable[[int], int] = lambda k: 64) -> None:
        super().__init__()
        self._codec, self._make, self._size = codec, make, size
        self._number, self._encoder, self._began_s = 0, None, time.monotonic()

    async def recv(self) -> av.Packet:
        self._number += 1
        await asyncio.sleep(self._began_s + self._number / (4 * FPS) - time.monotonic())
        side = self._size(self._number)
        if self._encoder is None or self._encoder.width != side:
            self._encoder = av.CodecContext.create(self._codec, "w")
            self._encoder.width = self._encoder.height = side
            self._encoder.pix_fmt, self._encoder.time_base = "yuv420p", Fraction(1, 90_000)
            self._encoder.options = {"tune": "zerolatency"} if self._codec == "libx264" else {"lag-in-frames": "0"}
        frame = av.VideoFrame.from_ndarray(np.full((side * 3 // 2, side), self._number % 256, np.uint8), format="yuv420p")
        frame.pts, frame.time_base = self._number * 1500, CLOCK
        [packet] = self._encoder.encode(frame)
        wrong = av.Packet(self._make(bytes(packet), self._number))
        wrong.pts, wrong.time_base = frame.pts, CLOCK
        return wrong


def mutated(data: bytes, number: int) -> bytes:
    """A few of its bytes are others, or its end is missing."""
    rng = random.Random(number)
    changed = bytearray(data)
    for _ in range(rng.randint(1, 8)):
        changed[rng.randrange(len(changed))] = rng.randrange(256)
    return bytes(changed[: rng.randint(len(changed) // 2, len(changed))])


def huge(data: bytes, number: int) -> bytes:
    """A key frame of VP8 that says it is 16383 pixels wide and high."""
    return data[:3] + b"\x9d\x01\x2a\xff\x3f\xff\x3f" + data[10:] if data[0] & 1 == 0 else data


async def bad_camera(house: House, track: MediaStreamTrack, mime: str) -> None:
    """It drives the other stream for three seconds."""
    connection = fresh_connection()
    transceiver = connection.addTransceiver(track, direction="sendonly")
    transceiver.setCodecPreferences([c for c in get_capabilities("video").codecs if c.mimeType == mime])
    try:
        (await negotiate(house.http, connection, "/live/side/whip?take_over=true")).raise_for_status()
        await asyncio.sleep(3)
    finally:
        await connection.close()


async def channel_of(house: House, count: int = 1) -> tuple[RTCPeerConnection, list[Any]]:
    """A viewer with so many data channels, all open."""
    connection = fresh_connection()
    connection.addTransceiver("video", direction="recvonly")
    channels = [connection.createDataChannel(f"c{k}") for k in range(count)]
    (await negotiate(house.http, connection, "/live/live/whep")).raise_for_status()
    async with asyncio.timeout(20):
        while any(channel.readyState != "open" for channel in channels):
            await asyncio.sleep(0.05)
    return connection, channels


async def deep_channel(house: House) -> str:
    """What cannot be read comes by a data channel; the next command is done all the same."""
    connection, [channel] = await channel_of(house)
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
    connection, [channel] = await channel_of(house)
    for k in range(1000):
        channel.send(json.dumps({"id": k, "change": {"smoothing": k % 2}}))
    await asyncio.sleep(1)
    await connection.close()


async def many_channels(house: House) -> str:
    """Three hundred data channels, each with a command: the first four are listened to."""
    connection, channels = await channel_of(house, 300)
    answered: set[int] = set()
    for k, channel in enumerate(channels):
        channel.on("message", lambda _, k=k: answered.add(k))
        channel.send('{"change": {"mirror": false}}')
    await asyncio.sleep(1.5)
    await connection.close()
    assert 0 < len(answered) <= 4, len(answered)
    return f"{len(answered)} of 300 are listened to"


async def slow_viewer(house: House) -> None:
    """One that says that it can take next to nothing."""
    slow = await watching(house.http)
    [receiver] = slow.getReceivers()
    remote = receiver._RTCRtpReceiver__remote_bitrate_estimator
    remote.add = lambda *args, **kwargs: (60_000, list(receiver._RTCRtpReceiver__remote_streams))
    await asyncio.sleep(3)
    await slow.close()


async def not_allowed(house: House) -> str:
    """Names that are not the server's, and pages of other sites."""
    async with attacker(house) as http:
        rebound = await http.patch("/api/streams/live", json={}, headers={"Host": "evil.test", "Origin": "http://evil.test"})
        foreign = await http.patch("/api/streams/live", json={}, headers={"Origin": "http://evil.test"})
        paths = [(await http.get(path)).status_code for path in ("/../etc/passwd", "/..%2f..%2fetc/passwd", "/%00")]
    assert (rebound.status_code, foreign.status_code) == (421, 403)
    assert 200 not in paths
    return "421 and 403"


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


async def broker_gone(house: House) -> None:
    """The MQTT broker is killed, and comes back after a second."""
    house.broker.now.kill()  # type: ignore[attr-defined]
    await asyncio.sleep(1)
    house.broker.start()  # type: ignore[attr-defined]


async def mqtt_garbage(house: House) -> str:
    """What cannot be read comes as commands, and answers are asked for where none may go; the next command is done."""
    port = house.broker.port  # type: ignore[attr-defined]
    async with aiomqtt.Client(ATTACKER.replace("2", "1"), port, protocol=aiomqtt.ProtocolVersion.V5) as client:
        await client.subscribe("puppetcast/live/cmd/mirror/result")
        for payload in ("[" * 12_000, bytes(2_000_000), b"\xff\xfe"):
            await client.publish("puppetcast/live/cmd/change", payload, qos=1)
        for _ in range(200):
            await client.publish("puppetcast/live/cmd/smoothing", "0.5")
        async with asyncio.timeout(20):
            while True:  # some of those that come too fast are dropped
                await client.publish("puppetcast/live/cmd/mirror", "false", qos=1)
                with suppress(TimeoutError):
                    async with asyncio.timeout(2):
                        await anext(aiter(client.messages))
                        return "the next command is done"


async def rtsp_garbage(house: House) -> str:
    """The other stream's camera answers with noise."""
    rng, asked = random.Random(1), 0

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal asked
        asked += 1
        with suppress(OSError):
            writer.write(b"RTSP/1.0 200 OK\r\nCSeq: 1\r\n" * (asked % 2) + rng.randbytes(20_000))
            await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", house.camera_port):  # type: ignore[attr-defined]
        async with asyncio.timeout(15):
            while asked < 1:
                await asyncio.sleep(0.1)
        await asyncio.sleep(1)
    state = (await house.http.get("/api/streams/net")).json()["source"]
    assert state["state"] != "live", state
    return "not live, and says why" if state["detail"] else "not live"


async def recorded_until(house: House, holds: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
    """The state of a recording that is begun now, once that holds."""
    (await house.http.patch("/api/streams/live", json={"recording": True})).raise_for_status()
    async with asyncio.timeout(30):
        while True:
            recording: dict[str, Any] = (await house.http.get("/api/streams/live")).json()["recording"]
            if holds(recording):
                return recording
            await asyncio.sleep(0.1)


async def disk_full(house: House) -> str:
    """A recording comes to the end of its disk."""
    folder = house.folder  # type: ignore[attr-defined]
    filled = folder / "filled"
    await asyncio.to_thread(filled.write_bytes, bytes(900_000))
    state = await recorded_until(house, lambda recording: not recording["running"])
    await asyncio.to_thread(lambda: [path.unlink() for path in folder.iterdir()])
    assert "No space left" in state["detail"], state
    return "it says that the disk is full"


async def folder_gone(house: House) -> str:
    """The folder's file is deleted under a recording."""
    folder = house.folder  # type: ignore[attr-defined]
    await recorded_until(house, lambda recording: recording["frames"] > 5)
    await asyncio.to_thread(lambda: [path.unlink() for path in folder.iterdir()])
    state = await recorded_until(house, lambda recording: not recording["running"] or recording["frames"] < 5)
    (await house.http.patch("/api/streams/live", json={"recording": False})).raise_for_status()
    await asyncio.to_thread(lambda: [path.unlink() for path in folder.iterdir()])
    return "it says so" if state["detail"] else "a new one has begun"


async def out_of_descriptors(house: House) -> str:
    """As many connections as the process may have descriptors."""
    open_: list[asyncio.StreamWriter] = []
    codes: set[object] = set()
    try:
        for _ in range(100):
            with suppress(OSError, TimeoutError):
                async with asyncio.timeout(1):
                    open_.append((await asyncio.open_connection(*address(house), local_addr=(ATTACKER, 0)))[1])
            if len(open_) % 5 == 0:
                connection = fresh_connection()
                connection.addTransceiver("video", direction="recvonly")
                try:
                    async with asyncio.timeout(3):
                        codes.add((await negotiate(house.http, connection, "/live/live/whep")).status_code)
                except (httpx.TransportError, TimeoutError):
                    codes.add("waits")
                await connection.close()
    finally:
        for writer in open_:
            writer.close()
    assert 503 in codes, codes
    assert codes <= {201, 503, "waits"}, codes
    return "503"


async def joins(house: House) -> None:
    """The viewer goes, and comes anew."""
    await house.viewer.close()
    await house.watch()


def ended(number: int) -> Callable[[House], Any]:
    """The process gets a signal, and is started again."""
    return lambda house: house.restart(number)  # type: ignore[attr-defined]
