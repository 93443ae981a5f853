"""RTP header extensions that aiortc does not negotiate, and the feedback that one of them needs."""

from __future__ import annotations

import struct

from aiortc import RTCPeerConnection
from aiortc.rtcrtpparameters import RTCRtcpFeedback

from .offer import Kind
from .udp import HAS_TIMESTAMPS

TRANSPORT_CC = "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01"
PLAYOUT_DELAY = "http://www.webrtc.org/experiments/rtp-hdrext/playout-delay"
LAST_SHORT_ID = 14  # of one-byte headers (RFC 8285 §4.2)
INTERVAL_S, MOST = 0.1, 300  # between two reports; packets in one
FAR = 1000  # a number that is so far from the last begins a count of its own
TICK_S, TICKS = 250e-6, 256  # the unit of times in a report, and how many of them are that of its reference time
SMALL, LARGE = 1, 2  # statuses of packets that came; of those that did not: 0
SYMBOLS = 7  # of two bits, in a status vector chunk
HEADER, RTPFB, FORMAT, PADDED = struct.Struct("!BBHLLHHL"), 205, 15, 0x20
ONE_BYTE, TWO_BYTES = 0xBEDE, 0x1000  # RFC 8285 §4.2, §4.3


def negotiate(connection: RTCPeerConnection, kind: Kind) -> None:
    """Answer an offer with what aiortc does not know: to a viewer that pictures are to be shown at once, to a publisher that it
    is told when its packets came, where the kernel knows that."""
    offered = connection._RTCPeerConnection__remoteDescription().media  # type: ignore[attr-defined]
    for transceiver in connection.getTransceivers():
        media = next(m for m in offered if m.rtp.muxId == transceiver.mid)
        extensions = {e.uri: e for e in media.rtp.headerExtensions if e.id <= LAST_SHORT_ID}
        if kind == "whep" and PLAYOUT_DELAY in extensions:
            transceiver._headerExtensions.append(extensions[PLAYOUT_DELAY])
        reports = RTCRtcpFeedback(type="transport-cc")
        asked = {codec.payloadType for codec in media.rtp.codecs if reports in codec.rtcpFeedback}
        answering = [codec for codec in transceiver._codecs if codec.payloadType in asked]
        if kind == "whip" and TRANSPORT_CC in extensions and answering and HAS_TIMESTAMPS:
            transceiver._headerExtensions.append(extensions[TRANSPORT_CC])
            for codec in answering:
                codec.rtcpFeedback = [*(f for f in codec.rtcpFeedback if f != reports), reports]


class Arrivals:
    """Reports of when packets came, for the sender's estimate of the line
    (draft-holmer-rmcat-transport-wide-cc-extensions-01 §3.1)."""

    def __init__(self) -> None:
        self._came: dict[int, float] = {}  # number, counted on beyond 65535, and time
        self._next: int | None = None  # that has not been reported
        self._reports = 0

    def add(self, number: int, now_s: float, ssrc: int, media_ssrc: int) -> bytes | None:
        """Take the 16-bit number of a packet. A report of those before it, where one is due: a whole RTCP packet.

        ssrc, media_ssrc: ours, and that of the packet."""
        oldest = next(iter(self._came.values()), now_s)
        due = now_s - oldest >= INTERVAL_S or len(self._came) >= MOST
        report = self._report(ssrc, media_ssrc) if due else None
        self._next = number if self._next is None else self._next
        away = (number - self._next + 0x8000) % 0x10000 - 0x8000
        if abs(away) > FAR:
            self._came, self._next, away = {}, number, 0
        self._came.setdefault(self._next + away, now_s)
        return report

    def _report(self, ssrc: int, media_ssrc: int) -> bytes:
        assert self._next is not None
        begin, end = min(self._next, *self._came), max(self._came) + 1
        reference = round(self._came[min(self._came)] / TICK_S) // TICKS
        statuses, deltas = _statuses([self._came.get(number) for number in range(begin, end)], reference * TICKS)
        body = b"".join(_chunk(statuses[k : k + SYMBOLS]) for k in range(0, len(statuses), SYMBOLS)) + deltas
        padding = -len(body) % 4
        body += bytes([*[0] * (padding - 1), padding]) if padding else b""
        words = (HEADER.size + len(body)) // 4 - 1
        version = 0x80 | FORMAT | (PADDED if padding else 0)
        counted = (reference & 0xFFFFFF) << 8 | self._reports & 0xFF
        self._came, self._next, self._reports = {}, max(self._next, end), self._reports + 1
        return HEADER.pack(version, RTPFB, words, ssrc, media_ssrc, begin & 0xFFFF, len(statuses), counted) + body


def _statuses(times_s: list[float | None], tick: int) -> tuple[list[int], bytes]:
    """Status of each packet, and of those that came the ticks since the one before, the first one's since `tick`."""
    statuses, deltas = [], b""
    for time_s in times_s:
        if time_s is None:
            statuses.append(0)
            continue
        before, tick = tick, round(time_s / TICK_S)
        small = 0 <= tick - before <= 0xFF
        statuses.append(SMALL if small else LARGE)
        deltas += struct.pack("!B" if small else "!h", tick - before)
    return statuses, deltas


def _chunk(symbols: list[int]) -> bytes:
    """A status vector of two bits each; what is missing at its end is 0."""
    bits = 0b11
    for k in range(SYMBOLS):
        bits = bits << 2 | (symbols[k] if k < len(symbols) else 0)
    return struct.pack("!H", bits)


def without_delay(profile: int, value: bytes, number: int) -> tuple[int, bytes]:
    """Packed header extensions and, as the extension `number`, that pictures are to be shown at once: a playout delay from
    0 to 0 ms."""
    if profile == TWO_BYTES:
        return profile, value + bytes([number, 3, 0, 0, 0, 0, 0, 0])
    return ONE_BYTE, value + bytes([number << 4 | 2, 0, 0, 0])
