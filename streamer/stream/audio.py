"""The driver's sound on its way to viewers and recordings: delayed by as much as the picture, encoded once."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import deque
from collections.abc import Callable
from fractions import Fraction
from typing import Protocol

import av
import numpy as np
from av.audio.codeccontext import AudioCodecContext

from pipeline.clock import Clock, steady

from .background import heart_of
from .status import Part

log = logging.getLogger(__name__)

RATE = 48_000
CHUNK = 960  # samples of 20 ms, a packet of Opus (RFC 6716 §2.1.4)
TIME_BASE = Fraction(1, RATE)
BITRATE = 64_000
MOST_WAITING = 100  # chunks, two seconds: more would be sound of long ago
JUMP_S = 0.1  # a clock of the source that is so far off has leapt; one that is less is followed little by little
FOLLOW = 0.1  # of what it is off, with each piece of sound: pieces that come a little early or late move nothing
SEEN_S = 2.0  # a line that carried sound within this time has some


class SoundSink(Protocol):
    """Takes sound that is due."""

    def hear(self, chunk: av.AudioFrame, packet: av.Packet | None, captured_s: float) -> None:
        """20 ms of 48 kHz stereo, the same as Opus, and the clock's time of its first sample; never blocks."""


class AudioLine:
    """One stream's sound. `put` may be called from any thread, everything else on the event loop's.

    delay_s: how old the picture is when it leaves, asked for each chunk. Muted, it carries silence.
    """

    def __init__(self, delay_s: Callable[[], float], clock: Clock = steady) -> None:
        self.muted = False
        self.sinks: set[SoundSink] = set()
        self._delay_s = delay_s
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._lock = threading.Lock()
        self._resampler = self._fresh()
        self._waiting: deque[tuple[float, av.AudioFrame]] = deque()  # when it was captured, and 20 ms of it
        self._next_s = 0.0  # when the next chunk was captured
        self._held_s = 0.0  # how much of it the resampler has
        self._changed = asyncio.Event()
        self._opus: AudioCodecContext | None = None
        self._pts = 0
        self._seen_s = float("-inf")
        self._begin_task()

    def _begin_task(self) -> None:
        self._task = asyncio.create_task(self._run(), name="audio-line")
        self._heart = heart_of(self._task, self._clock)

    def part(self) -> Part:
        """Its task."""
        return Part("sound", self._heart, self._restart)

    async def _restart(self) -> None:
        await self.stop()
        self._opus = None
        self._begin_task()

    @property
    def has_sound(self) -> bool:
        """Whether there is a driver with a microphone."""
        return self._clock() - self._seen_s < SEEN_S

    def put(self, frame: av.AudioFrame, captured_s: float) -> None:
        """Sound of the driver in any format; captured_s: the clock's time of its first sample."""
        with self._lock:
            frame.pts = None  # the resampler would fill gaps by it
            off_s = captured_s - self._held_s - self._next_s
            if abs(off_s) > JUMP_S:
                self._begin(captured_s)
            else:
                self._next_s += FOLLOW * off_s
            try:
                chunks = self._resampler.resample(frame)
            except (ValueError, av.FFmpegError):  # the source has changed its format
                self._begin(captured_s)
                chunks = self._resampler.resample(frame)
            self._held_s += frame.samples / frame.sample_rate
            for chunk in chunks:
                self._waiting.append((self._next_s, chunk))
                self._next_s += chunk.samples / RATE
                self._held_s -= chunk.samples / RATE
            while len(self._waiting) > MOST_WAITING:
                self._waiting.popleft()
        self._seen_s = self._clock()
        try:
            self._loop.call_soon_threadsafe(self._changed.set)
        except RuntimeError:
            log.debug("sound after the end of the loop")

    def clear(self) -> None:
        """Forget waiting sound: that of a source that has ended."""
        with self._lock:
            self._waiting.clear()
            self._next_s = 0.0
        self._seen_s = float("-inf")

    async def stop(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    def _begin(self, captured_s: float) -> None:
        """The next piece of sound has nothing to do with those before."""
        self._resampler, self._next_s, self._held_s = self._fresh(), captured_s, 0.0

    @staticmethod
    def _fresh() -> av.AudioResampler:
        return av.AudioResampler(format="s16", layout="stereo", rate=RATE, frame_size=CHUNK)

    async def _run(self) -> None:
        while True:
            with self._lock:
                head = self._waiting[0] if self._waiting else None
            wait_s = None if head is None else head[0] + self._delay_s() - self._clock()
            if wait_s is not None and wait_s <= 0:
                with self._lock:
                    due = self._waiting.popleft() if self._waiting else None
                if due is not None:
                    self._send(*due)
                continue
            self._changed.clear()
            try:
                async with asyncio.timeout(wait_s):
                    await self._changed.wait()
            except TimeoutError:
                continue

    def _send(self, captured_s: float, chunk: av.AudioFrame) -> None:
        if not self.sinks:
            self._opus = None
            return
        if self.muted:
            chunk = silence()
        chunk.sample_rate, chunk.time_base = RATE, TIME_BASE
        # Counted by when it leaves, as the picture's times are: a viewer then shows together what leaves together.
        self._pts = max(self._pts + CHUNK, round(self._clock() * RATE) - CHUNK * 5)
        chunk.pts = self._pts
        packet = self._encode(chunk)
        for sink in tuple(self.sinks):
            sink.hear(chunk, packet, captured_s)

    def _encode(self, chunk: av.AudioFrame) -> av.Packet | None:
        if self._opus is None:
            self._opus = av.CodecContext.create("libopus", "w")
            self._opus.format, self._opus.layout, self._opus.sample_rate = "s16", "stereo", RATE
            self._opus.bit_rate, self._opus.time_base = BITRATE, TIME_BASE
            self._opus.options = {"application": "voip"}
        packets = self._opus.encode(chunk)
        if not packets:
            return None
        packets[0].pts, packets[0].time_base = chunk.pts, TIME_BASE
        return packets[0]


def silence() -> av.AudioFrame:
    """20 ms of it."""
    return av.AudioFrame.from_ndarray(np.zeros((1, 2 * CHUNK), np.int16), format="s16", layout="stereo")
