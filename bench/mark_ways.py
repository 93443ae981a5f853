"""The invisible mark as real receivers get it: viewers by WebRTC, MJPEG, a recording, a push. Part of `puppetcast bench mark`.

A server in a process of its own, as its users start it, plays a clip into a portrait and sends KBPS kilobits a second. What came
is cut into windows of two seconds, of which each is looked at as it is and after everything that is done to pictures.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import cycle
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import av
import httpx
import numpy as np
import yaml
from aiortc import RTCConfiguration, RTCPeerConnection
from aiortc.codecs import get_capabilities

from pipeline.clips import Progress, open_clip
from pipeline.errors import PuppetError
from pipeline.frames import Image
from pipeline.mark.payload import Payload
from pipeline.offline.identify import WINDOW_S, Timed, lumas
from streamer.webrtc import aiortc_patches

from .live import LOOPBACK, SIDE, negotiate
from .mark import EDITS, KBPS, Lumas, Tally, coded
from .outputs import free_port

WATCHED = ("collins", "drawing", "samuel")
FEW = 15  # pictures of a window that are edited and looked at where no encoder comes
WAIT_S = 300.0  # this measures no speed
Taken = list[Timed]


def ways(
    portraits: Sequence[str], clips: Sequence[Path], windows: int, progress: Progress = lambda done, total: None
) -> dict[str, Any]:
    """So many windows of each portrait, by each way; clips take turns."""
    aiortc_patches.install(LOOPBACK)  # the viewers' side
    tallies: dict[str, dict[str, Tally]] = defaultdict(lambda: defaultdict(Tally))
    rates: dict[str, list[float]] = defaultdict(list)
    for done, (portrait, clip) in enumerate(zip(portraits, cycle(clips), strict=False)):
        for way, says, taken in _taken(portrait, clip, (windows + 0.5) * WINDOW_S):
            rates[way].append((len(taken) - 1) / (taken[-1][0] - taken[0][0]))
            for number, window in enumerate(_windows(taken)[:windows]):
                for attack, pictures in _attacked(window):
                    tallies[way][attack].look(pictures, says, f"{portrait} {clip.stem} {number}")
        progress(done + 1, len(portraits))
    return {
        way: {"fps": [round(rate, 1) for rate in rates[way]], "attacks": {name: each.data() for name, each in of_way.items()}}
        for way, of_way in tallies.items()
    }


def _taken(portrait: str, clip: Path, seconds: float) -> Iterator[tuple[str, Payload, Taken]]:
    """What came by each way, one after the other, but by the push all the while."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        recordings = {"folder": str(folder / "recordings")}
        with (
            _publishing(folder / "push.mkv") as push,
            server(folder, portrait, clip, [{"kind": "push", "target": push}], recording=recordings) as http,
        ):
            says = Payload.from_hex(http.get("/api/streams/live").json()["mark"])
            for codec in ("VP8", "H264"):
                yield f"WebRTC, {codec}", says, asyncio.run(_viewed(str(http.base_url), codec, seconds))
            yield "MJPEG", says, _mjpeg(f"{http.base_url}/live/live/mjpeg", seconds)
            http.patch("/api/streams/live", json={"recording": True}).raise_for_status()
            time.sleep(seconds)
            http.patch("/api/streams/live", json={"recording": False}).raise_for_status()
        [recording] = (folder / "recordings").glob("*.mp4")
        for way, file in (("recording", recording), ("RTSP push", folder / "push.mkv")):
            with open_clip(file) as opened:
                yield way, says, list(lumas(opened.moments()))


