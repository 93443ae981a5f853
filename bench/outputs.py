"""What leaves the server beside viewers: recordings and the sound in them, JPEG, a push. `puppetcast bench outputs`."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import av
import httpx
import numpy as np
import yaml
from numpy.typing import NDArray

from pipeline.errors import PuppetError
from pipeline.frames import Image

from . import stamp
from .live import FPS, SETTLE_S, SIDE, process, serve

RATE = 48_000
LOOP_S = 10  # of the clip, which the server plays over and over
TONE = 9  # pictures long, at the start of each second


def outputs(seconds: float = 10.0) -> dict[str, Any]:
    """Pictures a second in a recording, as JPEG and at the far end of a push; how far the sound of a recording is behind
    its picture; and how much of one is lost where the process is killed."""
    with TemporaryDirectory() as folder:
        clip = _clip(Path(folder) / "tones.mkv")
        figures = _measured(clip, Path(folder) / "recordings", seconds)
        return {"seconds": seconds, **figures, "lost_at_kill_s": _lost(clip, Path(folder))}


def _clip(path: Path) -> Path:
    """LOOP_S of numbered pictures, with a tone of TONE pictures at the start of each second."""
    samples = np.arange(RATE // FPS)
    with av.open(str(path), "w") as out:
        video = out.add_stream("libx264", rate=FPS, options={"preset": "ultrafast", "tune": "zerolatency"})
        video.width, video.height, video.pix_fmt = SIDE, SIDE, "yuv420p"
        audio = out.add_stream("pcm_s16le", rate=RATE)
        audio.layout = "mono"
        for k in range(FPS * LOOP_S):
            image: Image = np.full((SIDE, SIDE, 3), 90, np.uint8)
            stamp.write(image, k)
            picture = av.VideoFrame.from_ndarray(image, format="rgb24")
            picture.pts, picture.time_base = k, Fraction(1, FPS)
            out.mux(video.encode(picture))
            wave = (8000 * (k % FPS < TONE) * np.sin(2 * np.pi * 1000 * (samples + k * len(samples)) / RATE)).astype(np.int16)
            sound = av.AudioFrame.from_ndarray(wave[None], format="s16", layout="mono")
            sound.sample_rate, sound.pts, sound.time_base = RATE, k * len(samples), Fraction(1, RATE)
            out.mux(audio.encode(sound))
        out.mux(video.encode(None))
    return path


def free_port() -> int:
    """Of this machine, for whoever takes it now."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


def _sections(clip: Path, recordings: Path) -> dict[str, Any]:
    port = free_port()
    push = {"kind": "whip", "target": f"http://127.0.0.1:{port}/live/far/whip"}
    streams = {"live": {"source": "file", "path": str(clip), "sinks": [push]}, "far": {}}
    return {"http": {"port": port}, "recording": {"folder": str(recordings)}, "streams": streams}


def _measured(clip: Path, recordings: Path, seconds: float) -> dict[str, Any]:
    with process(serve, 0.0, _sections(clip, recordings)) as (url, usage), httpx.Client(base_url=url) as http:
        time.sleep(SETTLE_S)
        http.patch("/api/streams/live", json={"recording": True}).raise_for_status()
        before = http.get("/api/streams/far").json()["animated"]
        parts = _parts(http, seconds)
        pushed = http.get("/api/streams/far").json()["animated"] - before
        memory = usage()[1]
        http.patch("/api/streams/live", json={"recording": False}).raise_for_status()
    [file] = recordings.iterdir()
    return {
        "jpeg_fps": round(parts / seconds, 1),
        "push_fps": round(pushed / seconds, 1),
        "memory_mb": round(memory),
        **_recorded(file),
    }


def _parts(http: httpx.Client, seconds: float) -> int:
    """How many pictures come as JPEG."""
    end, count = time.monotonic() + seconds, 0
    with http.stream("GET", "/live/live/mjpeg") as answer:
        for chunk in answer.iter_bytes():
            count += chunk.count(b"Content-Type: image/jpeg")
            if time.monotonic() > end:
                break
    return count


def _recorded(file: Path) -> dict[str, float]:
    """Of a recording: pictures a second, and by how many milliseconds its tones begin after their pictures."""
    with av.open(str(file)) as opened:
        seen = [
            (float(f.time or 0.0), stamp.read(np.asarray(f.to_ndarray(format="gray"), np.uint8))) for f in opened.decode(video=0)
        ]
    with av.open(str(file)) as opened:
        loud = np.concatenate([np.abs(f.to_ndarray()).max(axis=0) for f in opened.decode(audio=0)]) > 0.05
    if len(seen) < FPS or not loud.any():
        raise PuppetError(f"the recording has {len(seen)} pictures and {'some' if loud.any() else 'no'} sound")
    late = 1000 * _late(seen, loud)
    return {
        "recorded_fps": round((len(seen) - 1) / (seen[-1][0] - seen[0][0]), 1),
        "sound_after_picture_p50_ms": round(float(np.median(late)), 1),
        "sound_off_most_ms": round(float(np.abs(late).max()), 1),
    }


def _late(seen: list[tuple[float, int]], loud: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Seconds from the picture that a tone begins with to the tone, for each tone."""
    share = np.convolve(loud, np.ones(480) / 480, "same")  # of 10 ms
    began = np.flatnonzero((share[1:] > 0.3) & (share[:-1] <= 0.3)) / RATE
    shown = np.array([at - (number % FPS) / FPS for at, number in seen])  # when its second began
    return np.array([tone - min(shown, key=lambda at: abs(tone - at)) for tone in began[1:]])


def _lost(clip: Path, folder: Path) -> float:
    """Seconds of a recording that do not play where its process is killed."""
    config, recordings = folder / "killed.yaml", folder / "killed"
    sections = _sections(clip, recordings)
    sections["streams"]["live"]["sinks"] = [{"kind": "recording"}]
    config.write_text(yaml.safe_dump(sections))
    port = sections["http"]["port"]
    server = subprocess.Popen([sys.executable, "-m", "streamer", "serve", "--config", str(config)], stderr=subprocess.DEVNULL)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", transport=httpx.HTTPTransport(retries=8)) as http:
            end = time.monotonic() + 60
            while (written := _written(http)) < 5.0 and time.monotonic() < end:
                time.sleep(0.1)
    finally:
        server.send_signal(signal.SIGKILL)
        server.wait()
    [file] = recordings.glob("*.mp4")
    played = 0.0
    with av.open(str(file)) as opened, suppress(av.error.InvalidDataError):
        for frame in opened.decode(video=0):
            played = float(frame.time or 0.0)
    return round(max(written - played, 0.0), 2)


def _written(http: httpx.Client) -> float:
    """Seconds of the recording so far."""
    try:
        state = http.get("/api/streams/live").json()
    except httpx.TransportError:
        return 0.0
    return float(state["recording"]["seconds"]) if state["recording"] else 0.0
