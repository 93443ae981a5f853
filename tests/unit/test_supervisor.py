"""A device that is lost: streams go on with another engine, or the process ends with a code, and all of it is told."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, Literal

import httpx
import pytest

from pipeline.engine import Engine
from pipeline.errors import DeviceLost, PortraitError
from streamer.app import Server
from streamer.config import Auth, Budget, Config, Device, Puppet
from streamer.control.state import device_of
from streamer.http.access import Access
from streamer.http.metrics import exposition
from streamer.http.server import create_app
from streamer.stream.admission import Admission
from streamer.stream.stages import Stages
from streamer.stream.stream import Shown, Stream
from streamer.stream.supervisor import EXIT_CODE, Supervisor

from ..fakes import FakeEngine, FakePrepared, LoopTime, VirtualStage, WallTime, camera_frame
from ..virtual_time import virtual

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

    async def drive(self, seconds: float) -> None:
        for _ in range(round(30 * seconds)):
            await asyncio.sleep(1 / 30)
            for stream in self.streams.values():
                stream.intake.put(camera_frame(100, self.time()))


async def ready(house: House) -> tuple[int, object]:
    """What `/readyz` says."""
    control: Any = SimpleNamespace(streams=house.streams, gallery=None, outputs=SimpleNamespace(library=None))
    nobody: Any = None
    app = create_app(control, nobody, nobody, Access(Auth()), Config())
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1") as http:
        answer = await http.get("/readyz")
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
        streams[name] = Stream(name, stage, stage.engine.open(), shown, Budget(), Puppet(), admission, stages.run, time)
        streams[name].start()

    async def prepared(engine: Engine, key: str) -> Shown:
        if key == unfit:
            raise PortraitError("no face was found")
        return Shown(key, FakePrepared(key))

    codes: list[int] = []
    watching = asyncio.create_task(Supervisor(limits, stages, streams, defaultdict(asyncio.Lock), prepared, codes.append).run())
    house = House(time, stages, engines["liveportrait"], streams, admission, codes)
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
        told = SimpleNamespace(states=list, devices=lambda: [device_of(stage, house.admission) for stage in house.engines.stages])
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
