"""Portraits: reading a picture safely, its landmarks, and the bundled gallery."""

from __future__ import annotations

import io
import json
import math
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path

import cv2
import numpy as np
from PIL import Image as Pillow
from PIL import ImageOps, UnidentifiedImageError

from . import puppetfile
from .errors import LandmarksNeeded, NoFaceError, PortraitError
from .face.canonical import from_five_points
from .face.faces import Faces
from .face.motion import Array, eyes_look_shut
from .frames import Image
from .media.animated import is_animated

MAX_BYTES = 20_000_000
MOST_BYTES = max(MAX_BYTES, puppetfile.MAX_BYTES)
MAX_PIXELS = 40_000_000
MAX_SIDE = 2048  # larger pictures are scaled down when they are read
FORMATS = ("JPEG", "PNG", "WEBP")
PICTURES = (".png", ".jpg", ".jpeg", ".webp")
BUNDLED = files("pipeline") / "portraits"
DEMO_CLIP = Path(str(BUNDLED / "demo.mp4"))
Pillow.MAX_IMAGE_PIXELS = None  # ours is lower, and checked before anything is decoded


@dataclass(frozen=True)
class Picture:
    """One more picture of a portrait's face. image: (h, w, 3) RGB; landmarks: (478, 3) pixels."""

    image: Image
    landmarks: Array


@dataclass(frozen=True)
class Portrait:
    """A picture and the face of it that moves. image: (h, w, 3) RGB; landmarks: (478, 3) pixels; others: the landmarks
    of every face in it, from left to right, where there are several; more: the same face otherwise, which makes it a
    puppet of many pictures; about: what a puppet file says of itself."""

    name: str
    image: Image
    landmarks: Array
    others: tuple[Array, ...] = ()
    more: tuple[Picture, ...] = ()
    about: puppetfile.About | None = None

    def with_face(self, index: int) -> Portrait:
        """The same picture with another of its faces; PortraitError if there is none."""
        if not 0 <= index < max(len(self.others), 1):
            raise PortraitError(f"{self.name}: there is no face {index}; it shows {max(len(self.others), 1)}, counted from 0")
        return replace(self, landmarks=self.others[index]) if self.others else self

    @property
    def face(self) -> int:
        """Which of the faces moves, counted from the left."""
        return next((k for k, face in enumerate(self.others) if face is self.landmarks), 0)

    @property
    def eyes_shut(self) -> bool:
        """Whether its eyes are shut in the picture: no driver can open them."""
        return eyes_look_shut(self.landmarks)

    def boxes(self) -> list[tuple[float, float, float, float]]:
        """x, y, width, height of each face as shares of the picture, from left to right."""
        size = np.array(self.image.shape[1::-1], np.float32)
        ends = [(f[:, :2].min(axis=0) / size, f[:, :2].max(axis=0) / size) for f in self.others or (self.landmarks,)]
        return [(*low.tolist(), *(high - low).tolist()) for low, high in ends]


def decode_picture(data: bytes, name: str) -> Image:
    """(h, w, 3) RGB of a JPEG, PNG or WebP file, upright, at most MAX_SIDE; PortraitError otherwise."""
    if len(data) > MAX_BYTES:
        raise PortraitError(f"{name}: {len(data) / 1e6:.0f} MB; at most {MAX_BYTES // 1_000_000} MB are taken")
    try:
        with Pillow.open(io.BytesIO(data), formats=FORMATS) as picture:
            width, height = picture.size
            if width * height > MAX_PIXELS:
                raise PortraitError(f"{name}: {width * height / 1e6:.0f} megapixels; at most {MAX_PIXELS // 1_000_000} are taken")
            upright = ImageOps.exif_transpose(picture).convert("RGB")
    except UnidentifiedImageError as exc:
        raise PortraitError(f"{name}: not a JPEG, PNG or WebP picture") from exc
    except (OSError, ValueError, SyntaxError) as exc:
        raise PortraitError(f"{name}: damaged picture ({exc})") from exc
    if min(upright.size) < 64:
        raise PortraitError(f"{name}: {upright.width}x{upright.height} pixels; at least 64x64 are needed")
    upright.thumbnail((MAX_SIDE, MAX_SIDE), Pillow.Resampling.LANCZOS)
    return np.array(upright)


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
    """Whether a file is a picture or a puppet, by its name or its content."""
    return path.suffix.lower() in (*PICTURES, puppetfile.SUFFIX) or is_picture(path)


def is_picture(path: Path) -> bool:
    """Whether a file is one JPEG, PNG or WebP picture, by its content; one that moves is a clip."""
    try:
        with Pillow.open(path, formats=FORMATS):
            return not is_animated(path)
    except (OSError, ValueError, SyntaxError):  # Pillow's own error is an OSError
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
    nose tip, both mouth corners, in pixels of `image`. NoFaceError, LandmarksNeeded."""
    if marks is not None:
        return Portrait(name, image, from_five_points(marks))
    try:
        found = faces.find(image)
    except (NoFaceError, LandmarksNeeded) as exc:
        raise type(exc)(f"{name}: {exc}") from exc
    largest = max(found, key=lambda face: float(np.ptp(face[:, 0])))
    return Portrait(name, image, largest, tuple(found) if len(found) > 1 else ())


def read_portrait(name: str, data: bytes, faces: Faces, marks: Array | None = None) -> Portrait:
    """A portrait from a file's bytes: a picture (see `make_portrait`), or a puppet, which brings its landmarks."""
    if not puppetfile.is_puppet(data):
        return make_portrait(name, decode_picture(data, name), faces, marks)
    about, ((image, landmarks), *others) = puppetfile.unpack(data, name)
    return Portrait(name, image, landmarks, more=tuple(Picture(*other) for other in others), about=about)


def save_puppet(portrait: Portrait, path: Path, about: puppetfile.About) -> None:
    """Write a portrait with all its pictures as a puppet file."""
    puppetfile.write(path, about, _pictures(portrait))


def pack_puppet(portrait: Portrait, about: puppetfile.About) -> bytes:
    """The bytes of a puppet file."""
    return puppetfile.pack(about, _pictures(portrait))


def _pictures(portrait: Portrait) -> puppetfile.Pictures:
    return [(portrait.image, portrait.landmarks), *((p.image, p.landmarks) for p in portrait.more)]


def load_portrait(where: str, faces: Faces) -> Portrait:
    """A bundled portrait by name, or a picture or puppet file by path."""
    path = find_portrait(where)
    return bundled(where) if path is None else read_portrait(path.name, read_bytes(path), faces)


def find_portrait(where: str) -> Path | None:
    """The file that `where` names, None for a bundled portrait; PortraitError if it is neither."""
    if where in bundled_names():
        return None
    path = Path(where)
    if path.is_dir():
        raise PortraitError(f"{where}: Is a directory; a picture file is expected")
    if not path.is_file():
        raise PortraitError(f"{where}: No such file or directory; bundled portraits: {', '.join(bundled_names())}")
    return path


def bundled_names() -> list[str]:
    """Names of the portraits that come with the package."""
    return sorted(p.name.removesuffix(".json") for p in BUNDLED.iterdir() if p.name.endswith(".json"))


def bundled(name: str) -> Portrait:
    """A portrait that comes with the package; its landmarks lie beside it."""
    described = json.loads((BUNDLED / f"{name}.json").read_text("utf-8"))
    image = decode_picture((BUNDLED / described["file"]).read_bytes(), name)
    return Portrait(name, image, np.array(described["landmarks"], np.float32))
