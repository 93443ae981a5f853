"""Fixtures: a real server on a free port, the face model, media, and a browser with a clip for a camera."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from filelock import FileLock
from platformdirs import user_cache_path
from playwright.sync_api import Browser, Page

from pipeline import models, threads, wheel
from pipeline.engine import Engine
from pipeline.errors import ModelError
from pipeline.face.faces import litert_can_run
from pipeline.liveportrait.files import is_installed
from pipeline.portrait import DEMO_CLIP
from streamer.app import Server
from streamer.config import Config

from . import browser as browsers
from .media import as_camera, short_clip

if TYPE_CHECKING:
    from .commands import Commands

# What tests compile is found again by the next run: the checkpoints that it would be kept with are made anew each time.
os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(user_cache_path("puppetcast") / "compiled"))
ROOT = Path(__file__).parent.parent
SIGNING = Path(tempfile.gettempdir()) / f"puppetcast-tests-{os.getuid()}"  # where tests' servers keep their key
SHARED = ROOT.parent / "shared"
CLIPS = SHARED / "media" / "driving"
PORTRAITS = SHARED / "media" / "portraits"
# Every test's server is one worker behind the front of a fleet: what clients see is to be the same.
FRONT = bool(os.environ.get("PUPPETCAST_TEST_FRONT"))
LONGEST = (
    "foreign", "page", "liveportrait", "browser", "ray", "endurance", "network_source", "puppet", "outputs", "signals",
    "portraits", "control", "device_path", "mesh", "accessibility", "documents", "front", "director", "mouth_and_eyes",
    "examples", "trackers", "access", "gpu_report", "ice_restart", "consent",
)  # fmt: skip


NEED_TORCH = tuple(
    f"test_{name}.py"
    for name in (
        "device_path", "download", "fake_device", "gpu", "gpu_report", "kernels", "liveportrait", "liveportrait_engine",
        "template", "ways",
    )
)  # fmt: skip


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    return True if collection_path.name in NEED_TORCH and not is_installed() else None


def pytest_configure() -> None:
    if "PUPPETCAST_MODELS" not in os.environ and (SHARED / "models").is_dir():
        os.environ["PUPPETCAST_MODELS"] = str(SHARED / "models")
    for library in ("OMP_NUM_THREADS", "OPENCV_FOR_THREADS_NUM"):
        os.environ.setdefault(library, "1")  # small work is slower on two threads, and on a busy machine much slower
    # A shell's job in the background ignores the one and nohup has the other ignored, and so would all that is begun here.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files first, so that no worker ends with them: each file stays on one worker."""
    items.sort(key=lambda item: next((k for k, name in enumerate(LONGEST) if name in item.path.name), len(LONGEST)))


def pytest_terminal_summary(terminalreporter: Any) -> None:
    skipped = terminalreporter.stats.get("skipped", [])
    if skipped:
        terminalreporter.section("SKIPPED, so not tested here", sep="*")
        for report in skipped:
            terminalreporter.write_line(f"{report.nodeid}: {report.longrepr[2]}")
    if not is_installed():
        terminalreporter.section("PyTorch is absent: NOT TESTED", sep="*")
        terminalreporter.write_line(", ".join(NEED_TORCH))


@pytest.fixture(scope="session")
def model() -> Path:
    found = models.find(models.FACE_LANDMARKER)
    if found is None:
        pytest.skip("the face model is not here; run 'puppetcast models fetch'")
    return found


@pytest.fixture(scope="session")
def litert(made_once) -> Path:
    """The folder of the litert tracker's models, taken out of their package where they are not here."""
    if not litert_can_run():
        pytest.skip("ai-edge-litert is not here: the litert tracker is not tested")
    if wheel.LITERT.is_here():
        return models.folder()

    def fill(folder: Path) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("PUPPETCAST_MODELS", str(folder))
            wheel.fetch(timeout_s=5)

    try:
        return made_once("litert", fill)
    except ModelError as exc:
        pytest.skip(f"the litert tracker's models cannot be had: {exc}")


@pytest.fixture(scope="session")
def clip() -> Callable[[str], Path]:
    def get(name: str) -> Path:
        path = CLIPS / f"{name}.mp4"
        if not path.exists():
            pytest.skip(f"driving clip {name} is not here")
        return path

    return get


@pytest.fixture(scope="session")
def picture() -> Callable[[str], Path]:
    def get(name: str) -> Path:
        path = PORTRAITS / f"{name}.jpg"
        if not path.exists():
            pytest.skip(f"portrait {name} is not here")
        return path

    return get


@pytest.fixture(scope="session")
def conformance() -> Path:
    """The folder of golden files."""
    folder = SHARED / "conformance"
    if not folder.is_dir():
        pytest.skip("the conformance data is not here")
    return folder


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Checkpoints of tiny networks, for everything but what comes out of them."""
    pytest.importorskip("torch", reason="PyTorch is not here; 'make test' installs it")
    from .tiny import make_checkpoints

    return make_checkpoints(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="session")
def shell() -> Iterator[Commands]:
    """Runs the program's commands."""
    from .commands import commands

    with commands() as running:
        yield running


