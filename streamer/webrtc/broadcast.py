"""One encoder for all viewers of a stream that negotiated the same codec: its packets go to every one of them."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass

import av

from pipeline.clock import Clock, steady
from pipeline.frames import AnimatedFrame

from ..config import Kind
from ..stream.background import heart_of
from ..stream.status import EncoderStatus, Part
from .encoders import LiveEncoder
from .tracks import Encoded, ViewerTrack

log = logging.getLogger(__name__)

RESEND_S = 0.5  # a still picture is encoded again this often, so that its quality rises and lost packets are made good
KEY_GAP_S = 0.5  # key frames on request are at least this far apart, whoever asks
RATE_WINDOW_S = 2.0
FULL = 1.25  # a viewer whose estimate is below so many times what it gets has a line that is full
KEY_WAIT_S = 0.05  # a key frame that is due waits so long for a new picture, then the last one is sent again


@dataclass
class _Counts:
    frames: int = 0
    keys: int = 0
    errors: int = 0
    dropped: int = 0  # by viewers that have left


class Broadcast:
    """A sink of a stream. One slot: a new frame replaces the one not yet encoded.

    shared_bitrate: bits per second that the viewers keep, however slow one of them is. pts: 90 kHz from capture
    time, increasing. All methods belong to the event loop's thread; encoding runs in `pool`.
    """

    def __init__(
        self, name: str, encoder: LiveEncoder, shared_bitrate: int, pool: Executor, clock: Clock = steady, cut_out: bool = False,
        kind: Kind = Kind.VIEWERS,
    ) -> None:  # fmt: skip
        """name: the stream's. cut_out: send the person without the background, see `AnimatedFrame.cut_out`."""
        self.kind = kind
        self.seen_s: float | None = None
        self._name = name
        self._cut_out = cut_out
        self._encoder = encoder
        self._clock = clock
        self._shared_bitrate = shared_bitrate
        self._pool = pool
        self._own_pool: ThreadPoolExecutor | None = None  # once a thread of the common one has hung
        self._viewers: set[ViewerTrack] = set()
        self._slot: AnimatedFrame | None = None
        self._last: AnimatedFrame | None = None
        self._changed = asyncio.Event()
        self._key_wanted = False
        self._key_s = float("-inf")
        self._epoch_s = self._clock() - 1.0
        self._pts = 0
        self._counts = _Counts()
        self._sizes: deque[tuple[float, int]] = deque()  # when each packet was made, and its bits
        self._begin()

    def _begin(self) -> None:
        self._task = asyncio.create_task(self._run(), name=f"broadcast-{self._name}-{self._what}")
        self._heart = heart_of(self._task, self._clock)

    @property
    def _what(self) -> str:
        return f"{self._encoder.mime} cut-out" if self._cut_out else self._encoder.mime

    def part(self) -> Part:
        """Its task."""
        return Part(f"encoder of {self._what}", self._heart, self._restart)

    async def _restart(self) -> None:
        """With an encoder and a thread of its own: those before may hang."""
        self.stop()
        self._encoder = self._encoder.fresh()
        self._pool = self._own_pool = ThreadPoolExecutor(1, "encoder")
        self._begin()
        self.request_key()

    def join(self, viewer: ViewerTrack) -> None:
        """Send to `viewer` too, from the key frame that this asks for."""
        self.seen_s = self._clock()
        self._viewers.add(viewer)
        viewer.request_key = self.request_key
        self.request_key()

    def leave(self, viewer: ViewerTrack) -> bool:
        """Send no more to `viewer`; whether it was the last one."""
        self._viewers.remove(viewer)
        self._counts.dropped += viewer.dropped
        return not self._viewers

    def stop(self) -> None:
        """Encode no more."""
        self._task.cancel()
        if self._own_pool is not None:
            self._own_pool.shutdown(wait=False)

    def offer(self, frame: AnimatedFrame) -> None:
        """See `Sink`."""
        self._slot = frame
        self._changed.set()

    def request_key(self) -> None:
        """Make the next frame a key frame; requests of all viewers become one."""
        self._key_wanted = True
        self._changed.set()

    def encoder(self) -> EncoderStatus:
        """See `SharedSink`."""
        return EncoderStatus(
            codec=self._what, viewers=len(self._viewers), bitrate=self._encoder.target_bitrate,
            frames=self._counts.frames, key_frames=self._counts.keys,
            dropped=self._counts.dropped + sum(v.dropped for v in self._viewers),
        )  # fmt: skip

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            frame, fresh = await self._next()
            key = self._key_is_due()
            if key:
                self._key_wanted, self._key_s = False, self._clock()
            self._encoder.target_bitrate = self._target()
            try:
                pts = self._next_pts(frame.captured_s if fresh else self._clock())
                with self._heart:
                    packet = await loop.run_in_executor(self._pool, self._encoded, frame, pts, key)
            except Exception:  # whatever is wrong with a picture, viewers get the next one
                self._count_error()
                continue
            if packet is not None:
                self._send(Encoded(packet, frame.captured_s if fresh else None))

    async def _next(self) -> tuple[AnimatedFrame, bool]:
        """The frame to encode, and whether it is a new one."""
        while True:
            if self._slot is not None:
                frame, self._slot = self._slot, None
                self._last = frame
                return frame, True
            self._changed.clear()
            due = self._key_wanted and self._last is not None
            wait_s = max(KEY_WAIT_S, self._key_s + KEY_GAP_S - self._clock()) if due else RESEND_S
            try:
                async with asyncio.timeout(wait_s):
                    await self._changed.wait()
            except TimeoutError:
                if self._last is not None:
                    return self._last, False

    def _key_is_due(self) -> bool:
        return self._key_wanted and self._clock() - self._key_s >= KEY_GAP_S

    def _target(self) -> int:
        """What the slowest viewer can take, but not below the floor that the others keep.

        A viewer's estimate grows with what it gets: while pictures are easy and need less than that, it says nothing of
        its line, and does not lower the bitrate.
        """
        now, rate = self._encoder.target_bitrate, self._rate()
        known = [e if e < FULL * rate else max(e, now) for v in self._viewers if (e := v.estimate) is not None]
        if not known:
            return now
        return max(min(known), min(max(known), self._shared_bitrate))

    def _rate(self) -> float:
        """Bits per second, lately."""
        since = self._clock() - RATE_WINDOW_S
        while self._sizes and self._sizes[0][0] < since:
            self._sizes.popleft()
        return sum(bits for _, bits in self._sizes) / RATE_WINDOW_S

    def _next_pts(self, time_s: float) -> int:
        self._pts = max(self._pts + 1, round((time_s - self._epoch_s) * 90_000))
        return self._pts

    def _encoded(self, frame: AnimatedFrame, pts: int, key: bool) -> av.Packet | None:
        shown = frame.cut_out() if self._cut_out else frame
        return self._encoder.encode(shown.video_frame(pts), key)

    def _send(self, encoded: Encoded) -> None:
        self._counts.frames += 1
        self._counts.keys += encoded.packet.is_keyframe
        self._sizes.append((self._clock(), 8 * encoded.packet.size))
        # At the least bitrate nobody is held back for the sake of others: there is nothing to be won.
        target = self._encoder.target_bitrate
        sharing = min(target, self._rate()) if target > self._encoder.least else 0.0
        for viewer in self._viewers:
            viewer.push(encoded, sharing)

    def _count_error(self) -> None:
        self._counts.errors += 1
        if self._counts.errors & (self._counts.errors - 1) == 0:
            log.exception("stream '%s': encoding failed (%d so far)", self._name, self._counts.errors)
