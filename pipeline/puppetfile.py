"""The `.puppet` file: a zip of WebP pictures, their landmarks as safetensors, and what is to be known of them as JSON.

    puppet.json             kind, version, name, pictures, made_from, made_by, made_on, consent, label, terms
    landmarks.safetensors   landmarks: (pictures, 478, 3) float32, pixels of each picture
    0000.webp …             0000 is the neutral, whole; the others are the face alone

Nothing in it is run, and nothing is unpacked to disk.
"""

from __future__ import annotations

import io
import json
import lzma
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from importlib.metadata import version
from pathlib import Path

import numpy as np
from PIL import Image as Pillow
from PIL import UnidentifiedImageError
from safetensors import SafetensorError
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors

from .errors import PortraitError
from .face import topology as topo
from .face.motion import Array
from .frames import Image
from .installation import command
from .outfile import finished
from .pictures.formats import DAMAGED
from .terms import ANYBODY, Terms

VERSION = 1
SUFFIX = ".puppet"
MAX_BYTES = 64_000_000
MAX_PICTURES = 128
MAX_SIDE = 2048  # of the neutral; of the others MAX_FACE
MAX_FACE = 1024
MAX_PIXELS = 40_000_000  # of all pictures together: 120 MB in memory
MAX_TEXT = 2000
LOSSLESS = {"lossless": True, "quality": 20, "method": 0}  # a tenth larger than with all effort, and up to 40 times as quick
LOSSY = {"quality": 92, "method": 2}
ABOUT, LANDMARKS = "puppet.json", "landmarks.safetensors"
TEXTS = ("name", "made_from", "made_by", "made_on", "consent", "label")


@dataclass(frozen=True)
class About:
    """made_from: a clip, photographs, or an engine's rendering; made_by, made_on: program and day; consent: what the person
    shown has agreed to; label: what viewers are to be told. All in words, for people. terms: the same for programs."""

    name: str
    made_from: str = ""
    consent: str = ""
    label: str = ""
    made_by: str = ""
    made_on: str = ""
    terms: Terms = ANYBODY


Pictures = Sequence[tuple[Image, Array]]  # (h, w, 3) RGB and (478, 3) landmarks in its pixels, the neutral first


def is_puppet(data: bytes) -> bool:
    """Whether a file's first bytes are those of a puppet file."""
    return data[:4] == b"PK\x03\x04"


def write(path: Path, about: About, pictures: Pictures) -> None:
    """Write a puppet, whole or not at all."""
    with finished(path) as part:
        part.write_bytes(pack(about, pictures))


def rewrite(path: Path, about: About) -> None:
    """Let a puppet file say something else of itself; its pictures stay as they are, to the byte."""
    with zipfile.ZipFile(path) as old, finished(path) as part, zipfile.ZipFile(part, "w", zipfile.ZIP_STORED) as new:
        for member in old.infolist():
            text = _text(about, len(old.namelist()) - 2) if member.filename == ABOUT else old.read(member)
            new.writestr(member.filename, text)


def _text(about: About, pictures: int) -> str:
    made = {"made_by": f"puppetcast {version('puppetcast')}", "made_on": date.today().isoformat()}
    known: dict[str, object] = {**made, **{key: text for key in TEXTS if (text := getattr(about, key)) or key not in made}}
    if about.terms != ANYBODY:
        known["terms"] = about.terms.data()
    return json.dumps({"kind": "puppet", "version": VERSION, **known, "pictures": pictures}, indent=1)


