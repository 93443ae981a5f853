"""Targets: datagrams, as they come through what is patched of aiortc and aioice.

Several packets in one input have two bytes of length before each (RFC 4571).
"""

from __future__ import annotations

import asyncio
import queue
import struct
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from typing import Any

import aioice
from aioice import stun
from aioice.ice import StunProtocol
from aiortc import (
    RTCCertificate,
    RTCDtlsTransport,
    RTCIceGatherer,
    RTCIceTransport,
    RTCRtpReceiver,
    RTCRtpSender,
    RTCSctpTransport,
)
from aiortc.jitterbuffer import JitterFrame
from aiortc.rtcdtlstransport import RtpRouter
from aiortc.rtcrtpparameters import (
    RTCRtpCodecParameters,
    RTCRtpDecodingParameters,
    RTCRtpHeaderExtensionParameters,
    RTCRtpReceiveParameters,
    RTCRtpRtxParameters,
)
from google_crc32c import value as crc32c

from streamer.webrtc import aiortc_patches
from streamer.webrtc.decoders import Measured, h264_sizes, vp8_sizes
from streamer.webrtc.extensions import TRANSPORT_CC

ADDRESS = ("192.0.2.1", 5000)
CODECS = [
    RTCRtpCodecParameters("video/VP8", 90000, payloadType=96), RTCRtpCodecParameters("video/H264", 90000, payloadType=97),
    RTCRtpCodecParameters("video/rtx", 90000, payloadType=98, parameters={"apt": 96}),
    RTCRtpCodecParameters("audio/opus", 48000, 2, payloadType=111),
]  # fmt: skip
EXTENSIONS = [
    RTCRtpHeaderExtensionParameters(1, "urn:ietf:params:rtp-hdrext:sdes:mid"),
    RTCRtpHeaderExtensionParameters(2, "http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time"),
    RTCRtpHeaderExtensionParameters(3, TRANSPORT_CC),
    RTCRtpHeaderExtensionParameters(4, "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id"),
    RTCRtpHeaderExtensionParameters(5, "urn:ietf:params:rtp-hdrext:ssrc-audio-level"),
]


@cache
def _loop() -> asyncio.AbstractEventLoop:
    """One loop for all, which runs while a packet is handled."""
    aiortc_patches.install(["127.0.0.1"])
    return asyncio.new_event_loop()


def close() -> None:
    """End what the targets share."""
    _loop().close()
    aiortc_patches.uninstall()
    _loop.cache_clear()
    _one_transport.cache_clear()


def framed(data: bytes) -> Iterator[bytes]:
    """The packets of an input."""
    while len(data) > 2:
        (length,) = struct.unpack_from("!H", data)
        yield data[2 : 2 + length]
        data = data[2 + length :]


class Line(asyncio.DatagramTransport):
    """A line on which what is sent is lost."""

    def sendto(self, data: Any, addr: Any = None) -> None: ...


async def _ice() -> StunProtocol:
    connection = aioice.Connection(ice_controlling=False)
    connection.remote_username, connection.remote_password = "them!", "p" * 22
    protocol = StunProtocol(connection)
    protocol.connection_made(Line())
    protocol.local_candidate = aioice.Candidate("f", 1, "udp", 1, "192.0.2.2", 4000, "host")
    return protocol


def stun_messages(data: bytes) -> None:
    """STUN from anybody."""

    async def receive() -> None:
        protocol = await _ice()
        for packet in framed(data):
            protocol.datagram_received(packet, ADDRESS)

    _loop().run_until_complete(receive())


