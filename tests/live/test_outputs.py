"""Ways out beside viewers: recordings that survive anything, other servers, a virtual camera, JPEG."""

from __future__ import annotations

import os
import re
import resource
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import av
import cv2
import httpx
import numpy as np
import pytest

from streamer.errors import ConfigError
from streamer.sinks.push import Push

from ..conftest import ROOT, run_server
from .test_network_source import SYSTEM_PYTHON, free_port, rtsp_is_here

RTSP_SERVER = Path(__file__).parent / "rtsp_recorder.py"


def seconds_of(path: Path) -> tuple[float, int]:
    """Length and number of pictures of a file, all decoded; as a player does, past the end that was cut off."""
    times: list[float] = []
    with av.open(str(path)) as opened, suppress(av.error.InvalidDataError):
        for frame in opened.decode(video=0):
            times.append(float(frame.time))
    return (times[-1] if times else 0.0), len(times)


def wait(condition, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.05)
    return False


@pytest.fixture
def http_and_server(model, tmp_path):
    with run_server(recording={"folder": str(tmp_path / "r")}) as server, httpx.Client(base_url=server.url) as http:
        http.patch("/api/streams/live", json={"demo": True})
        yield http, server, tmp_path / "r"


def test_a_recording_is_begun_and_finished_by_command(http_and_server):
    http, _, folder = http_and_server
    assert http.patch("/api/streams/live", json={"recording": False}).json()["recording"] is None
    begun = http.patch("/api/streams/live", json={"recording": True})
    assert begun.status_code == 200
    assert wait(lambda: http.get("/api/streams/live").json()["recording"]["file"], 5)
    file = http.get("/api/streams/live").json()["recording"]["file"]
    again = http.patch("/api/streams/live", json={"recording": True})
    assert again.json()["recording"]["file"] == file, "it goes on"
    time.sleep(4)
    state = http.get("/api/streams/live").json()["recording"]
    assert state["running"]
    assert state["frames"] > 60
    assert state["file"].endswith(".part.mp4")
    state = http.patch("/api/streams/live", json={"recording": False}).json()["recording"]
    assert not state["running"]
    [file] = folder.iterdir()
    assert file.name == state["file"]
    assert re.fullmatch(r"live-\d{4}-\d\d-\d\dT\d\d-\d\d-\d\d\.mp4", file.name)
    length, pictures = seconds_of(file)
    assert 3.5 < length < 5.5
    assert pictures >= state["frames"] - 1
    assert state["dropped"] == 0
    assert http.patch("/api/streams/live", json={"recording": True}).status_code == 200, "and another one"


@pytest.mark.slow
def test_files_are_rotated_by_size(model, tmp_path):
    with run_server(recording={"folder": str(tmp_path), "max_mb": 0.3}) as server, httpx.Client(base_url=server.url) as http:
        http.patch("/api/streams/live", json={"demo": True})
        http.patch("/api/streams/live", json={"recording": True})
        assert wait(lambda: len(list(tmp_path.iterdir())) >= 3, 30)
        http.patch("/api/streams/live", json={"recording": False})
    files = sorted(tmp_path.iterdir())
    assert not [f for f in files if ".part." in f.name]
    assert sum(seconds_of(f)[1] for f in files) > 60


SERVE = """
import asyncio, sys
from streamer.app import Server
from streamer.config import Config
server = Server(Config(http={"port": 0}, downloads={"fetch": False}, recording={"folder": sys.argv[1]},
    webrtc={"bind_addresses": ["127.0.0.1"]}, streams={"live": {"source": "file", "path": sys.argv[2],
    "sinks": [{"kind": "recording"}]}}))
asyncio.run(server.serve(lambda url: print(url, flush=True)))
"""


def serving(folder: Path, clip: Path, **options) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", SERVE, str(folder), str(clip)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=ROOT, **options)


@pytest.mark.slow
def test_a_recording_plays_after_the_process_was_killed(model, clip, tmp_path):
    process = serving(tmp_path, clip("d10"))
    try:
        assert process.stdout.readline().startswith("http")
        assert wait(lambda: list(tmp_path.glob("*.mp4")), 10)
        start = time.monotonic()
        time.sleep(7)
    finally:
        process.send_signal(signal.SIGKILL)
        written = time.monotonic() - start
        process.communicate()
    [file] = tmp_path.iterdir()
    length, pictures = seconds_of(file)
    print(f"of {written:.1f} s written {length:.1f} s play, {written - length:.1f} s are lost")
    assert pictures > 90
    assert written - length < 2.0


@pytest.mark.slow
def test_when_no_more_can_be_written_the_stream_goes_on(model, clip, tmp_path):
    """A full disk, by a limit on the size of files: the error comes from the same write."""

    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)

    process = serving(tmp_path, clip("d10"), preexec_fn=limited)
    try:
        with httpx.Client(base_url=process.stdout.readline().strip()) as http:
            assert wait(lambda: (http.get("/api/streams/live").json()["recording"] or {}).get("running") is False, 40)
            state = http.get("/api/streams/live").json()
            assert "the stream goes on" in state["recording"]["detail"]
            before = state["animated"]
            assert wait(lambda: http.get("/api/streams/live").json()["animated"] > before + 20, 10)
    finally:
        process.terminate()
        process.communicate(timeout=20)
    files = list(tmp_path.iterdir())
    assert files
    assert seconds_of(files[0])[1] > 10


