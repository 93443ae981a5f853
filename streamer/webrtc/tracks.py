"""The tracks that carry a stream's encoded frames and sound to one viewer."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import av
from aiortc import MediaStreamTrack, RTCRtpSender
from aiortc.codecs import get_encoder
from aiortc.mediastreams import MediaStreamError
from aiortc.rtcrtpparameters import RTCRtpCodecParameters

from pipeline.clock import Clock, steady

from .line import cannot_be_full

BACKLOG = 3  # packets a viewer may be behind before it is sent to the next key frame
SLOW = 0.8  # a viewer whose estimate is below this share of what is sent cannot take every frame
SOUND_BACKLOG = 10  # packets of 20 ms; a viewer that is further behind loses the oldest
CREDIT_S = 2.0  # how much of its estimate such a viewer saves up for a key frame


@dataclass(frozen=True, slots=True)
class Encoded:
    """A frame as all viewers get it. captured_s: its driver's capture time; None if it was sent before."""

    packet: av.Packet
    captured_s: float | None


class ViewerTrack(MediaStreamTrack):
    """Packets for one viewer. One that falls behind, or whose line is too narrow, is sent no more until the next
    key frame: what lies between could not be decoded.

    on_sent: called with the age in seconds of each frame once its packets have left. on_key: asks for a key frame.
    """

    kind = "video"

    def __init__(self, on_sent: Callable[[float], None], clock: Clock = steady) -> None:
        super().__init__()
        self._queue: deque[Encoded] = deque()
        self._ready = asyncio.Event()
        self._on_sent = on_sent
        self._clock = clock
        self._sending_s: float | None = None
        self._until_key = True
        self._credit = 0.0
        self._credit_s = self._clock()
        self.request_key: Callable[[], None] = lambda: None
        self.estimate: int | None = None  # bits per second that the viewer says it can take
        self.dropped = 0

    def attach(self, sender: RTCRtpSender, codec: RTCRtpCodecParameters, local_bitrate: int = 0) -> None:
        """Take the feedback that aiortc would give to an encoder of this viewer's own. local_bitrate: what is taken for granted
        on a line that does not leave this machine, in bits per second."""
        sender._RTCRtpSender__encoder = _Packer(codec, self, sender, local_bitrate)  # type: ignore[attr-defined]
        sender._send_keyframe = self._lost_picture  # type: ignore[method-assign]

    def push(self, encoded: Encoded, bitrate: float) -> None:
        """Take the next frame of a broadcast. bitrate: what others keep, whatever this viewer can take; in bits per second."""
        key = encoded.packet.is_keyframe
        if len(self._queue) >= BACKLOG:
            self._drop(len(self._queue))
            self._queue.clear()
        if self._until_key and not key:
            self.dropped += 1
            if self._affords(0, bitrate, CREDIT_S):
                self.request_key()
            return
        if not self._affords(8 * encoded.packet.size, bitrate, 0):
            self._drop(1)
            return
        self._until_key = False
        self._queue.append(encoded)
        self._ready.set()

    def _drop(self, count: int) -> None:
        self.dropped += count
        self._until_key = True

    def _affords(self, bits: int, bitrate: float, reserve_s: float) -> bool:
        """Whether a viewer on a narrow line has saved up `bits` and so many seconds' worth; spends the bits."""
        now = self._clock()
        if self.estimate is None or self.estimate >= SLOW * bitrate:
            self._credit, self._credit_s = CREDIT_S * bitrate, now
            return True
        self._credit = min(self._credit + (now - self._credit_s) * self.estimate, CREDIT_S * self.estimate)
        self._credit_s = now
        if self._credit < max(bits, reserve_s * self.estimate):
            return False
        self._credit -= bits
        return True

    def _lost_picture(self) -> None:
        """The viewer cannot decode what it has (PLI or FIR, RFC 4585 §6.3.1, RFC 5104 §4.3.1)."""
        self.request_key()

    async def recv(self) -> av.Packet:
        """The next packet; aiortc's sender asks for it when the one before has been sent."""
        if self._sending_s is not None:
            self._on_sent(self._clock() - self._sending_s)
            self._sending_s = None
        while not self._queue:
            if self.readyState != "live":
                raise MediaStreamError
            self._ready.clear()
            await self._ready.wait()
        encoded = self._queue.popleft()
        self._sending_s = encoded.captured_s
        return encoded.packet

    def stop(self) -> None:
        super().stop()
        self._ready.set()


class _Packer:
    """What aiortc's sender takes for its encoder: splits packets into RTP payloads and hears of the bitrate."""

    def __init__(self, codec: RTCRtpCodecParameters, viewer: ViewerTrack, sender: RTCRtpSender, local_bitrate: int) -> None:
        self.pack = get_encoder(codec).pack
        self._viewer, self._sender, self._local_bitrate = viewer, sender, local_bitrate

    @property
    def target_bitrate(self) -> int | None:
        return self._viewer.estimate

    @target_bitrate.setter
    def target_bitrate(self, bitrate: int) -> None:
        """Receiver estimated maximum bitrate (draft-alvestrand-rmcat-remb)."""
        self._viewer.estimate = max(bitrate, self._local_bitrate) if cannot_be_full(self._sender) else bitrate


class SoundTrack(MediaStreamTrack):
    """Packets of Opus, as all viewers get them. A `SoundSink`."""

    kind = "audio"

    def __init__(self) -> None:
        super().__init__()
        self._queue: deque[av.Packet] = deque(maxlen=SOUND_BACKLOG)
        self._ready = asyncio.Event()

    def hear(self, chunk: av.AudioFrame, packet: av.Packet | None, captured_s: float) -> None:
        if packet is not None:
            self._queue.append(packet)
            self._ready.set()

    async def recv(self) -> av.Packet:
        while not self._queue:
            if self.readyState != "live":
                raise MediaStreamError
            self._ready.clear()
            await self._ready.wait()
        return self._queue.popleft()

    def stop(self) -> None:
        super().stop()
        self._ready.set()
