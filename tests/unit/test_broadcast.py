"""Encoding once: one encoder for all viewers of a codec, and what a slow one of them costs the others."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from itertools import pairwise

import av
import httpx
import pytest
from aiortc import RTCPeerConnection
from aiortc.rtcrtpreceiver import RTCRtpReceiver

from pipeline.frames import CLOCK
from streamer.control.state import EncoderState
from streamer.limits import Bitrates
from streamer.webrtc import encoders, tracks
from streamer.webrtc.encoders import LiveH264Encoder, LiveVp8Encoder
from streamer.webrtc.tracks import Encoded, ViewerTrack

from ..conftest import run_server
from ..media import picture
from ..peers import negotiate, peer, watching
from ..waiting import until


async def frames_of(receiver: RTCRtpReceiver, seconds: float) -> int:
    count = 0
    try:
        async with asyncio.timeout(seconds):
            while True:
                await receiver.track.recv()
                count += 1
    except TimeoutError:
        return count


def encoder(server, codec: str) -> EncoderState:
    return next(e for e in server.control.state("live").encoders if e.codec == f"video/{codec}")


async def test_viewers_of_a_codec_share_one_encoder(model, monkeypatch):
    encoded = {LiveVp8Encoder: 0, LiveH264Encoder: 0}
    original = encoders.LiveEncoder.encode

    def counted(self, frame, key=False):
        encoded[type(self)] += 1
        return original(self, frame, key)

    monkeypatch.setattr(encoders.LiveEncoder, "encode", counted)
    with run_server() as server:
        async with httpx.AsyncClient(base_url=server.url) as http, AsyncExitStack() as stack:
            await http.patch("/api/streams/live", json={"demo": True})
            viewers = [await stack.enter_async_context(watching(http, c)) for c in ("VP8", "VP8", "VP8", "H264")]
            for connection, receiver in viewers:
                await until(lambda c=connection: c.connectionState == "connected", 10)
                await asyncio.wait_for(receiver.track.recv(), 5)
            before = dict(encoded)
            seen = await asyncio.gather(*(frames_of(receiver, 4) for _, receiver in viewers))
            spent = {kind: encoded[kind] - before[kind] for kind in encoded}
            assert all(s.viewer.estimate for s in server.sessions._sessions.values()), "each says what it can take"
            assert encoder(server, "VP8").viewers == 3
            assert encoder(server, "H264").viewers == 1
            assert min(seen) > 40, "all of them see it move"
            assert spent[LiveVp8Encoder] < 1.3 * max(seen) + 10, "not once per viewer"
            assert 'puppetcast_encoded_total{codec="video/VP8",stream="live"}' in (await http.get("/metrics")).text
        await until(lambda: not server.control.state("live").encoders, 12)


async def test_a_still_picture_is_sent_again_with_rising_times(model):
    with run_server() as server:
        async with httpx.AsyncClient(base_url=server.url) as http, watching(http, "VP8") as (_, receiver):
            frames = [await asyncio.wait_for(receiver.track.recv(), 10) for _ in range(3)]
            assert frames[0].pts < frames[1].pts < frames[2].pts


async def test_key_frame_requests_are_merged_and_limited(model):
    with run_server() as server:
        async with httpx.AsyncClient(base_url=server.url) as http, watching(http, "VP8") as (connection, receiver):
            await http.patch("/api/streams/live", json={"demo": True})
            await until(lambda: connection.connectionState == "connected", 10)
            await asyncio.wait_for(receiver.track.recv(), 5)
            await asyncio.sleep(1)
            before = encoder(server, "VP8").key_frames
            ssrc = next(iter(receiver._RTCRtpReceiver__remote_streams))  # type: ignore[attr-defined]
            for _ in range(40):
                await receiver._send_rtcp_pli(ssrc)
                await asyncio.sleep(0.05)
            await asyncio.sleep(0.7)
            assert 2 <= encoder(server, "VP8").key_frames - before <= 6


async def test_a_packet_is_repaired_for_long_and_then_a_key_frame_takes_its_place(model):
    with run_server() as server:
        async with httpx.AsyncClient(base_url=server.url) as http, peer() as connection:
            receiver = connection.addTransceiver("video", direction="recvonly").receiver
            await negotiate(http, connection, "/live/live/whep")
            await http.patch("/api/streams/live", json={"demo": True})
            await until(lambda: connection.connectionState == "connected", 10)
            await asyncio.wait_for(receiver.track.recv(), 5)
            [(ssrc, arrived)] = receiver._RTCRtpReceiver__remote_streams.items()  # type: ignore[attr-defined]
            await until(lambda: arrived.packets_received > 300, 20)
            [session] = server.sessions._sessions.values()
            sender = next(t.sender for t in session.connection.getTransceivers() if t.kind == "video")
            repaired = lambda: sender._RTCRtpSender__rtx_sequence_number  # noqa: E731
            before = repaired()
            await receiver._send_rtcp_nack(ssrc, [(arrived.max_seq - 250) % 65536])
            await until(lambda: repaired() != before, 2)
            await asyncio.sleep(1)  # the receiver itself may ask for a key frame: it did not expect so old a packet
            before, keys = repaired(), encoder(server, "VP8").key_frames
            await receiver._send_rtcp_nack(ssrc, [(arrived.max_seq - 5000) % 65536])
            await until(lambda: encoder(server, "VP8").key_frames > keys, 2)
            assert repaired() == before


async def test_the_slowest_viewer_sets_the_bitrate_down_to_the_shared_floor(model, monkeypatch):
    # The viewers' own estimates come several times a second; those of the test take their place.
    monkeypatch.setattr(tracks._Packer, "target_bitrate", property(lambda self: None, lambda self, bitrate: None))
    with run_server(webrtc={"shared_bitrate_kbps": 900}) as server:
        async with httpx.AsyncClient(base_url=server.url) as http, AsyncExitStack() as stack:
            await http.patch("/api/streams/live", json={"demo": True})
            connections: list[RTCPeerConnection] = []
            for _ in range(2):
                connection, receiver = await stack.enter_async_context(watching(http, "H264"))
                await until(lambda c=connection: c.connectionState == "connected", 10)
                await asyncio.wait_for(receiver.track.recv(), 5)
                connections.append(connection)
            viewers = [s.viewer for s in server.sessions._sessions.values() if s.viewer]
            viewers[0].estimate = 3_000_000
            viewers[1].estimate = 1_500_000
            await until(lambda: encoder(server, "H264").bitrate_kbps == 1500, 5)
            viewers[1].estimate = 350_000
            await until(lambda: encoder(server, "H264").bitrate_kbps == 900, 5)
            await until(lambda: viewers[1].dropped > 5, 10)
            assert viewers[0].dropped == 0
            await connections[0].close()
            await until(lambda: encoder(server, "H264").viewers == 1, 10)
            await until(lambda: viewers[1].estimate == encoder(server, "H264").bitrate_kbps * 1000, 5)


@pytest.mark.parametrize("codec", [LiveVp8Encoder, LiveH264Encoder])
def test_a_narrow_line_gets_whole_groups_of_pictures_and_no_more_than_it_can_take(codec, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(tracks.time, "monotonic", lambda: now[0])
    wanted = [False]
    wide, narrow = ViewerTrack(lambda age: None), ViewerTrack(lambda age: None)
    for viewer in (wide, narrow):
        viewer.request_key = lambda: wanted.__setitem__(0, True)
    narrow.estimate = 400_000
    coder = codec(Bitrates(start=1_000_000))
    got: list[tuple[float, av.Packet]] = []
    fps, seconds = 15, 20
    for k in range(fps * seconds):
        now[0] = k / fps
        frame = picture(k // 3, 256)
        frame.pts, frame.time_base = k * 90_000 // fps, CLOCK
        key, wanted[0] = wanted[0] or not k, False
        packet = coder.encode(frame, key)
        for viewer in (wide, narrow):
            viewer.push(Encoded(packet, now[0]), 1_000_000)
        got += [(now[0], e.packet) for e in narrow._queue]
        wide._queue.clear()
        narrow._queue.clear()
    assert wide.dropped == 0
    assert narrow.dropped > fps
    bits = 8 * sum(p.size for _, p in got)
    assert bits < 400_000 * (seconds + tracks.CREDIT_S) * 1.3 + 2_000_000
    assert got[-1][0] > seconds / 2, "it is served again and again"
    gaps = [b for (a, _), (at, b) in pairwise(got) if at - a > 1.5 / fps]
    assert gaps, "frames were left out"
    assert all(p.is_keyframe for p in gaps), "after a gap comes a key frame"


def test_a_viewer_that_falls_behind_goes_on_at_the_next_key_frame():
    asked: list[int] = []
    viewer = ViewerTrack(lambda age: None)
    viewer.request_key = lambda: asked.append(1)
    coder = LiveVp8Encoder(Bitrates())
    packets = []
    for k in range(8):
        frame = picture(k, 128)
        frame.pts, frame.time_base = k * 3000, CLOCK
        packets.append(coder.encode(frame, k in (0, 7)))
        viewer.push(Encoded(packets[-1], 0.0), 2_000_000)
    assert viewer.dropped == 7
    assert [e.packet for e in viewer._queue] == [packets[7]]
    assert asked


def test_without_nvenc_there_is_x264():
    assert encoders.h264_encoder() in ("libx264", "h264_nvenc")
    coder = LiveH264Encoder(Bitrates())
    frame = picture(1)
    frame.pts, frame.time_base = 0, CLOCK
    packet = coder.encode(frame, key=True)
    assert packet.is_keyframe
    assert bytes(packet)[:4] == b"\0\0\0\1"
