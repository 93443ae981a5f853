"""Reading clips."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import takewhile
from pathlib import Path

import av
import numpy as np
from av.container import InputContainer

from .errors import ClipError
from .frames import Image

Progress = Callable[[int, int | None], None]  # frames so far, frames in all where the file says so
CALIBRATION_S = 3.0  # the neutral face is looked for in so much of a clip


def open_clip(path: Path) -> InputContainer:
    """Open a clip with a video track; ClipError otherwise."""
    try:
        clip = av.open(str(path))
    except (av.error.FFmpegError, OSError) as exc:
        raise ClipError(f"{path}: {exc.strerror or 'not a media file'}") from exc
    if not clip.streams.video:
        clip.close()
        raise ClipError(f"{path}: has no video track")
    clip.streams.video[0].thread_type = "AUTO"
    return clip


def pictures(clip: InputContainer) -> Iterator[av.VideoFrame]:
    """Decoded frames; a damaged packet is left out, as players do."""
    for packet in clip.demux(clip.streams.video[0]):
        try:
            yield from packet.decode()
        except av.error.InvalidDataError:
            continue


def picture(frame: av.VideoFrame) -> Image:
    """(h, w, 3) RGB of a frame, upright."""
    image = frame.to_ndarray(format="rgb24")
    turns = round(frame.rotation / 90) % 4  # phones write the rotation beside the picture
    return np.ascontiguousarray(np.rot90(image, turns))


def timed(clip: InputContainer) -> Iterator[tuple[float, Image]]:
    """Seconds from the first picture, and (h, w, 3) RGB."""
    first_s: float | None = None
    for frame in pictures(clip):
        time_s = float(frame.time or 0.0)
        first_s = time_s if first_s is None else first_s
        yield time_s - first_s, picture(frame)


def first_seconds(path: Path) -> Iterator[tuple[float, Image]]:
    """The first CALIBRATION_S of a clip, `timed`."""
    with open_clip(path) as clip:
        yield from takewhile(lambda moment: moment[0] <= CALIBRATION_S, timed(clip))
