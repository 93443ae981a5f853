"""Portraits: reading a picture safely, its landmarks, and the bundled gallery."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path

import cv2
import numpy as np
from PIL import Image as Pillow

from . import puppetfile
from .errors import LandmarksNeeded, MarksError, NoFaceError, PortraitError
from .face.canonical import five_points, from_five_points
from .face.faces import Faces
from .face.likeness import FaceLock
from .face.marks import problem
from .face.motion import Array, eye_distance, eyes_look_shut
from .face.search import find_faces
from .frames import Image
from .loop import Loop
from .media.animated import is_motion_jpeg
from .pictures.colours import GROUND, Colour
from .pictures.decode import MAX_BYTES, MAX_PIXELS, MAX_SIDE, decode, decode_picture
from .pictures.formats import DAMAGED, SUFFIXES, moves, opened
from .portraits import DEFAULT
from .terms import ANYBODY, OnlyFace, Terms, Whose

__all__ = [
    "BUNDLED", "DEMO_CLIP", "MAX_SIDE", "MOST_BYTES", "PICTURES", "Picture", "Portrait", "bundled", "bundled_names",
    "decode_picture", "find_portrait", "fit", "is_picture", "is_portrait", "load_portrait", "make_portrait", "pack_puppet",
    "read_bytes", "read_picture", "read_portrait", "read_puppet", "save_puppet",
]  # fmt: skip

MOST_BYTES = max(MAX_BYTES, puppetfile.MAX_BYTES)
PICTURES = (".png", ".jpg", ".jpeg", ".webp")  # that are written
CORRECTED = 0.35  # distances of the eyes by which a point may be moved and still correct the face that was found
BUNDLED = files("pipeline") / "portraits"
DEMO_CLIP = Path(str(BUNDLED / "demo.mp4"))


@dataclass(frozen=True)
class Picture:
    """One more picture of a portrait's face. image: (h, w, 3) RGB; landmarks: (478, 3) pixels."""

    image: Image
    landmarks: Array


@dataclass(frozen=True)
class Portrait:
    """A picture and the face of it that moves. image: (h, w, 3) RGB; landmarks: (478, 3) pixels; others: the landmarks
    of every face in it, from left to right, where there are several; more: the same face otherwise, which makes it a
    puppet of many pictures; about: what a puppet file says of itself; title: what people call it, where that is another name;
    loop: the clip that it is, and `image` the one of its pictures that is most at rest; terms: whose face it is, and who may
    drive it."""

    name: str
    image: Image
    landmarks: Array
    others: tuple[Array, ...] = ()
    more: tuple[Picture, ...] = ()
    about: puppetfile.About | None = None
    title: str = ""
    loop: Loop | None = None
    terms: Terms = ANYBODY

    @property
    def face_lock(self) -> FaceLock | None:
        """The face that whoever drives it must have; None for any."""
        if self.terms.face is OnlyFace.SHOWN:
            return FaceLock.of(self.landmarks)
        return FaceLock(self.terms.enrolled) if self.terms.face is OnlyFace.ENROLLED else None

    def with_face(self, index: int) -> Portrait:
        """The same picture with another of its faces; PortraitError if there is none."""
        if not 0 <= index < max(len(self.others), 1):
            raise PortraitError(f"{self.name}: there is no face {index}; it shows {max(len(self.others), 1)}, counted from 0")
        return replace(self, landmarks=self.others[index]) if self.others else self

    def with_marks(self, marks: Array) -> Portrait:
        """The same picture, whose face that moves lies where five points (5, 2), in its pixels, place it. Points that are
        moved a little correct the landmarks; others were of something else. MarksError, PortraitError for a puppet."""
        if self.loop is not None:
            raise PortraitError(f"{self.name}: a clip; its face is followed through it, and is not placed by hand")
        if self.more:
            raise PortraitError(f"{self.name}: a puppet brings its face with it, in {1 + len(self.more)} pictures")
        _check_marks(self.name, self.image, marks)
        away = np.linalg.norm(five_points(self.landmarks) - marks, axis=1).max()
        found = self.landmarks if away < CORRECTED * eye_distance(self.landmarks) else None
        placed = from_five_points(marks, found)
        others = [placed if face is self.landmarks else face for face in self.others]
        return replace(self, landmarks=placed, others=tuple(sorted(others, key=lambda face: float(face[:, 0].mean()))))

    @property
    def face(self) -> int:
        """Which of the faces moves, counted from the left."""
        return next((k for k, face in enumerate(self.others) if face is self.landmarks), 0)

    @property
    def sha256(self) -> str:
        """Of its picture, (h, w, 3) RGB, in hexadecimal digits."""
        return hashlib.sha256(self.image.tobytes()).hexdigest()

    @property
    def pictures(self) -> int:
        """How many pictures of one face were given; a clip counts as one, as it is the same face going on."""
        return 1 if self.loop is not None else 1 + len(self.more)

    @property
    def eyes_shut(self) -> bool:
        """Whether its eyes are shut in the picture: no driver can open them."""
        return eyes_look_shut(self.landmarks)

    def boxes(self) -> list[tuple[float, float, float, float]]:
        """x, y, width, height of each face as shares of the picture, from left to right."""
        size = np.array(self.image.shape[1::-1], np.float32)
        ends = [(f[:, :2].min(axis=0) / size, f[:, :2].max(axis=0) / size) for f in self.others or (self.landmarks,)]
        return [(*low.tolist(), *(high - low).tolist()) for low, high in ends]


