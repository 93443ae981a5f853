"""The folder of recordings: what is in it, what goes from it, and what an earlier process left unfinished."""

from __future__ import annotations

import logging
import re
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from ..errors import UnknownRecording
from .recording import PART, WHOLE, Sign, beside, claimed, made_before

log = logging.getLogger(__name__)

DAY_S = 86_400.0
# What `Recording` calls its files: the stream, when it began, and a number where two began in one second.
NAMED = re.compile(rf"([a-z0-9_-]+)-\d{{4}}-\d\d-\d\dT\d\d-\d\d-\d\d(-\d+)?{re.escape(WHOLE)}")


@dataclass(frozen=True)
class RecordingFile:
    """A finished recording. ended: when it was last written to."""

    name: str
    size: int
    ended: datetime


def recorded_stream(name: str) -> str | None:
    """Of which stream a recording is, by the name of its file; None for a file that somebody else has put there."""
    parts = NAMED.fullmatch(name)
    return parts and parts[1]


class Library:
    """max_total_mb, max_days: beyond them the oldest recordings are deleted; 0 for no such limit. now: seconds since 1970,
    the clock of the files' own times."""

    def __init__(
        self, folder: Path, max_total_mb: float = 0, max_days: float = 0, now: Callable[[], float] = time.time,
        sign: Sign = lambda part, whole, made: False,
    ) -> None:  # fmt: skip
        self._sign = sign
        self.folder = folder.absolute()
        self._max_bytes, self._max_age_s = max_total_mb * 1e6, max_days * DAY_S
        self._now = now

    def files(self) -> list[RecordingFile]:
        """What is finished, the newest first."""
        found = []
        for path in self.folder.glob(f"*{WHOLE}"):
            try:
                stat = path.stat()
            except OSError:  # somebody has just deleted it
                continue
            if not path.name.endswith(PART):
                found.append(RecordingFile(path.name, stat.st_size, datetime.fromtimestamp(stat.st_mtime, UTC)))
        return sorted(found, key=lambda file: (file.ended, file.name), reverse=True)

    def free_bytes(self) -> int:
        """Room on its disk; the folder is made with the first recording."""
        return shutil.disk_usage(next(path for path in (self.folder, *self.folder.parents) if path.exists())).free

    def path(self, name: str) -> Path:
        """Of a finished recording; UnknownRecording where there is none of that name."""
        if all(file.name != name for file in self.files()):
            raise UnknownRecording(f"no recording '{name[:80]}'")
        return self.folder / name

    def delete(self, name: str) -> None:
        """Delete a finished recording."""
        self.path(name).unlink(missing_ok=True)
        log.info("recording deleted: %s", self.folder / name)

    def finish_left_over(self) -> None:
        """Give what a killed process left its name; it plays up to its last second. Nothing that is still written to."""
        for part in self.folder.glob(f"*{PART}"):
            try:
                with part.open("ab") as file:
                    if not claimed(file):
                        continue
                    empty = not file.tell()
                    whole = part.with_name(part.name.removesuffix(PART) + WHOLE)
                    is_signed = not empty and self._sign(part, whole, made_before(part))
                if empty or is_signed:
                    part.unlink()
                else:
                    part.replace(whole)
                beside(part).unlink(missing_ok=True)
                if empty:
                    continue
                log.info("recording of an earlier run finished: %s", whole)
            except OSError as exc:
                log.warning("%s: %s", part, exc.strerror)

    def keep_limits(self) -> None:
        """Delete the oldest recordings beyond the limits."""
        left = 0.0
        for file in self.files():
            left += file.size
            too_old = self._max_age_s and self._now() - file.ended.timestamp() > self._max_age_s
            too_much = self._max_bytes and left > self._max_bytes
            if too_old or too_much:
                why = "recording.max_days" if too_old else "recording.max_total_mb"
                log.info("recording deleted by %s: %s", why, self.folder / file.name)
                try:
                    (self.folder / file.name).unlink(missing_ok=True)
                except OSError as exc:  # a recording goes on all the same
                    log.warning("%s: %s", file.name, exc.strerror)
