"""Reports of arrivals as a sender reads them, playout delay on the wire, arrival times of the kernel, and ends."""

from __future__ import annotations

import asyncio
import random
import re
import socket
import struct
import time

import pytest
from aioice import Connection
from aiortc import (
    RTCCertificate,
    RTCDtlsTransport,
    RTCIceGatherer,
    RTCIceTransport,
    RTCRtpReceiver,
    RTCRtpSender,
    RTCSessionDescription,
)
from aiortc.rtcrtpparameters import (
    RTCRtpCodecParameters,
    RTCRtpHeaderExtensionParameters,
    RTCRtpParameters,
    RTCRtpReceiveParameters,
    RTCRtpSendParameters,
)
from aiortc.rtp import HeaderExtensions, HeaderExtensionsMap, RtpPacket, unpack_header_extensions

from streamer.webrtc import aiortc_patches, extensions, udp
from streamer.webrtc.extensions import INTERVAL_S, PLAYOUT_DELAY, TRANSPORT_CC, Arrivals
from streamer.webrtc.offer import Kind

from ..peers import peer
from ..waiting import until

MS = 1e-3
FOR_VP8 = "a=rtcp-fb:97 transport-cc\r\n"


def read(report: bytes) -> tuple[int, dict[int, float | None]]:
    """Its own number, and when each packet came, in seconds, or None: by the draft's §3.1, of vectors with two-bit symbols."""
    head, kind, words, _, _, base, count, word = struct.unpack("!BBHLLHHL", report[:20])
    assert (head & 0xDF, kind, len(report)) == (0x8F, 205, 4 * (words + 1))
    body = report[20 : len(report) - (report[-1] if head & 0x20 else 0)]
    chunks = [struct.unpack_from("!H", body, 2 * k)[0] for k in range(-(-count // 7))]
    assert all(chunk >> 14 == 0b11 for chunk in chunks)
    statuses = [chunk >> 2 * (6 - k) & 0b11 for chunk in chunks for k in range(7)]
    assert not any(statuses[count:])
    times: dict[int, float | None] = {}
    at, time_s = 2 * len(chunks), (word >> 8) * 0.064
    for k, status in enumerate(statuses[:count]):
        if status:
            time_s += struct.unpack_from({1: "!B", 2: "!h"}[status], body, at)[0] * 250e-6
            at += status
        times[(base + k) % 0x10000] = time_s if status else None
    assert at == len(body)
    return word & 0xFF, times


def reported(packets: list[tuple[int, float]]) -> list[tuple[int, dict[int, float | None]]]:
    arrivals = Arrivals()
    reports = [arrivals.add(number, at_s, 1, 2) for number, at_s in packets]
    return [read(report) for report in reports if report is not None]


def test_every_packet_is_reported_once_with_its_time() -> None:
    """With losses, others' order, and numbers that begin anew at 65536."""
    rng = random.Random(3)
    sent = [(number % 0x10000, 5.0 + number * 4 * MS + rng.random() * 30 * MS) for number in range(65000, 66500)]
    came = sorted((packet for packet in sent if rng.random() > 0.1), key=lambda packet: packet[1])
    reports = reported(came)
    assert [number for number, _ in reports] == list(range(len(reports)))
    found: dict[int, float] = {}
    for _, times in reports:
        found |= {number: at_s for number, at_s in times.items() if at_s is not None}
    expected = dict(came[: len(found)])
    assert found.keys() == expected.keys()
    assert all(abs(found[number] - at_s) <= 126e-6 for number, at_s in expected.items())
    seen = {number for _, times in reports for number in times}
    assert {number for number, _ in sent[:1000]} <= seen, "what never came is reported, too"


def test_a_report_is_due_by_time_or_size() -> None:
    assert len(reported([(k, k * 1.1 * INTERVAL_S / 10) for k in range(101)])) == 10
    assert [len(times) for _, times in reported([(k, 0.0) for k in range(700)])] == [300, 300]


def test_a_pause_and_a_leap_of_the_numbers_end_nothing() -> None:
    packets = [(1, 1.0), (2, 1.01), (3, 60.0), (4, 60.01), (30000, 61.0), (30001, 61.2), (30002, 61.4)]
    assert [list(times) for _, times in reported(packets)] == [[1, 2], [3, 4], [30000], [30001]]


@pytest.fixture
def patched():
    aiortc_patches.install(["127.0.0.1"])
    yield
    aiortc_patches.uninstall()


@pytest.mark.parametrize(("mid", "profile"), [("0", 0xBEDE), ("a-name-of-more-than-16-bytes", 0x1000)])
def test_pictures_are_to_be_shown_at_once(patched, mid, profile) -> None:
    header = HeaderExtensionsMap()
    given = [RTCRtpHeaderExtensionParameters(id=9, uri="urn:ietf:params:rtp-hdrext:sdes:mid")]
    header.configure(RTCRtpParameters(headerExtensions=[*given, RTCRtpHeaderExtensionParameters(id=5, uri=PLAYOUT_DELAY)]))
    packed = header.set(HeaderExtensions(mid=mid))
    assert packed[0] == profile
    assert dict(unpack_header_extensions(*packed)) == {9: mid.encode(), 5: bytes(3)}
    packet = RtpPacket(payload=b"x")
    assert RtpPacket.parse(packet.serialize(header), header).payload == b"x"
    assert not HeaderExtensionsMap().set(HeaderExtensions())[1], "only where it was negotiated"


@pytest.mark.parametrize("sound", [False, True])
async def test_pictures_may_wait_for_the_sound_that_belongs_to_them(patched, sound) -> None:
    async with peer() as connection:
        sender = connection.addTransceiver("video").sender
        extensions.hold_nothing(sender, but=lambda: sound)
        header: HeaderExtensionsMap = sender._RTCRtpSender__rtp_header_extensions_map  # type: ignore[attr-defined]
        header.configure(RTCRtpParameters(headerExtensions=[RTCRtpHeaderExtensionParameters(id=5, uri=PLAYOUT_DELAY)]))
        assert unpack_header_extensions(*header.set(HeaderExtensions())) == [(5, b"\x00\x0f\xff" if sound else bytes(3))]


async def answered(kind: Kind, offer: str) -> str:
    async with peer() as connection:
        await connection.setRemoteDescription(RTCSessionDescription(offer, "offer"))
        extensions.negotiate(connection, kind)
        for transceiver in connection.getTransceivers():
            transceiver.direction = "recvonly" if kind == "whip" else "sendonly"
        await connection.setLocalDescription(await connection.createAnswer())
        return connection.localDescription.sdp


async def offered(kind: Kind, feedback: str = "a=rtcp-fb:* transport-cc\r\n", number: int = 5) -> str:
    """By aiortc, and with what it does not offer."""
    async with peer() as connection:
        connection.addTransceiver("video", direction="sendonly" if kind == "whip" else "recvonly")
        await connection.setLocalDescription(await connection.createOffer())
        more = f"{feedback}a=extmap:{number} {TRANSPORT_CC}\r\na=extmap:{number + 1} {PLAYOUT_DELAY}\r\n"
        return connection.localDescription.sdp + more


async def test_each_side_is_answered_what_it_offers() -> None:
    publisher = await answered("whip", await offered("whip"))
    assert f"a=extmap:5 {TRANSPORT_CC}\r\n" in publisher
    reports, estimates = (re.findall(rf"a=rtcp-fb:(\d+) {kind}", publisher) for kind in ("transport-cc", "goog-remb"))
    assert len(set(reports)) == len(reports)
    assert set(estimates) <= set(reports)
    assert estimates
    assert PLAYOUT_DELAY not in publisher
    viewer = await answered("whep", await offered("whep", FOR_VP8))
    assert f"a=extmap:6 {PLAYOUT_DELAY}\r\n" in viewer
    assert "transport-cc" not in viewer
    assert TRANSPORT_CC not in viewer
    for offer in (await offered("whip", feedback=""), await offered("whip", FOR_VP8, number=15)):
        said = await answered("whip", offer)
        assert "transport-cc" not in said
        assert TRANSPORT_CC not in said


async def test_a_datagram_came_when_the_kernel_had_it(patched) -> None:
    """However late the loop reads it. The kernel begins to note times a moment after a socket asks for it, the first to ask: what
    came before is noted when it is read."""
    came: list[udp.Datagram] = []

    class Protocol(asyncio.DatagramProtocol):
        def datagram_received(self, data: bytes, addr: object) -> None:
            assert isinstance(data, udp.Datagram)
            came.append(data)

    stand_in = udp.Asyncio(None).get_running_loop()
    transport, _ = await stand_in.create_datagram_endpoint(Protocol, local_addr=("127.0.0.1", 0))
    apart_s = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        for _ in range(20):
            for word in (b"a", b"b"):
                sender.sendto(word, transport.get_extra_info("sockname"))
                time.sleep(0.05)  # noqa: ASYNC251
            await until(lambda: len(came) == 2)
            assert came == [b"a", b"b"]
            apart_s.append(came[1].arrived_s - came[0].arrived_s)
            if apart_s[-1] > 0.02:  # read at once they are 0
                break
            came.clear()
    transport.close()
    assert transport.is_closing()
    assert not udp.HAS_TIMESTAMPS or apart_s[-1] > 0.02, apart_s


@pytest.mark.parametrize("ports", [None, (42_000, 42_099)])
async def test_each_address_of_the_machine_is_bound(patched, ports) -> None:
    """A phone is in one of its networks, which need not be the first."""
    stand_in = udp.Asyncio(ports).get_running_loop()  # aioice asks for it once
    for address in ("127.0.0.1", "127.0.0.2", "127.0.0.3"):
        transport, _ = await stand_in.create_datagram_endpoint(asyncio.DatagramProtocol, local_addr=(address, 0))
        assert transport.get_extra_info("sockname")[0] == address
        transport.close()


async def test_a_burst_waits_for_the_kernel(patched) -> None:
    """A key frame is more than its buffer holds on a slow line."""
    sent: list[bytes] = []

    class Slow(socket.socket):
        def sendto(self, data: bytes, *args: object) -> int:  # type: ignore[override]
            if len(sent) % 3 == 2 and sent[-1:] != [b""]:
                sent.append(b"")
                raise BlockingIOError
            sent.append(data)
            return len(data)

    with Slow(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        sock.setblocking(False)
        transport = udp.Transport(asyncio.get_running_loop(), sock, asyncio.DatagramProtocol())
        words = [b"%d" % k for k in range(20)]
        for word in words:
            transport.sendto(word, ("127.0.0.1", 9))
        await until(lambda: [word for word in sent if word] == words)
        assert b"" in sent
        transport.close()
        transport.sendto(b"late", ("127.0.0.1", 9))
        assert b"late" not in sent


async def test_what_was_stopped_does_not_begin(patched) -> None:
    """A connection may be closed while its handshake ends."""
    transport = RTCDtlsTransport(RTCIceTransport(RTCIceGatherer()), [RTCCertificate.generateCertificate()])
    sender, receiver = RTCRtpSender("audio", transport), RTCRtpReceiver("audio", transport)
    codecs = [RTCRtpCodecParameters("audio/opus", 48_000, 2, 96)]
    for each in (sender, receiver):
        await each.stop()
    await sender.send(RTCRtpSendParameters(codecs=codecs))
    await receiver.receive(RTCRtpReceiveParameters(codecs=codecs))
    assert asyncio.all_tasks() == {asyncio.current_task()}


class ClosesOnWord(asyncio.Queue[int]):
    """Of how a connection's checks ended: closes it when they do, before that is taken note of."""

    def __init__(self, connection: Connection) -> None:
        super().__init__()
        self.connection = connection

    def put_nowait(self, item: int) -> None:
        if not self.connection._closing:
            self.closing = asyncio.ensure_future(self.connection.close())
        super().put_nowait(item)


async def test_a_connection_that_is_closed_as_it_connects_asks_for_nothing(patched) -> None:
    one, other = Connection(ice_controlling=True), Connection(ice_controlling=False)
    for connection in (one, other):
        await connection.gather_candidates()
    for connection, remote in ((one, other), (other, one)):
        for candidate in [*remote.local_candidates, None]:
            await connection.add_remote_candidate(candidate)
        connection.remote_username, connection.remote_password = remote.local_username, remote.local_password
    one._check_list_state = word = ClosesOnWord(one)
    await asyncio.gather(one.connect(), other.connect())
    await word.closing
    await other.close()
    await until(lambda: asyncio.all_tasks() == {asyncio.current_task()})
