"""What of a stream's source and outputs there is to say."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Literal, Protocol, runtime_checkable

from pipeline.frames import AnimatedFrame
from pipeline.heartbeat import Heartbeat

from ..config import Kind

HANG_S = 5.0  # a thread or task that is at one piece of work for longer hangs


class SourceState(StrEnum):
    """Where a source is. starting: opening; live: frames come; stalled: none for a while; waiting: before the next try;
    failed: no try will come, or only a slow one."""

    STARTING = "starting"
    LIVE = "live"
    STALLED = "stalled"
    WAITING = "waiting"
    FAILED = "failed"


@dataclass
class SourceStatus:
    """Written by who reads the source, read by anyone. detail: why it is not live, in words; restarts: how often it was
    opened again; lag_s: seconds by which its pictures have fallen behind, by its own clock, where it has one."""

    name: str
    state: SourceState = SourceState.STARTING
    detail: str = ""
    restarts: int = 0
    lag_s: float | None = None


@dataclass(frozen=True)
class EncoderStatus:
    """What an encoder does. bitrate: bits per second; dropped: frames that were not sent to some viewer."""

    codec: str
    viewers: int
    bitrate: int
    frames: int
    key_frames: int
    dropped: int


class Sink(Protocol):
    """Takes animated frames, labelled as those who look at them are to see them, and nothing else. kind: who they are; seen_s:
    when the newest of them began to look, on the stream's clock, None for a label that shows all along."""

    kind: Kind

    @property
    def seen_s(self) -> float | None:
        """See above."""

    def offer(self, frame: AnimatedFrame) -> None:
        """Take a frame; never blocks, keeps only the newest."""


@runtime_checkable
class SharedSink(Sink, Protocol):
    """One that encodes once for all its viewers."""

    def encoder(self) -> EncoderStatus:
        """What it does now."""


@dataclass(frozen=True)
class Part:
    """A thread or task that a stream depends on. name: for people; restart: leaves it behind and begins anew; limit_s: how long
    a piece of its work may take."""

    name: str
    heart: Heartbeat
    restart: Callable[[], Coroutine[Any, Any, None]]
    limit_s: float = HANG_S


@runtime_checkable
class Supervised(Protocol):
    """A sink or a driver with a thread or task of its own."""

    def part(self) -> Part:
        """What it is now."""


@dataclass(frozen=True)
class Who:
    """Who drives, as it may be kept. kind: camera (published over WebRTC), demo or source; name: of a source, without what is
    secret of it; address: the network that a camera is published from."""

    kind: Literal["camera", "source", "demo"]
    name: str = ""
    address: str = ""


class Drives(Protocol):
    """Who drives a stream: a browser's session, or a source that the server reads. status: of a source; passes: that were
    shown, and what else may be one."""

    @property
    def who(self) -> Who:
        """For the log of drives."""

    @property
    def passes(self) -> Sequence[str]: ...

    @property
    def status(self) -> SourceStatus | None:
        """What there is to say of it now."""

    async def end(self) -> None:
        """Stop driving; back when nothing more comes."""


class Named(Drives, Protocol):
    """A driver that the config names: it can begin again."""

    def start(self) -> None:
        """Begin to drive."""
