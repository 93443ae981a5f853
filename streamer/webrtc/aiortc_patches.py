"""Cures for what aiortc and aioice do wrong for live use. Each has a test that fails without it.

Checked against the versions below; `install` refuses others, because it reaches into their insides.
"""

from __future__ import annotations

import asyncio
import time
from importlib.metadata import version
from typing import Any

import aioice.ice
import aiortc.rtcrtpreceiver
import aiortc.rtcrtpsender
from aiortc import RTCCertificate, RTCDtlsFingerprint, RTCDtlsParameters, RTCDtlsTransport, RTCRtpReceiver, RTCRtpSender
from aiortc.jitterbuffer import JitterBuffer, JitterFrame
from aiortc.rtp import HeaderExtensionsMap
from aiortc.utils import uint16_add

from pipeline.clock import steady

from ..errors import ConfigError
from ..timers import pause
from . import udp
from .extensions import LONGEST, PLAYOUT_DELAY, Arrivals, with_playout_delay
from .layers import Layer

TESTED = {"aiortc": ("1.16",), "aioice": ("0.13",)}
# RFC 7675 asks for 5 s and 30 s in all: too long to keep a dead viewer. Nine seconds at least: a browser that has lost its
# address knows after five, and restarts ICE.
CONSENT_INTERVAL_S = 2
CONSENT_FAILURES = 5
CIPHERS = (
    b"ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305:"
    b"ECDHE-ECDSA-AES128-SHA:ECDHE-RSA-AES128-SHA:ECDHE-ECDSA-AES256-SHA:ECDHE-RSA-AES256-SHA"
)
GIVE_UP_S = 0.5  # a picture that is not whole by then is left out, and a key frame asked for
ASK_AGAIN, ASK_AGAIN_S = 3, 0.12  # how often a lost packet is asked for again, and how soon
HANDSHAKE_AFTER_S = 0.1  # from ICE being connected
SENT = 512  # packets that a viewer may ask for again; aiortc's 128 are gone when a second repair on a far line is lost
SOUNDS = 25  # of 20 ms
STUN_LAST_BYTE = 3  # RFC 7983: a STUN message starts with 0..3

_original: dict[str, Any] = {}


class NewestQueue(asyncio.Queue[Any]):
    """A queue that keeps the newest: of pictures one, of sound half a second. aiortc's own grows without limit.

    The None that ends a track is never replaced.
    """

    def __init__(self, depth: int) -> None:
        super().__init__()
        self._depth = depth

    def _put(self, item: Any) -> None:
        if self._queue and self._queue[-1] is None:  # type: ignore[attr-defined]
            return
        while len(self._queue) >= self._depth:  # type: ignore[attr-defined]
            self._queue.popleft()  # type: ignore[attr-defined]
        self._queue.append(item)  # type: ignore[attr-defined]


def install(bind_addresses: list[str], ports: tuple[int, int] | None = None) -> None:
    """Patch the libraries; calling it again changes the settings. `uninstall` takes it all back."""
    for package, series in TESTED.items():
        if not version(package).startswith(series):
            raise ConfigError(f"{package} {version(package)} is not supported; install {package} {series[0]}.x")
    if not _original:
        _remember()
    aioice.ice.get_host_addresses = _host_addresses(bind_addresses)
    aioice.ice.CONSENT_INTERVAL = CONSENT_INTERVAL_S
    aioice.ice.CONSENT_FAILURES = CONSENT_FAILURES
    aioice.ice.asyncio = udp.Asyncio(ports)  # type: ignore[attr-defined,assignment]
    aioice.ice.Connection.recv = _recv  # type: ignore[method-assign]
    RTCCertificate._create_ssl_context = _ssl_context  # type: ignore[method-assign]
    RTCCertificate.getFingerprints = _one_fingerprint  # type: ignore[method-assign]
    RTCDtlsTransport.start = _start_later  # type: ignore[method-assign,assignment]
    aioice.ice.StunProtocol.datagram_received = _guarded_datagram  # type: ignore[method-assign,assignment]
    JitterBuffer._remove_frame = _remove_frame  # type: ignore[method-assign]
    JitterBuffer.add = _add_packet  # type: ignore[method-assign]
    aiortc.rtcrtpreceiver.NackGenerator.add = _add_to_nacks  # type: ignore[method-assign]
    aiortc.rtcrtpreceiver.RemoteStreamTrack.__init__ = _remote_track  # type: ignore[method-assign]
    aiortc.rtcrtpsender.RTP_HISTORY_SIZE = SENT  # type: ignore[attr-defined]
    RTCRtpSender._retransmit = _retransmit  # type: ignore[method-assign]
    RTCRtpReceiver._handle_rtp_packet = _handle_rtp_packet  # type: ignore[method-assign]
    HeaderExtensionsMap.configure = _configure_extensions  # type: ignore[method-assign]
    HeaderExtensionsMap.set = _pack_extensions  # type: ignore[method-assign]


