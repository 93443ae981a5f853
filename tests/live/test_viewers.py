"""Viewers by WHEP: real receivers, their reports, and what the server makes of them."""

from __future__ import annotations

from contextlib import AsyncExitStack
from pathlib import Path

import httpx
import pytest
from aiortc.rtp import RTCP_PSFB_APP, RtcpPsfbPacket, RtcpReceiverInfo, RtcpRrPacket, pack_remb_fci

from streamer.app import Server
from streamer.control.state import EncoderState
from streamer.webrtc import encoders
from streamer.webrtc.encoders import LiveH264Encoder, LiveVp8Encoder
from streamer.webrtc.tracks import ViewerTrack

from ..conftest import run_server
from ..peers import connected, negotiate, peer, pictures, watching
from ..waiting import LIMIT_S, until


def encoder(server: Server, codec: str) -> EncoderState:
    return next(e for e in server.control.state("live").encoders if e.codec == f"video/{codec}")


async def test_viewers_of_a_codec_share_one_encoder(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = {LiveVp8Encoder: 0, LiveH264Encoder: 0}
    original = encoders.LiveEncoder.__init__

    def counted(self, *args) -> None:
        made[type(self)] += 1
        original(self, *args)

    monkeypatch.setattr(encoders.LiveEncoder, "__init__", counted)
    with run_server() as server:
        async with httpx.AsyncClient(base_url=server.url, timeout=LIMIT_S) as http, AsyncExitStack() as stack:
            await http.patch("/api/streams/live", json={"demo": True})
            viewers = [await stack.enter_async_context(watching(http, c)) for c in ("VP8", "VP8", "VP8", "H264")]
            for _, receiver in viewers:
                await pictures(receiver, 3)
            await until(lambda: all(s.viewer and s.viewer.estimate for s in server.sessions._sessions.values()))
            assert made == {LiveVp8Encoder: 1, LiveH264Encoder: 1}
            assert (encoder(server, "VP8").viewers, encoder(server, "H264").viewers) == (3, 1)
            assert 'puppetcast_encoded_total{codec="video/VP8",stream="live"}' in (await http.get("/metrics")).text
        await until(lambda: not server.control.state("live").encoders)


async def test_a_line_within_the_machine_is_full_only_where_something_is_lost() -> None:
    """Who is late to look at packets, on a busy machine, takes that for a narrow line."""
    viewer = ViewerTrack(lambda age_s: None)
    async with peer() as here, peer() as there:
        sender = here.addTrack(viewer)
        await here.setLocalDescription(await here.createOffer())
        await there.setRemoteDescription(here.localDescription)
        await there.setLocalDescription(await there.createAnswer())
        await here.setRemoteDescription(there.localDescription)
        await connected(here, there)
        viewer.attach(sender, here.getTransceivers()[0]._codecs[0], 2_500_000)
        rough = RtcpPsfbPacket(RTCP_PSFB_APP, 1, 0, pack_remb_fci(100_000, [sender._ssrc]))
        lossy = RtcpReceiverInfo(sender._ssrc, fraction_lost=9, packets_lost=9, highest_sequence=9, jitter=0, lsr=0, dlsr=0)
        await sender._handle_rtcp_packet(rough)
        assert viewer.estimate == 2_500_000
        await sender._handle_rtcp_packet(RtcpRrPacket(1, [lossy]))
        await sender._handle_rtcp_packet(rough)
        assert viewer.estimate == 100_000


async def test_a_viewer_that_lost_a_picture_gets_a_key_frame(model: Path) -> None:
    with run_server() as server:
        async with httpx.AsyncClient(base_url=server.url, timeout=LIMIT_S) as http, watching(http) as (connection, receiver):
            await http.patch("/api/streams/live", json={"demo": True})
            await pictures(receiver, 1)
            await connected(connection)
            before = encoder(server, "VP8").key_frames
            ssrc = next(iter(receiver._RTCRtpReceiver__remote_streams))  # type: ignore[attr-defined]
            await receiver._send_rtcp_pli(ssrc)
            await until(lambda: encoder(server, "VP8").key_frames > before)


async def test_a_packet_is_repaired_for_long_and_then_a_key_frame_takes_its_place(model: Path) -> None:
    with run_server(engine={"max_side": 640}, budget={"max_frames": 30}) as server:  # several packets a picture
        async with httpx.AsyncClient(base_url=server.url, timeout=LIMIT_S) as http, peer() as connection:
            receiver = connection.addTransceiver("video", direction="recvonly").receiver  # of all codecs, RTX among them
            await negotiate(http, connection, "/live/live/whep")
            await http.patch("/api/streams/live", json={"demo": True})
            await pictures(receiver, 1)
            [(ssrc, arrived)] = receiver._RTCRtpReceiver__remote_streams.items()  # type: ignore[attr-defined]
            await until(lambda: arrived.packets_received > 300)
            [session] = server.sessions._sessions.values()
            sender = next(t.sender for t in session.connection.getTransceivers() if t.kind == "video")

            def repaired() -> int:
                return sender._RTCRtpSender__rtx_sequence_number  # type: ignore[attr-defined,no-any-return]

            before = repaired()
            await receiver._send_rtcp_nack(ssrc, [(arrived.max_seq - 250) % 65536])
            await until(lambda: repaired() != before)
            before, keys = repaired(), encoder(server, "VP8").key_frames
            await receiver._send_rtcp_nack(ssrc, [(arrived.max_seq - 5000) % 65536])
            await until(lambda: encoder(server, "VP8").key_frames > keys)
            assert repaired() == before
