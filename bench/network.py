"""How far behind pictures are that come over HTTP: MJPEG at several rates, and live HLS. `puppetcast bench network`.

Pictures are numbered as a camera of its rate takes them, sent as it would send them, and their numbers are read where they
reach a stream.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from functools import partial
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import av
import cv2
import numpy as np

from pipeline.frames import Image, TimedFrame
from streamer.sources.network import NetworkSource
from streamer.stream.intake import Intake

from . import stamp

WIDTH, HEIGHT = 320, 240
RATES = (15, 30, 60)  # pictures a second
HLS_FPS, SEGMENT_S, LISTED = 30, 2, 6


class Camera:
    """Takes pictures from now on; its newest one has the number `number()`."""

    def __init__(self, fps: int) -> None:
        self.fps = fps
        self._began_s = time.monotonic()

    def number(self) -> int:
        return int((time.monotonic() - self._began_s) * self.fps)

    def wait(self, number: int) -> None:
        """Until this picture is taken."""
        time.sleep(max(self._began_s + number / self.fps - time.monotonic(), 0))

    @staticmethod
    def picture(number: int) -> Image:
        image: Image = np.full((HEIGHT, WIDTH, 3), 90, np.uint8)
        stamp.write(image, number)
        return image


class Door(Intake):
    """Notes how far behind its camera each picture is, in seconds, and when it came."""

    def __init__(self, camera: Camera) -> None:
        super().__init__()
        self.behind: list[tuple[float, float]] = []
        self._camera = camera
        self._began_s = time.monotonic()

    def put(self, frame: TimedFrame) -> None:
        number = stamp.read(np.asarray(frame.frame.to_ndarray(format="gray"), np.uint8))
        late_s = (self._camera.number() - number) / self._camera.fps
        self.behind.append((time.monotonic() - self._began_s, late_s))
        super().put(frame)


@contextmanager
def _serving(handler: Callable[..., BaseHTTPRequestHandler]) -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()


class _Mjpeg(BaseHTTPRequestHandler):
    """As mjpg-streamer: always the newest picture, as fast as the camera takes them and the line lets it."""

    def __init__(self, camera: Camera, *args: Any) -> None:
        self._camera = camera
        super().__init__(*args)

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace;boundary=b")
        self.end_headers()
        number = self._camera.number()
        try:
            while True:
                number = max(number + 1, self._camera.number())
                self._camera.wait(number)
                jpeg = cv2.imencode(".jpg", self._camera.picture(number))[1].tobytes()
                self.wfile.write(b"--b\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n%s\r\n" % (len(jpeg), jpeg))
        except OSError:  # the reader has gone
            return

    def log_message(self, *args: object) -> None: ...


class _Files(SimpleHTTPRequestHandler):
    def log_message(self, *args: object) -> None: ...


def _segments(camera: Camera, folder: Path, stop: threading.Event) -> None:
    """Write live HLS until stopped: a segment is there when its last picture is taken."""
    options = {"hls_time": str(SEGMENT_S), "hls_list_size": str(LISTED), "hls_flags": "delete_segments+temp_file"}
    with av.open(str(folder / "live.m3u8"), "w", format="hls", options=options) as out:
        video = out.add_stream("libx264", rate=camera.fps, options={"preset": "ultrafast", "tune": "zerolatency"})
        video.width, video.height, video.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        video.codec_context.gop_size = SEGMENT_S * camera.fps
        number = 0
        while not stop.is_set():
            camera.wait(number)
            frame = av.VideoFrame.from_ndarray(camera.picture(number), format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, camera.fps)
            out.mux(video.encode(frame))
            number += 1


def _read(camera: Camera, url: str, seconds: float) -> list[tuple[float, float]]:
    """What a stream gets of an address for so long."""
    door, stop = Door(camera), threading.Event()
    reading = threading.Thread(target=NetworkSource(url).read, args=(door, stop))
    reading.start()
    time.sleep(seconds)
    stop.set()
    reading.join()
    return door.behind


def _mjpeg(fps: int, seconds: float) -> dict[str, float]:
    camera = Camera(fps)
    with _serving(partial(_Mjpeg, camera)) as url:
        behind = _read(camera, url, seconds)
    last = [late_s for at_s, late_s in behind if at_s > seconds - 5]
    return {
        "fps": fps,
        "taken_fps": round(len(behind) / (behind[-1][0] - behind[0][0]), 1),
        "lag_p50_s": round(float(np.median(last)), 3),
        "lag_most_s": round(max(last), 3),
    }


def _hls(seconds: float) -> dict[str, Any]:
    camera, stop = Camera(HLS_FPS), threading.Event()
    with TemporaryDirectory() as folder, _serving(partial(_Files, directory=folder)) as url:
        writing = threading.Thread(target=_segments, args=(camera, Path(folder), stop))
        writing.start()
        while len(list(Path(folder).glob("*.ts"))) < LISTED:
            time.sleep(0.1)
        behind = _read(camera, f"{url}/live.m3u8", seconds)
        stop.set()
        writing.join()
    tenths = [[late_s for at_s, late_s in behind if k <= at_s / (seconds / 10) < k + 1] for k in range(10)]
    return {
        "segment_s": SEGMENT_S,
        "lag_p50_by_tenth_s": [round(float(np.median(late)), 2) if late else None for late in tenths],
        "lag_most_s": round(max(late_s for _, late_s in behind), 2),
    }


def network(seconds: float = 30.0, hls_seconds: float = 60.0) -> dict[str, Any]:
    """Lag of HTTP MJPEG in the last 5 s, by rate, and that of live HLS as it goes on; in seconds."""
    return {"mjpeg": [_mjpeg(fps, seconds) for fps in RATES], "hls": _hls(hls_seconds)}
