"""Other WebRTC stacks, as they come: Janus as an SFU behind us, werift as one between two of our streams, FFmpeg's WHIP."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
from aiortc import RTCRtpReceiver, RTCSessionDescription
from av import VideoFrame

from streamer.app import Server

from ..certificates import write_pem
from ..conftest import ROOT, run_server
from ..fakes import FakeEngine, WallTime
from ..janus import Janus, running
from ..peers import peer, pictures
from ..waiting import LIMIT_S, wait_until

pytestmark = pytest.mark.slow

ALL_ADDRESSES: dict[str, list[str]] = {"bind_addresses": []}  # these stacks leave loopback addresses out
MUXER = """
import av, sys, time
from fractions import Fraction
import numpy as np

with av.open(sys.argv[1], "w", format="whip", options=dict(o.split("=") for o in sys.argv[2:]), timeout=10) as out:
    video = out.add_stream("libx264", rate=25, options={"preset": "ultrafast", "tune": "zerolatency", "profile": "baseline"})
    video.width, video.height, video.pix_fmt = 320, 240, "yuv420p"
    for k in range(50):
        frame = av.VideoFrame.from_ndarray(np.full((240, 320, 3), 4 * k, np.uint8), format="rgb24")
        frame.pts, frame.time_base = k, Fraction(1, 25)
        out.mux(video.encode(frame))
        time.sleep(0.04)  # no socket takes all of it at once
"""


def driven(server: Server) -> None:
    """Let the demo drive, so that something moves."""
    httpx.patch(f"{server.url}/api/streams/live", json={"demo": True}).raise_for_status()


async def watching(stack: AsyncExitStack, janus: Janus, feed: int) -> RTCRtpReceiver:
    """A viewer of Janus, and its pictures."""
    viewer = await stack.enter_async_context(peer())
    handle, offer = await asyncio.to_thread(janus.watch, feed)
    await viewer.setRemoteDescription(RTCSessionDescription(offer, "offer"))
    await viewer.setLocalDescription(await viewer.createAnswer())
    await asyncio.to_thread(janus.start, handle, viewer.localDescription.sdp)
    return next(t.receiver for t in viewer.getTransceivers() if t.kind == "video")


async def watched_by(count: int, janus: Janus, feed: int) -> list[list[VideoFrame]]:
    """What so many viewers at a time get; they come one after the other, as Janus has one line for questions."""
    async with AsyncExitStack() as stack:
        return list(await asyncio.gather(*[pictures(await watching(stack, janus, feed), 30) for _ in range(count)]))


def test_janus_gives_its_viewers_what_is_pushed_to_it(tmp_path: Path) -> None:
    """Debian's, to whose offers its viewers answer. Its answers to offers of theirs, as WHEP has it, would need one line
    rewritten: it says a=setup:actpass in them, before 1.1.4."""
    with running(tmp_path) as endpoint:
        streams = {"live": {"sinks": [{"kind": "whip", "target": endpoint.url}]}}
        with run_server(FakeEngine(WallTime(), seconds=0.001), webrtc=ALL_ADDRESSES, streams=streams) as server:
            driven(server)
            wait_until(lambda: server.control.state("live").outputs[0].state == "live")
            seen = asyncio.run(watched_by(2, endpoint.janus, endpoint.feeds[-1]))
            assert server.control.state("live").viewers == 1, "Janus, whoever watches there"
    assert [{(frame.width, frame.height) for frame in each} for each in seen] == [{(16, 16)}] * 2


def test_werift_watches_and_publishes(installed: Path) -> None:
    streams: dict[str, Any] = {"live": {}, "far": {}}
    with run_server(FakeEngine(WallTime(), seconds=0.001), webrtc=ALL_ADDRESSES, streams=streams) as server:
        driven(server)
        command = ["node", "relay.mjs", f"{server.url}/live/live/whep", f"{server.url}/live/far/whip"]
        with subprocess.Popen(command, cwd=installed, stdin=subprocess.PIPE) as relay:
            try:
                wait_until(lambda: server.control.state("far").frames_in, holds=lambda frames: frames > 30)
                relay.communicate(timeout=LIMIT_S)
            finally:
                relay.kill()
        assert relay.returncode == 0
        assert not server.control.state("far").publisher
        assert not server.control.state("live").viewers


def test_the_whip_muxer_of_ffmpeg_publishes(tmp_path: Path) -> None:
    """FFmpeg's own certificate has a curve that OpenSSL refuses by now (RFC 8422 §5.1.1), and its own offer would be the DTLS
    server's, which RFC 9725 §4.4.4 forbids; it has options for both."""
    certificate, key = write_pem(tmp_path)
    with run_server(FakeEngine(WallTime(), seconds=0.001), webrtc=ALL_ADDRESSES) as server:
        options = [f"cert_file={certificate}", f"key_file={key}", "whip_flags=dtls_active"]
        command = [sys.executable, "-c", MUXER, f"{server.url}/live/live/whip", *options]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=LIMIT_S, check=False)
        assert done.returncode == 0, done.stderr[-2000:]
        wait_until(lambda: server.control.state("live").frames_in, holds=lambda frames: frames > 40)
