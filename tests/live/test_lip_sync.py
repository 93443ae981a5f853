"""Flash and beep leave the server together, live, by every way out: to a viewer, into a recording, and pushed by WHIP, RTMP
and RTSP. What is measured is what the far end has."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from statistics import median
from typing import Any

import av
import httpx
import pytest
from aiortc.rtcrtpreceiver import RTCRtpReceiver

from pipeline.frames import TimedFrame

from ..conftest import run_server
from ..devices import Device
from ..fakes import FakeEngine, WallTime
from ..peers import negotiate, peer
from ..programs import RTSP_RECORDER, SYSTEM_PYTHON, free_port, need_gstreamer, program
from ..pulse import heard, pulseaudio
from ..recorded import FPS, Edges, Recorder, light_and_sound
from ..waiting import LIMIT_S, wait_until

LIP_S = 0.06
AT_REST = "PUPPETCAST_TEST_AT_REST" in os.environ  # the machine, so that the median holds
FLASHES = 5
NTP_S = 2.0**-32  # of a unit of NTP


def offsets(flashes_s: list[float], beeps_s: list[float]) -> list[float]:
    """By how many seconds each beep comes after the flash that is nearest to it, but for the first, when things settle."""
    assert len(flashes_s) >= FLASHES - 1, (flashes_s, beeps_s)
    assert len(beeps_s) >= FLASHES - 1, (flashes_s, beeps_s)
    near = [min((beep - flash for flash in flashes_s), key=abs) for beep in beeps_s[1:]]
    return [late for late in near if abs(late) < 0.5]


def together(late_s: list[float]) -> bool:
    """Whether a third of them are within LIP_S: where a machine is busy, pictures wait and are left out, and single flashes are
    seen late; what is off by itself is so each time."""
    near = [abs(late) <= LIP_S for late in late_s]
    return sum(near) >= len(near) / 3 and (not AT_REST or abs(median(late_s)) <= LIP_S)


class Reported:
    """Takes a receiver's frames, and lines them up as players do: by the sender's reports (RFC 3550 §6.4.1)."""

    def __init__(self, receiver: RTCRtpReceiver, clock: int) -> None:
        self._receiver: Any = receiver
        self._clock = clock
        self._reports: list[tuple[int, float]] = []  # a time of RTP, and of NTP
        self._pieces: list[tuple[int, Any]] = []
        handle = receiver._handle_rtcp_packet

        async def report(packet: Any) -> None:
            if (info := getattr(packet, "sender_info", None)) is not None and info.packet_count:
                self._reports.append((info.rtp_timestamp, info.ntp_timestamp * NTP_S))
            await handle(packet)

        receiver._handle_rtcp_packet = report  # type: ignore[method-assign]

    async def take(self, piece: Callable[[Any], Any]) -> None:
        """Keep `piece` of each frame, until cancelled."""
        while True:
            frame = await self._receiver.track.recv()
            self._pieces.append((frame.pts, piece(frame)))

    def timed(self) -> list[tuple[float, Any]]:
        """What was kept, with its sender's time in seconds."""
        origin = self._receiver._RTCRtpReceiver__timestamp_mapper._origin
        return [(self._time_s(origin + pts), piece) for pts, piece in self._pieces]

    def _time_s(self, rtp: int) -> float:
        def away(report: tuple[int, float]) -> int:
            return (rtp - report[0] + 2**31) % 2**32 - 2**31

        nearest = min(self._reports, key=lambda report: abs(away(report)))
        return nearest[1] + away(nearest) / self._clock


async def watched(url: str, seconds: float) -> Edges:
    """What a viewer sees and hears."""
    async with httpx.AsyncClient(base_url=url, timeout=LIMIT_S) as http, peer() as connection:
        video = connection.addTransceiver("video", direction="recvonly")
        audio = connection.addTransceiver("audio", direction="recvonly")
        await negotiate(http, connection, "/live/live/whep")
        seen, heard = Reported(video.receiver, 90_000), Reported(audio.receiver, 48_000)
        tasks = [
            asyncio.create_task(seen.take(lambda frame: float(frame.to_ndarray(format="gray").mean()))),
            asyncio.create_task(heard.take(lambda frame: frame)),
        ]
        await asyncio.sleep(seconds)
        for task in tasks:
            task.cancel()
    edges = Edges()
    for time_s, brightness in seen.timed():
        edges.see(brightness, time_s)
    for time_s, frame in heard.timed():
        edges.hear(frame, time_s)
    return edges


def take_rtmp(url: str, path: Path) -> threading.Thread:
    """Listen at an address, and keep what is pushed there as a file until it ends."""

    def take() -> None:
        with av.open(url, options={"listen": "1"}, timeout=(60, 60)) as given, av.open(str(path), "w") as out:
            tracks = {s.index: out.add_stream_from_template(s) for s in (given.streams.video[0], given.streams.audio[0])}
            with suppress(av.FFmpegError):  # the other side has gone
                for packet in given.demux():
                    if packet.dts is not None:
                        packet.stream = tracks[packet.stream_index]
                        out.mux(packet)

    thread = threading.Thread(target=take, daemon=True)
    thread.start()
    return thread


