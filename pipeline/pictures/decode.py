"""A picture from a file's bytes, within limits that are looked at before anything is decoded."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from PIL import Image as Pillow
from PIL import JpegImagePlugin, TiffImagePlugin

from ..errors import PortraitError
from ..frames import Image
from .colours import GROUND, Colour, plain, to_rgb
from .formats import DAMAGED, opened

MAX_BYTES = 64_000_000
MAX_SIDE = 2048  # larger pictures are scaled down when they are read
MIN_SIDE = 64
MEGA = 1_000_000
# That are decoded of a file of the user's own; a picture takes up to ten bytes of memory for each meanwhile.
MAX_PIXELS = 40 * MEGA
PIXELS = {"JPEG2000": 16 * MEGA, "HEIF": 50 * MEGA}  # the first takes 16 bytes each; phones make the second as large
MAX_JPEG = 250 * MEGA  # of a JPEG that is reduced while it is decoded
MAX_JPEG_HELD = 64 * MEGA  # of one whose coefficients are all held meanwhile, six bytes each
TILE = (322, 323)  # TIFF: width and length of tiles
SCAN = 0xDA  # the marker before a scan
ORIENTATION = 274
UPRIGHT = {
    2: Pillow.Transpose.FLIP_LEFT_RIGHT, 3: Pillow.Transpose.ROTATE_180, 4: Pillow.Transpose.FLIP_TOP_BOTTOM,
    5: Pillow.Transpose.TRANSPOSE, 6: Pillow.Transpose.ROTATE_270, 7: Pillow.Transpose.TRANSVERSE, 8: Pillow.Transpose.ROTATE_90,
}  # fmt: skip
Pillow.MAX_IMAGE_PIXELS = None  # ours are lower, and told in words


@dataclass(frozen=True)
class Decoded:
    """image: (h, w, 3) RGB, upright, at most MAX_SIDE; scale: its pixels for each of the file's own."""

    image: Image
    scale: float


def decode(data: bytes, name: str, ground: Colour = GROUND, max_pixels: int = MAX_PIXELS) -> Decoded:
    """A picture, of an animated one the first; transparent parts show `ground`. max_pixels: of what is decoded whole; JPEGs are
    reduced meanwhile, and some formats have limits of their own. PortraitError, in one line that begins with `name`, for
    whatever is wrong with it."""
    if len(data) > MAX_BYTES:
        raise PortraitError(f"{name}: {len(data) / 1e6:.0f} MB; at most {MAX_BYTES // MEGA} MB are taken")
    try:
        with opened(data, name) as picture:
            longest = max(picture.size)
            _check_size(picture, data, name, max_pixels)
            picture.load()  # decodes; a TIFF turns itself upright here
            turned = UPRIGHT.get(_orientation(picture))
            profile = picture.info.get("icc_profile")
            small = plain(picture)
            small.thumbnail((MAX_SIDE, MAX_SIDE), Pillow.Resampling.LANCZOS)
    except DAMAGED as exc:
        reason = " ".join(str(exc).split()) or type(exc).__name__
        raise PortraitError(f"{name}: damaged picture ({reason[:200]})") from exc
    upright = to_rgb(small, profile, ground)
    upright = upright if turned is None else upright.transpose(turned)
    return Decoded(np.array(upright), max(upright.size) / longest)


def decode_picture(data: bytes, name: str, ground: Colour = GROUND) -> Image:
    """The picture of `decode`."""
    return decode(data, name, ground).image


def _check_size(picture: Pillow.Image, data: bytes, name: str, max_pixels: int) -> None:
    """Refuse what is too small or too large, and let a large JPEG be reduced by its decoder."""
    width, height = picture.size
    if min(width, height) < MIN_SIDE:
        raise PortraitError(f"{name}: {width}x{height} pixels; at least {MIN_SIDE}x{MIN_SIDE} are needed")
    if isinstance(picture, JpegImagePlugin.JpegImageFile):
        most = MAX_JPEG_HELD if _is_held(picture, data) else MAX_JPEG
        _check_pixels(width * height, most, name)
        factor = MAX_SIDE / max(width, height)
        picture.draft(picture.mode, (math.ceil(width * factor), math.ceil(height * factor)))
    most = PIXELS.get(picture.format or "", max_pixels)
    _check_pixels(math.prod(picture.size), most, name)
    if isinstance(picture, TiffImagePlugin.TiffImageFile):  # its tiles are decoded whole, and may be larger than it is
        width, height = (int(picture.tag_v2.get(tag, 0)) for tag in TILE)
        _check_pixels(width * height, most, name)


def _check_pixels(pixels: int, most: int, name: str) -> None:
    if pixels > most:
        raise PortraitError(f"{name}: {pixels / MEGA:.0f} megapixels; at most {most // MEGA} are taken: save it smaller")


def _is_held(picture: JpegImagePlugin.JpegImageFile, data: bytes) -> bool:
    """Whether the decoder keeps a JPEG's coefficients until the end: it is progressive, or its first scan has not all of its
    components (libjpeg's has_multiple_scans)."""
    if picture.info.get("progressive"):
        return True
    place = 2
    while data[place : place + 1] == b"\xff":
        marker, length = data[place + 1], int.from_bytes(data[place + 2 : place + 4], "big")
        if marker == SCAN:
            return data[place + 4] < picture.layers
        place += 2 + length
    return True


def _orientation(picture: Pillow.Image) -> int:
    """1 to 8 as EXIF counts; what cannot be read is upright."""
    try:
        found = picture.getexif().get(ORIENTATION, 1)
    except DAMAGED:
        return 1
    return found if isinstance(found, int) else 1
