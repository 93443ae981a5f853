"""Writing what was animated: a picture, or a clip with sound."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction
from pathlib import Path

import av
from av.audio.stream import AudioStream
from av.container import OutputContainer

from ..clips import open_clip
from ..engine import Puppeteer
from ..errors import ClipError
from ..frames import CLOCK, Image
from ..outfile import finished
from ..portrait import Portrait, is_picture
from .drivers import TEMPLATES


class Sound(StrEnum):
    """Whose sound the output gets."""

    DRIVER = "driver"
    SOURCE = "source"
    NONE = "none"


@dataclass(frozen=True)
class Output:
    """What to write. max_frames: stop after exactly so many. side_by_side: driver and source beside the result."""

    path: Path
    max_frames: int | None = None
    side_by_side: bool = False
    sound: Sound = Sound.DRIVER


@dataclass(frozen=True)
class Result:
    """What was written."""

    frames: int
    tracked: int
    tracker: str


def write_clip(
    frames: Iterator[tuple[float, Image, bool]], output: Output, rate: Fraction, sound: Path | None, puppeteer: Puppeteer
) -> Result:
    try:
        with finished(output.path) as part:
            with av.open(str(part), "w", format="mp4") as target:
                count, tracked = _encode(frames, target, rate, sound)
            if not count:
                raise ClipError(f"{output.path}: nothing to write: no picture of the driver could be decoded")
    except av.error.FFmpegError as exc:
        raise ClipError(f"{output.path}: cannot be written ({exc.strerror})") from exc
    return Result(count, tracked, puppeteer.tracker_name)


def _encode(
    frames: Iterator[tuple[float, Image, bool]], target: OutputContainer, rate: Fraction, sound: Path | None
) -> tuple[int, int]:
    video = target.add_stream("libx264", rate=rate, options={"crf": "17", "preset": "fast"})
    audio = None if sound is None else _audio_stream(sound, target)
    count = tracked = 0
    end_s = 0.0
    for time_s, image, followed in frames:
        if not count:
            video.height, video.width = image.shape[:2]
            video.pix_fmt, video.codec_context.time_base = "yuv420p", CLOCK
        frame = av.VideoFrame.from_ndarray(image, format="rgb24")
        frame.pts, frame.time_base = round(time_s / CLOCK), CLOCK
        target.mux(video.encode(frame))
        count, tracked, end_s = count + 1, tracked + followed, time_s
    if count:
        target.mux(video.encode(None))
        if audio is not None and sound is not None:
            _copy_audio(sound, target, audio, end_s + 1 / float(rate))
    return count, tracked


def sound_of(source: Portrait | Path, driver: Path, sound: Sound) -> Path | None:
    """The clip whose sound is taken: the driver's unless it has none, then the source's; or as told."""
    clips = {Sound.DRIVER: [driver, source], Sound.SOURCE: [source], Sound.NONE: []}[sound]
    for clip in clips:
        if isinstance(clip, Path) and clip.suffix not in TEMPLATES and not is_picture(clip):
            with open_clip(clip) as opened:
                if opened.streams.audio:
                    return clip
    return None


def _audio_stream(sound: Path, target: OutputContainer) -> AudioStream | None:
    with open_clip(sound) as clip:
        try:
            return target.add_stream_from_template(clip.streams.audio[0])
        except (ValueError, av.error.FFmpegError):
            return None  # a codec that MP4 cannot hold


def _copy_audio(sound: Path, target: OutputContainer, audio: AudioStream, until_s: float) -> None:
    """Packets as they are, on the clock of the clip's first picture."""
    with open_clip(sound) as clip:
        video = clip.streams.video[0]
        start_s = float((video.start_time or 0) * (video.time_base or 0))
        for packet in clip.demux(clip.streams.audio[0]):
            if packet.dts is None or packet.pts is None:
                continue
            shift = round(start_s / packet.time_base)
            packet.pts, packet.dts = packet.pts - shift, packet.dts - shift
            if float(packet.pts * packet.time_base) >= until_s:
                return
            if packet.pts >= 0 or shift <= 0:  # a codec's priming stays, sound from before the picture goes
                packet.stream = audio
                target.mux(packet)
