"""Ways out beside viewers: recordings that survive anything, other servers, a virtual camera, JPEG."""

from __future__ import annotations

import os
import re
import resource
import signal
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, cast

import av
import cv2
import httpx
import numpy as np
import pytest
import yaml

from pipeline.portrait import DEMO_CLIP
from streamer.app import Server
from streamer.sinks import retry
from streamer.sinks.runner import STILL_S

from ..commands import Commands
from ..conftest import run_server
from ..media import seconds_of
from ..programs import RTSP_RECORDER, SYSTEM_PYTHON, free_port, need_gstreamer
from ..waiting import LIMIT_S, wait_until


def state(http: httpx.Client) -> dict[str, Any]:
    return dict(http.get("/api/streams/live").json())


@pytest.fixture(autouse=True)
def _soon_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """How the pauses grow is tested in virtual time."""
    monkeypatch.setattr(retry, "PAUSES_S", (0.4,))


def driven(*sinks: dict[str, str]) -> dict[str, Any]:
    """A stream that a file drives, with these outputs."""
    return {"live": {"source": "file", "path": str(DEMO_CLIP), "sinks": list(sinks)}}


@pytest.fixture
def http_and_server(model: Path, tmp_path: Path) -> Iterator[tuple[httpx.Client, Server, Path]]:
    with (
        run_server(recording={"folder": str(tmp_path / "r")}) as server,
        httpx.Client(base_url=server.url, timeout=LIMIT_S) as http,
    ):
        http.patch("/api/streams/live", json={"demo": True})
        yield http, server, tmp_path / "r"


def test_a_recording_is_begun_and_finished_by_command(http_and_server: tuple[httpx.Client, Server, Path]) -> None:
    http, _, folder = http_and_server
    assert http.patch("/api/streams/live", json={"recording": False}).json()["recording"] is None
    begun = http.patch("/api/streams/live", json={"recording": True})
    assert begun.status_code == 200
    file = wait_until(lambda: state(http)["recording"]["file"])
    assert file.endswith(".part.mp4")
    again = http.patch("/api/streams/live", json={"recording": True})
    assert again.json()["recording"]["file"] == file, "it goes on"
    wait_until(lambda: state(http)["recording"]["frames"], holds=lambda frames: frames > 30)
    assert state(http)["recording"]["running"]
    ended = http.patch("/api/streams/live", json={"recording": False}).json()["recording"]
    assert not ended["running"]
    [path] = folder.iterdir()
    assert str(path) == ended["file"]
    assert re.fullmatch(r"live-\d{4}-\d\d-\d\dT\d\d-\d\d-\d\d\.mp4", path.name)
    length, pictures = seconds_of(path)
    assert pictures == ended["frames"], "each that was written is there"
    assert 0 < length <= ended["seconds"] + STILL_S, "it begins with the picture that is on show, which was captured before"
    assert state(http)["recording"] == ended, "nothing of it changes any more"
    [listed] = http.get("/api/recordings").json()
    assert (listed["name"], listed["size"], listed["path"]) == (path.name, path.stat().st_size, str(path))
    part = http.get(f"/api/recordings/{path.name}", headers={"Range": "bytes=4-7"})
    assert (part.status_code, part.content) == (206, b"ftyp"), "players seek"
    saved = http.get(f"/api/recordings/{path.name}?download=true")
    assert saved.content == path.read_bytes()
    assert saved.headers["content-disposition"] == f'attachment; filename="{path.name}"'
    assert http.patch("/api/streams/live", json={"recording": True}).json()["recording"]["running"], "and another one"
    assert len(http.get("/api/recordings").json()) == 1, "it is listed when it is finished"
    assert http.delete(f"/api/recordings/{path.name}").status_code == 204
    assert not path.exists()
    gone = http.get(f"/api/recordings/{path.name}")
    assert (gone.status_code, gone.json()["code"]) == (404, "UnknownRecording")


def recorded(shell: Commands, folder: Path, *, most: int = resource.RLIM_INFINITY) -> int:
    """A server in a process of its own that records what a file drives, in files of so many bytes at most."""
    config = folder.parent / f"{folder.name}.yaml"
    streams = driven({"kind": "recording"})
    data = {"http": {"port": 0}, "downloads": {"fetch": False}, "recording": {"folder": str(folder)}, "streams": streams}
    config.write_text(yaml.safe_dump(data))
    process = shell.start(["serve", "--config", config])
    resource.prlimit(process, resource.RLIMIT_FSIZE, (most, most))
    return process


