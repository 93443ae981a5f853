"""Which formats are read, by content. Nothing is decoded here, and no format is taken for which Pillow runs a program."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import BinaryIO

from PIL import Image as Pillow
from PIL import UnidentifiedImageError, features

from ..errors import PortraitError
from ..installation import pip_install

NAMES = {
    "JPEG": "JPEG", "PNG": "PNG", "WEBP": "WebP", "AVIF": "AVIF", "GIF": "GIF", "BMP": "BMP", "TIFF": "TIFF",
    "JPEG2000": "JPEG 2000", "HEIF": "HEIC",
}  # fmt: skip
SUFFIXES = (
    ".png", ".jpg", ".jpeg", ".webp", ".avif", ".gif", ".bmp", ".tif", ".tiff", ".jp2", ".j2k", ".heic", ".heif", ".jfif",
)  # fmt: skip
MOVING = ("GIF", "WEBP", "PNG", "AVIF")  # may be clips; several pictures of a TIFF or a JPEG are not one after the other
_NEEDED = {"WEBP": "webp", "AVIF": "avif", "JPEG2000": "jpg_2000"}  # what Pillow may have been built without
_HEIC = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx"}  # ISO/IEC 23008-12, annex B: brands of pictures coded as HEVC
# What Pillow's readers raise for files that are damaged, or made to harm.
DAMAGED = (OSError, ValueError, SyntaxError, EOFError, LookupError, TypeError, ArithmeticError, RuntimeError, struct.error)
HEIC_CURE = f"a HEIC picture; save it as JPEG, or, where puppetcast runs, install what reads it: {pip_install('heic')}"


def known() -> list[str]:
    """Pillow's names of the formats that can be read here."""
    lacking = {kind for kind, feature in _NEEDED.items() if not features.check(feature)}
    return [kind for kind in NAMES if kind not in lacking and (kind != "HEIF" or _heif_is_here())]


def taken() -> str:
    """The same in words."""
    *others, last = [NAMES[kind] for kind in known()]
    return f"{', '.join(others)} or {last}"


@contextmanager
def opened(file: Path | bytes, name: str) -> Iterator[Pillow.Image]:
    """A picture whose size and mode are known, and nothing else of it yet; PortraitError where it is none that is read here."""
    try:
        with Pillow.open(file if isinstance(file, Path) else io.BytesIO(file), formats=known()) as picture:
            yield picture
    except UnidentifiedImageError as exc:
        raise PortraitError(f"{name}: {HEIC_CURE if is_heic(file) else f'not a {taken()} picture'}") from exc


def is_foreign(file: Path | bytes) -> bool:
    """Whether a file is none of the pictures that are known, whole or damaged, here or elsewhere."""
    try:
        with opened(file, ""):
            return False
    except PortraitError:
        return not is_heic(file)
    except DAMAGED:
        return False


def moves(picture: Pillow.Image) -> bool:
    """Whether it is rather a clip: several pictures, one after the other."""
    return picture.format in MOVING and getattr(picture, "n_frames", 1) > 1


def is_heic(file: Path | bytes) -> bool:
    """Whether a file says that it is HEIC, readable here or not."""
    if isinstance(file, bytes):
        return _says_heic(io.BytesIO(file))
    with file.open("rb") as stream:
        return _says_heic(stream)


def _says_heic(stream: BinaryIO) -> bool:
    head = stream.read(256)
    if head[4:8] != b"ftyp":
        return False
    brands = head[8 : min(int.from_bytes(head[:4], "big"), len(head))]
    return any(brands[k : k + 4] in _HEIC for k in range(0, len(brands), 4))


def _heif_is_here() -> bool:
    if find_spec("pillow_heif") is None:
        return False
    from pillow_heif import register_heif_opener

    register_heif_opener(thumbnails=False)
    return True
