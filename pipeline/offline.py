"""Animate a clip into a file with the engine that also runs live."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.audio.stream import AudioStream
from av.container import InputContainer, OutputContainer
from av.video.stream import VideoStream

from .engine import Engine
from .errors import ClipError
from .follow import FaceState
from .frames import CLOCK
from .mesh.crop import Image
from .portrait import Portrait

MAX_SIDE = 1280
CALIBRATION_S = 3.0
Progress = Callable[[int, int | None], None]  # frames so far, frames in all where the file says so


@dataclass(frozen=True)
class Result:
    """What was written."""

    frames: int
    tracked: int
    tracker: str


def animate(
    engine: Engine, portrait: Portrait, driver: Path, out: Path, max_frames: int | None = None,
    progress: Progress = lambda done, total: None,
) -> Result:  # fmt: skip
    """Write `out` (MP4, H.264, the driver's times, its audio copied). ClipError on an unusable clip.

    The neutral face is taken from the first seconds, so that the first frame is already animated.
    A try that fails leaves no file.
    """
    with open_clip(driver) as clip:
        total = clip.streams.video[0].frames or None
        if max_frames is not None:
            total = min(total or max_frames, max_frames)
        source = engine.prepare(portrait, MAX_SIDE, MAX_SIDE)
        puppeteer = engine.open()
        part = out.with_name(f".{out.stem}.part.mp4")
        try:
            puppeteer.calibrate(list(_first_seconds(driver)))
            frames = _animated(clip, puppeteer, source, max_frames, total, progress)
            with av.open(str(part), "w", format="mp4") as target:
                result = _write(clip, target, driver, frames)
            if not result.frames:
                raise ClipError(f"{driver}: no picture could be decoded")
            os.replace(part, out)
            return Result(result.frames, result.tracked, puppeteer.tracker_name)
        except av.error.FFmpegError as exc:
            raise ClipError(f"{out}: cannot be written ({exc.strerror})") from exc
        finally:
            part.unlink(missing_ok=True)
            puppeteer.close()


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


def _first_seconds(driver: Path) -> Iterator[tuple[float, Image]]:
    with open_clip(driver) as clip:
        for frame in pictures(clip):
            time_s = float(frame.time or 0.0)
            if time_s - float(clip.streams.video[0].start_time or 0) * float(frame.time_base or 0) > CALIBRATION_S:
                return
            yield time_s, picture(frame)


def _animated(
    clip: InputContainer, puppeteer: Any, source: Any, max_frames: int | None, total: int | None, progress: Progress
) -> Iterator[tuple[av.VideoFrame, bool]]:
    for done, frame in enumerate(islice(pictures(clip), max_frames), 1):
        animated = puppeteer.animate(source, picture(frame), float(frame.time or 0.0))
        new = av.VideoFrame.from_ndarray(animated, format="rgb24")
        new.pts, new.time_base = frame.pts, frame.time_base
        yield new, puppeteer.state is FaceState.TRACKING
        progress(done, total)


def _write(clip: InputContainer, target: OutputContainer, driver: Path, frames: Iterator[tuple[av.VideoFrame, bool]]) -> Result:
    given = clip.streams.video[0]
    video: VideoStream | None = None
    audio = _audio_stream(clip, target)
    count = tracked = 0
    end = 0.0
    for frame, seen in frames:
        if video is None:
            video = target.add_stream("libx264", rate=given.average_rate or 30, options={"crf": "17", "preset": "fast"})
            video.width, video.height, video.pix_fmt = frame.width, frame.height, "yuv420p"
            video.codec_context.time_base = given.time_base or CLOCK
        target.mux(video.encode(frame))
        count, tracked, end = count + 1, tracked + seen, float(frame.time or 0.0)
    if video is not None:
        target.mux(video.encode(None))
        if audio is not None:
            _copy_audio(driver, target, audio, end + 1 / float(given.average_rate or 30))
    return Result(count, tracked, "")


def _audio_stream(clip: InputContainer, target: OutputContainer) -> AudioStream | None:
    if not clip.streams.audio:
        return None
    try:
        return target.add_stream_from_template(clip.streams.audio[0])
    except (ValueError, av.error.FFmpegError):
        return None  # a codec that MP4 cannot hold


def _copy_audio(driver: Path, target: OutputContainer, audio: AudioStream, until_s: float) -> None:
    with av.open(str(driver)) as clip:
        for packet in clip.demux(clip.streams.audio[0]):
            if packet.dts is None or packet.pts is None:
                continue
            if float(packet.pts * packet.time_base) >= until_s:
                return
            packet.stream = audio
            target.mux(packet)
