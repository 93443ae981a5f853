"""Several drivers in one go: which file each of them becomes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from mimetypes import guess_type
from pathlib import Path

from ..clips import open_clip
from ..errors import ClipError, PuppetError
from ..portrait import is_picture
from .drivers import TEMPLATES
from .formats import PNG


@dataclass(frozen=True)
class Job:
    """A driver, and what is written."""

    driver: Path
    out: Path


def are_several(drivers: Sequence[Path]) -> bool:
    """Whether a file comes out for each of them."""
    return len(drivers) > 1 or drivers[0].is_dir()


def jobs_of(drivers: Sequence[Path], folder: Path, suffix: str, still: bool) -> list[Job]:
    """Every driver, or file of a folder that can drive, in the order of their names, and its output in `folder`.

    still: whether what is driven is a picture, so that a picture that drives makes a picture. PuppetError.
    """
    found = [file for driver in drivers for file in (_files(driver) if driver.is_dir() else [driver])]
    stems = Counter(file.stem for file in found)
    jobs = []
    for file in found:
        name = file.stem if stems[file.stem] == 1 else file.name
        jobs.append(Job(file, folder / (name + (PNG if still and _pictures(file) else suffix))))
    twice = [out for out, count in Counter(job.out for job in jobs).items() if count > 1]
    if twice:
        raise PuppetError(f"{twice[0]}: two drivers of one name would be written there; animate them apart")
    return jobs


@dataclass(frozen=True)
class Beside:
    """What lies in folders of drivers and drives nothing. folders: within them; files: what is wrong with each, in a line."""

    folders: tuple[Path, ...] = ()
    files: tuple[str, ...] = ()


NOTHING = Beside()


def beside(drivers: Sequence[Path]) -> Beside:
    """All that `jobs_of` passes over."""
    inside = [path for driver in drivers if driver.is_dir() for path in _visible(driver)]
    lines = [line for path in inside if path.is_file() and (line := _wrong(path))]
    return Beside(tuple(path for path in inside if path.is_dir()), tuple(lines))


def _files(folder: Path) -> list[Path]:
    files = [path for path in _visible(folder) if path.is_file()]
    if not files:
        raise PuppetError(f"{folder}: there is no file in this folder")
    found = [path for path in files if not _wrong(path)]
    if not found:
        raise PuppetError(f"{folder}: there is no clip, picture or motion template in this folder")
    return found


def _visible(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if not path.name.startswith("."))


@cache
def _wrong(path: Path) -> str:
    """Why a file is none that drives; "" where it is one, by its name or its content, whole or damaged."""
    kind = guess_type(path.name)[0] or ""
    if path.suffix in TEMPLATES or kind.startswith(("video/", "image/")) or is_picture(path):
        return ""
    try:
        open_clip(path).close()
    except ClipError as exc:
        return str(exc)
    return ""


def _pictures(file: Path) -> bool:
    return file.is_file() and is_picture(file)
