"""Network cameras against a real RTSP server: what comes, what happens when it stops, and what is never shown."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import asynccontextmanager, contextmanager

import httpx
import pytest

from streamer.errors import ConfigError, SourceError
from streamer.limits import Timeouts
from streamer.redaction import redacted
from streamer.sources import driver
from streamer.sources.driver import Driver
from streamer.sources.network import NetworkSource
from streamer.stream.intake import Intake
from streamer.stream.status import SourceState

from ..certificates import write_pem
from ..conftest import run_server
from ..programs import RTSP_SERVER, SYSTEM_PYTHON, free_port, need_gstreamer
from ..waiting import LIMIT_S, until, until_state

REBOOTS = int(os.environ.get("PUPPETCAST_TEST_REBOOTS", "4"))  # of four seconds each; 20 leave nothing behind either


@pytest.fixture(autouse=True)
def _needs_rtsp(request) -> None:
    if "camera" in request.fixturenames:
        need_gstreamer("GStreamer's RTSP server")


@pytest.fixture(autouse=True)
def _soon_tried_again(monkeypatch) -> None:
    """How the pauses grow is tested in virtual time."""
    monkeypatch.setattr(driver, "PAUSES_S", (0.2,))


class Camera:
    """An RTSP server in a process of its own, which can be killed, frozen and started again."""

    def __init__(self) -> None:
        self.port = free_port()
        self.process: subprocess.Popen[str] | None = None

    @property
    def url(self) -> str:
        return f"rtsp://127.0.0.1:{self.port}/test"

    def start(self, *options: str) -> None:
        command = [SYSTEM_PYTHON, str(RTSP_SERVER), str(self.port), *options]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "ready\n"

    def signal(self, number: int) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.communicate()
            self.process = None


@pytest.fixture
def camera() -> Iterator[Camera]:
    server = Camera()
    yield server
    server.kill()


@asynccontextmanager
async def reading(source: NetworkSource, stale_after_s: float = 2.0):
    """Read a source as the server does; its queue and status."""
    out = Intake()
    driver = Driver(source, out, stale_after_s)
    driver.start()
    try:
        yield out, driver.status
    finally:
        await driver.end()


@pytest.mark.parametrize("codec", ["h264", "h265", "mjpeg"])
@pytest.mark.parametrize("transport", ["tcp", "udp"])
async def test_a_camera_is_read(camera, transport, codec):
    camera.start(codec)
    async with reading(NetworkSource(camera.url, transport)) as (out, status):
        await until(lambda: out.received > 3)
        await until(lambda: status.state is SourceState.LIVE)
        await until(lambda: out.received > 20)
        frame = await until(lambda: out.take(1))
        assert frame is not None
        assert (frame.frame.width, frame.frame.height) == (320, 240)


@pytest.mark.parametrize(("asked", "taken"), [("udp", "TCP"), ("tcp", "UDP")])
async def test_a_camera_that_takes_one_transport_only_is_read_by_that(camera, asked, taken):
    camera.start("h264", "320x240", "", "", taken)
    async with reading(NetworkSource(camera.url, asked, Timeouts(2, 2))) as (out, _):
        await until(lambda: out.received > 20)


async def test_a_camera_is_read_by_tls(camera, tmp_path):
    need_gstreamer("GStreamer's RTSP server with TLS")
    _, pem = write_pem(tmp_path)
    camera.start("h264", "320x240", "user:secret", str(pem))
    url = camera.url.replace("rtsp://", "rtsps://user:secret@")
    async with reading(NetworkSource(url)) as (out, status):
        await until(lambda: out.received > 20)
        await until(lambda: status.state is SourceState.LIVE)
    async with reading(NetworkSource(url.replace("secret", "wrong"))) as (_, status):
        await until(lambda: status.state is SourceState.FAILED)
        assert "user or password is wrong" in status.detail


@pytest.mark.slow
@pytest.mark.parametrize("transport", ["tcp", "udp"])
async def test_a_camera_that_reboots_is_back(camera, transport):
    camera.start()
    async with reading(NetworkSource(camera.url, transport, Timeouts(2, 2))) as (out, status):
        await until(lambda: out.received > 3)
        camera.kill()
        await until(lambda: status.state is not SourceState.LIVE)
        tried = status.restarts
        await until(lambda: status.restarts >= tried + 2)
        assert status.state in (SourceState.WAITING, SourceState.STARTING)
        assert "nothing listens there" in status.detail
        received = out.received
        camera.start("h264", "640x360")  # and it may come back with another picture
        await until(lambda: out.received > received)
        await until(lambda: (f := out.take(1)) is not None and f.frame.width == 640)
        assert status.restarts > 0


def sockets() -> int:
    return sum(os.readlink(f"/proc/self/fd/{fd}").startswith("socket") for fd in os.listdir("/proc/self/fd") if _is_open(fd))


def _is_open(fd: str) -> bool:
    return os.path.lexists(f"/proc/self/fd/{fd}")


@pytest.mark.long
@pytest.mark.timeout(240)
async def test_reboots_leave_nothing_behind(camera):
    camera.start()
    async with reading(NetworkSource(camera.url, "tcp", Timeouts(2, 2))) as (out, status):
        await until(lambda: out.received > 3)
        threads, held = threading.active_count(), sockets()
        for _ in range(REBOOTS):
            camera.kill()
            await until(lambda: status.state is not SourceState.LIVE)
            received = out.received
            camera.start()
            await until(lambda n=received: out.received > n and status.state is SourceState.LIVE)  # type: ignore[misc]
        await until(lambda: threading.active_count(), holds=lambda now: now <= threads)
        await until(sockets, holds=lambda now: now <= held)
    await until(lambda: not [t for t in threading.enumerate() if t.name.startswith("source-")])


@pytest.mark.slow
async def test_a_frozen_camera_is_stalled_and_opened_again(camera):
    camera.start()
    seen: set[SourceState] = set()
    async with reading(NetworkSource(camera.url, "tcp", Timeouts(2, 5)), stale_after_s=1.0) as (out, status):
        await until(lambda: out.received > 3)
        camera.signal(signal.SIGSTOP)

        def stalled() -> bool:
            seen.add(status.state)
            return SourceState.STALLED in seen

        await until(stalled)
        await until(lambda: "no frame for 1 s" in status.detail)
        camera.signal(signal.SIGCONT)
        received = out.received
        await until(lambda: out.received > received and status.state is SourceState.LIVE)


@contextmanager
def silent_server() -> Iterator[int]:
    """Accepts, and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        held: list[socket.socket] = []
        stop = threading.Event()
        listener.settimeout(0.1)

        def accept() -> None:
            while not stop.is_set():
                try:
                    held.append(listener.accept()[0])
                except TimeoutError:
                    continue

        thread = threading.Thread(target=accept)
        thread.start()
        try:
            yield int(listener.getsockname()[1])
        finally:
            stop.set()
            thread.join()
            for connection in held:
                connection.close()


