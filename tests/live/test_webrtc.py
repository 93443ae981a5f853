"""aiortc's pitfalls and their cures: each cure has a test here that fails without it."""

from __future__ import annotations

import asyncio
import re
import socket
import threading
from collections.abc import Iterator
from typing import Any

import aioice.ice
import httpx
import numpy as np
import pytest
from aiortc import RTCDtlsTransport, RTCPeerConnection, RTCRtpCodecParameters
from aiortc.codecs import get_capabilities
from aiortc.jitterbuffer import JitterBuffer
from aiortc.rtcrtpreceiver import NackGenerator, RemoteStreamTrack
from aiortc.rtp import RtpPacket

from pipeline.clock import steady
from pipeline.frames import CLOCK
from streamer.limits import Bitrates
from streamer.webrtc import aiortc_patches, jitter
from streamer.webrtc.encoders import LiveH264Encoder, LiveVp8Encoder
from streamer.webrtc.layers import Layer
from streamer.webrtc.sdp import with_uplink_bitrates

from ..conftest import run_server
from ..media import picture
from ..peers import SDP, Camera, Silent, connected, negotiate, peer, pictures, watching
from ..virtual_time import now, virtual
from ..waiting import LIMIT_S, until, wait_until


@pytest.fixture
def patched():
    aiortc_patches.install(["127.0.0.1"])
    yield
    aiortc_patches.uninstall()


def packet(number: int, timestamp: int, payload: bytes = b"x", marker: bool = False) -> RtpPacket:
    out = RtpPacket(payload_type=96, marker=int(marker), sequence_number=number, timestamp=timestamp, payload=payload)
    out._data = payload  # type: ignore[attr-defined]
    return out


def test_a_frame_ends_at_its_marker(patched):
    buffer = JitterBuffer(capacity=16, is_video=True)
    assert buffer.add(packet(0, 100, b"a"))[1] is None
    frame = buffer.add(packet(1, 100, b"b", marker=True))[1]
    assert frame is not None
    assert (frame.data, frame.timestamp) == (b"ab", 100)


def test_padding_is_no_frame(patched):
    buffer = JitterBuffer(capacity=16, is_video=True)
    assert buffer.add(packet(0, 100, b"a", marker=True))[1].data == b"a"
    assert buffer.add(packet(1, 100, b""))[1] is None
    assert buffer.add(packet(2, 200, b"c", marker=True))[1].data == b"c"


def test_without_markers_the_next_frame_ends_it(patched):
    buffer = JitterBuffer(capacity=16, is_video=True)
    buffer.add(packet(0, 100, b"a"))
    assert buffer.add(packet(1, 200, b"b"))[1].data == b"a"


def test_a_picture_whose_packet_stays_away_is_left_out(patched, monkeypatch):
    now = [10.0]
    monkeypatch.setattr(jitter, "steady", lambda: now[0])
    buffer = JitterBuffer(capacity=512, is_video=True)
    assert buffer.add(packet(0, 100, b"a", marker=True))[1].data == b"a"
    results = []
    for k in range(2, 40):  # the packet 1 never comes
        now[0] += 1 / 30
        results.append(buffer.add(packet(k, 100 * k, b"%d" % k, marker=True)))
    waited = [frame for _, frame in results[:14]]
    assert not any(waited), "it may still come"
    assert any(pli for pli, _ in results), "a key frame is asked for"
    assert results[-1][1] is not None, "and the pictures go on"


async def test_pictures_that_waited_for_a_lost_packet_are_caught_up_with(patched):
    """One packet each: those that are whole are decoded with the one that was missing, and not one a packet ever after."""
    connection = RTCPeerConnection()
    receiver: Any = connection.addTransceiver("video").receiver
    receiver._RTCRtpReceiver__codecs = {96: RTCRtpCodecParameters("video/VP8", 90000, payloadType=96)}
    receiver._RTCRtpReceiver__decoder_thread = True
    queue = receiver._RTCRtpReceiver__decoder_queue
    decoded = []
    for number in (0, 2, 3, 4, 1, 5):
        given = packet(number, 3000 * number, b"\x10" + bytes([number]), marker=True)
        await receiver._handle_rtp_packet(given, 0)
        decoded.append(queue.qsize())
    receiver._RTCRtpReceiver__decoder_thread = None
    await connection.close()
    assert decoded == [1, 1, 1, 1, 5, 6]
    assert [queue.get()[1].data[-1] for _ in range(6)] == list(range(6))


