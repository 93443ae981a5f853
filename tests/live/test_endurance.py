"""What hard use does: a lossy and slow line, another host, viewers who come and go, and strangers."""

from __future__ import annotations

import asyncio
import os
import random
import re
import stat
import subprocess
import sys
from contextlib import ExitStack
from types import SimpleNamespace
from typing import Any

import aioice.ice
import httpx
import pytest

from streamer.config import Auth, Config
from streamer.http.access import Access
from streamer.http.server import create_app

from ..browser import chromium
from ..conftest import ROOT, run_server
from ..lossy_link import FAR, NEAR, NEAR_ADDRESS, OTHER_ADDRESS, being_on, command, lossy_link
from ..media import as_camera
from ..peers import connected, pictures, publishing, watching
from ..strangers import rows, told
from ..waiting import LIMIT_S, until, until_state, wait_until

pytestmark = pytest.mark.long

TOKEN = "rule"  # others than this machine reach that server
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
    camera = as_camera(clip("d10"), tmp_path / "camera.y4m", 90, fps=15)
    config = tmp_path / "config.yaml"
    config.write_text(
        f"http: {{host: 0.0.0.0}}\nauth: {{token: {TOKEN}}}\nwebrtc: {{bind_addresses: [{NEAR_ADDRESS}]}}\n"
        "downloads: {fetch: false}\n"
    )
    serve = [sys.executable, "-m", "streamer", "serve", "--config", str(config), "--port", "8080"]
    address = f"http://{NEAR_ADDRESS}:8080"
    browse = [sys.executable, "-m", "tests.drive_lossy", chromium(), address, str(camera), str(PICTURES), TOKEN]
    headers = {"Authorization": f"Bearer {TOKEN}"}
    with ExitStack() as stack:
        server = stack.enter_context(subprocess.Popen(command(NEAR, *serve), stderr=subprocess.DEVNULL))
        stack.callback(server.terminate)
        stack.enter_context(being_on(NEAR))  # to ask the server without the line's faults
        http = stack.enter_context(httpx.Client(base_url=address, headers=headers, timeout=LIMIT_S))
        wait_until(lambda: answers(http, "/readyz"))
        browser = stack.enter_context(subprocess.Popen(command(FAR, *browse), cwd=ROOT))
        stack.callback(browser.kill)
        until_state(http, lambda state: state["face"] == "tracking")
        lost = line[1]
        assert browser.wait(2 * LIMIT_S) == 0, "so many pictures came to the viewer"
        assert http.get("/api/streams/live").json()["frames_in"] > PICTURES, "and to the server, each for one of those"
    assert line[1] > lost + 20, "of packets that were lost on the way"


@pytest.mark.browser
def test_a_phone_drives_by_the_link_that_is_shown(model, clip, tmp_path):
    """In this file, as the hosts are the same: `serve --lan`, and a browser with a phone's screen in its network."""
    camera, config, log = as_camera(clip("d10"), tmp_path / "camera.y4m", 30, fps=15), tmp_path / "c.yaml", tmp_path / "log"
    config.write_text(f"auth: {{token_file: {tmp_path / 'token'}}}\nportraits: {{keep: false}}\nengine: {{max_side: 256}}\n")
    serve = [sys.executable, "-m", "streamer", "serve", "--config", str(config), "--lan", "--port", "8443"]
    with ExitStack() as stack:
        try:
            stack.enter_context(lossy_link(0.0, 0.0))
        except (OSError, subprocess.CalledProcessError) as exc:
            pytest.skip(f"network namespaces are not permitted here ({exc}): no phone was tested with")
        said = stack.enter_context(log.open("w"))
        environment = ["env", f"XDG_DATA_HOME={tmp_path / 'data'}", *serve]
        server = stack.enter_context(subprocess.Popen(command(NEAR, *environment), stderr=said))
        stack.callback(server.terminate)
        told = r"for 12 hours: https://([\d.]+)(:\S+)[\s\S]+other addresses of this machine: ([\d.]+)"
        first, rest, other = wait_until(lambda: re.search(told, log.read_text())).groups()  # type: ignore[union-attr]
        assert {first, other} == {NEAR_ADDRESS, OTHER_ADDRESS}, "the near host is in two networks"
        link = f"https://{NEAR_ADDRESS}{rest}"
        phone = [sys.executable, "-m", "tests.drive_phone", chromium(), link, str(camera)]
        assert subprocess.run(command(FAR, *phone), cwd=ROOT, timeout=2 * LIMIT_S).returncode == 0, "it shows that it drives"
    assert "a camera started (WHIP)" in log.read_text()


def answers(http: httpx.Client, path: str) -> bool:
    try:
        return http.get(path).status_code == 200
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
            httpx.AsyncClient(base_url=server.url, timeout=LIMIT_S) as http,
            publishing(http) as camera,
            watching(http) as (viewer, receiver),
        ):
            await connected(camera, viewer)
            await pictures(receiver, 1)
            before = server.control.state("live").frames_in
            await pictures(receiver, PICTURES)
            await until(lambda: server.control.state("live").frames_in > before + PICTURES)


def test_of_every_route_a_stranger_on_another_host_gets_what_the_document_says(tmp_path):
    """With no token configured: it makes one, and shows its link once."""
    token, config, address = tmp_path / "token", tmp_path / "config.yaml", f"http://{NEAR_ADDRESS}:8080"
    config.write_text(
        f"http: {{host: 0.0.0.0}}\nauth: {{token_file: {token}}}\ndownloads: {{fetch: false}}\nportraits: {{keep: false}}\n"
    )
    parts: Any = SimpleNamespace(
        gallery=None, presets=None, outputs=SimpleNamespace(library=None)
    )  # its routes alone are looked at
    app = create_app(parts, parts, parts, Access(Auth()), Config(), parts)
    serve = [sys.executable, "-m", "streamer", "serve", "--config", str(config)]
    try:
        with lossy_link(0.0, 0.0), subprocess.Popen(command(NEAR, *serve), stderr=subprocess.PIPE, text=True) as process:
            try:
                with being_on(FAR), httpx.Client(base_url=address, timeout=LIMIT_S) as http:
                    wait_until(lambda: answers(http, "/healthz"))
                    assert rows(app, http) == told()
            finally:
                process.terminate()
            said = process.communicate()[1]
    except (OSError, subprocess.CalledProcessError) as exc:
        pytest.skip(f"network namespaces are not permitted here ({exc})")
    assert stat.S_IMODE(token.stat().st_mode) == 0o600
    assert "".join(said.split()).count(f"#token={token.read_text().strip()}") == 1
