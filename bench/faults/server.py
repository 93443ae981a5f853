"""A server under test, in a process of its own."""

from __future__ import annotations

import asyncio
import multiprocessing
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any

from streamer.http.whip import SDP as SDP

from .inside import SIDE, serve

LOOPBACK = ["127.0.0.1"]


TOKEN = "rule-of-the-house"


RULE = {"Authorization": f"Bearer {TOKEN}"}


def sections(**more: Any) -> dict[str, Any]:
    """A config for one server; limits that would also count our own many clients, who come from few addresses, are high."""
    base: dict[str, Any] = {
        "http": {"port": 0},
        "auth": {"token": TOKEN, "requests_per_minute": 100_000},
        "webrtc": {
            "bind_addresses": LOOPBACK, "max_sessions": 200, "max_sessions_per_address": 30, "max_sessions_per_token": 200,
            "max_connecting": 64, "max_connecting_per_address": 60,
        },
        "downloads": {"fetch": False}, "portraits": {"keep": False}, "engine": {"max_side": SIDE}, "device": {"min_fps": 1},
        "budget": {"max_age_ms": 3000},  # on a machine that is busy with other things, too, pictures are old and none the worse
    }  # fmt: skip
    for name, section in more.items():
        base[name] = {**base.get(name, {}), **section}
    return base


class Process:
    """A server in a process of its own. url: where it answers."""

    def __init__(self, process: BaseProcess, pipe: Connection) -> None:
        self.process, self._pipe = process, pipe
        self.url: str = pipe.recv()

    async def do(self, fault: str) -> Any:
        """Let a fault happen inside it."""
        self._pipe.send(fault)
        return await asyncio.to_thread(self._pipe.recv)


@contextmanager
def process(config: dict[str, Any], limits: dict[int, int] | None = None, host: str = "") -> Iterator[Process]:
    """One that serves. limits: see `setrlimit`; host: the network namespace that it is in."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    child = context.Process(target=serve, args=(theirs, config, limits or {}, host))
    child.start()
    theirs.close()
    try:
        yield Process(child, ours)
    finally:
        with suppress(OSError):
            ours.send(None)
        child.join(10)
        child.kill()
        child.join()