def test_sound_is_given_out_as_it_comes(patched):
    """aiortc keeps four packets, and sixteen from the first loss on."""
    buffer = JitterBuffer(capacity=16, prefetch=4)
    came = [n % 2**16 for n in range(65530, 65600) if n not in (65533, 65540)]
    given = [buffer.add(packet(n, 960 * n, b"%d" % n))[1] for n in [*came, came[-3]]]
    assert [frame and frame.data for frame in given] == [*(b"%d" % n for n in came), None], "what is late, or twice, is left out"
    assert buffer.add(packet(came[-1] + 40, 0, b"x"))[1].data == b"x", "the line was gone for a while"


KEY, DELTA = b"\x10\x00\x00\x9d\x01\x2a", b"\x11\x00\x00"


def layers(sizes: dict[int, int], seconds: float, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[int, float, bool, Any]]:
    """Streams of VP8 at 30 frames a second, with a key frame each two seconds, at a receiver: SSRC, seconds, and what came."""
    buffer, missing, now = JitterBuffer(capacity=16, is_video=True), NackGenerator(), [10.0]
    missing._layer = buffer._layer = Layer()  # type: ignore[attr-defined]
    monkeypatch.setattr(jitter, "steady", lambda: now[0])
    for k in range(round(seconds * 30)):
        for ssrc, size in sizes.items():
            now[0] += 1 / 30 / len(sizes)
            each = packet(1000 * ssrc + k, 3000 * k + ssrc, (DELTA if k % 60 else KEY) + bytes([ssrc]) * size, marker=True)
            each.ssrc = ssrc
            assert not missing.add(each), "nothing is asked for that was never lost"
            yield ssrc, k / 30, *buffer.add(each)


def test_of_several_layers_one_is_received(patched, monkeypatch):
    """Each has numbers and times of its own."""
    received = [frame.data[-1] for _, _, _, frame in layers({1: 100, 2: 100}, 6, monkeypatch) if frame is not None]
    assert received == [1] * 180


def test_of_several_layers_the_largest_is_received_from_its_next_key_frame_on(patched, monkeypatch):
    """Whichever comes first; and nothing is missing meanwhile."""
    received, asked = [], []
    for ssrc, at_s, pli, frame in layers({1: 100, 2: 300, 3: 900}, 7, monkeypatch):
        received += [frame.data[-1]] if frame is not None else []
        asked += [(ssrc, round(at_s))] if pli else []
    assert received == [1] * 121 + [3] * 90
    assert asked[0] == (3, 2), "a key frame is asked for"


def test_a_layer_that_falls_silent_is_followed_by_another(patched, monkeypatch):
    buffer = JitterBuffer(capacity=16, is_video=True)
    for ssrc in (1, 2):
        other = packet(100 * ssrc, ssrc, KEY + b"%d" % ssrc, marker=True)
        other.ssrc = ssrc
        assert buffer.add(other)[1].data[-1:] == b"%d" % ssrc
        monkeypatch.setattr(jitter, "steady", lambda: steady() + 2)


def test_a_lost_packet_is_asked_for_again(patched, monkeypatch):
    now = [10.0]
    monkeypatch.setattr(jitter, "steady", lambda: now[0])
    nacks = NackGenerator()
    nacks.add(packet(0, 0))
    asked = []
    for k in range(2, 40):
        now[0] += 1 / 30
        asked.append(nacks.add(packet(k, 100 * k)))
    assert asked[0]
    assert sum(asked) == 1 + jitter.ASK_AGAIN
    assert nacks.missing == {1}


async def test_the_receive_path_keeps_only_the_newest(patched):
    track = RemoteStreamTrack("video")
    for k in range(50):
        await track._queue.put(k)
    assert track._queue.qsize() == 1
    assert await track.recv() == 49
    await track._queue.put(1)
    await track._queue.put(None)
    await track._queue.put(2)
    assert await track._queue.get() is None, "the end of a track is never lost"


def test_media_uses_the_addresses_of_the_config(patched):
    assert aioice.ice.get_host_addresses(True, True) == ["127.0.0.1"]


