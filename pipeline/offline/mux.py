"""Writing what was animated: a picture, or a clip with sound."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction
from pathlib import Path

import av

from ..clips import open_clip
from ..engine import Puppeteer
from ..errors import ClipError, OutputError
from ..frames import Image
from ..label import Label
from ..mark.marker import UNMARKED, Marker
from ..outfile import finished, finished_files
from ..portrait import Portrait, is_picture
from .drivers import TEMPLATES
from .formats import is_sequence
from .writers import write_file, write_sequence


class Sound(StrEnum):
    """Whose sound the output gets."""

    DRIVER = "driver"
    SOURCE = "source"
    NONE = "none"


@dataclass(frozen=True)
class Output:
    """What to write. max_frames: stop after exactly so many. side_by_side: driver and source beside the result. fps: even
    pictures a second, in place of the driver's times. size: width and height, between bars where the shape is another one; or
    the longer side and 0. transparent: the person alone, without the background. behind: what is put behind the person,
    (h, w, 3) RGB of any size, such as one pixel. label: what is drawn on the result, None for
    nothing. sign: signs a finished file, which is to have the second name, and tells which file it has written beside, if
    any. marker: marks what is animated."""

    path: Path
    max_frames: int | None = None
    side_by_side: bool = False
    sound: Sound = Sound.DRIVER
    fps: Fraction | None = None
    size: tuple[int, int] | None = None
    transparent: bool = False
    behind: Image | None = None
    label: Label | None = None
    sign: Callable[[Path, Path], Path | None] = lambda part, path: None
    marker: Marker = UNMARKED


@dataclass(frozen=True)
class Result:
    """What was written. notes: what is not as one expects: of the sound, of clips that are cut. beside: the file that signs it,
    where it cannot hold that itself."""

    frames: int
    tracked: int
    tracker: str
    notes: tuple[str, ...] = ()
    beside: Path | None = None


def write_clip(
    frames: Iterator[tuple[float, Image, bool]], output: Output, rate: Fraction, sound: Path | None, puppeteer: Puppeteer
) -> Result:
    """Write times, pictures, and whether a face was followed, as a file, or files, of the kind that the name says."""
    tracked = seen = 0

    def pictures() -> Iterator[tuple[float, Image]]:
        nonlocal tracked, seen
        for time_s, image, followed in frames:
            seen += 1
            tracked += followed
            yield time_s, image

    path, note, beside = output.path, "", None
    try:
        if is_sequence(path):
            with finished_files(path) as folder:
                count = _some(write_sequence(pictures(), path, folder), path)
        else:
            with finished(path) as part:
                written, note = write_file(pictures(), part, rate, sound)
                count = _some(written, path)
                beside = output.sign(part, path)
    except av.error.FFmpegError as exc:
        raise OutputError(f"{path}: cannot be written ({exc.strerror})") from exc
    notes = [note] if note else []
    if count == 1 < seen:
        notes.append(f"{path}: {seen} frames of the driver have one and the same time; one picture was written")
    return Result(count, min(tracked, count), puppeteer.tracker_name, tuple(notes), beside)


def _some(count: int, path: Path) -> int:
    if not count:
        raise ClipError(f"{path}: nothing to write: no picture of the driver could be decoded")
    return count


def sound_of(source: Portrait | Path, driver: Path, sound: Sound) -> Path | None:
    """The clip whose sound is taken: the driver's unless it has none, then the source's; or as told."""
    clips = {Sound.DRIVER: [driver, source], Sound.SOURCE: [source], Sound.NONE: []}[sound]
    for clip in clips:
        if isinstance(clip, Path) and clip.suffix not in TEMPLATES and not is_picture(clip):
            with open_clip(clip) as opened:
                if opened.has_sound:
                    return clip
    return None
