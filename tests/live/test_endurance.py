"""What hard use does: a lossy and slow line, and viewers who come and go."""

from __future__ import annotations

import asyncio
import gc
import os
import random
import subprocess
import sys
import threading
from collections import Counter
from contextlib import ExitStack

import aioice.ice
import httpx
import pytest
from aiortc import RTCPeerConnection

from streamer.app import Server
from streamer.webrtc.broadcast import Broadcast
from streamer.webrtc.encoders import LiveEncoder
from streamer.webrtc.sessions import Session
from streamer.webrtc.tracks import ViewerTrack

from ..browser import chromium
from ..conftest import ROOT, run_server
from ..lossy_link import CONTROL_ADDRESS, FAR, NEAR, NEAR_ADDRESS, command, lossy_link
from ..media import as_camera
from ..peers import connected, pictures, publishing, watching
from ..waiting import LIMIT_S, until, until_state, wait_until

pytestmark = pytest.mark.slow

PICTURES = 120
VIEWERS = int(os.environ.get("PUPPETCAST_TEST_VIEWERS", "20"))  # 300 leave nothing behind either


@pytest.fixture
def bad_line(monkeypatch):
    """5 % of all datagrams are lost and the others take 100 ms, in both directions."""
    rng = random.Random(11)
    send = aioice.ice.StunProtocol.send_data

    async def bad(self, data: bytes, addr) -> None:
        if rng.random() < 0.05:
            return
        asyncio.get_running_loop().call_later(0.1, lambda: asyncio.ensure_future(send(self, data, addr)))

    monkeypatch.setattr(aioice.ice.StunProtocol, "send_data", bad)


@pytest.fixture
def line():
    """Two hosts, 5 % loss and 100 ms each way between them."""
    with ExitStack() as stack:
        try:
            counts = stack.enter_context(lossy_link(0.1, 0.05))
        except (OSError, subprocess.CalledProcessError) as exc:
            pytest.skip(f"network namespaces are not permitted here ({exc}); loss inside the sockets is tested instead")
        yield counts


@pytest.mark.browser
def test_a_browser_on_another_host_behind_a_bad_line(model, clip, line, tmp_path):
    camera = as_camera(clip("d10"), tmp_path / "camera.mjpeg")
    config = tmp_path / "config.yaml"
    config.write_text(f"http: {{host: 0.0.0.0}}\nwebrtc: {{bind_addresses: [{NEAR_ADDRESS}]}}\ndownloads: {{fetch: false}}\n")
    serve = [sys.executable, "-m", "streamer", "serve", "--config", str(config), "--port", "8080"]
    browse = [sys.executable, "-m", "tests.drive_lossy", chromium(), f"http://{NEAR_ADDRESS}:8080", str(camera), str(PICTURES)]
    with ExitStack() as stack:
        server = stack.enter_context(subprocess.Popen(command(NEAR, *serve), stderr=subprocess.DEVNULL))
        stack.callback(server.terminate)
        http = stack.enter_context(httpx.Client(base_url=f"http://{CONTROL_ADDRESS}:8080", timeout=LIMIT_S))
        wait_until(lambda: ready(http))
        browser = stack.enter_context(subprocess.Popen(command(FAR, *browse), cwd=ROOT))
        stack.callback(browser.kill)
        until_state(http, lambda state: state["face"] == "tracking")
        before, lost = http.get("/api/streams/live").json()["frames_in"], line[1]
        assert browser.wait(2 * LIMIT_S) == 0, "so many pictures came to the viewer"
        assert http.get("/api/streams/live").json()["frames_in"] > before + PICTURES, "and to the server"
    assert line[1] > lost + 20, "of packets that were lost on the way"


def ready(http: httpx.Client) -> bool:
    try:
        return http.get("/readyz").status_code == 200
    except httpx.TransportError:
        return False


def namespaces() -> bool:
    try:
        with lossy_link(0.0, 0.0):
            return True
    except (OSError, subprocess.CalledProcessError):
        return False


async def test_pictures_recover_on_a_bad_line(model, bad_line):
    if namespaces():
        pytest.skip("a real line between two hosts is tested instead")
    with run_server(webrtc={"bitrate_kbps": 1000}) as server:
        async with (
            httpx.AsyncClient(base_url=server.url) as http,
            publishing(http) as camera,
            watching(http) as (viewer, receiver),
        ):
            await connected(camera, viewer)
            await pictures(receiver, 1)
            before = server.control.state("live").frames_in
            await pictures(receiver, PICTURES)
            await until(lambda: server.control.state("live").frames_in > before + PICTURES)


OWNED = (RTCPeerConnection, Session, ViewerTrack, Broadcast, LiveEncoder)


POOLS = ("encoder_", "asyncio_", "ThreadPoolExecutor")  # threads that stay, and are few


def alive(server: Server) -> Counter[str]:
    """What may be left of viewers that have gone, counted."""
    gc.collect()
    counts = Counter(kind.__name__ for thing in gc.get_objects() for kind in OWNED if isinstance(thing, kind))
    tasks = asyncio.all_tasks() | asyncio.all_tasks(server.control.stream("live")._loop)
    counts.update(f"task {task.get_coro()}".split(" at ")[0] for task in tasks)
    threads = [thread.name for thread in threading.enumerate()]
    counts.update(f"thread {name}" for name in threads if not name.startswith(POOLS))
    counts["file"] = len(os.listdir("/proc/self/fd"))
    return counts


@pytest.mark.timeout(400)
async def test_viewers_come_and_go_and_leave_nothing_behind(model):
    with run_server(auth={"requests_per_minute": 100000}) as server:
        async with httpx.AsyncClient(base_url=server.url) as http:
            await http.patch("/api/streams/live", json={"demo": True})

            async def come_and_go(count: int) -> None:
                for k in range(count):
                    async with watching(http, "VP8" if k % 2 else "H264") as (viewer, _):
                        await connected(viewer)
                await until(lambda: not len(server.sessions))

            await come_and_go(8)  # pools of threads are full then
            before = alive(server)
            await come_and_go(VIEWERS)
            await until(lambda: alive(server) - before, holds=lambda more: not more)
