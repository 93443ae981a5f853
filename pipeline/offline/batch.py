"""Several drivers in one go: which file each of them becomes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import PuppetError
from ..portrait import is_picture
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
    """Every driver, or file of a folder that drives, in the order of their names, and its output in `folder`.

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


def _files(folder: Path) -> list[Path]:
    files = sorted(path for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))
    if not files:
        raise PuppetError(f"{folder}: there is no file in this folder")
    return files


def _pictures(file: Path) -> bool:
    return file.is_file() and is_picture(file)
