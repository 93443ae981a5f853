"""The whole server from glass to glass, beside a bare aiortc echo: `puppetcast bench live`.

Server and clients are processes of their own. A client publishes a clip with a frame counter burnt in;
in the server under test an engine wrapped for the purpose copies the counter onto the animated picture.
"""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, cast

import aiortc.rtcrtpreceiver
import av
import httpx
import numpy as np
import uvicorn
from aiortc import MediaStreamTrack, RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.codecs.base import Decoder
from aiortc.mediastreams import MediaStreamError
from fastapi import FastAPI, Request, Response

from pipeline import models
from pipeline.clips import Progress, open_clip, pictures
from pipeline.engine import Engine, Puppeteer, open_engine
from pipeline.face.faces import faces_by
from pipeline.frames import CLOCK, Driving, Image, planar
from streamer.app import Server, run
from streamer.config import Config
from streamer.http.whip import SDP
from streamer.limits import Bitrates
from streamer.webrtc import aiortc_patches
from streamer.webrtc.encoders import LiveVp8Encoder

from . import stamp

SIDE, FPS = 512, 30
SETTLE_S = 4.0  # calibration, bitrates and key frames are over by then
AGE_LIMIT_MS = 150
LOOPBACK = ["127.0.0.1"]
SEATS = ("max_sessions", "max_sessions_per_address", "max_connecting", "max_connecting_per_address")