async def test_a_server_that_never_answers_is_given_up_in_time():
    with silent_server() as port:
        async with reading(NetworkSource(f"rtsp://127.0.0.1:{port}/x", "tcp", Timeouts(1.5, 1.5))) as (_, status):
            await until(lambda: status.state is SourceState.WAITING)
            assert "no answer that is a stream within 1.5 s" in status.detail


async def test_a_wrong_password_is_one_clear_state_and_no_hammering(camera):
    camera.start("h264", "320x240", "user:secret")
    good, bad = (camera.url.replace("//", f"//{login}@") for login in ("user:secret", "user:wrong"))
    async with reading(NetworkSource(bad)) as (_, status):
        await until(lambda: status.state is SourceState.FAILED)
        assert status.detail == f"{redacted(bad)}: user or password is wrong, or missing"
        assert status.restarts == 0
    with pytest.raises(SourceError) as refused:
        NetworkSource(bad).read(Intake(), threading.Event())
    assert refused.value.slow, "the next try comes after half a minute"
    async with reading(NetworkSource(good)) as (out, status):
        await until(lambda: out.received > 3)
    async with reading(NetworkSource(good + "/nowhere")) as (_, status):
        await until(lambda: status.state is SourceState.FAILED)
        assert "nothing at this path" in status.detail


@pytest.mark.slow
def test_a_network_camera_drives_a_stream_and_its_password_is_never_shown(camera, model, caplog):
    camera.start("h264", "320x240", "user:hush-hush")
    url = camera.url.replace("//", "//user:hush-hush@") + "?token=hush-hush"
    streams = {"live": {"source": "network", "path": url, "stale_after_s": 1.5, "read_timeout_s": 1.5}}
    with run_server(streams=streams) as server, httpx.Client(base_url=server.url, timeout=LIMIT_S) as http:
        until_state(http, lambda state: state["frames_in"] > 20 and state["source"]["state"] == "live")
        assert http.get("/api/streams/live").json()["face"] == "no_face"
        live = http.get("/metrics").text
        assert 'puppetcast_source_state{state="live",stream="live"} 1.0' in live
        camera.kill()
        lost = until_state(http, lambda state: state["source"]["state"] != "live" and state["source"]["detail"])
        everything = json.dumps(lost) + live + http.get("/metrics").text + caplog.text
        assert "***@127.0.0.1" in everything
        assert "hush" not in everything


@pytest.mark.parametrize("url", ["file:///etc/passwd", "rtp://1.2.3.4", "camera", "concat:a|b", ""])
def test_other_addresses_are_refused(url):
    with pytest.raises(ConfigError, match="must begin with rtsp://"):
        NetworkSource(url)
