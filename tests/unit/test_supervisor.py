"""What streams depend on dies, hangs or is lost: it is begun anew or done without, or the process ends; all of it is told."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from configparser import ConfigParser
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal

import httpx
import pytest
from fastapi import FastAPI

from pipeline.engine import Engine
from pipeline.errors import DeviceLost, PortraitError
from pipeline.heartbeat import Heartbeat
from pipeline.mark.marker import UNMARKED
from pipeline.stage import SAMPLES
from streamer import systemd
from streamer.app import Server
from streamer.config import Auth, Budget, Config, Device, Puppet
from streamer.control.state import device_of
from streamer.http.access import Access
from streamer.http.metrics import exposition
from streamer.http.server import create_app
from streamer.signals import STUCK_S
from streamer.stream.admission import Admission
from streamer.stream.background import Background
from streamer.stream.stages import Stages
from streamer.stream.status import HANG_S
from streamer.stream.stream import Shown, Stream
from streamer.stream.supervisor import EXIT_CODE, LOOK_S, Supervisor

from ..conftest import ROOT
from ..fakes import FakeEngine, FakePrepared, LoopTime, VirtualStage, WallTime, camera_frame
from ..virtual_time import now, virtual

WHY = "cuda:0 does not answer any more (an illegal memory access)"


def lost(work: Sequence[object]) -> None:
    raise DeviceLost(WHY)


@dataclass
class House:
    """Two streams on one engine, watched."""

    time: LoopTime
    engines: Stages
    engine: FakeEngine
    streams: dict[str, Stream]
    admission: Admission
    codes: list[int]
    supervisor: Supervisor
    fed: int = 0  # how often the service manager was told that all is well

    def alive(self) -> None:
        self.fed += 1

    @property
    def runner(self) -> VirtualStage:
        """Of the stage that is there now."""
        [runner] = self.engines._runners.values()
        assert isinstance(runner, VirtualStage)
        return runner

    def animated(self) -> list[int]:
        return [stream.screen.stats.animated for stream in self.streams.values()]

    async def drive(self, seconds: float) -> None:
        for _ in range(round(30 * seconds)):
            await asyncio.sleep(1 / 30)
            for stream in self.streams.values():
                stream.intake.put(camera_frame(100, self.time()))


CONTROL: Any = SimpleNamespace(started=True, gallery=None, presets=None, outputs=SimpleNamespace(library=None))


@cache
def app() -> FastAPI:
    nobody: Any = None
    return create_app(CONTROL, nobody, nobody, Access(Auth()), Config(), nobody)


async def ready(house: House, path: str = "/readyz") -> tuple[int, object]:
    """What that says."""
    CONTROL.streams, CONTROL.supervisor = house.streams, house.supervisor
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app()), base_url="http://127.0.0.1") as http:
        answer = await http.get(path)
        return answer.status_code, answer.json()


@asynccontextmanager
async def housed(on_loss: Literal["mesh", "exit"] = "mesh", unfit: str = "") -> AsyncIterator[House]:
    """unfit: a portrait that the engine mesh does not take."""
    time = LoopTime()
    engines = {name: FakeEngine(time, name=name, seconds=0.004, overlaps=name != "mesh") for name in ("liveportrait", "mesh")}
    engines["liveportrait"].on_cpu = False
    stages = Stages(engines.__getitem__, 0.002, VirtualStage, time)
    stage = stages.open("liveportrait")
    await stages.started(stage, FakePrepared())
    limits = Device(on_loss=on_loss)
    streams: dict[str, Stream] = {}
    admission = Admission(limits, streams)
    for name in "ab":
        shown = Shown(name, FakePrepared(name))
        streams[name] = Stream(name, stage, stage.engine.open(), shown, Budget(), Puppet(), admission, stages.run, UNMARKED, time)
        streams[name].start()

    async def prepared(engine: Engine, stream: Stream) -> Shown:
        if stream.shown.id == unfit:
            raise PortraitError("no face was found")
        return Shown(stream.shown.id, FakePrepared(stream.shown.id))

    codes: list[int] = []
    supervisor = Supervisor(limits, stages, streams, prepared, codes.append, clock=time, alive=lambda: house.alive())
    house = House(time, stages, engines["liveportrait"], streams, admission, codes, supervisor)
    watching = asyncio.create_task(supervisor.run())
    await house.drive(1)
    assert await ready(house) == (200, {"ready": True})
    yield house
    watching.cancel()
    await asyncio.gather(*(stream.stop() for stream in streams.values()))
    await stages.stop()


@virtual
async def test_streams_of_a_lost_device_go_on_with_the_other_engine() -> None:
    async with housed() as house:
        house.engine.fault = lost
        await house.drive(1)
        before = {name: stream.screen.stats.animated for name, stream in house.streams.items()}
        await house.drive(1)
        for name, stream in house.streams.items():
            assert stream.engine.name == "mesh"
            assert stream.screen.stats.animated - before[name] == pytest.approx(30, abs=1)
            assert stream.problem == f"liveportrait: {WHY}; restart to use it again"
        assert await ready(house) == (200, {"ready": True})
        told = SimpleNamespace(
            states=list, devices=lambda: [device_of(stage, house.admission) for stage in house.engines.stages],
            supervisor=house.supervisor, config=Config(),
            outputs=SimpleNamespace(library=SimpleNamespace(free_bytes=lambda: 0), signer=None),
        )  # fmt: skip
        assert [device.lost for device in told.devices()] == [WHY, ""]
        assert b'puppetcast_device_lost{engine="liveportrait"} 1.0' in exposition(told)  # type: ignore[arg-type]
        assert b'puppetcast_device_lost{engine="mesh"} 0.0' in exposition(told)  # type: ignore[arg-type]
        assert house.codes == []


@virtual
async def test_a_stream_that_cannot_go_on_is_not_ready() -> None:
    async with housed(unfit="a") as house:
        house.engine.fault = lost
        await house.drive(1)
        assert [stream.engine.name for stream in house.streams.values()] == ["liveportrait", "mesh"]
        assert await ready(house) == (503, {"ready": False, "problems": {"a": WHY}})


@virtual
async def test_a_supervisor_gets_an_exit_code() -> None:
    async with housed("exit") as house:
        house.engine.fault = lost
        await house.drive(1)
        assert house.codes == [EXIT_CODE]
        assert await ready(house) == (503, {"ready": False, "problems": dict.fromkeys("ab", WHY)})


async def test_the_process_ends_with_that_code() -> None:
    server = Server(Config(http={"port": 0}, downloads={"fetch": False}), FakeEngine(WallTime()))  # type: ignore[arg-type]
    assert await server.serve(lambda url: server._end_with(EXIT_CODE)) == EXIT_CODE


def kill(running: Any) -> None:
    """Let a stage or a lane do nothing more, and have died."""
    running.leave()
    running.heart = Heartbeat(lambda: False)


def hang(running: Any, time: LoopTime) -> None:
    """Let it do nothing more, and be at it."""
    running.leave()
    running.heart = Heartbeat(lambda: True, time)
    running.heart.__enter__()


def follower(house: House) -> Any:
    """That of the first stream."""
    return house.streams["a"]._running


PARTS: dict[str, tuple[Callable[[House], Any], list[str]]] = {
    "animation stage of engine liveportrait": (lambda house: house.runner, ["a", "b"]),
    "follower": (follower, ["a"]),
}


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("how", ["dies", "hangs"])
@virtual
async def test_a_thread_that_dies_or_hangs_is_begun_anew(part: str, how: str) -> None:
    find, hit = PARTS[part]
    async with housed() as house:
        if how == "dies":
            kill(find(house))
            house.supervisor.look()
            words = f"{part} has died, and is begun anew"
        else:
            hang(find(house), house.time)
            await house.drive(HANG_S - 0.5)
            assert house.supervisor.stalled() == ""
            house.time.sleep(0.6)
            house.supervisor.look()
            words = f"{part} has been at one piece of work for more than 5 s, and is begun anew"
        assert {name for name, stream in house.streams.items() if stream.stalled == words} == set(hit)
        assert await ready(house, "/healthz") == (503, {"status": "stalled"})
        assert await ready(house) == (503, {"ready": False, "problems": dict.fromkeys(hit, words)})
        await house.drive(1)
        before = house.animated()
        await house.drive(1)
        assert [after - count for after, count in zip(house.animated(), before, strict=True)] == pytest.approx([30, 30], abs=1)
        assert await ready(house, "/healthz") == (200, {"status": "ok"})
        assert await ready(house) == (200, {"ready": True})
        assert house.supervisor.restarts == {("" if part != "follower" else "a", part): 1}


@virtual
async def test_what_dies_again_and_again_is_begun_anew_ever_more_slowly() -> None:
    async with housed() as house:
        fed = house.fed
        for _ in range(240):
            kill(house.runner)
            await asyncio.sleep(LOOK_S)
        assert 6 <= house.supervisor.restarts.total() <= 9, "within a minute"
        assert house.fed - fed < 10, "so who watches the process starts that anew"
        await house.drive(32)
        assert house.supervisor.stalled() == ""
        assert house.fed > fed


@virtual
async def test_a_process_that_was_stopped_for_a_while_has_not_hung() -> None:
    async with housed() as house:
        with house.runner.heart:
            house.time.sleep(20)
            await asyncio.sleep(1)
            assert house.supervisor.stalled() == ""
        assert not house.supervisor.restarts


@virtual
async def test_a_follower_that_waits_for_a_slow_device_has_not_hung() -> None:
    async with housed() as house:
        for _ in range(SAMPLES):
            house.streams["a"].stage.measured(6.0)
        hang(follower(house), house.time)
        await asyncio.sleep(20)
        assert not house.supervisor.restarts


@virtual
async def test_a_stream_whose_frames_all_fail_says_so() -> None:
    async with housed() as house:
        house.streams["a"].driver = house.streams["b"].driver = SimpleNamespace(status=None)  # type: ignore[assignment]
        house.engine.fault = lambda work: 1 / 0
        await house.drive(4)
        assert await ready(house) == (200, {"ready": True})
        await house.drive(2)
        words = "no frame could be animated for more than 5 s; the log says why"
        assert await ready(house) == (503, {"ready": False, "problems": dict.fromkeys("ab", words)})
        assert await ready(house, "/healthz") == (200, {"status": "ok"}), "a new start would not help"
        house.engine.fault = lambda work: None
        await house.drive(1)
        assert await ready(house) == (200, {"ready": True})


@virtual
async def test_who_looks_after_all_is_missed_himself() -> None:
    async with housed() as house:
        house.time.sleep(6)
        assert await ready(house, "/healthz") == (503, {"status": "stalled"})


@virtual
async def test_a_task_that_dies_is_begun_anew(caplog: pytest.LogCaptureFixture) -> None:
    began: list[float] = []

    async def run() -> None:
        began.append(now())
        await asyncio.sleep(1)
        raise RuntimeError("broken")

    task = Background("news", run)
    await asyncio.sleep(2)
    assert task.part().heart.trouble(HANG_S) == "has died"
    assert "news has died" in caplog.text
    assert "broken" in caplog.text
    await task.part().restart()
    await asyncio.sleep(0)
    assert task.part().heart.trouble(HANG_S) == ""
    await task.stop()
    assert began == [0, 2]


def test_a_service_manager_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    for address in (str(tmp_path / "notify"), "@puppetcast-test-" + tmp_path.name):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
            manager.bind(address.replace("@", "\0"))
            monkeypatch.setenv("NOTIFY_SOCKET", address)
            for say in (systemd.ready, systemd.alive, systemd.reloading, systemd.stopping):
                say()
            told = [manager.recv(100).decode().partition("\n")[0] for _ in range(4)]
            assert told == ["READY=1", "WATCHDOG=1", "RELOADING=1", "STOPPING=1"]
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "nobody"))
    systemd.ready()
    assert "No such file" in caplog.text
    monkeypatch.delenv("NOTIFY_SOCKET")
    systemd.ready()


def test_the_service_file_is_one_that_a_service_manager_reads() -> None:
    unit = ConfigParser(interpolation=None)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read(ROOT / "docker" / "puppetcast.service")
    service = unit["Service"]
    assert service["Type"] == "notify"
    assert 10 * LOOK_S < float(service["WatchdogSec"]) < 60
    assert service["ExecReload"].endswith("-HUP $MAINPID")
    assert float(service["TimeoutStopSec"]) > STUCK_S
