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
import aiortc.rtcsctptransport
from aiortc import (
    RTCCertificate,
    RTCDtlsFingerprint,
    RTCDtlsParameters,
    RTCDtlsTransport,
    RTCRtpReceiver,
    RTCRtpSender,
    RTCSctpTransport,
)
from aiortc.jitterbuffer import JitterBuffer
from aiortc.rtp import HeaderExtensionsMap

from ..errors import ConfigError
from ..timers import pause
from . import damaged, jitter, udp
from .extensions import LONGEST, PLAYOUT_DELAY, Arrivals, with_playout_delay

TESTED = {"aiortc": ("1.16",), "aioice": ("0.13",)}
# RFC 7675 asks for 5 s and 30 s in all: too long to keep a dead viewer. Nine seconds at least: a browser that has lost its
# address knows after five, and restarts ICE.
CONSENT_INTERVAL_S = 2
CONSENT_FAILURES = 5
CIPHERS = (
    b"ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305:"
    b"ECDHE-ECDSA-AES128-SHA:ECDHE-RSA-AES128-SHA:ECDHE-ECDSA-AES256-SHA:ECDHE-RSA-AES256-SHA"
)
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
    aioice.ice.Connection.query_consent = _query_consent  # type: ignore[method-assign]
    RTCCertificate._create_ssl_context = _ssl_context  # type: ignore[method-assign]
    RTCCertificate.getFingerprints = _one_fingerprint  # type: ignore[method-assign]
    RTCDtlsTransport.start = _start_later  # type: ignore[method-assign,assignment]
    aioice.ice.StunProtocol.datagram_received = _guarded_datagram  # type: ignore[method-assign,assignment]
    JitterBuffer._remove_frame = jitter.remove_frame  # type: ignore[method-assign]
    JitterBuffer.add = jitter.add_packet  # type: ignore[method-assign]
    aiortc.rtcrtpreceiver.NackGenerator.add = jitter.add_to_nacks  # type: ignore[method-assign]
    aiortc.rtcrtpreceiver.RemoteStreamTrack.__init__ = _remote_track  # type: ignore[method-assign]
    aiortc.rtcrtpsender.RTP_HISTORY_SIZE = SENT  # type: ignore[attr-defined]
    RTCRtpSender._retransmit = _retransmit  # type: ignore[method-assign]
    RTCRtpReceiver._handle_rtp_packet = _handle_rtp_packet  # type: ignore[method-assign]
    RTCRtpSender.send, RTCRtpSender.stop = _begin_unless_stopped("RTCRtpSender.send"), _stop("RTCRtpSender")  # type: ignore[method-assign]
    RTCRtpReceiver.receive = _begin_unless_stopped("RTCRtpReceiver.receive")  # type: ignore[method-assign]
    RTCRtpReceiver.stop = _stop("RTCRtpReceiver")  # type: ignore[method-assign]
    HeaderExtensionsMap.configure = _configure_extensions  # type: ignore[method-assign]
    HeaderExtensionsMap.set = _pack_extensions  # type: ignore[method-assign]
    RTCDtlsTransport._handle_rtp_data = damaged.handle_rtp_data  # type: ignore[method-assign]
    RTCDtlsTransport._handle_rtcp_data = damaged.handle_rtcp_data  # type: ignore[method-assign]
    RTCSctpTransport._handle_data = damaged.handle_sctp_data  # type: ignore[method-assign]
    RTCSctpTransport._receive_data_chunk = damaged.receive_data_chunk  # type: ignore[method-assign]
    aiortc.rtcsctptransport.decode_params = damaged.decode_params


def _places() -> list[tuple[Any, str]]:
    return [
        (aioice.ice, "get_host_addresses"), (aioice.ice, "CONSENT_INTERVAL"), (aioice.ice, "CONSENT_FAILURES"),
        (aioice.ice.StunProtocol, "datagram_received"), (aioice.ice, "asyncio"), (JitterBuffer, "_remove_frame"),
        (JitterBuffer, "add"), (aiortc.rtcrtpreceiver.NackGenerator, "add"),
        (aiortc.rtcrtpreceiver.RemoteStreamTrack, "__init__"), (RTCCertificate, "_create_ssl_context"),
        (RTCCertificate, "getFingerprints"), (RTCDtlsTransport, "start"),
        (aiortc.rtcrtpsender, "RTP_HISTORY_SIZE"), (RTCRtpSender, "_retransmit"), (RTCRtpReceiver, "_handle_rtp_packet"),
        (HeaderExtensionsMap, "configure"), (HeaderExtensionsMap, "set"), (aioice.ice.Connection, "recv"),
        (aioice.ice.Connection, "query_consent"),
        (RTCDtlsTransport, "_handle_rtp_data"), (RTCDtlsTransport, "_handle_rtcp_data"), (RTCSctpTransport, "_handle_data"),
        (RTCSctpTransport, "_receive_data_chunk"), (aiortc.rtcsctptransport, "decode_params"),
        (RTCRtpSender, "send"), (RTCRtpSender, "stop"), (RTCRtpReceiver, "receive"), (RTCRtpReceiver, "stop"),
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
    damaged.datagram_received(self, data, addr)


def _remote_track(self: Any, *args: Any, **kwargs: Any) -> None:
    _original["RemoteStreamTrack.__init__"](self, *args, **kwargs)
    self._queue = NewestQueue(1 if self.kind == "video" else SOUNDS)


async def _retransmit(self: Any, sequence_number: int) -> None:
    """Answer with a key frame where a packet is not there any more: a browser waits three seconds before it asks for one."""
    sent = self._RTCRtpSender__rtp_history.get(sequence_number % SENT)
    if sent is None or sent.sequence_number != sequence_number:
        self._send_keyframe()
    else:
        await _original["RTCRtpSender._retransmit"](self, sequence_number)


def _begin_unless_stopped(name: str) -> Any:
    """Of a connection that is closed while its handshake ends, aiortc stops what has not begun, and begins it then: its tasks
    would run for as long as the server."""

    async def begin(self: Any, parameters: Any) -> None:
        if not getattr(self, "_stopped", False):
            await _original[name](self, parameters)

    return begin


def _stop(owner: str) -> Any:
    async def stop(self: Any) -> None:
        self._stopped = True
        await _original[f"{owner}.stop"](self)

    return stop


async def _recv(self: Any) -> bytes:
    """Keep when the datagram came, which aiortc takes for the time at which it has come to read it."""
    data: bytes = await _original["Connection.recv"](self)
    self._arrived_s = getattr(data, "arrived_s", None)
    return data


async def _query_consent(self: Any) -> None:
    """Not of a connection that is closed in the moment in which it connects: it has nobody left to ask, and would go on for
    as long as the server."""
    if not self._closing:
        await _original["Connection.query_consent"](self)


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
        self._RTCRtpReceiver__nack_generator._layer = jitter.layer_of(buffer)
    await _original["RTCRtpReceiver._handle_rtp_packet"](self, packet, round(1000 * arrived_s))
    while buffer._is_video and self._RTCRtpReceiver__decoder_thread and (waiting := jitter.first_of(buffer)) is not None:
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
