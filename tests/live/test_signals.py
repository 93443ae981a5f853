"""The end of the server: real signals to a real process with a publisher, viewers, listeners and a recording."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from aiortc import RTCPeerConnection
from aiortc.contrib.media import MediaPlayer

from pipeline.errors import PuppetError
from pipeline.face.faces import faces_by
from pipeline.mesh.engine import MeshEngine
from pipeline.portrait import DEMO_CLIP
from streamer.app import Server
from streamer.config import Config
from streamer.signals import STUCK_S
from streamer.webrtc import aiortc_patches

from ..commands import Commands
from ..conftest import ROOT, run_server
from ..media import seconds_of
from ..peers import negotiate, peer
from ..waiting import LIMIT_S, until

FAULTS = ("ERROR", "Traceback", "destroyed", "Exception", "never retrieved", "Aborted")


@pytest.fixture(autouse=True)
def loopback():
    aiortc_patches.install(["127.0.0.1"])
    yield
    aiortc_patches.uninstall()


class Puppetcast:
    """`puppetcast serve` as a terminal would start it: in a process group of its own, which Ctrl-C reaches as a whole.

    said: the file of what it says. wait: for its end; says its exit code.
    """

    def __init__(self, pid: int, said: Path, wait: Callable[[], int]) -> None:
        self._pid = pid
        self._said = said
        self._wait = wait
        self.has_ended = False

    @property
    def log(self) -> str:
        return self._said.read_text()

    async def says(self, pattern: str) -> re.Match[str]:
        """Wait until the log has it."""
        return await until(lambda: re.search(pattern, self.log))  # type: ignore[return-value]

    def signal(self, number: int) -> None:
        os.killpg(self._pid, number)

    async def ended(self) -> int:
        code = await asyncio.wait_for(asyncio.to_thread(self._wait), LIMIT_S)
        self.has_ended = True
        print(self.log)
        return code


@asynccontextmanager
async def until_ended(puppetcast: Puppetcast) -> AsyncIterator[Puppetcast]:
    try:
        yield puppetcast
    finally:
        if not puppetcast.has_ended:
            puppetcast.signal(signal.SIGKILL)
            await puppetcast.ended()


@asynccontextmanager
async def started(tmp_path: Path, *command: str) -> AsyncIterator[Puppetcast]:
    """A process of any command."""
    said = tmp_path / "said"
    with said.open("w") as file:
        environment = {**os.environ, "COLUMNS": "500"}
        process = subprocess.Popen(command, stderr=file, cwd=ROOT, start_new_session=True, env=environment)  # noqa: ASYNC220
    async with until_ended(Puppetcast(process.pid, said, process.wait)) as puppetcast:
        yield puppetcast


def config(tmp_path: Path, **sections: Any) -> list[str]:
    """The arguments of a server with such a config."""
    file = tmp_path / "config.yaml"
    data = {
        "http": {"port": 0}, "downloads": {"fetch": False}, "webrtc": {"bind_addresses": ["127.0.0.1"]},
        "engine": {"max_side": 256}, "recording": {"folder": str(tmp_path / "recordings")}, **sections,
    }  # fmt: skip
    file.write_text(yaml.safe_dump(data))
    return ["serve", "--config", str(file)]


@asynccontextmanager
async def serving(shell: Commands, tmp_path: Path, **sections: Any) -> AsyncIterator[tuple[Puppetcast, str]]:
    """A server, ready, in a process that need not load the program, and its address."""
    pid = shell.start(config(tmp_path, **sections))
    async with until_ended(Puppetcast(pid, shell.said(pid), lambda: shell.ended(pid).code)) as puppetcast:
        yield puppetcast, await ready(puppetcast)


async def ready(puppetcast: Puppetcast) -> str:
    return (await puppetcast.says(r"ready: (http\S+)"))[1]


async def watch(http: httpx.AsyncClient, viewer: RTCPeerConnection) -> asyncio.Event:
    """Watch until a picture has come; what is set when the server closes the connection."""
    closed = asyncio.Event()
    viewer.addTransceiver("video", direction="recvonly")
    viewer.on("connectionstatechange", lambda: closed.set() if viewer.connectionState == "closed" else None)
    await negotiate(http, viewer, "/live/live/whep")
    [receiver] = viewer.getReceivers()
    await asyncio.wait_for(receiver.track.recv(), LIMIT_S)
    return closed


async def until_recorded(lines: AsyncIterator[str], frames: int) -> None:
    async for line in lines:
        if line.startswith("data:"):
            recording = json.loads(line[5:])["recording"]
            if recording is not None and recording["frames"] >= frames:
                return


async def drained(lines: AsyncIterator[str | bytes]) -> bool:
    """Read to the end; httpx raises if the server breaks off instead of ending."""
    async for _ in lines:
        pass
    return True


async def run_and_end(shell: Commands, tmp_path: Path, number: int) -> tuple[int, float]:
    """A server with everything that can be open, and a signal; its exit code and the seconds it took. Checks the rest."""
    async with serving(shell, tmp_path) as (puppetcast, url), AsyncExitStack() as stack:
        http = await stack.enter_async_context(httpx.AsyncClient(base_url=url, timeout=LIMIT_S))
        camera, *viewers = [await stack.enter_async_context(peer()) for _ in range(3)]
        player = MediaPlayer(str(DEMO_CLIP), loop=True)
        stack.callback(player.video.stop)
        camera.addTrack(player.video)
        camera_closed = asyncio.Event()
        camera.on("connectionstatechange", lambda: camera_closed.set() if camera.connectionState == "closed" else None)
        await negotiate(http, camera, "/live/live/whip")
        closed = [camera_closed, *[await watch(http, viewer) for viewer in viewers]]
        events = await stack.enter_async_context(http.stream("GET", "/api/events"))
        pictures = await stack.enter_async_context(http.stream("GET", "/live/live/mjpeg"))
        (await http.patch("/api/streams/live", json={"recording": True})).raise_for_status()
        lines = events.aiter_lines()
        await asyncio.wait_for(until_recorded(lines, 20), LIMIT_S)
        start = time.monotonic()
        puppetcast.signal(number)
        code = await puppetcast.ended()
        took_s = time.monotonic() - start
        assert await asyncio.wait_for(asyncio.gather(drained(lines), drained(pictures.aiter_raw())), LIMIT_S) == [True, True]
        for event in closed:
            await asyncio.wait_for(event.wait(), 5)
    [file] = (tmp_path / "recordings").iterdir()
    assert re.fullmatch(r"live-\d{4}-\d\d-\d\dT\d\d-\d\d-\d\d\.mp4", file.name)
    assert seconds_of(file)[1] >= 20
    assert f"saved as {file}" in puppetcast.log
    assert "closed: 1 publisher, 3 viewers, 1 event listener, 1 recording" in puppetcast.log
    assert not [fault for fault in FAULTS if fault in puppetcast.log]
    return code, took_s


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
async def test_a_signal_ends_everything_cleanly(model, shell, tmp_path, number):
    code, took_s = await run_and_end(shell, tmp_path, number)
    assert code == 0
    assert took_s <= 5


@asynccontextmanager
async def silent_camera() -> AsyncIterator[tuple[dict, asyncio.Event]]:
    """A stream whose camera takes connections and says nothing, so that its source does not let go; and when it is asked."""
    asked = asyncio.Event()

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.set()
        await reader.read()
        writer.close()

    async with await asyncio.start_server(take, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        source = {
            "source": "network",
            "path": f"rtsp://127.0.0.1:{port}/",
            "open_timeout_s": 60,
            "sinks": [{"kind": "recording"}],
        }
        yield source, asked


@pytest.mark.long
async def test_what_does_not_end_is_given_up_and_named(shell, tmp_path):
    async with silent_camera() as (live, asked), serving(shell, tmp_path, streams={"live": live}) as (puppetcast, url):
        await asyncio.wait_for(asked.wait(), LIMIT_S)
        async with httpx.AsyncClient(base_url=url, timeout=LIMIT_S) as http, http.stream("GET", "/api/events") as events:
            await asyncio.wait_for(until_recorded(events.aiter_lines(), 1), LIMIT_S)
        start = time.monotonic()
        puppetcast.signal(signal.SIGTERM)
        assert await puppetcast.ended() == 0
        assert time.monotonic() - start <= 5
    assert re.search(r"given up after 3 s, 1 of \d: source of 'live'", puppetcast.log)
    assert re.search("closed, but for what was given up: .*1 source, 1 recording", puppetcast.log)
    [file] = (tmp_path / "recordings").iterdir()
    assert ".part" not in file.name
    assert not [fault for fault in FAULTS if fault in puppetcast.log]


@pytest.mark.parametrize(("first", "second"), [(signal.SIGINT, signal.SIGINT), (signal.SIGINT, signal.SIGTERM)])
async def test_a_second_signal_ends_it_at_once(shell, tmp_path, first, second):
    async with silent_camera() as (live, asked), serving(shell, tmp_path, streams={"live": live}) as (puppetcast, _):
        await asyncio.wait_for(asked.wait(), LIMIT_S)
        puppetcast.signal(first)
        await puppetcast.says("a second signal ends it at once")
        puppetcast.signal(second)
        assert await puppetcast.ended() == 128 + second
    assert "given up" not in puppetcast.log, "it did not wait for the deadline"
    assert "goodbye" not in puppetcast.log
    assert not [fault for fault in FAULTS if fault in puppetcast.log]


async def test_a_request_that_never_ends_is_cut_off(shell, tmp_path):
    async with serving(shell, tmp_path) as (puppetcast, url):
        address = httpx.URL(url)
        _, writer = await asyncio.open_connection(address.host, address.port)
        kind = "Content-Type: multipart/form-data; boundary=b"
        head = f"POST /api/portraits HTTP/1.1\r\nHost: localhost\r\n{kind}\r\nContent-Length: 999\r\n"
        writer.write(f"{head}Expect: 100-continue\r\n\r\n--b".encode())
        await writer.drain()
        async with httpx.AsyncClient(base_url=url, timeout=LIMIT_S) as http:
            await http.get("/healthz")  # so the request above has been read
        start = time.monotonic()
        puppetcast.signal(signal.SIGINT)
        assert await puppetcast.ended() == 0
        assert time.monotonic() - start <= 5
        writer.close()
    assert "1 request cut off" in puppetcast.log
    assert not [fault for fault in FAULTS if fault in puppetcast.log]


async def test_ctrl_c_is_not_for_the_helpers_that_publish(shell, tmp_path):
    """It reaches the whole group of the terminal; a helper would print its traceback, and another one be started."""
    asked = asyncio.Event()

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.set()
        await reader.read()
        writer.close()

    async with await asyncio.start_server(take, "127.0.0.1", 0) as server:
        sink = {"kind": "push", "target": f"rtmp://127.0.0.1:{server.sockets[0].getsockname()[1]}/live"}
        async with serving(shell, tmp_path, streams={"live": {"sinks": [sink]}}) as (puppetcast, _):
            await asyncio.wait_for(asked.wait(), LIMIT_S)
            puppetcast.signal(signal.SIGINT)
            assert await puppetcast.ended() == 0
    assert not [fault for fault in (*FAULTS, "trying again") if fault in puppetcast.log]


async def test_a_hang_up_is_survived(shell, tmp_path):
    async with serving(shell, tmp_path) as (puppetcast, url), httpx.AsyncClient(base_url=url, timeout=LIMIT_S) as http:
        puppetcast.signal(signal.SIGHUP)
        await puppetcast.says("reloaded: nothing to change")
        await reloaded(tmp_path / "config.yaml", puppetcast, http)
        assert (await http.get("/healthz")).status_code == 200
        puppetcast.signal(signal.SIGTERM)
        assert await puppetcast.ended() == 0


@pytest.mark.long
async def test_a_hang_up_stays_ignored_under_nohup(tmp_path):
    async with started(tmp_path, "nohup", sys.executable, "-m", "streamer", *config(tmp_path)) as puppetcast:
        url = await ready(puppetcast)
        puppetcast.signal(signal.SIGHUP)
        async with httpx.AsyncClient(base_url=url, timeout=LIMIT_S) as http:
            assert (await http.get("/healthz")).status_code == 200
        puppetcast.signal(signal.SIGTERM)
        assert await puppetcast.ended() == 0
    assert "reloaded" not in puppetcast.log


async def reloaded(file: Path, puppetcast: Puppetcast, http: httpx.AsyncClient) -> None:
    """Change the config of a server that runs, rightly and wrongly."""

    def hang_up(**sections: object) -> None:
        file.write_text(yaml.safe_dump({**before, **sections}))
        puppetcast.signal(signal.SIGHUP)

    before = yaml.safe_load(await asyncio.to_thread(file.read_text))
    stream = {"portrait": "visitor", "source": "pattern", "puppet": {"pose_gain": 0.5}}
    hang_up(streams={"live": stream, "more": {}}, budget={"window_s": 2, "max_frames": 9})
    await puppetcast.says(
        "reloaded: budget.max_frames, streams.live.portrait, streams.live.puppet.pose_gain, streams.live.source, streams.more "
    )
    await puppetcast.says("not before a restart: budget.window_s ")
    state = (await http.get("/api/streams/live")).json()
    assert (state["portrait"], state["puppet"]["pose_gain"], state["source"]["name"]) == ("visitor", 0.5, "test pattern")
    for wrong, words in (
        ({"portrait": "nobody"}, r"nothing is reloaded, and the config of before stays: streams.live.portrait: nobody: .*"),
        ({"puppet": {"pose_gain": 9}}, r"nothing is reloaded, and the config of before stays: .*pose_gain: input should be less"),
    ):
        hang_up(streams={"live": wrong})
        await puppetcast.says(words)
    state = (await http.get("/api/streams/live")).json()
    assert (state["portrait"], state["puppet"]["pose_gain"], state["source"]["name"]) == ("visitor", 0.5, "test pattern")
    hang_up(auth={"token": "rule"})
    await puppetcast.says(
        r"reloaded: auth.token, budget.max_frames, streams.live.portrait, streams.live.puppet.pose_gain, streams.live.source, "
        "streams.more"
    )
    assert (await http.get("/api/streams/live")).status_code == 401
    state = (await http.get("/api/streams/live", headers={"Authorization": "Bearer rule"})).json()
    assert (state["portrait"], state["puppet"]["pose_gain"], state["source"]) == ("collins", 1.0, None)


async def test_an_address_that_is_open_until_a_restart_keeps_its_token(tmp_path):
    def config(host: str, **auth: str) -> Config:
        where = {"token_file": tmp_path / "token", **auth}
        return Config(http={"host": host, "port": 0}, auth=where, downloads={"fetch": False})

    server = Server(config("0.0.0.0", token="given"), read=lambda: config("127.0.0.1"))
    ready = asyncio.Event()
    serving = asyncio.create_task(server.serve(lambda url: ready.set()))
    await asyncio.wait_for(ready.wait(), LIMIT_S)
    await server.reload()
    assert server.config.auth.token not in ("", "given")
    assert server.config.auth.token == (tmp_path / "token").read_text().strip()
    server.stop()
    await asyncio.wait_for(serving, LIMIT_S)


def test_a_server_in_another_thread_leaves_signals_alone(model):
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = [signal.getsignal(number) for number in numbers]
    with run_server():
        assert [signal.getsignal(number) for number in numbers] == before


async def test_a_server_in_the_main_thread_gives_signals_back():
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    server = Server(Config(http={"port": 0}, downloads={"fetch": False}))
    ready = asyncio.Event()
    serving = asyncio.create_task(server.serve(lambda url: ready.set()))
    await asyncio.wait_for(ready.wait(), LIMIT_S)
    signal.raise_signal(signal.SIGTERM)
    await asyncio.wait_for(serving, LIMIT_S)
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


WARMS_UP_FOR_EVER = """
import sys, threading
from pipeline.face.faces import faces_by
from pipeline.mesh.engine import MeshEngine
from streamer.app import Server, run
from streamer.config import Config

