"""Uploads on disk: a folder for each, written whole or not at all. Other processes may change what lies there."""

from __future__ import annotations

import io
import logging
import os
import re
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from PIL import Image as Pillow
from pydantic import BaseModel, Field, ValidationError, field_validator

from pipeline.errors import ClipError, PortraitError
from pipeline.face import likeness
from pipeline.face import topology as topo
from pipeline.loop import Loop
from pipeline.passes import is_lock
from pipeline.portrait import Portrait, read_puppet
from pipeline.puppet.moving import loop_pictures
from pipeline.terms import OnlyFace, Terms, Whose

from ..errors import CannotKeep

log = logging.getLogger(__name__)

KEY = re.compile(r"upload-[0-9a-f]{16}")
PORTRAIT, FACES, ABOUT, THUMBNAIL = "portrait.puppet", "faces.npy", "about.json", "thumbnail.jpg"
CLIP, FOLLOWED = "clip", "followed.npy"  # as it came, and where the face is in each of its pictures
SIDE = 192  # pixels of a thumbnail
MARGIN = 0.45  # of a face's height, around it in its thumbnail
ABANDONED_S = 3600  # after so long nobody is still writing

Box = tuple[float, float, float, float]


class Kept(BaseModel):
    """What is known of an upload without loading it. added: Unix time; faces: x, y, width, height as shares of the picture,
    from left to right; face: which of them moves; puppet: it came as such a file; moves: as a clip; whose, lock, only_face,
    enrolled: see `Terms`. size: bytes on disk."""

    name: str = Field(max_length=80)
    added: float
    faces: list[Box] = Field(min_length=1)
    face: int = Field(ge=0)
    eyes_shut: bool
    pictures: int = Field(ge=1)
    label: str
    puppet: bool
    moves: bool = False
    whose: Whose = Whose.NOT_SAID
    lock: str = ""
    only_face: OnlyFace = OnlyFace.ANY
    enrolled: tuple[float, ...] | None = Field(None, min_length=likeness.COUNT, max_length=likeness.COUNT)
    size: int = 0

    @field_validator("lock")
    @classmethod
    def _is_a_lock(cls, lock: str) -> str:
        if lock and not is_lock(lock):
            raise ValueError("no lock")
        return lock

    @property
    def terms(self) -> Terms:
        """Whose face it shows, and who may drive it."""
        return Terms(self.whose, self.lock, self.only_face, self.enrolled)