def pack(about: About, pictures: Pictures) -> bytes:
    """A puppet as a file's bytes. The neutral is kept to the pixel, the others at a quality at which nothing is seen."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr(ABOUT, _text(about, len(pictures)))
        archive.writestr(LANDMARKS, save_tensors({"landmarks": np.stack([p[1] for p in pictures]).astype(np.float32)}))
        for k, (image, _) in enumerate(pictures):
            data = io.BytesIO()
            Pillow.fromarray(image).save(data, "WEBP", **(LOSSY if k else LOSSLESS))
            archive.writestr(_picture(k), data.getvalue())
    return out.getvalue()


def unpack(data: bytes, name: str) -> tuple[About, Pictures]:
    """A puppet from a file's bytes. PortraitError, in one line that begins with `name`, for whatever is wrong with it."""
    if len(data) > MAX_BYTES:
        raise PortraitError(f"{name}: {len(data) / 1e6:.0f} MB; a puppet has at most {MAX_BYTES // 1_000_000}")
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            about, count = _about(archive, name)
            _check_members(archive, count, name)
            landmarks = _landmarks(archive.read(LANDMARKS), count, name)
            pictures: list[Image] = []
            for k in range(count):
                pictures.append(_decoded(archive.read(_picture(k)), k, MAX_PIXELS - sum(p.size // 3 for p in pictures), name))
    except UnidentifiedImageError as exc:
        raise PortraitError(f"{name}: damaged puppet (a picture in it is neither WebP nor PNG)") from exc
    except (zipfile.BadZipFile, zlib.error, lzma.LZMAError, *DAMAGED) as exc:
        reason = (str(exc) or type(exc).__name__).splitlines()[0]
        raise PortraitError(f"{name}: not a puppet, or not whole ({reason})") from exc
    for k, (image, points) in enumerate(zip(pictures, landmarks, strict=True)):
        _check_face(image, points, k, name)
    return about, list(zip(pictures, landmarks, strict=True))


def _picture(number: int) -> str:
    return f"{number:04d}.webp"


def _about(archive: zipfile.ZipFile, name: str) -> tuple[About, int]:
    if ABOUT not in archive.namelist() or archive.getinfo(ABOUT).file_size > 100_000:
        raise PortraitError(f"{name}: not a puppet; '{command('puppet make')}' makes one")
    known = json.loads(archive.read(ABOUT))
    if not isinstance(known, dict) or known.get("kind") != "puppet":
        raise PortraitError(f"{name}: not a puppet; '{command('puppet make')}' makes one")
    if known.get("version") != VERSION:
        raise PortraitError(f"{name}: version {known.get('version')} of the format; this program reads {VERSION}: make it anew")
    count = known.get("pictures")
    if not isinstance(count, int) or not 1 <= count <= MAX_PICTURES:
        raise PortraitError(f"{name}: {count} pictures; a puppet has 1 to {MAX_PICTURES}")
    texts = {key: known.get(key, "") for key in TEXTS}
    if not all(isinstance(text, str) and len(text) <= MAX_TEXT for text in texts.values()):
        raise PortraitError(f"{name}: damaged puppet ({ABOUT} holds something else than short texts)")
    try:
        terms = Terms.read(known.get("terms"))
    except ValueError as exc:
        raise PortraitError(f"{name}: {exc}") from exc
    return About(**texts, terms=terms), count


def _check_members(archive: zipfile.ZipFile, count: int, name: str) -> None:
    """Exactly the members that there must be, none of which is larger than the file may be."""
    members = archive.infolist()
    strange = {member.filename for member in members} ^ {ABOUT, LANDMARKS, *map(_picture, range(count))}
    if strange or len(members) != count + 2:
        raise PortraitError(f"{name}: damaged puppet ({min(strange, default='a member')[:40]!r} is missing, twice or foreign)")
    if sum(member.file_size for member in members) > MAX_BYTES:
        raise PortraitError(f"{name}: larger than {MAX_BYTES // 1_000_000} MB when unpacked")


def _landmarks(data: bytes, count: int, name: str) -> Array:
    try:
        tensors = load_tensors(data)
    except SafetensorError as exc:
        raise PortraitError(f"{name}: damaged puppet ({LANDMARKS}: {exc})") from exc
    found = tensors.get("landmarks")
    if found is None or found.dtype != np.float32 or found.shape != (count, topo.COUNT, 3):
        raise PortraitError(f"{name}: damaged puppet ({LANDMARKS}: {count} times {topo.COUNT} points are expected)")
    return found


def _decoded(data: bytes, number: int, pixels: int, name: str) -> Image:
    """(h, w, 3) RGB. Its size is looked at before it is decoded, and no second one is open meanwhile. pixels: that may come."""
    limit = MAX_FACE if number else MAX_SIDE
    with Pillow.open(io.BytesIO(data), formats=("WEBP", "PNG")) as image:
        if not 16 <= min(image.size) <= max(image.size) <= limit:
            raise PortraitError(f"{name}: picture {number} has {image.width}x{image.height} pixels; 16 to {limit} are taken")
        if image.width * image.height > pixels:
            raise PortraitError(f"{name}: more than {MAX_PIXELS // 1_000_000} megapixels in all")
        return np.array(image.convert("RGB"))


def _check_face(image: Image, landmarks: Array, number: int, name: str) -> None:
    """Landmarks that are a face of some size, in or near the picture."""
    size = np.array(image.shape[1::-1])
    flat = landmarks[:, :2]
    near = np.isfinite(landmarks).all() and bool((flat > -size).all() and (flat < 2 * size).all())
    if not near or float(np.abs(landmarks[:, 2]).max()) > 2 * size.max() or np.ptp(flat, axis=0).min() < 8:
        raise PortraitError(f"{name}: the landmarks of picture {number} are no face in it")