def address(shell: Commands, process: int) -> str:
    return wait_until(lambda: re.search(r"ready: (http\S+)", shell.said(process).read_text()))[1]  # type: ignore[index]


def playable(folder: Path) -> tuple[float, int]:
    """Length and pictures of the only file in a folder, as far as it is written."""
    try:
        [file] = folder.glob("*.mp4")
        return seconds_of(file)
    except (ValueError, av.FFmpegError):  # not there yet, or nothing in it
        return 0.0, 0


@pytest.mark.slow
def test_a_recording_plays_after_the_process_was_killed(model: Path, tmp_path: Path, shell: Commands) -> None:
    process, folder = recorded(shell, tmp_path / "r"), tmp_path / "r"
    try:
        before = wait_until(lambda: playable(folder), holds=lambda seen: seen[0] > 2)
    finally:
        os.kill(process, signal.SIGKILL)
        shell.ended(process)
    after = playable(folder)
    assert after >= before, "what could be played before, can be now"


@pytest.mark.long
def test_when_no_more_can_be_written_the_stream_goes_on(model: Path, tmp_path: Path, shell: Commands) -> None:
    """A full disk, by a limit on the size of files: the error comes from the same write."""
    process, folder = recorded(shell, tmp_path / "r", most=400_000), tmp_path / "r"
    try:
        with httpx.Client(base_url=address(shell, process), timeout=LIMIT_S) as http:
            failed = wait_until(lambda: state(http), holds=lambda s: s["recording"] and not s["recording"]["running"])
            assert "the stream goes on" in failed["recording"]["detail"]
            wait_until(lambda: state(http)["animated"], holds=lambda count: count > failed["animated"] + 20)
    finally:
        os.kill(process, signal.SIGTERM)
        shell.ended(process)
    assert playable(folder)[1] > 10


def pictures(process: subprocess.Popen[str], wanted: int) -> None:
    """Wait until the server says that it has so many."""
    assert process.stdout is not None
    assert any(line.strip().isdigit() and int(line) >= wanted for line in process.stdout), "it ended"


@pytest.mark.long
def test_it_publishes_to_an_rtsp_server_and_is_back_when_that_is(model: Path, caplog: pytest.LogCaptureFixture) -> None:
    need_gstreamer("GStreamer's RTSP server")
    port = free_port()
    url = f"rtsp://me:hidden@127.0.0.1:{port}/in"

    def serve() -> subprocess.Popen[str]:
        return subprocess.Popen([SYSTEM_PYTHON, str(RTSP_RECORDER), str(port)], stdout=subprocess.PIPE, text=True)

    with (
        run_server(streams=driven({"kind": "push", "target": url})) as server,
        httpx.Client(base_url=server.url, timeout=LIMIT_S) as http,
    ):

        def output() -> dict[str, Any]:
            return dict(state(http)["outputs"][0])

        wait_until(lambda: output()["state"] == "waiting")  # nobody listens yet
        assert "hidden" not in str(output()) + caplog.text
        for _ in range(2):
            server_there = serve()
            try:
                pictures(server_there, 20)
                assert output()["state"] == "live"
            finally:
                server_there.kill()
                server_there.communicate()
            wait_until(lambda: output()["state"] == "waiting")
        assert server.control.state("live").errors == 0


@pytest.mark.slow
def test_it_publishes_by_rtmp(model: Path) -> None:
    port = free_port()
    got: list[int] = []

    def receive() -> None:
        with av.open(f"rtmp://127.0.0.1:{port}/live/x", options={"listen": "1"}, timeout=(60, 60)) as opened:
            for frame in opened.decode(video=0):
                got.append(frame.width)
                if len(got) > 20:
                    return

    receiver = threading.Thread(target=receive, daemon=True)
    receiver.start()
    with run_server(streams=driven({"kind": "push", "target": f"rtmp://127.0.0.1:{port}/live/x"})):
        receiver.join(60)
    assert len(got) > 20
    assert set(got) == {256}


@pytest.mark.slow
def test_it_publishes_by_whip_and_is_back_when_the_server_is(model: Path) -> None:
    port = free_port()
    sink = {"kind": "whip", "target": f"http://127.0.0.1:{port}/live/live/whip/", "token": "key"}
    other = {"http": {"port": port}, "auth": {"token": "key"}, "webrtc": {"handshake_timeout_s": 5}}
    with run_server(streams=driven(sink)) as server:

        def output(key: str) -> Any:
            return getattr(server.control.state("live").outputs[0], key)

        wait_until(lambda: output("state") == "waiting")
        for _ in range(2):
            before = output("frames")
            with run_server(**other) as receiver:
                wait_until(lambda r=receiver: r.control.state("live").frames_in, holds=lambda count: count > 20)  # type: ignore[misc]
                wait_until(lambda: output("state") == "live")
                assert server.control.state("live").viewers == 1
                assert output("frames") > before
            wait_until(lambda: output("state") != "live")
        assert not server.control.state("live").viewers
        assert server.control.state("live").errors == 0


