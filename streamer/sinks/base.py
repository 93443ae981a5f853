"""What every output is, and what is known of it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

import av

from pipeline.frames import AnimatedFrame

from ..stream.stream import Stream


class OutputState(StrEnum):
    """Where an output is. waiting: before the next try; ended: closed as it should be; failed: for good."""

    STARTING = "starting"
    LIVE = "live"
    WAITING = "waiting"
    ENDED = "ended"
    FAILED = "failed"


OVER = (OutputState.ENDED, OutputState.FAILED)


@dataclass
class OutputStatus:
    """Written by who runs the output, read by anyone. detail: why it is not live, in words; frames: written; dropped:
    left out because the output was too slow."""

    kind: str
    name: str
    state: OutputState = OutputState.STARTING
    detail: str = ""
    frames: int = 0
    dropped: int = 0


class Output(Protocol):
    """Writes animated frames somewhere; used by one thread. Every method raises SinkError.

    Times are seconds on the clock of the frames' capture.
    """

    kind: str
    name: str
    takes_sound: bool
    began_s: float | None  # when those who look at it saw its first picture; None where they may begin anywhere

    def open(self, first: AnimatedFrame, time_s: float) -> None:
        """Get ready for pictures like the first, which is of this time."""

    def write(self, frame: AnimatedFrame, time_s: float) -> None:
        """Write a frame of this time."""

    def write_sound(self, chunk: av.AudioFrame, time_s: float) -> None:
        """Write 20 ms of sound that is due at this time."""

    def close(self) -> None:
        """Finish what was begun; also after a failure."""

    def abort(self) -> None:
        """From another thread: let a call that hangs fail."""


class Running(Protocol):
    """An output at work, whatever drives it: a thread (`OutputRunner`) or the event loop (`WhipPush`)."""

    @property
    def status(self) -> OutputStatus:
        """What there is to say of it now."""

    def start(self, stream: Stream) -> None:
        """Take the stream's frames from now on."""

    def finish(self) -> None:
        """Take no more frames, and begin to end."""

    async def stop(self, timeout_s: float = ...) -> None:
        """`finish`, and wait; what does not end in time is made to."""
