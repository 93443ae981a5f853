"""Files that are written whole or not at all, and never over what is being read."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from .errors import PuppetError

_unfinished: set[Path] = set()


def check(path: Path, suffixes: Sequence[str], inputs: Sequence[Path] = ()) -> None:
    """Raise PuppetError unless `inputs` can be read and `finished(path)` can write: asked before the work.

    suffixes: those taken, such as ".mp4". inputs: files that `path` must not be, under any name or link.
    """
    for taken in inputs:
        _check_readable(taken)
    with _cannot_be_written(path):
        _check_name(path, suffixes)
        for taken in inputs:
            if path.exists() and path.samefile(taken):
                raise PuppetError(f"{path}: would replace {taken}, which is read; choose another name")
        with _part_of(path):  # the only test of a folder that holds on every system
            pass


def _check_readable(path: Path) -> None:
    try:
        path.open("rb").close()
    except OSError as exc:
        raise PuppetError(f"{path}: {exc.strerror or exc}") from exc


def _check_name(path: Path, suffixes: Sequence[str]) -> None:
    if path.is_dir():
        raise PuppetError(f"{path}: is a folder; name the file to write, such as {path / ('out' + suffixes[0])}")
    if path.suffix.lower() not in suffixes:
        raise PuppetError(f"{path}: choose a name that ends in {' or '.join(suffixes)}")
    if path.exists() and not path.is_file():
        raise PuppetError(f"{path}: is not an ordinary file; choose another name")
    if not path.parent.is_dir():
        raise PuppetError(f"{path}: there is no folder {path.parent}; make it first")


@contextmanager
def finished(path: Path) -> Iterator[Path]:
    """A path beside `path` to write to; it takes the name when all went well, and is removed otherwise."""
    with _cannot_be_written(path), _part_of(path) as part:
        yield part
        os.replace(part, path)


def discard_unfinished() -> None:
    """Remove what `finished` is still writing, for a process that is about to end without unwinding."""
    for part in list(_unfinished):
        part.unlink(missing_ok=True)


@contextmanager
def _part_of(path: Path) -> Iterator[Path]:
    """A new file, removed at the end. Its name is another one each time, as a second run may be writing the same output,
    and no longer than file systems allow."""
    part = path.with_name(f".{path.stem[:40]}.{secrets.token_hex(4)}.part{path.suffix}")
    _unfinished.add(part)
    try:
        part.touch(exist_ok=False)
        yield part
    finally:
        part.unlink(missing_ok=True)
        _unfinished.discard(part)


@contextmanager
def _cannot_be_written(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as exc:
        raise PuppetError(f"{path}: cannot be written ({exc.strerror or exc})") from exc
