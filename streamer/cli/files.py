"""What `animate` reads and writes: files, folders, standard input and output."""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path

import typer
from rich.text import Text

from pipeline import outfile
from pipeline.clips import Progress
from pipeline.errors import ExistsError, OutputError, PuppetError
from pipeline.offline.batch import NOTHING, Beside, Job, are_several, jobs_of
from pipeline.offline.formats import SUFFIXES, is_sequence
from pipeline.offline.mux import Result
from pipeline.portrait import is_picture

from .console import bars, console

STANDARD = Path("-")
NAMED = 3  # of files that exist


class Kind(StrEnum):
    """What files can be, as `SUFFIXES` has it."""

    MP4 = "mp4"
    MOV = "mov"
    WEBM = "webm"
    GIF = "gif"
    WEBP = "webp"
    PNG = "png"


@contextmanager
def standard_streams() -> Iterator[Path]:
    """A folder for what comes by standard input and goes by standard output; errors name those instead."""
    with outfile.scratch_folder() as folder:
        try:
            yield folder
        except PuppetError as exc:
            raise type(exc)(_worded(exc, folder)) from exc


def _worded(exc: PuppetError, folder: Path) -> str:
    """What is said of it, with `-` by its name in words."""
    return in_words(str(exc), folder)


def in_words(text: str, folder: Path) -> str:
    """The same of any text: files in the folder of `standard_streams` are no files to whoever reads it."""
    return re.sub(r"\b(standard output)\.\w+", r"\1", text.replace(f"{folder}{os.sep}", ""))


def read_standard_input(given: Sequence[Path], folder: Path) -> list[Path]:
    """The same paths; in place of `-` what comes by standard input, as a clip is read more than once."""
    taken = folder / "standard input"
    if given.count(STANDARD) > 1:
        raise PuppetError("-: standard input can be read once; name a file for the other")
    if STANDARD in given:
        if sys.stdin.isatty():
            raise PuppetError("-: standard input is the keyboard here; pipe a clip into it")
        with outfile.written(taken), taken.open("wb") as file:
            shutil.copyfileobj(sys.stdin.buffer, file)
    return [taken if path == STANDARD else path for path in given]


def plan(drivers: Sequence[Path], out: Path | None, kind: Kind | None, still: bool, folder: Path) -> list[Job]:
    """What is to be written. still: whether a picture is driven; folder: where standard output is put together."""
    if are_several(drivers):
        target = _folder_for(drivers, out)
        jobs = jobs_of(drivers, target, f".{kind or Kind.MP4}", still)
        outfile.make_folder(target)
        return jobs
    [driver] = drivers
    one = still and is_picture(driver)
    if out == STANDARD:
        return [Job(driver, _standard_output(kind, one, folder))]
    if kind is not None:
        raise PuppetError("--format: the name of the file says what it is; '--format' is for folders and standard output")
    return [Job(driver, out or Path("out.png" if one else "out.mp4"))]


def write_standard_output(made: Path) -> None:
    """What was put together, to whoever reads it."""
    try:
        with made.open("rb") as file:
            shutil.copyfileobj(file, sys.stdout.buffer)
        sys.stdout.buffer.flush()
    except OSError as exc:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python tries again when it ends
        raise OutputError(f"standard output: cannot be written ({exc.strerror})") from exc


def run_all(
    jobs: Sequence[Job],
    check: Callable[[Path, Path], None],
    run: Callable[[Job, Progress], Result],
    tell: Callable[[Job, Result], None],
    folder: Path,
    left: Beside = NOTHING,
) -> None:
    """Each job, whatever becomes of the others; those that failed are told at the end, and by exit code 1. A disk that is full
    ends it. folder: of `standard_streams`. left: what lies beside the drivers; told at the end, too."""
    failed: list[str] = []
    there: list[str] = []
    with bars(f"{len(jobs)} drivers", len(jobs)) as begin:
        for job in jobs:
            progress = begin(job.driver.name)
            try:
                check(job.driver, job.out)
                tell(job, run(job, progress))
            except OutputError:
                raise
            except ExistsError as exc:
                there.append(exc.name)
            except PuppetError as exc:
                failed.append(_worded(exc, folder))
    for within in left.folders:
        console.print(f"{within}: a folder within a folder, passed over; name it to animate what is in it")
    for message in (*failed, *_in_the_way(there, jobs), *left.files):
        console.print(Text.assemble(("error:", "red"), f" {message}"))
    console.print(f"{jobs[0].out.parent}: {len(jobs) - len(failed) - len(there)} of {len(jobs)} drivers animated")
    if failed or there or left.files:
        raise typer.Exit(1)


def _in_the_way(there: Sequence[str], jobs: Sequence[Job]) -> list[str]:
    """One line for all files that exist: where a folder is done again, that is each of them."""
    if not there:
        return []
    exist = "1 file exists" if len(there) == 1 else f"{len(there)} files exist"
    names = ", ".join(there[:NAMED]) + (f" and {len(there) - NAMED} more" if len(there) > NAMED else "")
    return [f"{jobs[0].out.parent}: {exist} already: {names}; choose another folder, or add '--force' to replace them"]


def _folder_for(drivers: Sequence[Path], out: Path | None) -> Path:
    out = out or Path("out")
    if out == STANDARD or (out.suffix.lower() in SUFFIXES and not out.is_dir()):
        raise PuppetError(f"{out}: {'several drivers' if len(drivers) > 1 else drivers[0]} give several files; name a folder")
    return out


def standard_output(folder: Path, kind: Kind = Kind.PNG) -> Path:
    """Where it is put together; PuppetError for a terminal."""
    if sys.stdout.isatty():
        raise PuppetError("-: standard output is the terminal here; pipe it somewhere, or name a file")
    return folder / f"standard output.{kind}"


def _standard_output(kind: Kind | None, one: bool, folder: Path) -> Path:
    """one: whether one picture comes out."""
    path = standard_output(folder, kind or (Kind.PNG if one else Kind.MP4))
    if is_sequence(path) and not one:
        raise PuppetError("--format png: a picture for each frame is several files; name one, such as -o out-%05d.png")
    return path
