"""When a source is opened again, and what is said of it meanwhile; in virtual time."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager

import av
import pytest

from pipeline.frames import TimedFrame
from streamer.errors import SourceError
from streamer.sources.driver import SLOW_S, Driver
from streamer.stream.intake import Intake
from streamer.stream.status import SourceState

from ..virtual_time import now, virtual

Act = Callable[[Intake, threading.Event], Awaitable[None]]
PICTURE = av.VideoFrame(16, 16, "yuv420p")


class Scripted:
    """A source whose every opening does the next act of a script; the last one again and again."""

    name = "scripted"
    live = True

    def __init__(self, *acts: Act) -> None:
        self.acts = list(acts)
        self.opened_s: list[float] = []

    def check(self) -> None:
        """It can be opened."""

    def read(self, out: Intake, stop: threading.Event) -> None:
        raise AssertionError("read on the loop instead")

    def reading(self, source: object, out: Intake, stop: threading.Event) -> asyncio.Future[None]:
        self.opened_s.append(now())
        act = self.acts.pop(0) if len(self.acts) > 1 else self.acts[0]
        return asyncio.ensure_future(act(out, stop))


def frames(count: int, then: Act) -> Act:
    async def act(out: Intake, stop: threading.Event) -> None:
        for _ in range(count):
            await asyncio.sleep(0.04)
            out.put(TimedFrame(PICTURE, now()))
        await then(out, stop)

    return act


def fails(retry: bool = True, slow: bool = False) -> Act:
    async def act(out: Intake, stop: threading.Event) -> None:
        raise SourceError("scripted: away", retry=retry, slow=slow)

    return act


async def ends(out: Intake, stop: threading.Event) -> None:
    """The other side has ended."""


async def hangs(out: Intake, stop: threading.Event) -> None:
    while not stop.is_set():  # noqa: ASYNC110  (a thread sets it)
        await asyncio.sleep(0.1)


async def breaks(out: Intake, stop: threading.Event) -> None:
    raise ZeroDivisionError


@asynccontextmanager
async def driven(*acts: Act, stale_after_s: float = 5.0):
    source, out = Scripted(*acts), Intake()
    driver = Driver(source, out, stale_after_s, reading=source.reading)
    driver.start()
    yield driver, source
    await driver.end()


def gaps(source: Scripted) -> list[float]:
    return [b - a for a, b in zip(source.opened_s, source.opened_s[1:], strict=False)]


@virtual
async def test_tries_come_ever_more_slowly() -> None:
    async with driven(fails()) as (driver, source):
        await asyncio.sleep(20)
        assert driver.status.state is SourceState.WAITING
        assert driver.status.detail == "scripted: away"
        wanted = (1, 2, 3, 3)
        assert all(0.8 * w <= gap <= 1.2 * w for gap, w in zip(gaps(source), wanted, strict=False))
        assert driver.status.restarts == len(source.opened_s) - 1


@virtual
async def test_one_that_worked_for_a_while_is_opened_soon() -> None:
    async with driven(fails(), fails(), fails(), frames(50, ends), fails()) as (_, source):
        await asyncio.sleep(20)
        assert gaps(source)[3] <= 50 * 0.04 + 0.5 * 1.2


@virtual
async def test_a_silent_one_is_stalled_and_opened_again() -> None:
    async with driven(frames(3, hangs), stale_after_s=2) as (driver, source):
        await asyncio.sleep(1)
        assert driver.status.state is SourceState.LIVE
        await asyncio.sleep(1.6)
        assert driver.status.state is not SourceState.LIVE
        assert driver.status.detail == "scripted: no frame for 2 s"
        await asyncio.sleep(1.6)
        assert len(source.opened_s) == 2
        assert driver.status.state is SourceState.LIVE
        assert driver.status.detail == ""


@virtual
async def test_one_that_never_began_is_left_to_its_own_time_outs() -> None:
    async with driven(hangs, stale_after_s=2) as (driver, source):
        await asyncio.sleep(60)
        assert driver.status.state is SourceState.STARTING
        assert len(source.opened_s) == 1


@virtual
async def test_a_file_may_pause() -> None:
    async with driven(frames(3, hangs), stale_after_s=2) as (driver, source):
        source.live = False
        await asyncio.sleep(60)
        assert driver.status.state is SourceState.LIVE
        assert len(source.opened_s) == 1


@virtual
async def test_what_a_source_waits_for_is_said_until_it_is_live(caplog: pytest.LogCaptureFixture) -> None:
    async def waits(out: Intake, stop: threading.Event) -> None:
        await asyncio.sleep(6)
        out.waits_for = "scripted: no key frame yet"
        await asyncio.sleep(20)
        out.lag_s = 0.1234
        await frames(3, hangs)(out, stop)

    async with driven(waits) as (driver, _):
        await asyncio.sleep(20)
        assert (driver.status.state, driver.status.detail) == (SourceState.STARTING, "scripted: no key frame yet")
        await asyncio.sleep(7)
        assert (driver.status.state, driver.status.detail, driver.status.lag_s) == (SourceState.LIVE, "", 0.12)
        await asyncio.sleep(6)
        assert driver.status.lag_s is None, "it is no more live"
    assert caplog.text.count("no key frame yet") == 1


@virtual
async def test_what_will_hardly_help_is_tried_slowly() -> None:
    async with driven(fails(slow=True)) as (driver, source):
        await asyncio.sleep(SLOW_S * 1.3)
        assert driver.status.state is SourceState.FAILED
        assert len(source.opened_s) == 2


@virtual
async def test_what_cannot_help_is_not_tried() -> None:
    async with driven(fails(retry=False)) as (driver, source):
        await asyncio.sleep(3600)
        assert driver.status.state is SourceState.FAILED
        assert len(source.opened_s) == 1


@virtual
async def test_a_source_that_breaks_is_opened_again(caplog: pytest.LogCaptureFixture) -> None:
    async with driven(breaks, frames(3, hangs)) as (driver, source):
        await asyncio.sleep(3)
        assert driver.status.state is SourceState.LIVE
        assert len(source.opened_s) == 2
    assert "scripted broke" in caplog.text


@virtual
async def test_the_same_line_is_written_once(caplog: pytest.LogCaptureFixture) -> None:
    async with driven(fails()):
        await asyncio.sleep(60)
    assert caplog.text.count("scripted: away") == 1
