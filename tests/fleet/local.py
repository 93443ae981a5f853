"""A fleet on this machine, without Ray: workers are processes, the director and the fronts run on a thread of the test's."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from streamer.app import Server
from streamer.config import Config
from streamer.fleet.base import At, DirectorAway, key_of
from streamer.fleet.director import Engine, FleetDirector
from streamer.fleet.front import create_front
from streamer.fleet.worker import EVERYWHERE, VERSION
from streamer.http.web import WebServer, address_for, listen

from ..waiting import LIMIT_S, LOOK_S
from .workers import WORD, Workers

T = TypeVar("T")
EPOCH = "0a0b0c0d"


class Local:
    """urls: of the fronts."""

    def __init__(self, engine: Engine, config: Config, fronts: int, secret: str) -> None:
        self.director = FleetDirector(engine, config.fleet, WORD, config.auth.token)
        self.engine, self.config, self._secret = engine, config, secret
        self._servers: list[WebServer] = []
        self._listeners = [listen("127.0.0.1", 0) for _ in range(fronts)]
        self.urls = [address_for(config, each.getsockname()[1]) for each in self._listeners]
        self._loop = asyncio.new_event_loop()
        self._ready: Future[None] = Future()

    @property
    def url(self) -> str:
        return self.urls[0]

    def ask(self, question: Coroutine[Any, Any, T]) -> T:
        """Of the director, on its own loop."""
        return asyncio.run_coroutine_threadsafe(question, self._loop).result(LIMIT_S)

    @contextmanager
    def running(self, streams: dict[str, Any]) -> Iterator[Local]:
        """streams: settings of those to begin with."""
        thread = threading.Thread(target=lambda: self._loop.run_until_complete(self._run(streams)), name="fleet")
        thread.start()
        try:
            self._ready.result(LIMIT_S)
            yield self
        finally:
            for server in self._servers:
                server.should_exit = True
            thread.join(LIMIT_S)
            self._loop.close()
            for listener in self._listeners:
                listener.close()
            assert not thread.is_alive(), "the fleet did not stop"

    async def _run(self, streams: dict[str, Any]) -> None:
        self._directing = asyncio.create_task(self.director.run(streams))
        apps = [create_front(self.director, self.config, self._secret) for _ in self._listeners]
        self._servers = [_served(app, self.config) for app in apps]
        serving = [asyncio.create_task(s.serve(sockets=[each])) for s, each in zip(self._servers, self._listeners, strict=True)]
        try:
            await self._placed(streams)
            self._ready.set_result(None)
            await asyncio.gather(*serving)
        except BaseException as exc:
            if self._ready.done():
                raise
            self._ready.set_exception(exc)
        finally:
            for server in self._servers:
                server.should_exit = True
            await asyncio.gather(*serving, return_exceptions=True)
            for app in apps:
                await app.state.proxy.close()
            await self._no_director()

    async def _no_director(self) -> None:
        self._directing.cancel()
        await asyncio.gather(self._directing, return_exceptions=True)

    def end_director(self) -> None:
        """It is away from now on."""
        self.ask(self._no_director())

    async def _placed(self, streams: dict[str, Any]) -> None:
        async with asyncio.timeout(LIMIT_S):
            while not await self._is_there():  # noqa: ASYNC110
                await asyncio.sleep(LOOK_S)
        for name in streams:
            await self.director.where(name)

    async def _is_there(self) -> bool:
        try:
            return bool(await self.director.workers())
        except DirectorAway:
            return False


def _served(app: Any, config: Config) -> WebServer:
    server = WebServer(app, 1.5, config.http)
    server.on_ready = server.on_shutdown = lambda: None
    return server


@contextmanager
def fleet(
    folder: Path, *names: str, fronts: int = 1, streams: dict[str, Any] | None = None, secret: str = WORD, **sections: Any
) -> Iterator[tuple[Local, Workers]]:
    """Workers of these names, a director and its fronts. secret: that the fronts have."""
    own = {"http": {"port": 0, "max_listeners_per_address": 1000}, "fleet": {"dead_after_ms": 20_000}}
    sections = {key: {**own.get(key, {}), **sections.get(key, {})} for key in own | sections}
    workers = Workers(folder, **sections)
    try:
        workers.start(*names)
        with Local(workers, Config(**sections), fronts, secret).running(streams or {}) as local:
            yield local, workers
    finally:
        workers.end()


@contextmanager
def behind(server: Server, config: Config) -> Iterator[None]:
    """Let a server, which has the key `as_worker` gives, be a fleet of one: its url is then the front's."""
    at = At("w0", EPOCH, server.url, VERSION)
    config = config.model_copy(update={"fleet": config.fleet.model_copy(update={"dead_after_ms": 20_000})})  # on a busy machine
    with Local(OneWorker(at), config, 1, WORD).running({name: {} for name in server.control.streams}) as local:
        server.url, server.front = local.url, local  # type: ignore[attr-defined]
        yield


def as_worker(config: Config) -> tuple[Config, str]:
    """A test's config as that of a worker, and its key."""
    http = config.http.model_copy(update={"trusted_proxies": EVERYWHERE, "tls_certificate": None, "tls_key": None})
    return config.model_copy(update={"http": http}), key_of(WORD, "w0", EPOCH)


class OneWorker:
    """An engine whose one worker is a server of the test's own process."""

    def __init__(self, at: At) -> None:
        self._at = at

    async def workers(self) -> list[At]:
        return [self._at]

    async def read(self) -> dict[str, str]:
        return {}

    async def keep(self, key: str, text: str) -> None: ...

    async def forget(self, key: str) -> None: ...