def checks(data: bytes) -> None:
    """ICE checks from somebody who knows the password: the input is what they say beside it."""

    async def receive() -> None:
        protocol = await _ice()
        connection = protocol.receiver
        request = stun.Message(stun.Method.BINDING, stun.Class.REQUEST)
        request.attributes["USERNAME"] = f"{connection.local_username}:{connection.remote_username}"
        said = bytes(request)[stun.HEADER_LENGTH :] + data[: len(data) // 4 * 4]
        head = bytes(request)[: stun.HEADER_LENGTH]
        code = stun.message_integrity(head + said, connection.local_password.encode())
        whole = head[:2] + struct.pack("!H", len(said) + 24) + head[4:] + said + struct.pack("!HH", 8, 20) + code
        protocol.datagram_received(whole, ADDRESS)

    _loop().run_until_complete(receive())


def _transport() -> RTCDtlsTransport:
    """One for all, as nothing of it is tried but where it passes packets to."""
    transport = _one_transport()
    transport._rtp_router = RtpRouter()
    return transport


@cache
def _one_transport() -> RTCDtlsTransport:
    return RTCDtlsTransport(RTCIceTransport(RTCIceGatherer(iceServers=[])), [RTCCertificate.generateCertificate()])


class Idle:
    """In the place of a thread that decodes."""

    def join(self) -> None: ...


def _receiver(transport: RTCDtlsTransport, kind: str) -> RTCRtpReceiver:
    """As after `receive`, but nothing decodes."""
    receiver = RTCRtpReceiver(kind, transport)
    codecs: list[Any] = [codec for codec in CODECS if codec.mimeType.startswith(kind)]
    inner: Any = receiver
    inner._RTCRtpReceiver__codecs = {codec.payloadType: codec for codec in codecs}
    inner._RTCRtpReceiver__rtx_ssrc, inner._RTCRtpReceiver__rtcp_ssrc = {2: 1}, 9
    inner._RTCRtpReceiver__decoder_thread, inner._RTCRtpReceiver__decoder_queue = Idle(), queue.SimpleQueue()
    encoding = RTCRtpDecodingParameters(ssrc=1, payloadType=codecs[0].payloadType, rtx=RTCRtpRtxParameters(ssrc=2))
    transport._register_rtp_receiver(receiver, RTCRtpReceiveParameters(codecs, EXTENSIONS, "0", encodings=[encoding]))
    return receiver


def rtp(data: bytes) -> None:
    """Packets of a publisher's picture and sound."""

    async def receive() -> None:
        transport = _transport()
        kept = [_receiver(transport, kind) for kind in ("video", "audio")]
        for packet in framed(data):
            await transport._handle_rtp_data(packet, 0)
        assert kept

    _loop().run_until_complete(receive())


def rtcp(data: bytes) -> None:
    """What publishers and viewers say of packets, theirs and ours."""

    async def receive() -> None:
        transport = _transport()
        kept = _receiver(transport, "video"), RTCRtpSender("video", transport)
        transport._rtp_router.register_sender(kept[1], 7)
        kept[1]._ssrc = 7
        for packet in framed(data):
            await transport._handle_rtcp_data(packet)

    _loop().run_until_complete(receive())


class Under:
    """Below SCTP: a connection on which what is sent is lost."""

    state, _role, _data_receiver = "connected", "server", None

    class transport:
        role = "controlled"

    async def _send_data(self, data: bytes) -> None: ...


def association() -> RTCSctpTransport:
    """One that is established, with somebody whose first packet is number 1."""
    under: Any = Under()
    made = RTCSctpTransport(under)
    made._association_state = made.State.ESTABLISHED
    made._remote_port, made._last_received_tsn, made._inbound_streams_count = 5000, 0, 65535
    return made


def sctp_packet(to: RTCSctpTransport, chunks: bytes) -> bytes:
    """Chunks with a head that is right."""
    tag = 0 if chunks[:1] == b"\1" else to._local_verification_tag
    packet = struct.pack("!HHLL", 5000, 5000, tag, 0) + chunks
    return packet[:8] + struct.pack("<L", crc32c(packet)) + packet[12:]


def sctp(data: bytes) -> None:
    """Packets of a data channel; the input is their chunks."""

    async def receive() -> None:
        ours = association()
        ours.on("datachannel", lambda channel: channel.on("message", len))
        try:
            for chunks in framed(data):
                await ours._handle_data(sctp_packet(ours, chunks))
        finally:
            for timer in ("_t1", "_t2", "_t3", "_reconfig"):
                if (handle := getattr(ours, f"{timer}_handle")) is not None:
                    handle.cancel()

    _loop().run_until_complete(receive())


class Nothing:
    """Decodes nothing."""

    def decode(self, encoded_frame: object) -> list[Any]:
        return []


def sizes(data: bytes) -> None:
    """Pictures that are measured before they are decoded."""
    for measure in (vp8_sizes, h264_sizes):
        with suppress(ValueError):
            assert all(min(size) >= 0 for size in measure(data))
        Measured(Nothing(), measure, 1_000_000).decode(JitterFrame(data, 0))  # type: ignore[arg-type]


def depayloaded(data: bytes) -> None:
    """Payloads of RTP packets, by every codec that is taken."""
    from aiortc.codecs import depayload

    for codec in CODECS:
        with suppress(ValueError):
            depayload(codec, data)
