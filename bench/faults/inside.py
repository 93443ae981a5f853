"""The server under test, and what goes wrong inside it when it is told so by a pipe."""

from __future__ import annotations

import os
import resource
import signal
import socket
import threading
import time
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

from bench import stamp
from bench.live import StampedEngine
from pipeline import models
from pipeline.engine import open_engine
from pipeline.face.faces import faces_by
from pipeline.frames import Driving, Image
from streamer.app import Server, run
from streamer.config import Config
from streamer.errors import ConfigError
from streamer.stream.stream import Stream
from streamer.webrtc.broadcast import Broadcast
from tests.lossy_link import enter_host

SIDE = 256  # of the animated picture: small, as it is not the engine that is measured


class FaultyEngine(StampedEngine):
    """The mesh engine, which gives what it is told to. pictures: makes wrong ones of right ones; track: what its trackers see."""

    def __init__(self) -> None:
        super().__init__(open_engine("mesh", faces_by(models.find(models.FACE_LANDMARKER))), 0.0)
        self.pictures: Callable[[list[Image]], Any] = lambda pictures: pictures
        self.track: Callable[[Any], Any] = lambda landmarks: landmarks

    def open(self) -> Any:
        return _Puppeteer(self._engine.open(), self)

    def submit(self, work: Sequence[tuple[Any, Any]]) -> Callable[[], list[Image]]:
        right = super().submit(work)
        return lambda: self.pictures(right())


class _Puppeteer:
    def __init__(self, puppeteer: Any, engine: FaultyEngine) -> None:
        self._puppeteer = puppeteer
        track = puppeteer.tracker.track
        puppeteer.tracker.track = lambda image, time_s: engine.track(track(image, time_s))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._puppeteer, name)

    def follow(self, driving: Driving) -> tuple[int, Any]:
        return stamp.read(driving.image), self._puppeteer.follow(driving)


class Inside:
    """The server, with its parts at hand."""

    def __init__(self, server: Server, engine: FaultyEngine) -> None:
        self.server, self.engine = server, engine

    @property
    def stream(self) -> Stream:
        return self.server.control.streams["live"]

    @property
    def broadcast(self) -> Broadcast:
        return next(sink for sink in self.stream.sinks if isinstance(sink, Broadcast))

    def on_loop(self, act: Callable[[], object]) -> None:
        self.stream._loop.call_soon_threadsafe(act)

    def state(self) -> dict[str, Any]:
        return {"restarts": self.server.control.supervisor.restarts.total(), "stalled": self.server.control.supervisor.stalled()}


def broken(*_: object) -> Any:
    raise RuntimeError("broken on purpose")


def out_of_memory(*_: object) -> Any:
    raise MemoryError


def once(do: Callable[[Any], Any], inside: Inside, what: str) -> None:
    """Let the engine's next `what` be given to `do`, and no more."""
    right = getattr(inside.engine, what)

    def act(value: Any) -> Any:
        setattr(inside.engine, what, right)
        return do(value)

    setattr(inside.engine, what, act)


def for_a_second(do: Callable[[Any], Any], inside: Inside, what: str) -> None:
    right = getattr(inside.engine, what)
    setattr(inside.engine, what, do)
    time.sleep(1)
    setattr(inside.engine, what, right)


def sleeper(seconds: float) -> Callable[[Any], Any]:
    def sleep(value: Any) -> Any:
        time.sleep(seconds)
        return value

    return sleep


def kill_stage(inside: Inside) -> None:
    """What is no error of the engine's: a fault in the stage's own thread."""
    inside.stream.stage.take = broken  # type: ignore[method-assign]


def kill_follower(inside: Inside) -> None:
    inside.stream.lane.step = broken  # type: ignore[method-assign,assignment]


def break_encoder(inside: Inside, do: Callable[..., Any]) -> None:
    encoder = inside.broadcast._encoder
    right = encoder.encode

    def encode(*args: Any) -> Any:
        encoder.encode = right  # type: ignore[method-assign]
        return do(*args)

    encoder.encode = encode  # type: ignore[method-assign,assignment]