def test_a_handshake_leaves_time_to_store_the_answer(patched, monkeypatch):
    began: list[float] = []

    class Transport:
        state = "new"

    async def start(self: Transport, remote: object) -> None:
        began.append(now())

    monkeypatch.setitem(aiortc_patches._original, "RTCDtlsTransport.start", start)

    @virtual
    async def connect() -> None:
        closed = Transport()
        both = asyncio.gather(RTCDtlsTransport.start(Transport(), None), RTCDtlsTransport.start(closed, None))
        closed.state = "closed"
        await both

    connect()
    assert began == [pytest.approx(aiortc_patches.HANDSHAKE_AFTER_S)], "and not where the session was closed meanwhile"


async def test_a_description_has_one_fingerprint(patched):
    """Of the offer that we push with, and of an answer: aiortc writes three."""
    async with peer() as ours, peer() as other:
        for kind in ("audio", "video"):
            ours.addTransceiver(kind)
        await ours.setLocalDescription(await ours.createOffer())
        await other.setRemoteDescription(ours.localDescription)
        await other.setLocalDescription(await other.createAnswer())
        for connection in (ours, other):
            _, *media = connection.localDescription.sdp.split("m=")
            assert [re.findall(r"a=fingerprint:(\S+)", section) for section in media] == [["sha-256"]] * 2


@pytest.mark.parametrize("codec", ["VP8", "H264"])
async def test_whip_and_whep_end_to_end(model, codec):
    with run_server() as server:
        async with httpx.AsyncClient(base_url=server.url, timeout=LIMIT_S) as http, peer() as camera, peer() as viewer:
            camera.addTrack(Camera())
            whip = await negotiate(http, camera, "/live/live/whip")
            assert whip.headers["content-type"].startswith("application/sdp")
            assert "x-google-start-bitrate=2000" in whip.text
            transceiver = viewer.addTransceiver("video", direction="recvonly")
            codecs = [c for c in get_capabilities("video").codecs if c.name == codec]
            transceiver.setCodecPreferences(codecs)
            await negotiate(http, viewer, "/live/live/whep")
            first = await asyncio.wait_for(transceiver.receiver.track.recv(), LIMIT_S)
            assert first.width == first.height == 256
            state = server.control.state
            await until(lambda: state("live").animated > 10)
            assert state("live").age_p95_ms is not None
            location = whip.headers["location"]
            assert (await http.delete(location)).status_code == 200
            assert (await http.delete(location)).status_code == 404
            assert not state("live").publisher
        await until(lambda: not len(server.sessions))
        assert not server.control.state("live").viewers


async def test_empty_and_foreign_datagrams_do_not_end_a_session(model):
    with run_server() as server:
        async with httpx.AsyncClient(base_url=server.url, timeout=LIMIT_S) as http, peer() as camera:
            camera.addTrack(Camera())
            answer = (await negotiate(http, camera, "/live/live/whip")).text
            await until(lambda: server.control.state("live").frames_in > 5)
            ports = {int(line.split()[5]) for line in answer.splitlines() if line.startswith("a=candidate:")}
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as attacker:
                for port in ports:
                    attacker.sendto(b"", ("127.0.0.1", port))
                    attacker.sendto(bytes([21, 254, 253]) + bytes(20), ("127.0.0.1", port))
            before = server.control.state("live").frames_in
            await until(lambda: server.control.state("live").frames_in > before + 20)


async def test_an_abandoned_offer_is_closed_in_time(model):
    with run_server(webrtc={"handshake_timeout_s": 1}) as server:
        async with httpx.AsyncClient(base_url=server.url, timeout=LIMIT_S) as http, peer() as camera:
            camera.addTrack(Camera())
            await camera.setLocalDescription(await camera.createOffer())
            reply = await http.post("/live/live/whip", content=camera.localDescription.sdp, headers=SDP)
            assert reply.status_code == 201
            assert len(server.sessions) == 1
            assert not server.control.state("live").publisher, "who only offers drives nothing, and holds nobody up"
            await until(lambda: not len(server.sessions))


async def test_a_viewer_that_dies_silently_is_let_go(model, monkeypatch):
    monkeypatch.setattr(aiortc_patches, "CONSENT_INTERVAL_S", 0.2)
    with run_server() as server:
        async with httpx.AsyncClient(base_url=server.url, timeout=LIMIT_S) as http, peer() as viewer:
            viewer.addTransceiver("video", direction="recvonly")
            await negotiate(http, viewer, "/live/live/whep")
            await connected(viewer)
            ice = viewer.getTransceivers()[0].receiver.transport.transport._connection  # as a killed process: no goodbye
            for protocol in ice._protocols:
                protocol.transport.abort()
            await until(lambda: not server.control.state("live").viewers)


