"""Reading clips."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from fractions import Fraction
from itertools import dropwhile, islice, takewhile
from pathlib import Path
from types import TracebackType
from typing import Self

import av
import numpy as np

from .errors import ClipError
from .frames import Image
from .media import animated
from .media.reader import FASTEST, MAY_JUMP, MOST_PIXELS, NO_CLOCK, USUAL, Moment, Reader, open_file, video_of

Progress = Callable[[int, int | None], None]  # frames so far, frames in all where the file says so
CALIBRATION_S = 3.0  # the neutral face is looked for in so much of a clip
MOST_EARLY = 2000  # frames of sound, some forty seconds
LIST = "concat"  # FFmpeg's format that names other files: in an upload it would name those of this machine
CUT_S = 0.5  # by which a file may end before its time: containers round, and count priming
COUNTED = 90  # packets, to find the rate of pictures whose clock is finer than they are


class Clip:
    """A file of pictures that move, with or without sound; an animated picture is one, too. ClipError if it is none.

    frames, seconds: how many pictures, and how long, where the file says so. rate: pictures per second, about; their times
    are what counts. cut: in words, once all of it was read, that the file says that there is more; "" where it does not.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.has_sound = False
        self.cut = ""
        self.frames: int | None
        self._container = None
        self._read_s = float("-inf")  # the end of what was read, of picture or sound
        moving = animated.about(path)
        if moving is not None:
            self.frames, self.rate = moving
            self.seconds: float | None = self.frames / float(self.rate)
            return
        self._container = _opened(path)
        reader = self._reader()
        reader.video.thread_type = "AUTO"
        self.has_sound = reader.audio is not None
        self.frames = reader.video.frames or None
        self.rate = reader.rate if reader.rate <= FASTEST else _counted(path)
        self.seconds = self._container.duration / 1e6 if self._container.duration else None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        if self._container is not None:
            self._container.close()

    def moments(self, sound: bool = False) -> Iterator[Moment]:
        """Pictures, and sound if wanted, as they are stored; seconds from the first picture that can be decoded. Once.

        What is damaged is left out, as players do; ClipError where nothing can be decoded.
        """
        first_s: float | None = None
        shown = 0
        early: deque[Moment] = deque(maxlen=MOST_EARLY)  # sound that is stored before the first picture may belong after it
        for at, frame in self._moments(sound):
            if first_s is None and isinstance(frame, av.AudioFrame):
                early.append((at, frame))
                continue
            if first_s is None:
                first_s = at
                yield from ((t - at, heard) for t, heard in early if t >= at)
                early.clear()
            if at >= first_s:
                shown += isinstance(frame, av.VideoFrame)
                yield at - first_s, frame
        self._look_for_more(shown)
        if first_s is None:
            raise ClipError(f"{self.path}: no picture could be decoded")

    def _moments(self, sound: bool) -> Iterator[Moment]:
        if self._container is None:
            with suppress(*animated.DAMAGED):  # what came before the damage is shown
                yield from animated.frames(self.path)
            return
        reader = self._reader()
        with suppress(av.error.FFmpegError):  # a file that was cut off ends there
            for packet in reader.packets():
                if packet.pts is not None and packet.time_base:
                    self._read_s = max(self._read_s, float((packet.pts + (packet.duration or 0)) * packet.time_base))
                if sound or packet.stream.index == reader.video.index:
                    yield from reader.decode(packet)

    @property
    def about(self) -> int | None:
        """How many frames, or nearly so, where the file says anything of it."""
        return self.frames or (None if self.seconds is None else round(self.seconds * float(self.rate)))

    def _look_for_more(self, shown: int) -> None:
        """Of a stream that may be joined to others nobody has written how long it is; FFmpeg guesses."""
        container = self._container
        if container is None or self.seconds is None or container.format.flags & (NO_CLOCK | MAY_JUMP):
            return
        if self._read_s < self.seconds - CUT_S:
            self.cut = f"{self.path}: it ends after {shown} of about {self.about} frames: the file is cut"

    def _reader(self) -> Reader:
        assert self._container is not None
        video = video_of(self._container)
        assert video is not None
        return Reader(self._container, video)


def _opened(path: Path) -> av.container.InputContainer:
    try:
        container = open_file(path)
    except (FileNotFoundError, PermissionError, IsADirectoryError) as exc:
        raise ClipError(f"{path}: {exc.strerror}") from exc
    except (
        av.error.FFmpegError,
        OSError,
    ) as exc:  # a file cut short is "End of file" or "Invalid argument"
        raise ClipError(f"{path}: not a clip that can be read, or damaged; MP4, MOV, WebM, MKV, GIF and many others are") from exc
    video = video_of(container)
    if container.format.name == LIST:
        why = "a list of other files, which are not followed; give one of these"
    elif video is None:
        why = "has no video track that can be read"
    elif (pixels := video.codec_context.width * video.codec_context.height) > MOST_PIXELS:
        why = f"{pixels / 1e6:.0f} megapixels; at most {MOST_PIXELS // 1_000_000} are taken"
    else:
        return container
    container.close()
    raise ClipError(f"{path}: {why}")


def _counted(path: Path) -> Fraction:
    """Pictures per second by the times of the first ones, at most as many as are usual for what cannot be counted."""
    with _opened(path) as container:
        video = video_of(container)
        assert video is not None
        with suppress(av.error.FFmpegError):
            packets = islice((p for p in container.demux(video) if p.pts is not None and p.time_base), COUNTED)
            times = sorted(float((p.pts or 0) * p.time_base) for p in packets)
            if len(times) > 1 and times[-1] > times[0]:
                return Fraction(max(round((len(times) - 1) / (times[-1] - times[0])), 1))
    return USUAL


def open_clip(path: Path) -> Clip:
    """Open a clip with a video track; ClipError otherwise."""
    return Clip(path)


def pictures(clip: Clip) -> Iterator[av.VideoFrame]:
    """Its decoded frames, upright."""
    return (frame for _, frame in clip.moments() if isinstance(frame, av.VideoFrame))


def picture(frame: av.VideoFrame) -> Image:
    """(h, w, 3) RGB of a frame."""
    return np.asarray(frame.to_ndarray(format="rgb24"), np.uint8)


def timed(clip: Clip) -> Iterator[tuple[float, Image]]:
    """Seconds from the first picture, and (h, w, 3) RGB."""
    return ((at, picture(frame)) for at, frame in clip.moments() if isinstance(frame, av.VideoFrame))


def first_seconds(path: Path, from_s: float = 0.0) -> Iterator[tuple[float, Image]]:
    """CALIBRATION_S of a clip from `from_s` on, `timed`."""
    with open_clip(path) as clip:
        later = dropwhile(lambda moment: moment[0] < from_s, timed(clip))
        yield from takewhile(lambda moment: moment[0] <= from_s + CALIBRATION_S, later)
