"""How packets become pictures and sound, and which are asked for again, in the place of aiortc's own ways. Patches of
`JitterBuffer` and `NackGenerator`, which `aiortc_patches` puts in."""

from __future__ import annotations

from typing import Any

from aiortc.jitterbuffer import JitterBuffer, JitterFrame
from aiortc.rtcrtpreceiver import NackGenerator
from aiortc.utils import uint16_add

from pipeline.clock import steady

from .layers import Layer

GIVE_UP_S = 0.5  # a picture that is not whole by then is left out, and a key frame asked for
ASK_AGAIN, ASK_AGAIN_S = 3, 0.12  # how often a lost packet is asked for again, and how soon

_add, _add_nack = JitterBuffer.add, NackGenerator.add


def remove_frame(self: Any, sequence_number: int) -> JitterFrame | None:
    """End a video frame at its marker bit (RFC 7741 §4.1, RFC 6184 §5.1) instead of at the next one's start, and give sound
    out as it comes: aiortc keeps 80 ms of it, and 300 from the first packet on that was lost."""
    if not self._is_video:
        self.remove(uint16_add(sequence_number, -self._origin))
        sound = _take(self, [self._packets[self._origin % self._capacity]])
        return sound if sound.data else None
    # Padding packets (a sender probing the bandwidth) carry nothing; alone they would end the decoder's input.
    while (first := first_of(self)) is not None and not first._data:
        self.remove(1)
    packets: list[Any] = []
    for count in range(self.capacity):
        packet = self._packets[(self._origin + count) % self._capacity]
        if packet is None:
            return None
        if packets and packet.timestamp != packets[0].timestamp:
            return _take(self, packets)  # a sender that sets no markers
        packets.append(packet)
        if packet.marker:
            return _take(self, packets)
    return None


def layer_of(owner: Any) -> Layer:
    """Of a jitter buffer, and of what asks again for packets: `_handle_rtp_packet` gives both the same."""
    if not hasattr(owner, "_layer"):
        owner._layer = Layer()
    layer: Layer = owner._layer
    return layer


def _is_other(owner: Any, packet: Any) -> bool:
    """Whether the packet is of another stream than the one before, with numbers of its own."""
    before, owner._ssrc = getattr(owner, "_ssrc", packet.ssrc), packet.ssrc
    return bool(before != packet.ssrc)


def add_packet(self: Any, packet: Any) -> tuple[bool, JitterFrame | None]:
    """Give up on a picture whose packets stay away: aiortc waits until 512 others have come, for seconds."""
    now, layer = steady(), layer_of(self)
    if not layer.takes(packet.ssrc, packet._data, now):
        asks = layer.asks and packet.ssrc == layer.wanted
        layer.asks = layer.asks and not asks
        return asks, None
    if _is_other(self, packet):
        self.remove(self._capacity)
        self._origin = None
    pli, frame = _add(self, packet)
    if not self._is_video or frame is not None or not hasattr(self, "_complete_s"):
        self._complete_s = now
    elif now - self._complete_s > GIVE_UP_S and self._packets[self._origin % self._capacity] is not packet:
        self._complete_s = now
        self.smart_remove(1)
        while self._packets[self._origin % self._capacity] is None and self._origin != packet.sequence_number:
            self.remove(1)
        return True, self._remove_frame(packet.sequence_number)
    return pli, frame


def add_to_nacks(self: Any, packet: Any) -> bool:
    """Ask again for packets that stay away: aiortc asks once, and the answer can be lost too (RFC 4585 §6.2.1)."""
    if layer_of(self).ssrc not in (None, packet.ssrc):
        return False
    if _is_other(self, packet):
        self.max_seq = None
        self.missing.clear()
    missed: bool = _add_nack(self, packet)
    now = steady()
    if missed:
        self._asked_s, self._again = now, 0
    elif self.missing and self._again < ASK_AGAIN and now - self._asked_s > ASK_AGAIN_S:
        self._asked_s, self._again, missed = now, self._again + 1, True
    return missed


def first_of(buffer: Any) -> Any:
    """The packet that is to be given out next, if it is there."""
    return None if buffer._origin is None else buffer._packets[buffer._origin % buffer._capacity]


def _take(buffer: Any, packets: list[Any]) -> JitterFrame:
    buffer.remove(len(packets))
    return JitterFrame(data=b"".join(p._data for p in packets), timestamp=packets[0].timestamp)