class Engine(MeshEngine):
    def warm_up(self, source, progress):
        print("warming up", file=sys.stderr, flush=True)
        threading.Event().wait()

run(Server(Config(http={"port": 0}, downloads={"fetch": False}), Engine(faces_by(None))).serve())
"""


async def test_the_end_does_not_wait_for_an_engine_that_warms_up(tmp_path):
    async with started(tmp_path, sys.executable, "-c", WARMS_UP_FOR_EVER) as puppetcast:
        await puppetcast.says("warming up")
        start = time.monotonic()
        puppetcast.signal(signal.SIGTERM)
        assert await puppetcast.ended() == 0
        assert time.monotonic() - start <= 5


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("module", ["typer", "pipeline.models", "streamer.app"])
async def test_a_signal_while_a_command_is_loading_ends_it_with_a_line(tmp_path, number, module):
    """The module says that it is being loaded, and waits."""
    loading = (
        "import importlib.abc, os, sys, threading\n"
        "class Waits(importlib.abc.MetaPathFinder):\n"
        "    def find_spec(self, name, path, target=None):\n"
        f"        if name == {module!r}:\n"
        "            os.write(2, b'loading\\n')\n"
        "            threading.Event().wait()\n"
        "sys.meta_path.insert(0, Waits())\n"
        "sys.argv = ['puppetcast', 'serve', '--port', '0']\n"
        "from streamer.__main__ import main\n"
        "main()"
    )
    async with started(tmp_path, sys.executable, "-c", loading) as puppetcast:
        await puppetcast.says("loading")
        puppetcast.signal(number)
        assert await puppetcast.ended() == 128 + number
    assert puppetcast.log == f"loading\nstopped by {number.name}\n"


HOLDS_PYTHON = """
import asyncio, ctypes, sys
from streamer import signals

