"""Waiting for what another thread, process or peer does: the only place where a test looks again and again.

A limit costs nothing when what is awaited comes, so it is generous: no test depends on how fast the machine is. Looking costs
at most a fourth of a core, or on a busy machine what is awaited would come later for it.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from typing import Any, TypeVar

import httpx

from streamer.errors import StreamerError

T = TypeVar("T")
LIMIT_S = 60.0
LOOK_S = 0.02


def wait_until(read: Callable[[], T], seconds: float = LIMIT_S, holds: Callable[[T], object] = bool) -> T:
    """Wait for a value of `read` for which `holds` is true, and return it; AssertionError says what came instead."""
    for value, pause_s in _looks(read, seconds, holds):
        if not pause_s:
            return value
        time.sleep(pause_s)
    raise AssertionError


async def until(read: Callable[[], T], seconds: float = LIMIT_S, holds: Callable[[T], object] = bool) -> T:
    """`wait_until` that lets the event loop work meanwhile."""
    for value, pause_s in _looks(read, seconds, holds):
        if not pause_s:
            return value
        await asyncio.sleep(pause_s)
    raise AssertionError


async def until_told(read: Callable[[], Awaitable[T]], holds: Callable[[T], object] = bool) -> T:
    """`until` for what has to be awaited itself. What raises a StreamerError is read again."""
    problem: T | StreamerError | None = None
    with suppress(TimeoutError):
        async with asyncio.timeout(LIMIT_S):
            while True:
                try:
                    if holds(problem := await read()):
                        return problem
                except StreamerError as exc:
                    problem = exc
                await asyncio.sleep(LOOK_S)
    raise AssertionError(_missed(read, holds, LIMIT_S, problem))


def _looks(read: Callable[[], T], seconds: float, holds: Callable[[T], object]) -> Iterator[tuple[T, float]]:
    """What is read, each time with the pause before the next look; none for what is awaited."""
    end = time.monotonic() + seconds
    while True:
        began = time.monotonic()
        if holds(value := read()):
            yield value, 0.0
        now = time.monotonic()
        assert now < end, _missed(read, holds, seconds, value)
        yield value, max(LOOK_S, 3 * (now - began))


def states(http: httpx.Client, stream: str = "live") -> Iterator[dict[str, Any]]:
    """A stream's states as the server tells them: the present one, and then those of each of its looks."""
    with http.stream("GET", "/api/events", timeout=LIMIT_S) as events:
        told = (json.loads(line[6:]) for line in events.iter_lines() if line.startswith("data: "))
        yield from (state for state in told if state["name"] == stream)


def until_state(
    http: httpx.Client, holds: Callable[[dict[str, Any]], object], stream: str = "live", seconds: float = LIMIT_S
) -> dict[str, Any]:
    """The first state that the server tells of for which `holds` is true."""
    end, state = time.monotonic() + seconds, None
    for state in states(http, stream):
        if holds(state):
            return state
        if time.monotonic() > end:
            break
    raise AssertionError(_missed(holds, bool, seconds, state))


def _missed(read: Callable[..., object], holds: Callable[..., object], seconds: float, last: object) -> str:
    awaited = " ".join(dict.fromkeys(_text(part) for part in (read, holds) if part is not bool))
    return f"not within {seconds:g} s: {awaited}; last: {last}"


def _text(function: Callable[..., object]) -> str:
    """The line that a lambda stands in, or the name of a function."""
    name = getattr(function, "__name__", repr(function))
    return inspect.getsource(function).strip() if name == "<lambda>" else name