@contextmanager
def rtsp_taken(path: Path) -> Iterator[str]:
    """The address of FFmpeg's RTSP server, which keeps what is published there as a file. It lines up picture and sound by the
    sender's reports."""
    url = f"rtsp://127.0.0.1:{free_port()}/in"
    command = [program("ffmpeg"), "-loglevel", "error", "-rtsp_flags", "listen", "-i", url, "-c", "copy", str(path)]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL) as server:
        try:
            yield url
        finally:
            server.send_signal(signal.SIGINT)  # it finishes its file


@contextmanager
def gstreamer_taken(path: Path) -> Iterator[str]:
    """The same of GStreamer's, which wants a name in the reports (CNAME) that FFmpeg's muxer does not send: it lines them up
    by when each came."""
    need_gstreamer("GStreamer's RTSP server")
    port = free_port()
    command = [SYSTEM_PYTHON, str(RTSP_RECORDER), str(port), str(path)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as server:
        try:
            yield f"rtsp://127.0.0.1:{port}/in"
        finally:
            server.kill()


def uplink(server: Any, edges: Edges) -> None:
    """Note what comes at a stream's door."""
    intake = server.control.stream("far").intake
    put, hear = intake.put, intake.hear

    def see(frame: TimedFrame) -> None:
        edges.see(float(frame.frame.to_ndarray(format="gray").mean()), frame.captured_s)
        put(frame)

    def listen(frame: av.AudioFrame, captured_s: float) -> None:
        edges.hear(frame, captured_s)
        hear(frame, captured_s)

    intake.put, intake.hear = see, listen


def test_a_call_sees_and_hears_them_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the virtual camera, as its library gets the pictures, and by the virtual microphone, as a program records it."""
    clip = Recorder("mjpeg", "pcm_s16le", times_s=[k / FPS for k in range(21)]).write(tmp_path / "clip.mkv")
    edges, device = Edges(), Device(tmp_path / "video10").install(monkeypatch)
    device.seen = lambda picture: edges.see(float(picture[700:710, 800:900].mean()), time.monotonic())
    device.node.touch()
    sinks = [{"kind": "virtual_camera"}, {"kind": "virtual_microphone"}]
    streams = {"live": {"source": "file", "path": str(clip), "sinks": sinks}}
    with (
        pulseaudio(tmp_path, monkeypatch),
        run_server(FakeEngine(WallTime()), budget={"max_frames": FPS}, streams=streams) as server,
    ):
        outputs = server.control.outputs
        wait_until(lambda: [each.state for each in outputs.statuses("live")], holds=lambda states: set(states) == {"live"})
        with heard("puppetcast_microphone", edges):
            wait_until(lambda: len(edges.beeps_s), holds=lambda count: count > FLASHES)
    late = offsets(edges.flashes_s, edges.beeps_s)
    print([round(1000 * s) for s in late])
    assert together(late)


@pytest.mark.long
def test_flash_and_beep_leave_together(tmp_path: Path) -> None:
    clip = Recorder("mjpeg", "pcm_s16le", times_s=[k / FPS for k in range(21)]).write(tmp_path / "clip.mkv")
    port, rtmp, far = free_port(), f"rtmp://127.0.0.1:{free_port()}/live/x", Edges()
    taking = take_rtmp(rtmp, tmp_path / "rtmp.mkv")
    with rtsp_taken(tmp_path / "rtsp.mkv") as rtsp, gstreamer_taken(tmp_path / "gstreamer.mkv") as gstreamer:
        whip = f"http://127.0.0.1:{port}/live/far/whip"
        sinks = [
            {"kind": "recording"},
            *({"kind": "push", "target": url} for url in (rtmp, rtsp, gstreamer)),
            {"kind": "whip", "target": whip},
        ]
        streams = {"live": {"source": "file", "path": str(clip), "sinks": sinks}, "far": {}}
        sections: dict[str, Any] = {"http": {"port": port}, "recording": {"folder": str(tmp_path / "r")}, "streams": streams}
        with run_server(FakeEngine(WallTime()), budget={"max_frames": FPS}, **sections) as server:
            uplink(server, far)
            wait_until(lambda: server.control.state("live").face == "tracking")
            viewer = asyncio.run(watched(server.url, FLASHES + 1))
    taking.join(10)
    [recording] = (tmp_path / "r").iterdir()
    ways = {
        "viewer": (viewer.flashes_s, viewer.beeps_s), "whip": (far.flashes_s, far.beeps_s),
        "recording": light_and_sound(recording), "rtmp": light_and_sound(tmp_path / "rtmp.mkv"),
        "rtsp": light_and_sound(tmp_path / "rtsp.mkv"), "gstreamer": light_and_sound(tmp_path / "gstreamer.mkv"),
    }  # fmt: skip
    late = {way: offsets(*edges) for way, edges in ways.items()}
    print({way: [round(1000 * s) for s in each] for way, each in late.items()})
    assert {way: each for way, each in late.items() if not together(each)} == {}