def kill_broadcast(inside: Inside) -> None:
    inside.on_loop(lambda: setattr(inside.broadcast, "_send", broken))
    time.sleep(0.3)
    inside.on_loop(lambda: vars(inside.broadcast).pop("_send", None))


def step_clock(inside: Inside) -> None:
    """An hour on, two back, and right again: for this process alone."""
    right = time.time
    for off_s in (3600, -7200):
        time.time = lambda off_s=off_s: right() + off_s  # type: ignore[assignment,misc]
        time.sleep(0.5)
    time.time = right


def no_names(inside: Inside) -> None:
    """Names are not resolved for two seconds."""
    right = socket.getaddrinfo

    def fail(*_: object, **__: object) -> Any:
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    socket.getaddrinfo = fail
    time.sleep(2)
    socket.getaddrinfo = right


def mistaken(inside: Inside) -> None:
    """The config is read anew, and has a mistake."""

    def read() -> Config:
        raise ConfigError("line 1: a mistake on purpose")

    inside.server._read = read
    os.kill(os.getpid(), signal.SIGHUP)


def wrong(pictures: list[Image]) -> list[Image]:
    return [np.zeros((len(picture) // 2 // 3 * 3, picture.shape[1] // 2 // 2 * 2), np.uint8) for picture in pictures]


FAULTS: dict[str, Callable[[Inside], object]] = {
    "state": Inside.state,
    "engine raises": lambda inside: once(broken, inside, "pictures"),
    "engine raises for 1 s": lambda inside: for_a_second(broken, inside, "pictures"),
    "engine out of memory": lambda inside: once(out_of_memory, inside, "pictures"),
    "too few pictures": lambda inside: once(lambda pictures: pictures[:-1], inside, "pictures"),
    "wrong size": lambda inside: once(wrong, inside, "pictures"),
    "float picture": lambda inside: once(lambda ps: [p.astype(np.float32) for p in ps], inside, "pictures"),
    "no picture": lambda inside: once(lambda pictures: None, inside, "pictures"),
    "engine hangs": lambda inside: once(sleeper(9), inside, "pictures"),
    "stage dies": kill_stage,
    "tracker raises for 1 s": lambda inside: for_a_second(broken, inside, "track"),
    "tracker NaN": lambda inside: once(lambda found: found * np.nan if found is not None else None, inside, "track"),
    "tracker 1e30": lambda inside: once(lambda found: found * 1e30 if found is not None else None, inside, "track"),
    "tracker hangs": lambda inside: once(sleeper(9), inside, "track"),
    "follower dies": kill_follower,
    "encoder raises": lambda inside: break_encoder(inside, broken),
    "encoder hangs": lambda inside: break_encoder(inside, lambda *_: time.sleep(9)),
    "encoder dies": kill_broadcast,
    "sound dies": lambda inside: inside.on_loop(lambda: inside.stream.audio._task.cancel()),
    "loop blocked 2 s": lambda inside: inside.on_loop(lambda: time.sleep(2)),
    "clock stepped": step_clock,
    "names gone": no_names,
    "mistaken config": mistaken,
}


def serve(pipe: Connection, sections: dict[str, Any], limits: dict[int, int], host: str) -> None:
    """Serve until the pipe says to end. limits: of the process (setrlimit), before anything is loaded but this module. host: a
    network namespace to be in."""
    for which, value in limits.items():
        resource.setrlimit(which, (value, value))
    if host:
        enter_host(host)
    engine = FaultyEngine()
    server = Server(Config.model_validate(sections), engine, read=lambda: Config.model_validate(sections))
    inside = Inside(server, engine)

    def answer() -> None:
        while (asked := pipe.recv()) is not None:
            pipe.send(FAULTS[asked](inside))
        server.stop()

    threading.Thread(target=answer, daemon=True).start()
    run(server.serve(pipe.send))
