"""Pictures and sound into one file of any kind that moves. Every picture of every kind passes `video_frame`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from fractions import Fraction
from itertools import chain
from pathlib import Path

import av
import numpy as np
from av.container import OutputContainer
from av.video.stream import VideoStream
from PIL import Image as Pillow

from ..frames import Image
from ..media.reader import file_url
from .formats import FORMATS, Format, numbered
from .gif import write_gif
from .sound import SoundTrack

Pictures = Iterator[tuple[float, Image]]  # seconds, and (h, w, 3) RGB or (h, w, 4) RGBA, all of one size


def video_frame(image: Image) -> av.VideoFrame:
    """A picture (h, w, 3) RGB, or (h, w, 4) with its opacity, for encoders."""
    return av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgba" if image.shape[2] == 4 else "rgb24")


def write_file(
    pictures: Pictures, path: Path, rate: Fraction, sound: Path | None, options: Mapping[str, str] | None = None
) -> tuple[int, str]:
    """Write a file of the kind that its suffix says, which `FORMATS` has. How many pictures, and what is to be said of the sound.

    rate: pictures a second, about, for what the file says of itself and the last one's length. sound: the clip that has it.
    options: the encoder's, in place of the usual ones.
    """
    kind = FORMATS[path.suffix.lower()]
    kind = kind if options is None else replace(kind, options=options)
    first = next(pictures, None)
    if first is None:
        return 0, ""
    pictures = chain([first], pictures)
    if kind.codec == "gif":
        return write_gif(((at, video_frame(image)) for at, image in pictures), path, rate), ""
    with av.open(file_url(path), "w", format=kind.muxer, container_options=dict(kind.container)) as target:
        track = None if sound is None or not kind.sound else SoundTrack(sound, target, kind.sound, kind.copied)
        count, end_s = _encode(pictures, first[1], target, kind, rate)
        if track is not None:
            track.write(target, end_s)
    return count, "" if track is None else track.note


def _encode(pictures: Pictures, first: Image, target: OutputContainer, kind: Format, rate: Fraction) -> tuple[int, float]:
    """How many pictures, and when the last one ends."""
    video = target.add_stream(kind.codec, rate=rate, options=dict(kind.options))
    assert isinstance(video, VideoStream)
    video.height, video.width = first.shape[:2]
    video.pix_fmt = kind.with_alpha if first.shape[2] == 4 else kind.pixels
    video.codec_context.time_base = kind.clock
    count, last = 0, -1
    for time_s, image in pictures:
        frame = video_frame(image)
        last = max(round(time_s / kind.clock), last + 1)
        frame.pts, frame.time_base = last, kind.clock
        target.mux(video.encode(frame))
        count += 1
    target.mux(video.encode(None))
    return count, float(last * kind.clock) + 1 / float(rate)


def write_sequence(pictures: Pictures, path: Path, folder: Path) -> int:
    """A PNG file for each picture into `folder`, named as `numbered(path, k)`, from 1 on. How many."""
    count = 0
    for count, (_, image) in enumerate(pictures, 1):
        Pillow.fromarray(image).save(folder / numbered(path, count).name, compress_level=3)
    return count
