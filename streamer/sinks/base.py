"""What outputs share: a thread of their own, a short queue, and who tries again."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from enum import StrEnum
from typing import Protocol

import av

from pipeline.frames import AnimatedFrame

from ..backoff import Backoff
from ..errors import SinkError
from ..graph import SinkState

log = logging.getLogger(__name__)

HEALTHY_S = 10.0  # after so long the next failure counts as the first
SOUNDS = 200  # of 20 ms: four seconds
STILL_S = 1.0  # a picture that does not change is written again this often


class OutletState(StrEnum):
    """Where an output is. waiting: before the next try; ended: closed as it should be; failed: for good."""

    STARTING = "starting"
    LIVE = "live"
    WAITING = "waiting"
    ENDED = "ended"
    FAILED = "failed"


class Output(Protocol):
    """Writes animated frames somewhere; used by one thread. Every method raises SinkError."""

    kind: str
    name: str
    takes_sound: bool

    def open(self, first: AnimatedFrame) -> None:
        """Get ready for pictures like the first."""

    def write(self, frame: AnimatedFrame, time_s: float) -> None:
        """Write a frame of this time (monotonic seconds)."""

    def write_sound(self, chunk: av.AudioFrame, time_s: float) -> None:
        """Write 20 ms of sound that is due at this time."""

    def close(self) -> None:
        """Finish what was begun; also after a failure."""

    def abort(self) -> None:
        """From another thread: let a call that hangs fail."""


class Outlet:
    """A sink that runs an output on a thread of its own, and starts it again where that can help.

    depth: frames that may wait; more are dropped, the oldest first. on_end: called on the thread when it is over.
    """

    def __init__(self, output: Output, depth: int, on_end: Callable[[Outlet], None] = lambda outlet: None) -> None:
        self.output = output
        self.status = OutletState.STARTING
        self.detail = ""
        self.frames = 0
        self.dropped = 0
        self._frames: deque[tuple[AnimatedFrame, float]] = deque()  # and when each came
        self._sounds: deque[tuple[av.AudioFrame, float]] = deque(maxlen=SOUNDS)
        self._depth = depth
        self._on_end = on_end
        self._changed = threading.Condition()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name=f"{output.kind}-{output.name}", daemon=True)
        self._thread.start()

    def offer(self, frame: AnimatedFrame) -> None:
        """See `graph.Sink`."""
        with self._changed:
            if len(self._frames) >= self._depth:
                self._frames.popleft()
                self.dropped += 1
            self._frames.append((frame, time.monotonic()))
            self._changed.notify()

    def hear(self, chunk: av.AudioFrame, packet: av.Packet | None) -> None:
        """See `audio.SoundSink`."""
        with self._changed:
            self._sounds.append((chunk, time.monotonic()))
            self._changed.notify()

    def state(self) -> SinkState:
        """See `graph.Sink`."""
        return SinkState(codec=self.output.kind, viewers=0, bitrate=0, frames=self.frames, key_frames=0, dropped=self.dropped)

    def finish(self) -> None:
        """Ask the thread to write what waits, and end."""
        with self._changed:
            self._stopping = True
            self._changed.notify()

    def stop(self, timeout_s: float = 5.0) -> bool:
        """`finish` and wait, then make it; whether it did."""
        self.finish()
        self._thread.join(timeout_s)
        if self._thread.is_alive():
            self.output.abort()
            self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        backoff = Backoff(0.5, 1.0, 2.0, 5.0)
        while not self._stopping:
            start_s = time.monotonic()
            try:
                self._write_all()
            except SinkError as exc:
                if str(exc) != self.detail:
                    log.warning("%s%s", exc, "; trying again" if exc.retry and not self._stopping else "")
                self.detail = str(exc)
                if not exc.retry:
                    self.status = OutletState.FAILED
                    break
                self.status = OutletState.WAITING
                wait_s = backoff.after(time.monotonic() - start_s > HEALTHY_S)
                with self._changed:
                    self._changed.wait_for(lambda: self._stopping, wait_s)
            except Exception:  # an output that breaks must not take the stream with it
                log.exception("%s broke", self.output.name)
                self.status, self.detail = OutletState.FAILED, "it broke; the log says how"
                break
        if self.status is not OutletState.FAILED:
            self.status = OutletState.ENDED
        self._on_end(self)

    def _write_all(self) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._frames or self._stopping)
            if not self._frames:
                return
            last = self._frames[0][0]
        try:
            self.output.open(last)
            written_s = time.monotonic()
            while True:
                frame, sounds = self._next()
                for chunk, at_s in sounds:
                    self.output.write_sound(chunk, at_s)
                if frame is None and self._stopping:
                    return
                if frame is None and time.monotonic() - written_s > STILL_S:
                    frame = last, time.monotonic()  # nothing moves
                if frame is not None:
                    last, written_s = frame[0], time.monotonic()
                    self.output.write(*frame)
                    self.frames += 1
                self.status, self.detail = OutletState.LIVE, ""
        finally:
            with contextlib.suppress(SinkError):
                self.output.close()

    def _next(self) -> tuple[tuple[AnimatedFrame, float] | None, list[tuple[av.AudioFrame, float]]]:
        """The next frame, if there is one, and the sound that waits."""
        with self._changed:
            self._changed.wait_for(lambda: self._frames or self._sounds or self._stopping, STILL_S)
            sounds = list(self._sounds)
            self._sounds.clear()
            return (self._frames.popleft() if self._frames else None), sounds
