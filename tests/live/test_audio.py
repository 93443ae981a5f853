"""Sound with the picture, from a file and from a browser's microphone to viewers and recordings."""

from __future__ import annotations

import asyncio
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import httpx
import numpy as np
import pytest
from aiortc import AudioStreamTrack, RTCPeerConnection

from ..conftest import run_server
from ..peers import Camera, negotiate, peer
from ..waiting import LIMIT_S, wait_until

RATE, FPS, SECONDS = 48_000, 30, 10


@pytest.fixture(scope="module")
def clap(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A white picture and a tone of 300 ms at the start of each second, together; else black and silent."""
    path = tmp_path_factory.mktemp("clap") / "clap.mkv"
    with av.open(str(path), "w") as out:
        video = out.add_stream("libx264", rate=FPS, options={"preset": "ultrafast", "tune": "zerolatency"})
        video.width = video.height = 128
        video.pix_fmt = "yuv420p"
        audio = out.add_stream("pcm_s16le", rate=RATE)
        audio.layout = "mono"
        samples = np.arange(RATE // FPS)
        for k in range(FPS * SECONDS):
            on = k % FPS < 9
            picture = av.VideoFrame.from_ndarray(np.full((128, 128, 3), 255 * on, np.uint8), format="rgb24")
            picture.pts, picture.time_base = k, Fraction(1, FPS)
            out.mux(video.encode(picture))
            wave = (8000 * on * np.sin(2 * np.pi * 1000 * (samples + k * len(samples)) / RATE)).astype(np.int16)
            sound = av.AudioFrame.from_ndarray(wave[None], format="s16", layout="mono")
            sound.sample_rate, sound.pts, sound.time_base = RATE, k * len(samples), Fraction(1, RATE)
            out.mux(audio.encode(sound))
        out.mux(video.encode(None))
    return path


def test_the_sound_of_a_file_is_in_a_recording(clap: Path, model: Path, tmp_path: Path) -> None:
    streams = {"live": {"source": "file", "path": str(clap)}}
    sections = {"recording": {"folder": str(tmp_path)}, "streams": streams}
    with run_server(**sections) as server, httpx.Client(base_url=server.url, timeout=LIMIT_S) as http:

        def state() -> dict:
            return dict(http.get("/api/streams/live").json())

        wait_until(lambda: state()["sound"])
        http.patch("/api/streams/live", json={"recording": True})
        wait_until(lambda: state()["recording"]["seconds"], holds=lambda seconds: seconds > 4)
        http.patch("/api/streams/live", json={"recording": False})
    [path] = tmp_path.iterdir()
    with av.open(str(path)) as opened:
        loud = np.concatenate([np.abs(frame.to_ndarray()).max(axis=0) for frame in opened.decode(audio=0)]) > 0.05
    share = np.convolve(loud, np.ones(480) / 480, "same")  # of 10 ms
    began = np.flatnonzero((share[1:] > 0.3) & (share[:-1] <= 0.3)) / RATE
    assert len(began) >= 3, "tones"
    assert np.median(np.diff(began)) == pytest.approx(1.0, abs=0.1), "one a second"


class Microphone(AudioStreamTrack):
    """A tone of 440 Hz."""

    async def recv(self) -> av.AudioFrame:
        frame: Any = await super().recv()
        time_s = (frame.pts + np.arange(frame.samples)) / frame.sample_rate
        wave = (8000 * np.sin(2 * np.pi * 440 * time_s)).astype(np.int16)
        loud = av.AudioFrame.from_ndarray(wave[None], format="s16", layout="mono")
        loud.sample_rate, loud.pts, loud.time_base = frame.sample_rate, frame.pts, frame.time_base
        return loud


async def run_of(viewer: RTCPeerConnection, loud: bool, count: int) -> None:
    """Wait for so many packets in a row that are loud, or silent."""
    track = viewer.getTransceivers()[1].receiver.track
    row = 0
    async with asyncio.timeout(LIMIT_S):
        while row < count:
            frame = await track.recv()
            assert isinstance(frame, av.AudioFrame)
            row = row + 1 if (np.abs(frame.to_ndarray()).max() > 4000) is np.bool_(loud) else 0


async def test_a_browser_s_microphone_reaches_viewers_unless_muted(model: Path) -> None:
    with run_server() as server:
        async with httpx.AsyncClient(base_url=server.url, timeout=LIMIT_S) as http, peer() as camera, peer() as viewer:
            camera.addTrack(Camera())
            camera.addTrack(Microphone())
            await negotiate(http, camera, "/live/live/whip")
            viewer.addTransceiver("video", direction="recvonly")
            viewer.addTransceiver("audio", direction="recvonly")
            await negotiate(http, viewer, "/live/live/whep")
            await run_of(viewer, loud=True, count=50)
            assert server.control.state("live").sound
            await http.patch("/api/streams/live", json={"muted": True})
            await run_of(viewer, loud=False, count=50)
            await http.patch("/api/streams/live", json={"muted": False})
            await run_of(viewer, loud=True, count=50)
