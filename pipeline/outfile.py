"""Files that are written whole or not at all, and never over what is being read."""

from __future__ import annotations

import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from .errors import ExistsError, OutputError, PuppetError

_unfinished: set[Path] = set()


def check(path: Path, suffixes: Sequence[str], inputs: Sequence[Path] = (), replace: bool = True) -> None:
    """Raise PuppetError unless `inputs` can be read and `finished(path)` can write: asked before the work.

    suffixes: those taken, such as ".mp4". inputs: files that `path` must not be, under any name or link.
    replace: whether there may be a file already.
    """
    for taken in inputs:
        _check_readable(taken)
    with written(path):
        _check_name(path, suffixes)
        for taken in inputs:
            if path.exists() and path.samefile(taken):
                raise PuppetError(f"{path}: would replace {taken}, which is read; choose another name")
        if not replace and path.exists():
            raise ExistsError(f"{path}: exists; choose another name, or add '--force' to replace it", path.name)
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
    with written(path), _part_of(path) as part:
        yield part
        os.replace(part, path)


@contextmanager
def finished_files(path: Path) -> Iterator[Path]:
    """A folder beside `path` to write several files into; they come to lie beside `path` when all went well."""
    with written(path), _unfinished_folder(path.parent) as part:
        yield part
        for file in sorted(part.iterdir()):
            os.replace(file, path.with_name(file.name))


@contextmanager
def scratch_beside(path: Path, suffix: str) -> Iterator[Path]:
    """A file beside `path`, which is gone afterwards: there is room where a large file is to be."""
    with _part_of(path.with_suffix(suffix)) as part:
        yield part


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """A folder for temporary files, which is gone afterwards."""
    with written(Path(tempfile.gettempdir())), _unfinished_folder(None) as folder:
        yield folder


def make_folder(path: Path) -> None:
    """Make a folder, if there is none, whose own folder is there; OutputError where nothing can be written to it."""
    with written(path):
        if not path.is_dir():
            path.mkdir()
        with _part_of(path / "any"):
            pass


def discard_unfinished() -> None:
    """Remove what is still written, for a process that is about to end without unwinding."""
    for part in list(_unfinished):
        _remove(part)


def _remove(part: Path) -> None:
    if part.is_dir():
        shutil.rmtree(part, ignore_errors=True)
    else:
        part.unlink(missing_ok=True)


@contextmanager
def _unfinished_folder(parent: Path | None) -> Iterator[Path]:
    part = Path(tempfile.mkdtemp(suffix=".part", prefix=".", dir=parent))
    _unfinished.add(part)
    try:
        yield part
    finally:
        _remove(part)
        _unfinished.discard(part)


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
def written(path: Path) -> Iterator[None]:
    """OutputError for what goes wrong in writing `path`."""
    try:
        yield
    except OSError as exc:
        raise OutputError(f"{path}: cannot be written ({exc.strerror or exc})") from exc
