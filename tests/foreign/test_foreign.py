"""Publishers and players that others wrote, as they are: Eyevinn's in Chromium, GStreamer's webrtcbin; and TURN."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from ..browser import chromium
from ..conftest import ROOT, run_server
from ..media import as_camera
from ..programs import GST_WEBRTC, SYSTEM_PYTHON, absent, free_port, need_gstreamer

pytestmark = [pytest.mark.browser, pytest.mark.slow]

FOREIGN = Path(__file__).parent


@pytest.fixture(scope="session")
def bundle(tmp_path_factory) -> Path:
    """Eyevinn's clients as one script."""
    if shutil.which("npm") is None:
        absent("npm")
    folder = tmp_path_factory.mktemp("foreign")
    for name in ("package.json", "entry.js"):
        shutil.copy(FOREIGN / name, folder)
    install = ["npm", "install", "--no-audit", "--no-fund", "--loglevel=error"]
    subprocess.run(install, cwd=folder, check=True, capture_output=True, timeout=180)
    made = [str(folder / "node_modules" / ".bin" / "esbuild"), "entry.js", "--bundle", "--format=iife", "--outfile=out.js"]
    subprocess.run(made, cwd=folder, check=True, capture_output=True, timeout=60)
    return folder / "out.js"


def drive(url: str, camera: Path | str, bundle: Path | str, mode: str, seconds: float) -> dict:
    command = [sys.executable, "-m", "tests.foreign.drive", chromium(), url, str(camera), str(bundle), mode, str(seconds)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout)


def test_the_whip_client_of_eyevinn_publishes(bundle, clip, model, tmp_path):
    camera = as_camera(clip("d10"), tmp_path / "camera.mjpeg")
    with run_server() as server:
        drive(server.url, camera, bundle, "whip", 5)
        state = server.control.state("live")
        assert state.frames_in > 60
        assert state.animated > 30
        assert not state.publisher, "destroy() ended the session"


def test_the_whep_player_of_eyevinn_plays(bundle, model):
    with run_server() as server, httpx.Client(base_url=server.url) as http:
        http.patch("/api/streams/live", json={"demo": True})
        seen = drive(server.url, "", bundle, "whep", 5)
        assert seen["width"] == 640
        assert seen["time"] > 4
        assert seen["frames"] > 80
        deadline = time.monotonic() + 10
        while server.control.state("live").viewers and time.monotonic() < deadline:
            time.sleep(0.1)
        assert not server.control.state("live").viewers


@pytest.mark.parametrize("codec", ["VP8", "H264"])
@pytest.mark.parametrize("mode", ["whip", "whep"])
def test_webrtcbin_of_gstreamer_both_ways(mode, codec, model):
    """Its certificate is RSA, which aiortc alone refuses. It passes over loopback addresses, so all are bound here."""
    need_gstreamer("GStreamer's webrtcbin")
    with run_server(webrtc={"bind_addresses": []}) as server, httpx.Client(base_url=server.url) as http:
        if mode == "whep":
            http.patch("/api/streams/live", json={"demo": True})
        command = [SYSTEM_PYTHON, str(GST_WEBRTC), mode, f"{server.url}/live/live/{mode}", codec, "6"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr[-2000:]
        state, frames = done.stdout.split()
        assert state == "connected"
        if mode == "whip":
            assert server.control.state("live").frames_in > 80
            assert not server.control.state("live").publisher
        else:
            assert int(frames) > 80


@contextmanager
def turn_server(folder: Path, secret: str) -> Iterator[int]:
    """coturn on the loopback address."""
    if shutil.which("turnserver") is None:
        absent("coturn")
    port = free_port()
    # The file of the containers, moved to a free port of the loopback address.
    given = (ROOT / "docker" / "turnserver.conf").read_text()
    assert "listening-port=3478\n" in given
    assert "static-auth-secret=change-me\n" in given
    given = given.replace("listening-port=3478", f"listening-port={port}").replace("change-me", secret)
    own = ["listening-ip=127.0.0.1", "relay-ip=127.0.0.1", "allow-loopback-peers"]
    own += [f"userdb={folder / 'turn.db'}", f"pidfile={folder / 'turn.pid'}"]
    config = folder / "turn.conf"
    config.write_text(given + "\n".join(own) + "\n")
    with (folder / "turn.log").open("w") as log:
        process = subprocess.Popen(["turnserver", "-c", str(config)], stdout=log, stderr=subprocess.STDOUT)
        try:
            deadline = time.monotonic() + 10
            while time.monotonic() < deadline:
                with socket.socket() as probe:
                    if probe.connect_ex(("127.0.0.1", port)) == 0:
                        break
                time.sleep(0.05)
            yield port
        finally:
            process.terminate()
            process.wait(10)


@pytest.mark.parametrize("transport", ["udp"])
def test_the_page_plays_behind_a_relay_alone(transport, model, tmp_path):
    with turn_server(tmp_path, "north") as port:
        servers = [{"url": f"turn:127.0.0.1:{port}?transport={transport}", "secret": "north", "ttl_s": 600}]
        with run_server(webrtc={"ice_servers": servers}) as server:
            with httpx.Client(base_url=server.url) as http:
                http.patch("/api/streams/live", json={"demo": True})
            seen = drive(server.url, "", "", "relay", 4)
            assert seen["candidate"] == "relay"
            assert seen["frames"] > 60
