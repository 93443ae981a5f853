"""Of two directors one directs: the fronts are told what that one says, whichever it is, and whatever the other does."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any

import pytest

from streamer.errors import UnknownStream
from streamer.fleet import ray_engine
from streamer.fleet.base import DirectorAway

from ..virtual_time import now, virtual

Said = Callable[[], Awaitable[Any]]


class RayError(Exception):
    """As Ray's."""


async def stands_in() -> None: ...


async def directs() -> Any:
    return ["live"], None


async def has_ended() -> Any:
    raise RayError


async def is_lost() -> Any:
    """A question to one that is begun anew."""
    await asyncio.Event().wait()


async def refuses() -> Any:
    return None, ("UnknownStream", "no stream 'x'")


async def works() -> Any:
    await asyncio.sleep(ray_engine.DO_S - 1)
    return "w0", None


def after(seconds: float, said: Said) -> Said:
    """What has ended its life as a stand-in by then."""
    return lambda: said() if now() >= seconds else stands_in()


@pytest.fixture
def ask(monkeypatch):
    """A front's question to two directors, of which each says what it is given, or is not there."""

    def asked(*said: Said | None) -> ray_engine.RayDirector:
        every = dict(zip(ray_engine.DIRECTORS, said, strict=True))

        def get_actor(name: str, namespace: str) -> Any:
            if (says := every[name]) is None:
                raise ValueError(name)
            return SimpleNamespace(call=SimpleNamespace(remote=lambda method, *args: says()))

        ray = SimpleNamespace(get_actor=get_actor, exceptions=SimpleNamespace(RayError=RayError))
        monkeypatch.setattr(ray_engine, "_ray", lambda: ray)
        return ray_engine.RayDirector()

    return asked


@virtual
async def test_the_one_that_directs_is_heard_at_once_whatever_the_other_is(ask):
    for other in (stands_in, has_ended, is_lost, None):
        assert await ask(directs, other).streams() == ["live"]
        assert await ask(other, directs).streams() == ["live"]
    assert now() == 0


@virtual
async def test_the_stand_in_is_heard_once_it_directs(ask):
    for gone in (has_ended, is_lost, None):
        begin = now()
        assert await ask(gone, after(begin + 1, directs)).streams() == ["live"]
        assert now() - begin == pytest.approx(1, abs=ray_engine.AGAIN_S)


@virtual
async def test_what_takes_long_is_waited_for_and_what_nobody_answers_is_not(ask):
    assert await ask(works, stands_in).where("live") == "w0"
    for one, other in ((has_ended, has_ended), (is_lost, has_ended), (stands_in, stands_in), (None, None)):
        begin = now()
        with pytest.raises(DirectorAway, match="does not answer"):
            await ask(one, other).streams()
        assert now() - begin <= ray_engine.ASK_S


@virtual
async def test_an_error_of_the_one_that_directs_is_that_error(ask):
    with pytest.raises(UnknownStream, match="no stream 'x'"):
        await ask(stands_in, refuses).delete("x")
