"""The log of who drove which portrait when: a line of JSON for each change, bounded, and on this machine alone."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import accumulate
from pathlib import Path
from typing import Literal

from platformdirs import user_data_path
from pydantic import BaseModel, ValidationError

from pipeline.errors import OutputError
from pipeline.outfile import finished

from ..config import Drives
from ..errors import CannotKeep
from ..stream.stream import Stream

log = logging.getLogger(__name__)

KEPT = 0.7  # of the most that it may be, where it has become larger


class Drive(BaseModel):
    """What is so from `at` on, until the stream's next line. driver: camera, source, demo, or none once nobody drives; name: of a
    source; address: the network that a camera is published from; refused: why the portrait rests all the same, in words."""

    at: datetime
    stream: str
    portrait: str
    driver: Literal["camera", "source", "demo", "none"]
    name: str = ""
    address: str = ""
    refused: str = ""


def drives_file(config: Drives) -> Path:
    """Where it is kept."""
    return (config.file or user_data_path("puppetcast") / "drives.jsonl").expanduser()


class DriveLog:
    """Trouble with the file never stops a stream. now: the time of day."""

    def __init__(self, config: Drives, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._config = config
        self._path = drives_file(config)
        self._now = now
        self._last: dict[str, Drive] = {}  # by stream
        self._oldest: datetime | None = None  # line of the file, as far as it is known
        if config.keep:
            self._try(self._trim)

    def note(self, stream: Stream) -> None:
        """Who drives a stream now, if that is news."""
        if not self._config.keep:
            return
        who, now = None if stream.driver is None else stream.driver.who, self._now()
        if who is None:
            drive = Drive(at=now, stream=stream.name, portrait=stream.shown.id, driver="none")
        else:
            told = {"driver": who.kind, "name": who.name, "address": who.address, "refused": stream.refused}
            drive = Drive(at=now, stream=stream.name, portrait=stream.shown.id, **told)  # type: ignore[arg-type]
        last = self._last.get(stream.name)
        same = last is not None and last.model_copy(update={"at": now}) == drive
        resting = who is None and (last is None or last.driver == "none")
        if not (same or resting):
            self._last[stream.name] = drive
            self._try(lambda: self._append(drive))

    def drives(self, stream: str | None = None) -> list[Drive]:
        """What is kept, the oldest first; lines that cannot be read are left out. CannotKeep where the file cannot be read."""
        try:
            return [drive for drive in self._read() if stream in (None, drive.stream)]
        except OSError as exc:
            raise CannotKeep(f"drives.file: {self._path} cannot be read ({exc.strerror or exc})") from exc

    def delete(self, stream: str | None = None) -> None:
        """Delete all lines, or those of a stream. CannotKeep."""
        try:
            self._write([] if stream is None else [drive for drive in self._read() if drive.stream != stream])
        except (OSError, OutputError) as exc:
            raise CannotKeep(f"drives.file: {self._path} cannot be written ({exc})") from exc

    def _append(self, drive: Drive) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with os.fdopen(os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "a", encoding="utf-8") as file:
            file.write(_line(drive))
            size = file.tell()
        if size > self._config.max_kb * 1000 or (self._oldest is not None and self._oldest < self._first_day()):
            self._trim()

    def _trim(self) -> None:
        """Let go of what is too old, and of the oldest where it is too much."""
        if not self._path.exists():
            return
        kept, size = self._read(), self._path.stat().st_size
        most = self._config.max_kb * 1000
        if size > most:
            sizes = accumulate(len(_line(drive).encode()) for drive in reversed(kept))
            kept = kept[len(kept) - sum(size <= KEPT * most for size in sizes) :]
        if size != sum(len(_line(drive).encode()) for drive in kept):
            self._write(kept)
        self._oldest = kept[0].at if kept else None

    def _first_day(self) -> datetime:
        return self._now() - timedelta(days=self._config.max_days)

    def _read(self) -> list[Drive]:
        try:
            lines = self._path.read_text("utf-8", "replace").splitlines()
        except FileNotFoundError:
            return []
        drives = [drive for line in lines if (drive := _drive(line)) is not None]
        return [drive for drive in drives if drive.at >= self._first_day()]

    def _write(self, drives: list[Drive]) -> None:
        if not drives:
            self._path.unlink(missing_ok=True)
            return
        with finished(self._path) as part:
            part.chmod(0o600)
            part.write_text("".join(map(_line, drives)), "utf-8")

    def _try(self, work: Callable[[], None]) -> None:
        try:
            work()
        except (OSError, OutputError) as exc:
            log.warning("drives.file: %s cannot be written (%s); who drives is not kept", self._path, exc)


def _line(drive: Drive) -> str:
    return drive.model_dump_json(exclude_defaults=True) + "\n"


def _drive(line: str) -> Drive | None:
    try:
        drive = Drive.model_validate_json(line)
        return drive if drive.at.tzinfo else None
    except ValidationError:
        return None