class StampedEngine:
    """An engine that copies the driver's counter onto its pictures and takes `extra_s` longer for each."""

    overlaps = False
    by_size = False

    def __init__(self, engine: Engine, extra_s: float) -> None:
        self.name, self.max_batch, self.on_cpu, self.lacks = engine.name, engine.max_batch, engine.on_cpu, engine.lacks
        self.faces, self.unseen = engine.faces, engine.unseen
        self.prepare, self.warm_up = engine.prepare, engine.warm_up
        self._engine, self._extra_s = engine, extra_s

    def open(self) -> Puppeteer:
        return cast(Puppeteer, _StampedPuppeteer(self._engine.open()))

    def submit(self, work: Sequence[tuple[Any, Any]]) -> Callable[[], list[Image]]:
        made = self._engine.submit([(source, seen) for source, (_, seen) in work])()
        pictures = [planar(source.still) if yuv is None else yuv for (source, _), yuv in zip(work, made, strict=True)]
        for (_, (number, _)), yuv in zip(work, pictures, strict=True):
            stamp.write(yuv[: yuv.shape[0] * 2 // 3], number)
        time.sleep(self._extra_s * len(work))
        return lambda: pictures


class _StampedPuppeteer:
    def __init__(self, puppeteer: Puppeteer) -> None:
        self._puppeteer = puppeteer

    def __getattr__(self, name: str) -> Any:
        return getattr(self._puppeteer, name)

    def follow(self, driving: Driving) -> tuple[int, Any]:
        return stamp.read(driving.image), self._puppeteer.follow(driving)


def serve(pipe: Connection, extra_s: float, sections: dict[str, Any]) -> None:
    """The server under test, until the pipe says to end; then it tells its CPU seconds and memory."""
    config = Config.model_validate(
        {
            "http": {"port": 0},
            "webrtc": {"bind_addresses": LOOPBACK, **dict.fromkeys(SEATS, 200)},
            "downloads": {"fetch": False},
            "engine": {"max_side": SIDE},
            **sections,
        }
    )
    model = models.find(models.FACE_LANDMARKER)
    server = Server(config, StampedEngine(open_engine("mesh", faces_by(model)), extra_s))
    _answer_pipe(pipe, server.stop)
    run(server.serve(pipe.send))


def _echo(pipe: Connection) -> None:
    """Bare aiortc: what comes in on /live/live/whip goes out again on the same connection."""
    connections: set[RTCPeerConnection] = set()
    app = FastAPI()

    @app.post("/live/live/whip")
    async def whip(request: Request) -> Response:
        connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        connections.add(connection)
        connection.on("track", connection.addTrack)
        offer = (await request.body()).decode()
        await connection.setRemoteDescription(RTCSessionDescription(offer, "offer"))
        await connection.setLocalDescription(await connection.createAnswer())
        return Response(connection.localDescription.sdp, 201, media_type=SDP)

    listener = socket.create_server(("127.0.0.1", 0))
    web = uvicorn.Server(uvicorn.Config(app, log_level="warning"))
    _answer_pipe(pipe, lambda: setattr(web, "should_exit", True))
    pipe.send(f"http://127.0.0.1:{listener.getsockname()[1]}")
    run(web.serve(sockets=[listener]))


def _answer_pipe(pipe: Connection, stop: Callable[[], None]) -> None:
    """Answer each message with CPU seconds and resident MB so far; None ends the process."""

    def answer() -> None:
        while pipe.recv() is not None:
            pages = int(Path("/proc/self/statm").read_text().split()[1]) if Path("/proc/self/statm").exists() else 0
            pipe.send((time.process_time(), pages * 4096 / 1e6))
        stop()

    threading.Thread(target=answer, daemon=True).start()


@contextlib.contextmanager
def process(target: Callable[..., None], *args: Any) -> Iterator[tuple[str, Callable[[], tuple[float, float]]]]:
    """A process that serves; its address, and a way to ask for its CPU seconds and memory in MB."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=target, args=(theirs, *args))
    process.start()

    def usage() -> tuple[float, float]:
        ours.send("usage")
        cpu, memory = ours.recv()
        return cpu, memory

    try:
        yield ours.recv(), usage
    finally:
        ours.send(None)
        process.join(15)
        process.kill()


class ClipTrack(MediaStreamTrack):
    """A clip at FPS, over and over, with a counter, as VP8; sent_s: when each number left."""

    kind = "video"

    def __init__(self, frames: list[Image]) -> None:
        super().__init__()
        self._frames = frames
        self._start_s = time.monotonic()
        self._number = 0
        self._encoder = LiveVp8Encoder(Bitrates())
        self.sent_s: dict[int, float] = {}

    async def recv(self) -> av.Packet:
        self._number += 1
        await asyncio.sleep(self._start_s + self._number / FPS - time.monotonic())
        yuv = self._frames[self._number % len(self._frames)].copy()
        stamp.write(yuv[:SIDE], self._number)
        frame = av.VideoFrame.from_ndarray(yuv, format="yuv420p")
        frame.pts, frame.time_base = self._number * 90_000 // FPS, CLOCK
        self.sent_s[self._number] = time.monotonic()
        packet = await asyncio.to_thread(self._encoder.encode, frame)
        assert packet is not None
        return packet


def load_clip(path: Path) -> list[Image]:
    """Up to 20 s of a clip as (SIDE · 3 / 2, SIDE) planar YUV."""
    with open_clip(path) as clip:
        reformatted = (f.reformat(SIDE, SIDE, "yuv420p") for f in pictures(clip))
        return [np.asarray(f.to_ndarray(), np.uint8) for f, _ in zip(reformatted, range(20 * FPS), strict=False)]


class _NoDecoder(Decoder):
    """Of a viewer whose decoding is not what is measured."""

    def decode(self, encoded_frame: Any) -> list[Any]:
        return []


def _spectate(pipe: Connection, url: str, streams: list[str]) -> None:
    """A viewer of each of `streams`; they receive, give feedback, and decode nothing."""
    aiortc_patches.install(LOOPBACK)
    aiortc.rtcrtpreceiver.get_decoder = lambda codec: _NoDecoder()  # type: ignore[attr-defined]

    async def watch() -> None:
        end = threading.Event()
        _answer_pipe(pipe, end.set)
        connections = [RTCPeerConnection(RTCConfiguration(iceServers=[])) for _ in streams]
        async with httpx.AsyncClient(base_url=url) as http:
            for name, connection in zip(streams, connections, strict=True):
                connection.addTransceiver("video", direction="recvonly")
                await negotiate(http, connection, f"/live/{name}/whep")
        pipe.send("watching")
        await asyncio.to_thread(end.wait)
        await asyncio.gather(*(c.close() for c in connections))

    run(watch())


@dataclass
class Received:
    """(seconds of arrival, counter) of the frames that a viewer got."""

    frames: list[tuple[float, int]] = field(default_factory=list)

    async def read(self, track: MediaStreamTrack) -> None:
        with contextlib.suppress(MediaStreamError):
            while True:
                frame = await track.recv()
                assert isinstance(frame, av.VideoFrame)
                self.frames.append((time.monotonic(), stamp.read(np.asarray(frame.to_ndarray(format="gray"), np.uint8))))

    def figures(self, sent_s: dict[int, float], since_s: float, seconds: float) -> dict[str, float]:
        """Frames per second, and milliseconds from the first sight of a frame to its arrival."""
        fresh: dict[int, float] = {}
        for at, number in self.frames:
            if at >= since_s:
                fresh.setdefault(number, at)
        delays = [1000 * (at - sent_s[n]) for n, at in fresh.items() if n in sent_s]
        if not delays:
            return {"fps": 0.0}
        p50, p95 = np.percentile(delays, [50, 95])
        return {"fps": round(len(delays) / seconds, 1), "glass_p50_ms": round(p50, 1), "glass_p95_ms": round(p95, 1)}


async def negotiate(http: httpx.AsyncClient, connection: RTCPeerConnection, path: str) -> None:
    await connection.setLocalDescription(await connection.createOffer())
    reply = await http.post(path, content=connection.localDescription.sdp, headers={"Content-Type": SDP})
    reply.raise_for_status()
    await connection.setRemoteDescription(RTCSessionDescription(reply.text, "answer"))


async def _measure(
    url: str, usage: Callable[[], tuple[float, float]], clip: list[Image], seconds: float, echo: bool
) -> dict[str, Any]:
    """One publisher and one viewer for `seconds`, after SETTLE_S."""
    camera = ClipTrack(clip)
    connections = [RTCPeerConnection(RTCConfiguration(iceServers=[])) for _ in range(1 if echo else 2)]
    received = Received()
    tasks: list[asyncio.Task[None]] = []
    async with httpx.AsyncClient(base_url=url) as http:
        try:
            publisher = connections[0]
            publisher.addTransceiver(camera, direction="sendrecv" if echo else "sendonly")
            await negotiate(http, publisher, "/live/live/whip")
            for viewer in connections[1:]:
                viewer.addTransceiver("video", direction="recvonly")
                await negotiate(http, viewer, "/live/live/whep")
            tasks = [asyncio.create_task(received.read(connections[-1].getTransceivers()[0].receiver.track))]
            await asyncio.sleep(SETTLE_S)
            since, (cpu, memory) = time.monotonic(), usage()
            steps = await _watch(http, seconds, echo)
            cpu_end, memory_end = usage()
            result: dict[str, Any] = received.figures(camera.sent_s, since, seconds)
            result |= {"server_cpu_percent": round(100 * (cpu_end - cpu) / seconds, 1)}
            result |= {"memory_mb": [round(memory), round(memory_end)], **steps}
            return result
        finally:
            await asyncio.gather(*(c.close() for c in connections))
            await asyncio.gather(*tasks, return_exceptions=True)


async def _watch(http: httpx.AsyncClient, seconds: float, echo: bool) -> dict[str, Any]:
    """Sleep; then what the server says of its own age, skips and rate limits."""
    limits: list[float] = []
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        await asyncio.sleep(min(left, 1.0))
        if not echo:
            state = (await http.get("/api/streams/live")).json()
            limits.append(state["rate_limit"])
    if echo:
        return {}
    names = ("age_p50_ms", "age_p95_ms", "stage_p50_ms", "stage_p95_ms", "skipped")
    return {n: state[n] for n in names} | {"rate_limit_least": min(limits), "rate_limit_last": limits[-1]}


def live(clip: Path, seconds: float = 15.0, viewers: int = 1, extra_ms: float = 0.0, mqtt: str = "") -> dict[str, Any]:
    """Figures of the server and of the bare echo, over the same clip in the same run. mqtt: a broker's URL."""
    frames = load_clip(clip)
    aiortc_patches.install(LOOPBACK)  # the clients' side, the same for both
    result: dict[str, Any] = {"clip": clip.name, "seconds": seconds, "viewers": viewers, "extra_ms": extra_ms}
    result["server"] = _server(frames, seconds, viewers, extra_ms, {"mqtt": {"url": mqtt}} if mqtt else {})
    if viewers == 1 and not extra_ms:
        with process(_echo) as (url, usage):
            result["bare_aiortc_echo"] = asyncio.run(_measure(url, usage, frames, seconds, echo=True))
    return result


def _server(frames: list[Image], seconds: float, viewers: int, extra_ms: float, sections: dict[str, Any]) -> dict[str, Any]:
    """Figures of a server of its own, of which one viewer decodes."""
    with contextlib.ExitStack() as stack:
        url, usage = stack.enter_context(process(serve, extra_ms / 1000, sections))
        if viewers > 1:
            stack.enter_context(process(_spectate, url, ["live"] * (viewers - 1)))
        return asyncio.run(_measure(url, usage, frames, seconds, echo=False))


def viewers(clip: Path, counts: tuple[int, ...] = (1, 4, 8), seconds: float = 15.0) -> dict[str, Any]:
    """What more viewers of one stream cost the server: processor time and age of frames, against the first one."""
    frames = load_clip(clip)
    aiortc_patches.install(LOOPBACK)
    rows = {n: _server(frames, seconds, n, 0.0, {}) for n in counts}
    first = rows[counts[0]]["server_cpu_percent"]
    shares = {
        n: round((row["server_cpu_percent"] - first) / (n - counts[0]) / first, 3) for n, row in rows.items() if n != counts[0]
    }
    return {"clip": clip.name, "seconds": seconds, "viewers": rows, "share_per_extra_viewer": shares}


def sessions(
    clip: Path, fps: int = 30, most: int = 16, seconds: float = 10.0, progress: Progress = lambda done, total: None
) -> dict[str, Any]:
    """How many streams this machine keeps at `fps`: each driven by the clip, each with a viewer, one more at a time,
    until the frames are older than AGE_LIMIT_MS (p95) or fewer than nine tenths come."""
    rows: list[dict[str, Any]] = []
    kept = 0
    for count in range(1, most + 1):
        rows.append(_sessions(clip, fps, count, seconds))
        progress(count, most)
        if rows[-1]["age_p95_ms"] > AGE_LIMIT_MS or rows[-1]["fps_least"] < 0.9 * fps:
            break
        kept = count
    return {"clip": clip.name, "fps": fps, "seconds": seconds, "age_limit_ms": AGE_LIMIT_MS, "kept": kept, "rows": rows}


def _sessions(clip: Path, fps: int, count: int, seconds: float) -> dict[str, Any]:
    names = [f"s{k}" for k in range(count)]
    sections = {
        "streams": {name: {"source": "file", "path": str(clip)} for name in names},
        "budget": {"max_frames": fps},
    }
    with process(serve, 0.0, sections) as (url, usage), process(_spectate, url, names):
        time.sleep(SETTLE_S)
        with httpx.Client(base_url=url) as http:
            before, cpu = {s["name"]: s["animated"] for s in http.get("/api/streams").json()}, usage()[0]
            time.sleep(seconds)
            states, cpu_end = http.get("/api/streams").json(), usage()[0]
    each = [(state["animated"] - before[state["name"]]) / seconds for state in states]
    return {
        "streams": count,
        "fps_least": round(min(each), 1),
        "fps_most": round(max(each), 1),
        "age_p95_ms": max(state["age_p95_ms"] or float("inf") for state in states),
        "server_cpu_percent": round(100 * (cpu_end - cpu) / seconds, 1),
    }