def _places() -> list[tuple[Any, str]]:
    return [
        (aioice.ice, "get_host_addresses"), (aioice.ice, "CONSENT_INTERVAL"), (aioice.ice, "CONSENT_FAILURES"),
        (aioice.ice.StunProtocol, "datagram_received"), (aioice.ice, "asyncio"), (JitterBuffer, "_remove_frame"),
        (JitterBuffer, "add"), (aiortc.rtcrtpreceiver.NackGenerator, "add"),
        (aiortc.rtcrtpreceiver.RemoteStreamTrack, "__init__"), (RTCCertificate, "_create_ssl_context"),
        (RTCCertificate, "getFingerprints"), (RTCDtlsTransport, "start"),
        (aiortc.rtcrtpsender, "RTP_HISTORY_SIZE"), (RTCRtpSender, "_retransmit"), (RTCRtpReceiver, "_handle_rtp_packet"),
        (HeaderExtensionsMap, "configure"), (HeaderExtensionsMap, "set"), (aioice.ice.Connection, "recv"),
    ]  # fmt: skip


def _remember() -> None:
    _original.update({f"{owner.__name__}.{name}": getattr(owner, name) for owner, name in _places()})


def uninstall() -> None:
    """Put the libraries' own code back."""
    for owner, name in _places() if _original else []:
        setattr(owner, name, _original[f"{owner.__name__}.{name}"])
    _original.clear()


def _host_addresses(bind_addresses: list[str]) -> Any:
    def addresses(use_ipv4: bool, use_ipv6: bool) -> list[str]:
        if bind_addresses:
            return list(bind_addresses)
        found: list[str] = _original["aioice.ice.get_host_addresses"](use_ipv4, use_ipv6)
        return found or ["127.0.0.1"]  # a machine without network still serves its own browser

    return addresses


def _ssl_context(self: Any, *args: Any, **kwargs: Any) -> Any:
    """DTLS with peers whose certificate is RSA, such as GStreamer's; aiortc's list has ECDSA alone."""
    context = _original["RTCCertificate._create_ssl_context"](self, *args, **kwargs)
    context.set_cipher_list(CIPHERS)
    return context


async def _start_later(self: Any, remote: RTCDtlsParameters) -> None:
    """Give the other side time to store the answer: libdatachannel connects by it a moment before, and refuses our
    certificate if the handshake is over by then."""
    await pause(HANDSHAKE_AFTER_S)
    if self.state == "new":  # it has not been closed meanwhile
        await _original["RTCDtlsTransport.start"](self, remote)


def _one_fingerprint(self: Any) -> list[RTCDtlsFingerprint]:
    """Our offers and answers say sha-256 alone, which every peer knows (RFC 8122 §5); aiortc adds sha-384 and sha-512.

    libdatachannel (OBS) keeps the last of them. If its handshake starts before it has stored the answer, it hashes with
    sha-256 all the same, and refuses us: one connection in five to ten.
    """
    return [f for f in _original["RTCCertificate.getFingerprints"](self) if f.algorithm == "sha-256"]


def _guarded_datagram(self: Any, data: bytes, addr: Any) -> None:
    """Ignore empty datagrams, which end a session, and media from addresses ICE has not seen."""
    if not data:
        return
    if data[0] > STUN_LAST_BYTE and not any(p.remote_addr == (addr[0], addr[1]) for p in self.receiver._check_list):
        return
    _original["StunProtocol.datagram_received"](self, data, addr)


def _remote_track(self: Any, *args: Any, **kwargs: Any) -> None:
    _original["RemoteStreamTrack.__init__"](self, *args, **kwargs)
    self._queue = NewestQueue(1 if self.kind == "video" else SOUNDS)


def _remove_frame(self: Any, sequence_number: int) -> JitterFrame | None:
    """End a video frame at its marker bit (RFC 7741 §4.1, RFC 6184 §5.1) instead of at the next one's start, and give sound
    out as it comes: aiortc keeps 80 ms of it, and 300 from the first packet on that was lost."""
    if not self._is_video:
        self.remove(uint16_add(sequence_number, -self._origin))
        return _take(self, [self._packets[self._origin % self._capacity]])
    # Padding packets (a sender probing the bandwidth) carry nothing; alone they would end the decoder's input.
    while (first := _first(self)) is not None and not first._data:
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


def _layer(owner: Any) -> Layer:
    """Of a jitter buffer, and of what asks again for packets: `_handle_rtp_packet` gives both the same."""
    if not hasattr(owner, "_layer"):
        owner._layer = Layer()
    layer: Layer = owner._layer
    return layer


def _is_other(owner: Any, packet: Any) -> bool:
    """Whether the packet is of another stream than the one before, with numbers of its own."""
    before, owner._ssrc = getattr(owner, "_ssrc", packet.ssrc), packet.ssrc
    return bool(before != packet.ssrc)