def fit(image: Image, landmarks: Array, max_side: int, most: float = math.inf) -> tuple[Image, Array]:
    """Scale picture (h, w, 3) and landmarks so that the longer side is at most `max_side`, by at most the factor `most`;
    both sides become even.

    Small pictures are enlarged up to 512 pixels, so that a viewer gets a usable size.
    """
    height, width = image.shape[:2]
    longest = max(height, width)
    factor = min(max_side / longest, most, max(1.0, 512 / longest))
    new = tuple(max(2, int(n * factor) // 2 * 2) for n in (width, height))
    if new == (width, height):
        return image, landmarks
    scale = np.array([new[0] / width, new[1] / height, new[0] / width], np.float32)
    method = cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(image, new, interpolation=method), np.uint8), landmarks * scale


def is_portrait(path: Path) -> bool:
    """Whether a file is a picture or a puppet, by its name or its content. Of an animated picture the first one is taken."""
    return path.suffix.lower() in (*SUFFIXES, puppetfile.SUFFIX) or _opens(path, lambda picture: True)


def is_picture(path: Path) -> bool:
    """Whether a file is one still picture, by its content."""
    return _opens(path, lambda picture: not moves(picture)) and not is_motion_jpeg(path)


def _opens(path: Path, holds: Callable[[Pillow.Image], bool]) -> bool:
    try:
        with opened(path, path.name) as picture:
            return holds(picture)
    except (*DAMAGED, PortraitError):
        return False


def read_picture(path: Path) -> Image:
    """(h, w, 3) RGB of a picture file; PortraitError where there is none."""
    return decode_picture(read_bytes(path), path.name)


def read_bytes(path: Path) -> bytes:
    """A file's bytes, as many as are taken at most and one more; PortraitError where there are none."""
    try:
        with path.open("rb") as file:
            return file.read(MOST_BYTES + 1)
    except OSError as exc:
        raise PortraitError(f"{path}: {exc.strerror or exc}") from exc


def make_portrait(name: str, image: Image, faces: Faces, marks: Array | None = None) -> Portrait:
    """Find the face; of several the largest moves. `marks` (5, 2) place it by hand: both eye centres (picture left first),
    nose tip, both mouth corners, in pixels of `image`. A picture that lies or stands on its head comes out upright.
    PortraitError, NoFaceError, LandmarksNeeded, MarksError."""
    if marks is not None:
        _check_marks(name, image, marks)
        return Portrait(name, image, from_five_points(marks))
    try:
        found = find_faces(image, faces)
    except (NoFaceError, LandmarksNeeded) as exc:
        raise type(exc)(f"{name}: {exc}") from exc
    largest = max(found.faces, key=lambda face: float(np.ptp(face[:, 0])))
    return Portrait(name, found.image, largest, tuple(found.faces) if len(found.faces) > 1 else ())


def _check_marks(name: str, image: Image, marks: Array) -> None:
    """MarksError unless they may be a face in or near the picture."""
    if wrong := problem(marks, image.shape[1], image.shape[0]):
        raise MarksError(f"{name}: marks: {wrong}")


def read_portrait(
    name: str, data: bytes, faces: Faces, marks: Array | None = None, ground: Colour = GROUND, max_pixels: int = MAX_PIXELS
) -> Portrait:
    """A portrait from a file's bytes: a picture (see `make_portrait`; marks in the file's own pixels, as it is shown upright;
    transparent parts show `ground`; max_pixels: see `decode`), or a puppet, which brings its landmarks."""
    if not puppetfile.is_puppet(data) and not name.lower().endswith(puppetfile.SUFFIX):
        decoded = decode(data, name, ground, max_pixels)
        scaled = None if marks is None else np.asarray(marks, np.float32) * np.float32(decoded.scale)
        return make_portrait(name, decoded.image, faces, scaled)
    if marks is not None:
        raise PortraitError(f"{name}: a puppet brings its face with it; leave the marks out")
    return read_puppet(name, data)


def read_puppet(name: str, data: bytes) -> Portrait:
    """A puppet from its file's bytes; PortraitError."""
    about, ((image, landmarks), *others) = puppetfile.unpack(data, name)
    return Portrait(name, image, landmarks, more=tuple(Picture(*other) for other in others), about=about, terms=about.terms)


def save_puppet(portrait: Portrait, path: Path, about: puppetfile.About) -> None:
    """Write a portrait with all its pictures as a puppet file. Its terms go with it."""
    puppetfile.write(path, replace(about, terms=portrait.terms), _pictures(portrait))


def pack_puppet(portrait: Portrait, about: puppetfile.About) -> bytes:
    """The bytes of a puppet file. The portrait's terms go with it."""
    return puppetfile.pack(replace(about, terms=portrait.terms), _pictures(portrait))


def _pictures(portrait: Portrait) -> puppetfile.Pictures:
    return [(portrait.image, portrait.landmarks), *((p.image, p.landmarks) for p in portrait.more)]


def load_portrait(where: str, faces: Faces, marks: Array | None = None, ground: Colour = GROUND) -> Portrait:
    """A bundled portrait by name, or a picture or puppet file by path. See `read_portrait`."""
    path = find_portrait(where)
    if path is not None:
        with named_as_given(path.name, where):
            return read_portrait(path.name, read_bytes(path), faces, marks, ground)
    shown = bundled(where)
    return shown if marks is None else replace(make_portrait(where, shown.image, faces, marks), terms=shown.terms)


@contextmanager
def named_as_given(name: str, where: str) -> Iterator[None]:
    """What is wrong with a file that goes by `name` is told under the path that was given."""
    try:
        yield
    except PortraitError as exc:
        said = str(exc)
        raise type(exc)(where + said.removeprefix(name) if said.startswith(f"{name}:") else said) from exc


def find_portrait(where: str) -> Path | None:
    """The file that `where` names, None for a bundled portrait; PortraitError if it is neither."""
    if where in bundled_names():
        return None
    if not where.strip():
        raise PortraitError(f"the portrait's name is empty; bundled portraits: {', '.join(bundled_names())}")
    path = Path(where)
    if path.is_dir():
        raise PortraitError(f"{where}: Is a directory; a picture file is expected")
    if not path.is_file():
        raise PortraitError(f"{where}: No such file or directory; bundled portraits: {', '.join(bundled_names())}")
    return path


def bundled_names() -> list[str]:
    """Names of the portraits that come with the package, DEFAULT first."""
    names = (p.name.removesuffix(".json") for p in BUNDLED.iterdir() if p.name.endswith(".json"))
    return sorted(names, key=lambda name: (name != DEFAULT, name))


def bundled(name: str) -> Portrait:
    """A portrait that comes with the package; its landmarks lie beside it."""
    described = json.loads((BUNDLED / f"{name}.json").read_text("utf-8"))
    image = decode_picture((BUNDLED / described["file"]).read_bytes(), name)
    terms = Terms(Whose(described["whose"]))
    return Portrait(name, image, np.array(described["landmarks"], np.float32), title=described["title"], terms=terms)