async def test_a_publisher_that_sends_nothing_loses_its_place(model):
    with run_server(webrtc={"idle_timeout_s": 2}) as server:
        async with httpx.AsyncClient(base_url=server.url, timeout=LIMIT_S) as http, peer() as camera:
            camera.addTrack(Silent())
            await negotiate(http, camera, "/live/live/whip")
            await connected(camera)
            await until(lambda: server.control.state("live").publisher)
            await until(lambda: not server.control.state("live").publisher)


async def test_no_stun_server_is_asked(model, monkeypatch):
    """aiortc's own default would tell a public server about every session."""
    asked = []
    monkeypatch.setattr(aioice.ice, "server_reflexive_candidate", lambda *args, **kwargs: asked.append(args))
    with run_server() as server:
        async with httpx.AsyncClient(base_url=server.url, timeout=LIMIT_S) as http, peer() as viewer:
            viewer.addTransceiver("video", direction="recvonly")
            await negotiate(http, viewer, "/live/live/whep")
    assert not asked


async def test_a_late_viewer_gets_a_key_frame_of_its_own(model):
    with run_server() as server:
        async with httpx.AsyncClient(base_url=server.url, timeout=LIMIT_S) as http:
            await http.patch("/api/streams/live", json={"demo": True})
            async with watching(http) as (_, first):
                await pictures(first, 20)
                [before] = server.control.state("live").encoders
                async with watching(http) as (_, late):
                    await pictures(late, 1)
                    [after] = server.control.state("live").encoders
        assert (before.viewers, after.viewers) == (1, 2)
        assert after.key_frames > before.key_frames


def encoded(encoder, fps: int, count: int) -> list[int]:
    """Sizes of `count` encoded frames."""
    sizes = []
    for k in range(count):
        frame = picture(k)
        frame.pts, frame.time_base = k * 90_000 // fps, CLOCK
        sizes.append(encoder.encode(frame).size)
    return sizes


@pytest.mark.parametrize("encoder", [LiveVp8Encoder, LiveH264Encoder])
@pytest.mark.parametrize("fps", [30, 12])
def test_the_bitrate_is_the_asked_one_at_any_frame_rate(encoder, fps):
    sizes = encoded(encoder(Bitrates(start=2_000_000)), fps, 90)[30:]
    kbps = sum(sizes) * 8 / (len(sizes) / fps) / 1000
    assert 1200 < kbps < 2800
    assert max(sizes) < 4 * np.mean(sizes), "no key frame among them, though the frames came marked as such"


def test_a_changed_bitrate_costs_no_key_frame():
    encoder = LiveH264Encoder(Bitrates(start=3_000_000))
    before = encoded(encoder, 30, 60)[30:]
    encoder.target_bitrate = 1_000_000
    after = []
    for k in range(60, 150):
        frame = picture(k)
        frame.pts, frame.time_base = k * 3000, CLOCK
        after.append(encoder.encode(frame).size)
    assert np.mean(after[45:]) < 0.6 * np.mean(before)
    assert max(after) < 2 * max(before)


def test_forced_key_frames_and_limits():
    encoder = LiveVp8Encoder(Bitrates(least=500_000, most=1_000_000))
    encoder.target_bitrate = 1
    assert encoder.target_bitrate == 500_000
    encoder.target_bitrate = 10**9
    assert encoder.target_bitrate == 1_000_000


def test_bitrate_hints_reach_every_codec_once():
    answer = "a=rtpmap:96 VP8/90000\r\na=rtpmap:97 H264/90000\r\na=fmtp:97 packetization-mode=1\r\n"
    answer += "a=rtpmap:98 rtx/90000\r\na=fmtp:98 apt=96\r\n"
    hinted = with_uplink_bitrates(answer, 1, 2, 3)
    assert hinted.count("x-google-start-bitrate=2") == 2
    assert "a=fmtp:98 apt=96\r\n" in hinted


def test_no_idle_thread_is_left(model):
    with run_server():
        pass
    wait_until(lambda: not [t for t in threading.enumerate() if t.name == "animation-stage"])
