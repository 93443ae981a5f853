"""Pictures and clips that tests make, and what is in those that come back."""

from __future__ import annotations

import io
from collections.abc import Iterable
from contextlib import suppress
from fractions import Fraction
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
from av.video.frame import PictureType
from PIL import Image

WALL = np.full((200, 320, 3), (90, 120, 150), np.uint8)  # a picture without a face
CLIP_FPS = 30  # of the driving clips


def picture(k: int, side: int = 512) -> av.VideoFrame:
    """Number `k` of a texture that moves, under noise."""
    frame = av.VideoFrame.from_ndarray(_texture(k, side), format="yuv420p")
    frame.pict_type = PictureType.I  # as frames from a decoder of still pictures are
    return frame


@lru_cache(128)  # that is 50 MB; to make one takes longer than to encode it
def _texture(k: int, side: int) -> np.ndarray:
    rng = np.random.default_rng(k)
    y, x = np.mgrid[0:side, 0:side]
    image = np.dstack([x + 9 * k, y - 5 * k, x + y]) + rng.integers(0, 60, (side, side, 1))
    return av.VideoFrame.from_ndarray((image % 256).astype(np.uint8), format="rgb24").to_ndarray(format="yuv420p")


def encoded(image: np.ndarray, kind: str = "PNG", **options: Any) -> bytes:
    """A picture (h, w, 3) RGB as a file, as Pillow writes it."""
    out = io.BytesIO()
    Image.fromarray(image).save(out, kind, **options)
    return out.getvalue()


def as_camera(clip: Path, out: Path, pictures: int, side: int = 256, fps: int = 10) -> Path:
    """The clip's first pictures there and back, so that nothing leaps where the loop begins again, for Chromium's fake camera,
    which shows so many a second of them."""
    with av.open(str(clip)) as source:
        given = islice(source.decode(video=0), 0, pictures, CLIP_FPS // fps)
        there = [frame.reformat(side, side, "yuv420p") for frame in given]
    return write_camera([*there, *there[-2:0:-1]], out, fps)


def beginning(clip: Path, out: Path, pictures: int) -> None:
    """A clip's first pictures, not coded again, without its sound."""
    with av.open(str(clip)) as source, av.open(str(out), "w") as target:
        video = target.add_stream_from_template(source.streams.video[0])
        for packet in islice(source.demux(video=0), pictures):
            packet.stream = video
            target.mux(packet)


def busy_camera(out: Path) -> Path:
    """A texture that pans, under noise: as hard to code as a camera's picture gets."""
    rng = np.random.default_rng(3)
    texture = cv2.GaussianBlur(rng.integers(0, 256, (600, 900, 3), np.uint8), (0, 0), 1.5)
    texture = cv2.normalize(texture, None, 0, 255, cv2.NORM_MINMAX)  # type: ignore[call-overload]

    def views() -> Iterable[av.VideoFrame]:
        for k in range(90):
            view = texture[20:532, 4 * k : 4 * k + 512].astype(np.int16) + rng.integers(-12, 13, (512, 512, 3))
            yield av.VideoFrame.from_ndarray(np.clip(view, 0, 255).astype(np.uint8), format="rgb24")

    return write_camera(views(), out, 30)


def write_camera(frames: Iterable[av.VideoFrame], out: Path, fps: int) -> Path:
    """Pictures of one size as Y4M, which Chromium's fake camera loops: no picture of it has to be coded or decoded."""
    with out.open("wb") as file:
        for k, frame in enumerate(frames):
            if not k:
                file.write(b"YUV4MPEG2 W%d H%d F%d:1 Ip A1:1 C420jpeg\n" % (frame.width, frame.height, fps))
            file.write(b"FRAME\n" + frame.to_ndarray(format="yuv420p").tobytes())
    return out


def write_mjpeg(frames: Iterable[av.VideoFrame], out: Path) -> Path:
    """512 x 512."""
    with av.open(str(out), "w", format="mjpeg") as target:
        video = target.add_stream("mjpeg", rate=CLIP_FPS, options={"q:v": "3"})
        video.width, video.height, video.pix_fmt = 512, 512, "yuvj420p"
        for k, frame in enumerate(frames):
            still = frame.reformat(512, 512, "yuvj420p")
            still.pts, still.time_base = k, Fraction(1, CLIP_FPS)
            target.mux(video.encode(still))
        target.mux(video.encode(None))
    return out


def short_clip(clip: Path, out: Path, start: int) -> Path:
    """Twelve pictures of a clip from number `start` on, as MP4 without sound."""
    with av.open(str(clip)) as given, av.open(str(out), "w") as target:
        video = target.add_stream("libx264", rate=30)
        size = given.streams.video[0]
        video.width, video.height, video.pix_fmt = size.width, size.height, "yuv420p"
        for frame in islice(given.decode(video=0), start, start + 12):
            target.mux(video.encode(av.VideoFrame.from_ndarray(frame.to_ndarray(format="rgb24"), format="rgb24")))
        target.mux(video.encode(None))
    return out


def seconds_of(path: Path) -> tuple[float, int]:
    """Length and number of pictures of a file, all decoded; as a player does, past the end that was cut off."""
    times: list[float] = []
    with av.open(str(path)) as opened, suppress(av.error.InvalidDataError):
        for frame in opened.decode(video=0):
            times.append(float(frame.time or 0.0))
    return (times[-1] if times else 0.0), len(times)