class Front(ThreadingHTTPServer):
    """Sends whoever publishes to the server that it knows; who that is may change."""

    def __init__(self, target: str) -> None:
        super().__init__(("127.0.0.1", 0), _Redirect)
        self.target = target
        self.url = f"http://127.0.0.1:{self.server_port}/live/live/whip"


class _Redirect(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(307)
        self.send_header("Location", cast(Front, self.server).target + "/live/live/whip")
        self.end_headers()

    def log_message(self, *args: object) -> None: ...


@pytest.mark.long
def test_when_the_server_that_it_publishes_to_is_killed_the_front_is_asked_again(
    model: Path, tmp_path: Path, shell: Commands, caplog: pytest.LogCaptureFixture
) -> None:
    config = {"http": {"port": 0}, "downloads": {"fetch": False}, "webrtc": {"bind_addresses": ["127.0.0.1"]}}
    (tmp_path / "server.yaml").write_text(yaml.safe_dump(config))
    first = shell.start(["serve", "--config", "server.yaml"], tmp_path)
    try:
        with run_server() as second, Front(address(shell, first)) as front:
            threading.Thread(target=front.serve_forever, daemon=True).start()
            with run_server(streams=driven({"kind": "whip", "target": front.url})) as server:
                wait_until(lambda: server.control.state("live").outputs[0].frames, holds=lambda frames: frames > 20)
                front.target = second.url
                os.kill(first, signal.SIGKILL)
                wait_until(lambda: second.control.state("live").frames_in, holds=lambda frames: frames > 20)
                assert "the server has the session no more" in caplog.text, "not ICE, which takes five times as long"
            front.shutdown()
    finally:
        shell.ended(first)


def test_without_a_device_the_virtual_camera_says_what_to_do(model: Path) -> None:
    sinks = [{"kind": "virtual_camera", "target": "/dev/video77"}]
    with run_server(streams={"live": {"sinks": sinks}}) as server, httpx.Client(base_url=server.url, timeout=LIMIT_S) as http:
        output = wait_until(lambda: state(http)["outputs"][0], holds=lambda output: output["state"] == "waiting")
        assert "v4l2loopback" in output["detail"]
        assert http.patch("/api/streams/live", json={"virtual_camera": True}).json()["outputs"], "it is there, and goes on"
        assert not http.patch("/api/streams/live", json={"virtual_camera": False}).json()["outputs"]
        again = http.patch("/api/streams/live", json={"virtual_camera": True}).json()["outputs"]
        assert [each["name"] for each in again] == ["virtual camera /dev/video77"], "as the config has it"
        assert server.control.state("live").face == "no_face", "the stream runs"


def test_jpeg_for_dashboards(http_and_server: tuple[httpx.Client, Server, Path]) -> None:
    http, server, _ = http_and_server
    wait_until(lambda: server.control.state("live").animated > 5)
    for kind in ("snapshot.jpg", "mjpeg"):
        assert http.head(f"/live/live/{kind}").status_code == 200, "programs ask first"
    reply = http.get("/live/live/snapshot.jpg")
    assert reply.headers["content-type"] == "image/jpeg"
    picture = cv2.imdecode(np.frombuffer(reply.content, np.uint8), cv2.IMREAD_COLOR)
    assert picture is not None
    assert picture.shape[1] == 256
    still = server.control.stream("live").shown.prepared.still
    assert np.abs(picture[:40, :40, ::-1].astype(int) - still[:40, :40]).mean() < 6, "the portrait, not the camera"
    parts: set[bytes] = set()
    with http.stream("GET", "/live/live/mjpeg") as stream:
        assert stream.headers["content-type"] == "multipart/x-mixed-replace; boundary=frame"
        pending = b""
        for chunk in stream.iter_bytes():
            *whole, pending = (pending + chunk).split(b"--frame\r\nContent-Type: image/jpeg")
            parts.update(whole)
            if len(parts) > 10:
                break
    wait_until(lambda: not [e for e in server.control.state("live").encoders if e.codec == "image/jpeg"])
    assert http.get("/live/nothing/mjpeg").status_code == 404
