"""Writing what was animated: a picture, or a clip with sound."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction
from pathlib import Path

import av
from av.container import OutputContainer

from ..clips import open_clip
from ..engine import Puppeteer
from ..errors import ClipError
from ..frames import CLOCK, DECLARE_RATE, Image
from ..media.reader import file_url
from ..outfile import finished
from ..portrait import Portrait, is_picture
from .drivers import TEMPLATES
from .sound import SoundTrack


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
    """What was written. notes: what is not as one expects: of the sound, of clips that are cut."""

    frames: int
    tracked: int
    tracker: str
    notes: tuple[str, ...] = ()


def write_clip(
    frames: Iterator[tuple[float, Image, bool]], output: Output, rate: Fraction, sound: Path | None, puppeteer: Puppeteer
) -> Result:
    try:
        with finished(output.path) as part:
            with av.open(file_url(part), "w", format="mp4") as target:
                track = None if sound is None else SoundTrack(sound, target)
                count, tracked = _encode(frames, target, rate, track)
            if not count:
                raise ClipError(f"{output.path}: nothing to write: no picture of the driver could be decoded")
    except av.error.FFmpegError as exc:
        raise ClipError(f"{output.path}: cannot be written ({exc.strerror})") from exc
    notes = () if track is None or not track.note else (track.note,)
    return Result(count, tracked, puppeteer.tracker_name, notes)


def _encode(
    frames: Iterator[tuple[float, Image, bool]], target: OutputContainer, rate: Fraction, track: SoundTrack | None
) -> tuple[int, int]:
    video = target.add_stream("libx264", rate=rate, options={"crf": "17", "preset": "fast", **DECLARE_RATE})
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
        if track is not None:
            track.write(target, end_s + 1 / float(rate))
    return count, tracked


def sound_of(source: Portrait | Path, driver: Path, sound: Sound) -> Path | None:
    """The clip whose sound is taken: the driver's unless it has none, then the source's; or as told."""
    clips = {Sound.DRIVER: [driver, source], Sound.SOURCE: [source], Sound.NONE: []}[sound]
    for clip in clips:
        if isinstance(clip, Path) and clip.suffix not in TEMPLATES and not is_picture(clip):
            with open_clip(clip) as opened:
                if opened.has_sound:
                    return clip
    return None
