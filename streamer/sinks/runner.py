"""Runs an output beside the stream: a short queue, a thread, and another try where that can help."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections import deque

import av

from pipeline.clock import Clock, steady
from pipeline.frames import AnimatedFrame
from pipeline.heartbeat import Heartbeat

from ..config import Kind
from ..errors import SinkError
from ..stream.status import Part
from ..stream.stream import Stream
from .base import OVER, Output, OutputState, OutputStatus
from .retry import Retry

log = logging.getLogger(__name__)

SOUNDS = 200  # of 20 ms: four seconds
STILL_S = 1.0
END_S = 5.0
KINDS = {"recording": Kind.RECORDINGS, "recent": Kind.RECORDINGS, "virtual_camera": Kind.CAMERA}
HANG_S = 30.0  # longer than any time-out of an output


class OutputRunner:
    """A sink that runs an output. A thread does nothing but call `step`, which is told the time and never waits.

    depth: frames that may wait; more are dropped, the oldest first. still_s: a picture that does not change is written again
    this often.
    """

    def __init__(self, output: Output, depth: int, clock: Clock = steady, still_s: float = STILL_S) -> None:
        self.output = output
        self.kind = KINDS.get(output.kind, Kind.PUSH)
        self.status = OutputStatus(output.kind, output.name)
        self._depth = depth
        self._clock, self._still_s = clock, still_s
        self._retry = Retry(self.status, clock)
        self._lock = threading.Lock()
        self._frames: deque[tuple[AnimatedFrame, float]] = deque()  # and when each was captured
        self._sounds: deque[tuple[av.AudioFrame, float]] = deque(maxlen=SOUNDS)
        self._news = threading.Event()
        self._finishing = False
        self._last: AnimatedFrame | None = None  # written; None before the output is open
        self._written_s = 0.0
        self._again_s = float("-inf")
        self._began_s = clock()
        self._ended_s: float | None = None
        self._stream: Stream | None = None
        self._make_thread()

    def _make_thread(self) -> None:
        self._thread = thread = threading.Thread(target=self._run, name=f"{self.output.kind}-{self.output.name}", daemon=True)
        self._heart = Heartbeat(lambda: thread.is_alive() or self.status.state in OVER, self._clock)

    def part(self) -> Part:
        """Its thread."""
        return Part(self.output.name, self._heart, self._restart, HANG_S)

    async def _restart(self) -> None:
        """Begin anew, or make what hangs fail: what it writes cannot be written by another beside it."""
        if self._thread.is_alive():
            self.output.abort()
        else:
            self._make_thread()
            self._thread.start()

    @property
    def seen_s(self) -> float | None:
        """See `Sink`."""
        return self.output.began_s

    @property
    def seconds(self) -> float:
        """How long it has run, or ran."""
        return (self._clock() if self._ended_s is None else self._ended_s) - self._began_s

    def start(self, stream: Stream) -> None:
        """Take the stream's frames, from the last one on, until the output is over."""
        self._stream, self._loop = stream, asyncio.get_running_loop()
        stream.sinks.add(self)
        if self.output.takes_sound:
            stream.audio.sinks.add(self)
        if (latest := stream.seen_by(self)) is not None:
            now = self._clock()
            self._take(latest, latest.captured_s if now - latest.captured_s < self._still_s else now)
        self._thread.start()

    def offer(self, frame: AnimatedFrame) -> None:
        """See `Sink`."""
        # By its capture, as the sound is: how long each is on its way to here depends on the machine.
        self._take(frame, frame.captured_s)

    def _take(self, frame: AnimatedFrame, time_s: float) -> None:
        with self._lock:
            if len(self._frames) >= self._depth:
                self._frames.popleft()
                self.status.dropped += 1
            self._frames.append((frame, time_s))
        self._news.set()

    def hear(self, chunk: av.AudioFrame, packet: av.Packet | None, captured_s: float) -> None:
        """See `SoundSink`."""
        with self._lock:
            self._sounds.append((chunk, captured_s))
        self._news.set()

    def finish(self) -> None:
        """Take no more, write what waits, and end."""
        self._detach()
        self._finishing = True
        self._news.set()

    async def stop(self, timeout_s: float = END_S) -> None:
        """`finish`, wait for the thread, and then make it."""
        self.finish()
        if not await asyncio.to_thread(self._joined, timeout_s):
            log.error("%s does not end", self.output.name)

    def _joined(self, timeout_s: float) -> bool:
        self._thread.join(timeout_s)
        if self._thread.is_alive():
            self.output.abort()
            self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _detach(self) -> None:
        if self._stream is not None:
            self._stream.sinks.discard(self)
            self._stream.audio.sinks.discard(self)

    def _run(self) -> None:
        while True:
            with self._heart:
                wait_s = self.step()
            if self.status.state in OVER:
                break
            self._news.wait(wait_s)
            self._news.clear()
        with contextlib.suppress(RuntimeError):  # the loop has ended, and the stream with it
            self._loop.call_soon_threadsafe(self._detach)

    def step(self) -> float | None:
        """Do what is due. How many seconds nothing is, unless something comes; None for as long as nothing comes."""
        try:
            return self._write() if self._last is not None else self._open()
        except SinkError as exc:
            return self._failed(exc)
        except Exception:  # an output that breaks must not take the stream with it
            log.exception("%s broke", self.output.name)
            return self._failed(SinkError(f"{self.output.name}: it broke; the log says how", retry=False))

    def _open(self) -> float | None:
        wait_s = self._again_s - self._clock()
        if self._finishing and (wait_s > 0 or not self._frames):
            self._over(OutputState.ENDED)
            return None
        if wait_s > 0 or not self._frames:
            return wait_s if wait_s > 0 else None
        first, time_s = self._frames[0]
        self._retry.begin()
        self._last = first  # what was begun is to be closed, though it may fail
        self.output.open(first, time_s)
        return self._write()

    def _write(self) -> float | None:
        with self._lock:
            frame = self._frames.popleft() if self._frames else None
            sounds = list(self._sounds)
            self._sounds.clear()
        for chunk, time_s in sounds:
            self.output.write_sound(chunk, time_s)
        if frame is None and self._finishing:
            self.output.close()
            self._over(OutputState.ENDED)
            return None
        now = self._clock()
        if frame is None and self._last is not None and now - self._written_s >= self._still_s:
            frame = self._last, now
        if frame is not None:
            self.output.write(*frame)
            self._last, self._written_s = frame[0], now
            self.status.frames += 1
            self._retry.live()
        return 0.0 if self._frames or self._finishing else self._written_s + self._still_s - now

    def _failed(self, exc: SinkError) -> float | None:
        if self._last is not None:
            with self._lock:
                if not self._frames:  # while nothing moves, no other comes with which to try again
                    self._frames.append((self._last, self._clock()))
            self._last = None
            with contextlib.suppress(SinkError):  # the first failure tells more
                self.output.close()
        if self._finishing:
            exc = SinkError(str(exc), retry=False)  # there is nobody to try again for
        wait_s = self._retry.failed(exc)
        if wait_s is None:
            self._over(OutputState.FAILED)
        else:
            self._again_s = self._clock() + wait_s
        return wait_s

    def _over(self, state: OutputState) -> None:
        self.status.state, self._ended_s = state, self._clock()