@pytest.mark.slow
def test_it_publishes_to_an_rtsp_server_and_is_back_when_that_is(model, clip, caplog):
    if not rtsp_is_here():
        if os.environ.get("CI"):
            pytest.fail("GStreamer's RTSP server is absent ('make peers' installs it)")
        pytest.skip("GStreamer's RTSP server is absent ('make peers' installs it)")
    port = free_port()
    url = f"rtsp://me:hidden@127.0.0.1:{port}/in"

    def serve() -> subprocess.Popen[str]:
        return subprocess.Popen([SYSTEM_PYTHON, str(RTSP_SERVER), str(port)], stdout=subprocess.PIPE, text=True)

    def pictures(process: subprocess.Popen[str], wanted: int, seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            line = process.stdout.readline().strip()
            if line.isdigit() and int(line) >= wanted:
                return True
        return False

    streams = {"live": {"source": "file", "path": str(clip("d10")), "sinks": [{"kind": "push", "target": url}]}}
    with run_server(streams=streams) as server, httpx.Client(base_url=server.url) as http:

        def output() -> dict:
            return http.get("/api/streams/live").json()["outputs"][0]

        assert wait(lambda: output()["state"] == "waiting", 10), "nobody listens yet"
        assert "hidden" not in str(output()) + caplog.text
        first = serve()
        assert pictures(first, 40, 25)
        assert output()["state"] == "live"
        first.kill()
        first.communicate()
        assert wait(lambda: output()["state"] == "waiting", 15)
        second = serve()
        try:
            assert pictures(second, 40, 25)
        finally:
            second.kill()
            second.communicate()
        assert server.control.state("live").errors == 0


@pytest.mark.slow
def test_it_publishes_by_rtmp(model, clip):
    port = free_port()
    got: list[int] = []

    def receive() -> None:
        with av.open(f"rtmp://127.0.0.1:{port}/live/x", options={"listen": "1"}, timeout=(20, 10)) as opened:
            for frame in opened.decode(video=0):
                got.append(frame.width)
                if len(got) > 40:
                    return

    receiver = threading.Thread(target=receive, daemon=True)
    receiver.start()
    time.sleep(0.5)
    sinks = [{"kind": "push", "target": f"rtmp://127.0.0.1:{port}/live/x"}]
    with run_server(streams={"live": {"source": "file", "path": str(clip("d10")), "sinks": sinks}}):
        receiver.join(25)
    assert len(got) > 40
    assert set(got) == {640}


@pytest.mark.slow
def test_it_publishes_by_whip_and_is_back_when_the_server_is(model, clip):
    port = free_port()
    sinks = [{"kind": "whip", "target": f"http://127.0.0.1:{port}/live/live/whip", "token": "key"}]
    other = {"http": {"port": port}, "auth": {"token": "key"}, "webrtc": {"handshake_timeout_s": 5}}
    with run_server(streams={"live": {"source": "file", "path": str(clip("d10")), "sinks": sinks}}) as server:

        def state() -> str:
            return server.control.state("live").outputs[0].state

        assert wait(lambda: state() == "waiting", 10)
        for _ in range(2):
            with run_server(**other) as receiver:
                assert wait(lambda r=receiver: r.control.state("live").frames_in > 40, 20)
                assert wait(lambda: state() == "live", 2)
                assert server.control.state("live").viewers == 1
            assert wait(lambda: state() != "live", 12)
        assert not server.control.state("live").viewers
        assert server.control.state("live").errors == 0


def test_without_a_device_the_virtual_camera_says_what_to_do(model):
    sinks = [{"kind": "virtual_camera", "target": "/dev/video77"}]
    with run_server(streams={"live": {"sinks": sinks}}) as server, httpx.Client(base_url=server.url) as http:
        assert wait(lambda: http.get("/api/streams/live").json()["outputs"][0]["state"] == "failed", 10)
        assert "v4l2loopback" in http.get("/api/streams/live").json()["outputs"][0]["detail"]
        assert server.control.state("live").face == "no_face", "the stream runs"


def test_jpeg_for_dashboards(http_and_server):
    http, server, _ = http_and_server
    assert wait(lambda: server.control.state("live").animated > 5, 10)
    reply = http.get("/live/live/snapshot.jpg")
    assert reply.headers["content-type"] == "image/jpeg"
    picture = cv2.imdecode(np.frombuffer(reply.content, np.uint8), cv2.IMREAD_COLOR)
    assert picture.shape[1] == 640
    still = server.control.stream("live").shown.prepared.still
    assert np.abs(picture[:40, :40, ::-1].astype(int) - still[:40, :40]).mean() < 6, "the portrait, not the camera"
    parts = 0
    with http.stream("GET", "/live/live/mjpeg") as stream:
        assert stream.headers["content-type"] == "multipart/x-mixed-replace; boundary=frame"
        start = time.monotonic()
        for chunk in stream.iter_bytes():
            parts += chunk.count(b"--frame\r\nContent-Type: image/jpeg")
            if time.monotonic() - start > 2:
                break
    assert parts > 20
    assert wait(lambda: not [e for e in server.control.state("live").encoders if e.codec == "image/jpeg"], 5)
    assert http.get("/live/nothing/mjpeg").status_code == 404


@pytest.mark.parametrize("target", ["", "http://a/b", "file:///tmp/x.mp4"])
def test_other_targets_are_refused(target):
    with pytest.raises(ConfigError, match="must begin with rtsp://"):
        Push(target, 1)