def _add_packet(self: Any, packet: Any) -> tuple[bool, JitterFrame | None]:
    """Give up on a picture whose packets stay away: aiortc waits until 512 others have come, for seconds."""
    now, layer = steady(), _layer(self)
    if not layer.takes(packet.ssrc, packet._data, now):
        asks = layer.asks and packet.ssrc == layer.wanted
        layer.asks = layer.asks and not asks
        return asks, None
    if _is_other(self, packet):
        self.remove(self._capacity)
        self._origin = None
    pli, frame = _original["JitterBuffer.add"](self, packet)
    if not self._is_video or frame is not None or not hasattr(self, "_complete_s"):
        self._complete_s = now
    elif now - self._complete_s > GIVE_UP_S and self._packets[self._origin % self._capacity] is not packet:
        self._complete_s = now
        self.smart_remove(1)
        while self._packets[self._origin % self._capacity] is None and self._origin != packet.sequence_number:
            self.remove(1)
        return True, self._remove_frame(packet.sequence_number)
    return pli, frame


def _add_to_nacks(self: Any, packet: Any) -> bool:
    """Ask again for packets that stay away: aiortc asks once, and the answer can be lost too (RFC 4585 §6.2.1)."""
    if _layer(self).ssrc not in (None, packet.ssrc):
        return False
    if _is_other(self, packet):
        self.max_seq = None
        self.missing.clear()
    missed: bool = _original["NackGenerator.add"](self, packet)
    now = steady()
    if missed:
        self._asked_s, self._again = now, 0
    elif self.missing and self._again < ASK_AGAIN and now - self._asked_s > ASK_AGAIN_S:
        self._asked_s, self._again, missed = now, self._again + 1, True
    return missed


async def _retransmit(self: Any, sequence_number: int) -> None:
    """Answer with a key frame where a packet is not there any more: a browser waits three seconds before it asks for one."""
    sent = self._RTCRtpSender__rtp_history.get(sequence_number % SENT)
    if sent is None or sent.sequence_number != sequence_number:
        self._send_keyframe()
    else:
        await _original["RTCRtpSender._retransmit"](self, sequence_number)


async def _recv(self: Any) -> bytes:
    """Keep when the datagram came, which aiortc takes for the time at which it has come to read it."""
    data: bytes = await _original["Connection.recv"](self)
    self._arrived_s = getattr(data, "arrived_s", None)
    return data


async def _handle_rtp_packet(self: Any, packet: Any, arrival_time_ms: int) -> None:
    """Tell the sender when its packets came, where it numbers them for that: aiortc knows REMB alone. And decode all that is
    whole by now: aiortc takes one picture a packet, and stays behind for good by those that waited for one that was lost."""
    number, transport = packet.extensions.transport_sequence_number, self.transport
    arrived_s = getattr(transport.transport._connection, "_arrived_s", None) or time.time()
    if number is not None:
        if not hasattr(transport, "_arrivals"):
            transport._arrivals = Arrivals()
        report = transport._arrivals.add(number, arrived_s, self._RTCRtpReceiver__rtcp_ssrc or 0, packet.ssrc)
        if report is not None:
            await self._send_rtcp(report)
    buffer = self._RTCRtpReceiver__jitter_buffer
    if self._RTCRtpReceiver__nack_generator is not None:
        self._RTCRtpReceiver__nack_generator._layer = _layer(buffer)
    await _original["RTCRtpReceiver._handle_rtp_packet"](self, packet, round(1000 * arrived_s))
    while buffer._is_video and self._RTCRtpReceiver__decoder_thread and (waiting := _first(buffer)) is not None:
        frame = buffer._remove_frame(waiting.sequence_number)
        if frame is None:
            return
        frame.timestamp = self._RTCRtpReceiver__timestamp_mapper.map(frame.timestamp)
        self._RTCRtpReceiver__decoder_queue.put((self._RTCRtpReceiver__codecs[waiting.payload_type], frame))


def _configure_extensions(self: Any, parameters: Any) -> None:
    _original["HeaderExtensionsMap.configure"](self, parameters)
    for extension in parameters.headerExtensions:
        if extension.uri == PLAYOUT_DELAY:
            self._playout_delay = extension.id


def _pack_extensions(self: Any, values: Any) -> tuple[int, bytes]:
    """Players hold back pictures for some hundredths of a second, for a smoothness that a live puppet has no use for."""
    packed: tuple[int, bytes] = _original["HeaderExtensionsMap.set"](self, values)
    number = getattr(self, "_playout_delay", None)
    if number is None:
        return packed
    return with_playout_delay(*packed, number, LONGEST if getattr(self, "_may_wait", bool)() else 0)


def _first(buffer: Any) -> Any:
    """The packet that is to be given out next, if it is there."""
    return None if buffer._origin is None else buffer._packets[buffer._origin % buffer._capacity]


def _take(buffer: Any, packets: list[Any]) -> JitterFrame:
    buffer.remove(len(packets))
    return JitterFrame(data=b"".join(p._data for p in packets), timestamp=packets[0].timestamp)
