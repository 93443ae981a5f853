"""Recordings that play up to the last second, whatever happens."""

from __future__ import annotations

import errno
import json
import logging
from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import IO

import av

from pipeline.frames import AnimatedFrame, letterboxed
from pipeline.media.reader import file_url

from ..errors import SinkError
from .container import Container

log = logging.getLogger(__name__)

# A file of fragments, each a second long, plays up to the last one.
FRAGMENTS = {"movflags": "frag_keyframe+empty_moov+default_base_moof", "flush_packets": "1"}
WHOLE, PART = ".mp4", ".part.mp4"
Made = tuple[str, str, str]  # of which a picture was, see `Stream.made_of`
Sign = Callable[[Path, Path, Iterable[Made]], bool]  # writes the first file, made of these, signed as the second; whether it did
FAILURES = (OSError, ValueError, av.error.FFmpegError)


def claimed(part: IO[bytes]) -> bool:
    """Whether the unfinished file is this process's from now on, until it is closed: another one may be writing to it."""
    try:
        import fcntl
    except ImportError:  # Windows does not rename what is open, so nothing can be taken away there
        return True
    try:
        fcntl.flock(part, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def plays(file: Path) -> bool:
    """Whether a picture can be decoded of it; so it is taken where that cannot be tried, as without a descriptor."""
    try:
        with av.open(file_url(file)) as opened:
            return next(opened.decode(video=0), None) is not None
    except (av.error.InvalidDataError, av.error.EOFError, FileNotFoundError, IndexError):
        return False
    except FAILURES:
        return True


def beside(part: Path) -> Path:
    """Where it is kept of what the pictures of an unfinished file are, for whoever finishes it."""
    return part.with_suffix(".json")


def made_before(part: Path) -> list[Made]:
    """Of what the pictures of an unfinished file are, as far as that is known."""
    try:
        return [(str(engine), str(portrait), str(mark)) for engine, portrait, mark in json.loads(beside(part).read_text("utf-8"))]
    except (OSError, ValueError, TypeError):
        return []


class Recording:
    """An `Output`: fragmented MP4 files in a folder, a new one when one is long or large enough. A picture of another size
    is letterboxed into that of the file's first. While it is written a file is called NAME.part.mp4; that plays too."""

    kind = "recording"
    takes_sound = True

    def __init__(
        self, folder: Path, stream: str, max_minutes: float, max_mb: float, on_saved: Callable[[], None] = lambda: None,
        made_of: Callable[[], Made] = lambda: ("", "", ""), sign: Sign = lambda part, whole, made: False,
    ) -> None:  # fmt: skip
        """on_saved: called after each file. made_of: of what the pictures are now."""
        self._made_of, self._sign = made_of, sign
        self._made: set[Made] = set()
        self._on_saved = on_saved
        self._folder, self._stream = folder, stream
        self._max_s, self._max_bytes = 60 * max_minutes, max_mb * 1e6
        self._container: Container | None = None
        self._part = Path()
        self.began_s: float | None = None
        self.files: list[Path] = []
        self.name = f"recording of '{stream}'"

    @property
    def path(self) -> Path:
        """The file that is written, or was last."""
        return self._part if self._container is not None else (self.files[-1] if self.files else Path())

    def open(self, first: AnimatedFrame, time_s: float) -> None:
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._begin(first, time_s)
        except FAILURES as exc:
            raise self._failure(exc) from exc

    def _begin(self, first: AnimatedFrame, time_s: float) -> None:
        stem = f"{self._stream}-{datetime.now():%Y-%m-%dT%H-%M-%S}"
        count = sum(1 for _ in self._folder.glob(f"{stem}*{WHOLE}"))
        self._part = self._folder / f"{stem}{f'-{count}' if count else ''}{PART}"
        target = av.open(file_url(self._part), "w", format="mp4", options=FRAGMENTS)
        self._claim = self._part.open("ab")
        claimed(self._claim)
        height, width = first.yuv.shape[0] * 2 // 3, first.yuv.shape[1]
        self._container = Container(target, width, height, {"preset": "veryfast", "crf": "20"}, None)
        self.began_s = time_s
        log.info("%s: to %s", self.name, self._part.absolute())

    def write(self, frame: AnimatedFrame, time_s: float) -> None:
        assert self._container is not None
        try:
            size = self._size()
            full = time_s - (self.began_s or time_s) >= self._max_s or size >= self._max_bytes
            if full:
                self._finish()
                self._begin(frame, time_s)
            self._note(self._made_of())
            self._container.write(letterboxed(frame.yuv, *self._container.size), time_s)
        except FAILURES as exc:
            raise self._failure(exc) from exc

    def _note(self, made: Made) -> None:
        if made not in self._made:
            self._made.add(made)
            beside(self._part).write_text(json.dumps(sorted(self._made)), "utf-8")

    def _size(self) -> int:
        """Of the file; OSError where it is no more there: one can go on writing to a deleted file for ever."""
        try:
            return self._part.stat().st_size
        except FileNotFoundError:
            raise FileNotFoundError(errno.ENOENT, "the file was deleted, or its folder") from None

    def write_sound(self, chunk: av.AudioFrame, time_s: float) -> None:
        if self._container is None:
            return
        try:
            self._container.write_sound(chunk, time_s)
        except FAILURES as exc:
            raise self._failure(exc) from exc

    def _finish(self) -> None:
        container, self._container = self._container, None
        if container is None:
            return
        try:
            container.close()
        finally:
            self._keep(self._part.with_name(self._part.name.removesuffix(PART) + WHOLE))

    def _keep(self, whole: Path) -> None:
        """Call the finished part so; nothing stays of one without a picture, as when the disk was full at once."""
        made, self._made = self._made, set()
        shows = plays(self._part)
        is_signed = shows and self._sign(self._part, whole, made)
        self._claim.close()
        if shows and not is_signed:
            self._part.replace(whole)
        else:
            self._part.unlink(missing_ok=True)
        beside(self._part).unlink(missing_ok=True)
        if shows:
            self.files.append(whole)
            log.info("%s: saved as %s", self.name, whole.absolute())
            self._on_saved()

    def close(self) -> None:
        try:
            self._finish()
        except FAILURES as exc:
            raise self._failure(exc) from exc

    def abort(self) -> None:
        """A disk answers in the end."""

    def _failure(self, exc: Exception) -> SinkError:
        with suppress(*FAILURES):
            self._finish()
        reason = getattr(exc, "strerror", None) or type(exc).__name__
        kept = "what was written plays" if self.files else "nothing was recorded"
        return SinkError(f"{self.name}: {self._folder.absolute()}: {reason}; {kept}, the stream goes on", retry=False)
