"""Which of several streams of one medium is received: a sender of layers (simulcast, RFC 8853) may send them all, though one
was answered, and aiortc would decode them as one."""

from __future__ import annotations

from collections import Counter

SILENT_S = 1.0  # after which another one takes the place of the one that is received
LOOK_S, LARGER = 1.0, 1.3  # how often their bytes are compared, and from which ratio on one counts as larger
H264_KEYS = (5, 7)  # types of NAL unit that a key frame begins with: its first slice, or a sequence's parameters (H.264, 7.4.1)


class Layer:
    """The stream that is received: the first one at first, and then the largest that keeps coming, from its next key frame on.

    ssrc: of it; wanted: of the one that is to take its place. asks: whether a key frame of that is to be asked for now.
    """

    def __init__(self) -> None:
        self.ssrc: int | None = None
        self.wanted: int | None = None
        self.asks = False
        self._bytes: Counter[int] = Counter()
        self._larger: int | None = None  # at the last look
        self._looked_s = 0.0
        self._seen_s = float("-inf")

    def takes(self, ssrc: int, data: bytes, now_s: float) -> bool:
        """Whether a packet is received; data: of it, without RTP and its codec's own header."""
        if now_s - self._seen_s > SILENT_S or (ssrc == self.wanted and begins_key(data)):
            self.ssrc, self.wanted, self.asks = ssrc, None, False
            self._seen_s = now_s
        self._bytes[ssrc] += len(data)
        if now_s - self._looked_s >= LOOK_S:
            self._look()
            self._looked_s = now_s
        if ssrc == self.ssrc:
            self._seen_s = now_s
        return ssrc == self.ssrc

    def _look(self) -> None:
        largest, most = self._bytes.most_common(1)[0]
        larger = largest if most > LARGER * self._bytes[self.ssrc or 0] else None
        self.wanted = larger if larger == self._larger else None  # twice: it keeps coming
        self.asks, self._larger = self.wanted is not None, larger
        self._bytes.clear()


def begins_key(data: bytes) -> bool:
    """Whether a packet's data begin a key frame of VP8 (RFC 6386 §9.1) or H.264."""
    if data[:4] == b"\0\0\0\1":
        return len(data) > 4 and data[4] & 0x1F in H264_KEYS
    return data[3:6] == b"\x9d\x01\x2a" and not data[0] & 1