@pytest.fixture(scope="session")
def made_once(tmp_path_factory) -> Callable[[str, Callable[[Path], object]], Path]:
    """A folder of a name that a function fills, once for all workers."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base

    def get(name: str, fill: Callable[[Path], object]) -> Path:
        folder = shared / name
        with FileLock(f"{folder}.lock"):
            if not folder.exists():
                fresh = Path(tempfile.mkdtemp(dir=shared))
                fill(fresh)
                fresh.rename(folder)
        return folder

    return get


@pytest.fixture(scope="session")
def checkpoints(conformance, made_once) -> Path:
    """Full-size checkpoints with reproducible weights (520 MB)."""
    command = [sys.executable, str(conformance / "make_weights.py")]
    return made_once("checkpoints", lambda folder: subprocess.run([*command, str(folder)], check=True))


@contextmanager
def run_server(own_engine: Engine | None = None, front: bool = FRONT, **sections: Any) -> Iterator[Server]:
    """A server of its own on a free port, media on the loopback address. front: it is the one worker of a fleet; its url is that
    of the front, and its `front` the rest of the fleet."""
    data: dict[str, Any] = {
        "http": {"port": 0, "max_listeners_per_address": 1000},
        "downloads": {"fetch": False},
        "portraits": {"keep": False, "ask_whose": "never"},
        "drives": {"keep": False},
        "signing": {"folder": SIGNING},
        # Small pictures, and half as many: what they are is a question of few tests, what they cost is one of all.
        "engine": {"max_side": 256},
        "budget": {"max_frames": 15},
        # Whoever connects to it does so from one address.
        "webrtc": {"bind_addresses": ["127.0.0.1"], "max_sessions_per_address": 1000, "max_connecting_per_address": 1000},
    }
    for key, value in sections.items():
        data[key] = {**data.get(key, {}), **value}
    threads.one_each()  # as in a server's own process
    config, key = Config(**data), ""
    if front:
        from .fleet.local import as_worker, behind

        config, key = as_worker(asked := config)
    server = Server(config, own_engine, key=key)
    ready: Future[str] = Future()
    ended: Future[int] = Future()

    def serve() -> None:
        try:
            ended.set_result(asyncio.run(server.serve(ready.set_result)))
        except BaseException as exc:
            (ended if ready.done() else ready).set_exception(exc)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        ready.result(60)  # or what the start raised
        with behind(server, asked) if front else nullcontext():
            yield server
        server.stop()
        ended.result(30)  # or what it broke by
    finally:
        server.stop()
        thread.join(30)
        assert not thread.is_alive(), "the server did not stop"


@pytest.fixture(scope="session")
def short(tmp_path_factory) -> Path:
    """Twelve frames in which the demo clip moves, with its sound left out."""
    return short_clip(DEMO_CLIP, tmp_path_factory.mktemp("clips") / "short.mp4", start=60)  # it begins to move there


@pytest.fixture
def server() -> Iterator[Server]:
    with run_server() as running:
        yield running


@pytest.fixture(scope="session")
def chromium_of_all(tmp_path_factory) -> Iterator[browsers.Chromium]:
    with browsers.running(tmp_path_factory.mktemp("chromium")) as running:
        yield running


@pytest.fixture(scope="module")
def browser(chromium_of_all) -> Iterator[Browser]:
    """The session's Chromium. Playwright's loop lives as long as the module: tests with an event loop come before it."""
    with chromium_of_all.connected() as connected:
        yield connected


@pytest.fixture(scope="module")
def tab(browser) -> Iterator[Page]:
    """The module's one page: in a new one, opening puppetcast's page takes three times as long."""
    # Playwright's waiting needs eval, which the page's content policy forbids: test_page.py has a page that is held to it.
    context = browser.new_context(bypass_csp=True)
    yield context.new_page()
    context.close()


@pytest.fixture
def page(tab) -> Iterator[Page]:
    """An empty page, with nothing left of other tests; an error of its scripts fails the test."""
    with browsers.as_new(tab):
        yield tab


@pytest.fixture(scope="session")
def camera(chromium_of_all, clip, tmp_path_factory) -> Callable[..., None]:
    """Let the browser's camera play a driving clip's first pictures there and back."""
    folder, made = tmp_path_factory.mktemp("cameras"), {}

    def play(name: str, pictures: int = 60, **options: int) -> None:
        asked = f"{name}-{pictures}-{options}"
        if asked not in made:
            made[asked] = as_camera(clip(name), folder / asked, pictures, **options)
        chromium_of_all.play(made[asked])

    return play
