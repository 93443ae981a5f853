"""A device that is lost: streams go on with another engine, or the process ends with a code, and all of it is told."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Literal

import pytest

from pipeline.engine import Engine
from pipeline.errors import DeviceLost, PortraitError
from streamer.config import Budget, Device, Puppet
from streamer.stream.admission import Admission
from streamer.stream.stages import Stages
from streamer.stream.stream import Shown, Stream
from streamer.stream.supervisor import EXIT_CODE, Supervisor, unready

from ..fakes import FakeEngine, FakePrepared, LoopTime, VirtualStage, camera_frame
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
    codes: list[int]

    async def drive(self, seconds: float) -> None:
        for _ in range(round(30 * seconds)):
            await asyncio.sleep(1 / 30)
            for stream in self.streams.values():
                stream.intake.put(camera_frame(100, self.time()))


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
    for name in "ab":
        shown = Shown(name, FakePrepared(name))
        streams[name] = Stream(
            name, stage, stage.engine.open(), shown, Budget(), Puppet(), Admission(limits, streams), stages.run, time
        )
        streams[name].start()

    async def prepared(engine: Engine, key: str) -> Shown:
        if key == unfit:
            raise PortraitError("no face was found")
        return Shown(key, FakePrepared(key))

    codes: list[int] = []
    watching = asyncio.create_task(Supervisor(limits, stages, streams, defaultdict(asyncio.Lock), prepared, codes.append).run())
    house = House(time, stages, engines["liveportrait"], streams, codes)
    await house.drive(1)
    assert unready(streams) == {}
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
        assert unready(house.streams) == {}
        assert [stage.lost for stage in house.engines.stages] == [WHY, ""]
        assert house.codes == []


@virtual
async def test_a_stream_that_cannot_go_on_is_not_ready() -> None:
    async with housed(unfit="a") as house:
        house.engine.fault = lost
        await house.drive(1)
        assert [stream.engine.name for stream in house.streams.values()] == ["liveportrait", "mesh"]
        assert unready(house.streams) == {"a": WHY}


@virtual
async def test_a_supervisor_gets_an_exit_code() -> None:
    async with housed("exit") as house:
        house.engine.fault = lost
        await house.drive(1)
        assert house.codes == [EXIT_CODE]
        assert unready(house.streams) == dict.fromkeys("ab", WHY)