async def main():
    with signals.handled(lambda: ctypes.PyDLL(None).sleep(60)):  # as a library that does not let go of Python's lock
        print("ready", file=sys.stderr, flush=True)
        await asyncio.sleep(60)

asyncio.run(main())
"""


@pytest.mark.long
async def test_even_what_holds_python_itself_does_not_hold_up_the_end_for_ever(tmp_path):
    async with started(tmp_path, sys.executable, "-c", HOLDS_PYTHON) as puppetcast:
        await puppetcast.says("ready")
        puppetcast.signal(signal.SIGTERM)
        assert await puppetcast.ended() == 1
        assert f"Timeout (0:00:{STUCK_S:02g})" in puppetcast.log, "and it says where the threads are"


class RefusesTheSecond(MeshEngine):
    """Cannot use the second portrait that it is given."""

    given = 0

    def prepare(self, *portrait):
        self.given += 1
        if self.given > 1:
            raise PuppetError("this one cannot be used")
        return super().prepare(*portrait)


def test_a_start_that_fails_leaves_no_thread():
    before = set(threading.enumerate())
    start = time.monotonic()
    with (
        pytest.raises(PuppetError, match="this one cannot be used"),
        run_server(RefusesTheSecond(faces_by(None)), streams={"live": {}, "second": {"portrait": "drawing"}}),
    ):
        pytest.fail("it started")
    assert time.monotonic() - start < 30, "what the start raised is handed on, not waited for"
    assert not [thread.name for thread in threading.enumerate() if thread not in before]


async def test_a_source_that_cannot_be_opened_does_not_keep_others_from_starting(shell, tmp_path):
    (tmp_path / "empty.mp4").touch()
    broken = {"source": "file", "path": str(tmp_path / "empty.mp4")}
    async with (
        serving(shell, tmp_path, streams={"live": {"source": "pattern"}, "broken": broken}) as (puppetcast, url),
        httpx.AsyncClient(base_url=url, timeout=LIMIT_S) as http,
    ):
        await puppetcast.says(r"streams\.broken\.path: .*empty\.mp4: .*; the other streams go on")
        await puppetcast.says("test pattern is live")
        assert (await http.get("/api/streams/broken")).json()["source"]["state"] == "failed"
        puppetcast.signal(signal.SIGTERM)
        assert await puppetcast.ended() == 0
    assert "Traceback" not in puppetcast.log


def test_the_drivers_that_the_config_names_are_always_admitted():
    streams = {name: {"source": "pattern"} for name in ("live", "second")}
    with (
        run_server(streams=streams, device={"min_fps": 120}) as server,
        httpx.Client(base_url=server.url, timeout=LIMIT_S) as http,
        http.stream("GET", "/api/events") as events,
    ):
        live: set[str] = set()
        for line in events.iter_lines():
            if line.startswith("data:"):
                state = json.loads(line[5:])
                live |= {state["name"]} if state["source"]["state"] == "live" else set()
            if len(live) == 2:
                break
        assert http.get("/api/devices").json()[0]["fps_with_one_more"] < 120, "nobody else would be let in"
