"""Sound with the picture: lips and voice together, once encoded for all, silent when muted."""

from __future__ import annotations

import asyncio
import contextlib
import time
from fractions import Fraction
from pathlib import Path

import av
import httpx
import numpy as np
import pytest
from aiortc import AudioStreamTrack, RTCPeerConnection

from pipeline.engine import open_engine
from streamer.webrtc.sessions import PREFETCH_S

from ..conftest import run_server
from ..fakes import FakeEngine, WallTime
from .test_webrtc import Camera, negotiate, peer, until

RATE, FPS, SECONDS = 48_000, 30, 10


@pytest.fixture(scope="module")
def clap(tmp_path_factory) -> Path:
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


def as_bright(model: Path, extra_s: float) -> FakeEngine:
    """The mesh engine, whose picture is as bright as its driver's; it takes `extra_s` longer for each."""
    return FakeEngine(WallTime(), open_engine("mesh", model), seconds=extra_s, bright=True)


def onsets(times: np.ndarray, on: np.ndarray) -> np.ndarray:
    """When something begins."""
    return times[1:][on[1:] & ~on[:-1]]


def offsets(seen: np.ndarray, heard: np.ndarray) -> np.ndarray:
    """Milliseconds by which sound comes after the picture, for each clap."""
    pairs = [(s, heard[np.abs(heard - s).argmin()]) for s in seen]
    return np.array([1000 * (h - s) for s, h in pairs if abs(h - s) < 0.5])


@pytest.mark.slow
@pytest.mark.parametrize("extra_s", [0.0, 0.04])
def test_lips_and_voice_are_together_in_a_recording(extra_s, clap, model, tmp_path):
    streams = {"live": {"source": "file", "path": str(clap)}}
    sections = {"recording": {"folder": str(tmp_path)}, "streams": streams}
    with run_server(as_bright(model, extra_s), **sections) as server, httpx.Client(base_url=server.url) as http:
        time.sleep(2)
        assert http.get("/api/streams/live").json()["sound"]
        http.patch("/api/streams/live", json={"recording": True})
        time.sleep(8)
        http.patch("/api/streams/live", json={"recording": False})
    [path] = tmp_path.iterdir()
    with av.open(str(path)) as opened:
        pictures = [(f.time, f.to_ndarray(format="gray").mean() > 120) for f in opened.decode(video=0)]
    with av.open(str(path)) as opened:
        sounds = [(f.time, f.to_ndarray()) for f in opened.decode(audio=0)]
    seen = onsets(*map(np.array, zip(*pictures, strict=True)))
    times = np.concatenate([t + np.arange(s.shape[1]) / RATE for t, s in sounds])
    loud = np.concatenate([np.abs(s).max(axis=0) for _, s in sounds])
    level = np.convolve(loud, np.ones(96) / 96, "same") > 0.05
    apart = offsets(seen, onsets(times, level))
    print(f"engine {1000 * extra_s:.0f} ms slower: sound after picture {np.round(apart).tolist()} ms")
    assert len(apart) >= 5
    assert np.percentile(np.abs(apart), 95) <= 80


@pytest.mark.slow
async def test_lips_and_voice_are_together_for_a_viewer(clap, model):
    streams = {"live": {"source": "file", "path": str(clap)}}
    with run_server(as_bright(model, 0.03), streams=streams) as server:
        async with httpx.AsyncClient(base_url=server.url) as http, peer() as viewer, peer() as other:
            seen: list[tuple[float, bool]] = []
            heard: list[tuple[float, bool]] = []
            for connection in (viewer, other):
                connection.addTransceiver("video", direction="recvonly")
                connection.addTransceiver("audio", direction="recvonly")
                await negotiate(http, connection, "/live/live/whep")

            async def look(connection: RTCPeerConnection) -> None:
                with contextlib.suppress(asyncio.CancelledError):
                    while True:
                        frame = await connection.getTransceivers()[0].receiver.track.recv()
                        seen.append((time.monotonic(), frame.to_ndarray(format="gray").mean() > 120))

            async def listen(connection: RTCPeerConnection) -> None:
                with contextlib.suppress(asyncio.CancelledError):
                    while True:
                        frame = await connection.getTransceivers()[1].receiver.track.recv()
                        heard.append((time.monotonic() - PREFETCH_S, np.abs(frame.to_ndarray()).max() > 1000))

            tasks = [asyncio.create_task(work(viewer)) for work in (look, listen)]
            await until(lambda: viewer.connectionState == other.connectionState == "connected", 10)
            await asyncio.sleep(12)
            assert len(server.control.stream("live").audio.sinks) == 2
            for task in tasks:
                task.cancel()
            settled = time.monotonic() - 9
            began = [onsets(*map(np.array, zip(*(k for k in of if k[0] > settled), strict=True))) for of in (seen, heard)]
            print(f"began: {[np.round(b - settled, 2).tolist() for b in began]}, pictures {len(seen)}")
            apart = offsets(*began)
            print(f"sound after picture: {np.round(apart).tolist()} ms")
            assert len(apart) >= 5
            assert np.percentile(np.abs(apart), 95) <= 80

            await http.patch("/api/streams/live", json={"muted": True})
            heard.clear()
            task = asyncio.create_task(listen(viewer))
            await asyncio.sleep(3)
            task.cancel()
            assert len(heard) > 80, "silence is sent"
            assert not any(loud for _, loud in heard[50:])


async def test_a_browser_s_microphone_reaches_viewers(model):
    class Microphone(AudioStreamTrack):
        async def recv(self):
            frame = await super().recv()
            time_s = (frame.pts + np.arange(frame.samples)) / frame.sample_rate
            wave = (8000 * np.sin(2 * np.pi * 440 * time_s)).astype(np.int16)
            loud = av.AudioFrame.from_ndarray(wave[None], format="s16", layout="mono")
            loud.sample_rate, loud.pts, loud.time_base = frame.sample_rate, frame.pts, frame.time_base
            return loud

    with run_server() as server:
        async with httpx.AsyncClient(base_url=server.url) as http, peer() as camera, peer() as viewer:
            camera.addTrack(Camera())
            camera.addTrack(Microphone())
            await negotiate(http, camera, "/live/live/whip")
            viewer.addTransceiver("video", direction="recvonly")
            viewer.addTransceiver("audio", direction="recvonly")
            await negotiate(http, viewer, "/live/live/whep")
            track = viewer.getTransceivers()[1].receiver.track
            loud = 0
            async with asyncio.timeout(15):
                while loud < 50:
                    loud += np.abs((await track.recv()).to_ndarray()).max() > 4000
            assert server.control.state("live").sound
