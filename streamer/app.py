"""The composition root: puts config, engine, streams, sessions and web server together."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import sys
from collections.abc import Callable, Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Any

import uvicorn

from pipeline import models, threads
from pipeline.engine import Engine, open_engine
from pipeline.errors import ModelError

from .config import Config, Stream
from .control.control import Control, load_portraits
from .errors import ConfigError
from .http.access import Access
from .http.server import create_app
from .limits import Timeouts
from .mqtt.bridge import Bridge
from .sinks.outputs import Outputs
from .sources.base import Source
from .sources.file import FileSource
from .sources.network import NetworkSource
from .sources.pattern import PatternSource
from .sources.webcam import WebcamSource
from .stream.stages import Engines
from .webrtc import aiortc_patches
from .webrtc.broadcasts import Broadcasts
from .webrtc.ice import IceServers
from .webrtc.sessions import Sessions
from .webrtc.whip_push import WhipPush

log = logging.getLogger(__name__)


def face_model(config: Config) -> Path | None:
    """The face model, downloaded if need be; None, and a clear line, where it cannot be had."""
    model = models.FACE_LANDMARKER
    found = models.find(model)
    if found or not config.downloads.fetch:
        return found
    try:
        log.info("downloading the face model (%.1f MB)", model.size / 1e6)
        return models.fetch(model, timeout_s=config.downloads.timeout_s)
    except ModelError as exc:
        log.warning("%s", exc)
        log.warning(
            "no face model: the 'cascade' tracker is used instead, which follows head, mouth and brows roughly. "
            "For the better one, run 'puppetcast models fetch' with network, or put %s into %s and start again.",
            model.file, models.folder(),
        )  # fmt: skip
        return None


def make_source(stream: Stream) -> Source | None:
    """The driving source that the config names; None for a browser."""
    match stream.source:
        case "file":
            return FileSource(Path(stream.path))
        case "webcam":
            return WebcamSource(stream.path, stream.size, stream.fps)
        case "network":
            return NetworkSource(stream.path, stream.transport, Timeouts(stream.open_timeout_s, stream.read_timeout_s))
        case "pattern":
            return PatternSource(stream.fps)
    return None


class Server:
    """startup, serve, shutdown. Raises before it listens if anything in the config cannot be used."""

    def __init__(self, config: Config, engine: Engine | None = None) -> None:
        self.config = config
        model = face_model(config)
        # Where the processor is the device, one core is left to following, encoding and the network.
        settings = replace(config.liveportrait.settings(), threads=max((os.cpu_count() or 2) - 1, 1))
        wanted = [stream.engine or config.engine.name for stream in config.streams.values()]
        engines = Engines(lambda name: engine or open_engine(name, model, settings), config.device.gather_ms / 1000)
        for name in dict.fromkeys(wanted):
            engines.open(name)
        self._sources = {n: s for n, c in config.streams.items() if (s := make_source(c)) is not None}
        for source in self._sources.values():
            source.check()
        rtc = config.webrtc
        ice, self._broadcasts = IceServers(rtc.ice_servers), Broadcasts(rtc)
        outputs = Outputs(config, {"whip": lambda sink: WhipPush(self._broadcasts, ice, sink.target, sink.token)})
        outputs.check()
        self._portraits = load_portraits(config, model)
        aiortc_patches.install(rtc.bind_addresses, rtc.ports)
        self.control = Control(config, engines, model, outputs)
        self._mqtt = Bridge(config.mqtt, self.control) if config.mqtt.url else None
        self.sessions = Sessions(rtc, ice, self._broadcasts)
        self._listener = _listen(config.http.host, config.http.port)
        self.url = f"http://{config.http.host}:{self._listener.getsockname()[1]}"
        self.http = create_app(self.control, self.sessions, ice, Access(config.auth, config.http.allowed_origins))
        web = uvicorn.Config(self.http, log_level="warning", access_log=False, timeout_graceful_shutdown=3)
        self._web = _WebServer(web)

    async def serve(self, on_ready: Callable[[str], None] = lambda url: None) -> None:
        """Run until stopped by a signal or `stop`."""
        await self.control.start(self._sources, self._portraits)
        beside = [] if self._mqtt is None else [asyncio.create_task(self._mqtt.run(), name="mqtt")]
        try:
            self._web.on_ready = lambda: on_ready(self.url)
            self._web.on_shutdown = self.control.changes.close
            await self._web.serve(sockets=[self._listener])
        finally:
            for task in beside:
                task.cancel()
            await asyncio.gather(*beside, return_exceptions=True)
            await self.sessions.close_all()
            await self.control.stop()
            await self._broadcasts.stop()
            self._listener.close()

    def stop(self) -> None:
        """Ask the server to end; from any thread."""
        self._web.should_exit = True


class _WebServer(uvicorn.Server):
    on_ready: Callable[[], None]
    on_shutdown: Callable[[], None]

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.on_ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self.on_shutdown()  # what streams for ever would hold up the end
        await super().shutdown(sockets)


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as exc:
        listener.close()
        raise ConfigError(f"http: cannot listen on {host}:{port} ({exc.strerror}); choose another with --port") from exc
    return listener


def run(main: Coroutine[Any, Any, None]) -> None:
    """Run on uvloop where it exists, with the threads of the numeric libraries bounded."""
    threads.one_each()
    # The default of 5 ms lets a busy stage thread hold up the packets of a frame.
    sys.setswitchinterval(0.001)
    try:
        import uvloop
    except ImportError:
        # aiomqtt waits for sockets, which Windows' own loop cannot; what that one can, subprocesses, is not needed here.
        with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
            runner.run(main)
    else:
        uvloop.run(main)