@contextmanager
def server(folder: Path, portrait: str, clip: Path, sinks: Sequence[dict[str, str]] = (), **more: Any) -> Iterator[httpx.Client]:
    """A client of one that plays a clip into a portrait already. more: sections of its config."""
    rates = {f"{which}bitrate_kbps": KBPS for which in ("", "min_", "max_", "shared_")}
    stream = {"portrait": portrait, "source": "file", "path": str(clip.absolute()), "sinks": [*sinks]}
    sections = {
        "http": {"port": (port := free_port())}, "engine": {"name": "mesh", "max_side": SIDE}, "downloads": {"fetch": False},
        "webrtc": {"bind_addresses": LOOPBACK, **rates}, "streams": {"live": stream}, **more,
    }  # fmt: skip
    (folder / "config.yaml").write_text(yaml.safe_dump(sections), "utf-8")
    command = [sys.executable, "-m", "streamer", "serve", "--config", str(folder / "config.yaml")]
    environment = os.environ | {"XDG_DATA_HOME": str(folder / "data")}
    with (folder / "log").open("w") as log, subprocess.Popen(command, stderr=log, env=environment) as process:
        try:
            with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=WAIT_S) as http:
                _until_animated(http, process)
                yield http
        finally:
            process.terminate()


def _until_animated(http: httpx.Client, process: subprocess.Popen[bytes]) -> None:
    end_s = time.monotonic() + WAIT_S
    while process.poll() is None and time.monotonic() < end_s:
        with suppress(httpx.TransportError):
            if http.get("/api/streams/live").json()["animated"]:
                return
        time.sleep(0.1)
    raise PuppetError("bench mark: the server does not animate")


@contextmanager
def _publishing(file: Path) -> Iterator[str]:
    """The address of an RTSP server, FFmpeg's, that keeps what is pushed there."""
    if (ffmpeg := shutil.which("ffmpeg")) is None:
        raise PuppetError("bench mark: ffmpeg is not here, which takes the push")
    url = f"rtsp://127.0.0.1:{free_port()}/in"
    command = [ffmpeg, "-loglevel", "error", "-rtsp_flags", "listen", "-i", url, "-c", "copy", str(file)]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL) as server:
        try:
            yield url
        finally:
            server.send_signal(signal.SIGINT)  # it finishes its file


async def _viewed(url: str, codec: str, seconds: float) -> Taken:
    connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    transceiver = connection.addTransceiver("video", direction="recvonly")
    transceiver.setCodecPreferences([each for each in get_capabilities("video").codecs if each.name == codec])
    taken: Taken = []
    try:
        async with httpx.AsyncClient(base_url=url, timeout=WAIT_S) as http:
            await negotiate(http, connection, "/live/live/whep")
        while not taken or taken[-1][0] - taken[0][0] < seconds:
            frame = await asyncio.wait_for(transceiver.receiver.track.recv(), WAIT_S)
            assert isinstance(frame, av.VideoFrame)
            taken.append((float(frame.time or 0.0), _grey(frame)))
    finally:
        await connection.close()
    return taken


def _mjpeg(url: str, seconds: float) -> Taken:
    taken: Taken = []
    with av.open(url, format="mpjpeg", timeout=(WAIT_S, WAIT_S)) as opened:
        for frame in opened.decode(video=0):
            taken.append((time.monotonic(), _grey(frame)))
            if taken[-1][0] - taken[0][0] >= seconds:
                break
    return taken


def _grey(frame: av.VideoFrame) -> Image:
    return np.asarray(frame.to_ndarray(format="gray"), np.uint8)


def _windows(taken: Taken) -> list[Lumas]:
    """Whole ones."""
    found: dict[int, Lumas] = defaultdict(list)
    for at, luma in taken:
        found[int((at - taken[0][0]) // WINDOW_S)].append(luma)
    return [found[k] for k in sorted(found)][:-1]


def _attacked(window: Lumas) -> Iterator[tuple[str, Lumas]]:
    """As it came, and after each attack. Encoders get it without colours."""
    few = window[:: max(len(window) // FEW, 1)]
    for name, edit in EDITS.items():
        yield name, window if name == "none" else list(map(edit, few))
    yield "15 fps", window[::2]
    planar = [np.concatenate([luma, np.full((len(luma) // 2, luma.shape[1]), 128, np.uint8)]) for luma in window]
    fps = max(round(len(window) / WINDOW_S), 1)
    for name, codec in (("H.264", "libx264"), ("VP8", "libvpx")):
        yield f"and {name}", [np.asarray(yuv[: len(window[0])], np.uint8) for yuv in coded(codec, planar, fps)]