class Shelf:
    """The folder of uploads; None for one that is made when it is needed and ends with the process."""

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder
        self._temporary: TemporaryDirectory[str] | None = None
        self._known: dict[str, tuple[int, Kept | None]] = {}  # by key: when its text was written, and what it says
        self._sweep()

    def close(self) -> None:
        """Remove what is not to be kept."""
        if self._temporary is not None:
            self._temporary.cleanup()

    def look(self) -> dict[str, Kept]:
        """All uploads that are there now, oldest first."""
        found = {key: about for key in self._keys() if (about := self.about(key)) is not None}
        self._known = {key: known for key, known in list(self._known.items()) if key in found or known[1] is None}
        return dict(sorted(found.items(), key=lambda item: (item[1].added, item[0])))

    def about(self, key: str) -> Kept | None:
        """What is known of one, read again only if it was written again; None where it is gone or damaged."""
        if not KEY.fullmatch(key):
            return None
        path = self._path(key)
        try:
            written = (path / ABOUT).stat().st_mtime_ns
            known = self._known.get(key)
            if known is None or known[0] != written:
                known = self._known[key] = written, _read(path)
            return known[1]  # which `look` may have forgotten meanwhile, on another thread
        except OSError:
            return None

    def put(self, key: str, portrait: Portrait, data: bytes, clip: bytes = b"") -> None:
        """Keep a portrait. data: of its puppet file; clip: that it is of. CannotKeep."""
        about = Kept(
            name=portrait.name, added=time.time(), faces=portrait.boxes(), face=portrait.face, eyes_shut=portrait.eyes_shut,
            pictures=portrait.pictures, label="" if portrait.about is None else portrait.about.label,
            puppet=portrait.about is not None, moves=portrait.loop is not None, **_kept(portrait.terms),
        )  # fmt: skip
        with self._writing(portrait.name):
            folder = self._made()
            part = folder / f".{key}.{secrets.token_hex(4)}"
            part.mkdir()
            try:
                (part / PORTRAIT).write_bytes(data)
                if portrait.others:
                    (part / FACES).write_bytes(_packed(portrait))
                if portrait.loop is not None:
                    (part / CLIP).write_bytes(clip)
                    (part / FOLLOWED).write_bytes(_bytes_of(portrait.loop.landmarks))
                (part / THUMBNAIL).write_bytes(thumbnail(portrait))
                (part / ABOUT).write_text(about.model_dump_json(indent=1), "utf-8")
                if self.about(key) is None:
                    shutil.rmtree(folder / key, ignore_errors=True)  # what is left of a damaged one
                    self._name(part, key)
            finally:
                shutil.rmtree(part, ignore_errors=True)

    def _name(self, part: Path, key: str) -> None:
        try:
            part.rename(self._path(key))
        except OSError:
            if self.about(key) is None:  # else another process has just kept the same
                raise

    def load(self, key: str) -> Portrait | None:
        """The whole portrait; None where it is gone, PortraitError where it cannot be used."""
        about = self.about(key)
        if about is None:
            return None
        try:
            portrait = read_puppet(about.name, (self._path(key) / PORTRAIT).read_bytes())
            path = self._path(key) / FACES
            others = _faces(path) if path.exists() or len(about.faces) > 1 else ()
            loop = _loop(self._path(key), about.name) if about.moves else None
        except (OSError, ValueError, ClipError) as exc:
            log.warning("%s cannot be read (%s)", self._path(key), exc)  # where it lies is not for whoever asks
            raise PortraitError(f"{about.name}: what was kept of it cannot be read; delete it and upload it again") from exc
        portrait = portrait if about.puppet else replace(portrait, about=None)
        return replace(portrait, others=others, loop=loop, terms=about.terms).with_face(about.face)

    def thumbnail(self, key: str) -> bytes | None:
        """A small JPEG around the face; None where it is gone."""
        try:
            return (self._path(key) / THUMBNAIL).read_bytes()
        except OSError:
            return None

    def rename(self, key: str, name: str) -> None:
        """Call it otherwise. CannotKeep."""
        self._rewrite(key, {"name": name})

    def restrict(self, key: str, terms: Terms) -> None:
        """Let other terms go with it. CannotKeep."""
        self._rewrite(key, _kept(terms))

    def keep_face(self, key: str, portrait: Portrait) -> None:
        """Let the face of `portrait`, which is this one, move, and lie where it lies there. CannotKeep."""
        with self._writing(portrait.name):
            _replace(self._path(key) / FACES, _packed(portrait))
            _replace(self._path(key) / THUMBNAIL, thumbnail(portrait))
        self._rewrite(key, {"faces": portrait.boxes(), "face": portrait.face, "eyes_shut": portrait.eyes_shut})

    def remove(self, key: str) -> None:
        """Delete it. CannotKeep where that is not allowed; it may be gone already."""
        with self._writing(key):
            if self._path(key).is_dir():
                gone = self._path(f".{key}.{secrets.token_hex(4)}")
                self._path(key).rename(gone)  # all at once: nobody sees half of it
                shutil.rmtree(gone, ignore_errors=True)
        self._known.pop(key, None)

    def _rewrite(self, key: str, change: dict[str, object]) -> None:
        about = self.about(key)
        if about is not None:
            with self._writing(about.name):
                _replace(self._path(key) / ABOUT, about.model_copy(update=change).model_dump_json(indent=1).encode())
            self._known.pop(key, None)

    def _keys(self) -> list[str]:
        try:
            return [] if self.folder is None else [name for name in os.listdir(self.folder) if KEY.fullmatch(name)]
        except FileNotFoundError:
            return []
        except OSError as exc:
            log.warning("%s cannot be read (%s); the uploads in it are not shown", self.folder, exc.strerror)
            return []

    def _path(self, name: str) -> Path:
        return (self.folder or Path()) / name

    def _made(self) -> Path:
        """The folder, which is there from now on."""
        if self.folder is None:
            self._temporary = TemporaryDirectory(prefix="puppetcast-")
            self.folder = Path(self._temporary.name)
        self.folder.mkdir(parents=True, exist_ok=True)
        return self.folder

    def _sweep(self) -> None:
        """Remove what an earlier process did not come to finish."""
        for part in () if self.folder is None else self.folder.glob(".upload-*"):
            with suppress(OSError):
                if time.time() - part.stat().st_mtime > ABANDONED_S:
                    shutil.rmtree(part)

    @contextmanager
    def _writing(self, name: str) -> Iterator[None]:
        try:
            yield
        except OSError as exc:
            raise CannotKeep(
                f"{name}: cannot be kept in {self.folder} ({exc.strerror or exc}); free some space, or set portraits.folder"
            ) from exc


def thumbnail(portrait: Portrait) -> bytes:
    """JPEG of the square around its face, SIDE pixels wide; of a face that fills the picture, as much as there is."""
    height, width = portrait.image.shape[:2]
    low, high = portrait.landmarks[:, :2].min(axis=0), portrait.landmarks[:, :2].max(axis=0)
    side = int(min(max(high - low) * (1 + 2 * MARGIN), width, height))
    middle = (low + high) / 2 - side / 2
    left, top = (int(np.clip(at, 0, most - side)) for at, most in zip(middle, (width, height), strict=True))
    square = Pillow.fromarray(portrait.image[top : top + side, left : left + side])
    out = io.BytesIO()
    square.resize((SIDE, SIDE), Pillow.Resampling.LANCZOS).save(out, "JPEG", quality=85)
    return out.getvalue()


def _kept(terms: Terms) -> dict[str, Any]:
    return {"whose": terms.whose, "lock": terms.lock, "only_face": terms.face, "enrolled": terms.enrolled}


def _read(path: Path) -> Kept | None:
    try:
        about = Kept.model_validate_json((path / ABOUT).read_bytes())
    except (ValidationError, ValueError) as exc:
        log.warning("%s is not shown: damaged (%s)", path, str(exc).splitlines()[0])
        return None
    size = 0
    for each in path.iterdir():
        with suppress(FileNotFoundError):  # it was about to take another's place
            size += each.stat().st_size
    return about.model_copy(update={"size": size})


def _packed(portrait: Portrait) -> bytes:
    """All its faces, as `_faces` reads them."""
    return _bytes_of(np.stack(portrait.others or (portrait.landmarks,)))


def _bytes_of(array: np.ndarray) -> bytes:
    out = io.BytesIO()
    np.save(out, array)
    return out.getvalue()


def _loop(folder: Path, name: str) -> Loop:
    fps, yuv = loop_pictures(folder / CLIP, name)
    landmarks = np.stack(_faces(folder / FOLLOWED))
    if len(landmarks) != len(yuv):
        raise ValueError(f"{CLIP} has {len(yuv)} pictures, and {FOLLOWED} those of {len(landmarks)}")
    return Loop.of(yuv, landmarks, fps)


def _faces(path: Path) -> tuple[np.ndarray, ...]:
    faces = np.load(path, allow_pickle=False)
    if faces.ndim != 3 or faces.shape[1:] != (topo.COUNT, 3) or not np.isfinite(faces).all():
        raise ValueError(f"{path.name} holds no faces")
    return tuple(faces.astype(np.float32))


def _replace(path: Path, data: bytes) -> None:
    part = path.with_name(f".{secrets.token_hex(4)}")
    try:
        part.touch(0o600)  # of a face that was enrolled, nobody else on this machine is to know anything
        part.write_bytes(data)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
