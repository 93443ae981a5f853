"""Colours of every kind as 8-bit sRGB."""

from __future__ import annotations

import io
import re

import numpy as np
from PIL import Image as Pillow
from PIL import ImageCms

Colour = tuple[int, int, int]
GROUND: Colour = (128, 128, 128)  # what shows where a picture is transparent
DEEP = ("I", "F", "I;16", "I;16L", "I;16B", "I;16N")
BITS = (8, 10, 12, 14, 16, 32)  # that a deep picture may use of what its file has room for


def parse_colour(text: str) -> Colour:
    """(r, g, b) of '#rrggbb'; ValueError otherwise."""
    if not re.fullmatch("#[0-9a-fA-F]{6}", text):
        raise ValueError(f"'{text}': a colour such as #808080 is expected: two digits from 0 to f for each of red, green, blue")
    red, green, blue = bytes.fromhex(text[1:])
    return red, green, blue


def to_text(colour: Colour) -> str:
    """'#rrggbb'."""
    return "#" + bytes(colour).hex()


def plain(picture: Pillow.Image) -> Pillow.Image:
    """The picture with 8 bits a channel: grey, RGB, CMYK, or RGBA where any of it is transparent."""
    if picture.mode in DEEP:
        return Pillow.fromarray(_shallow(np.asarray(picture, np.float32)))
    wanted = "RGBA" if picture.has_transparency_data else picture.mode if picture.mode in ("L", "CMYK") else "RGB"
    return picture if picture.mode == wanted else picture.convert(wanted)  # `convert` copies in any case


def _shallow(values: np.ndarray) -> np.ndarray:
    """8 bits of deeper ones: from 0 to 1 where they are floats of such a range, else from 0 to what their bits hold."""
    values = np.nan_to_num(values, nan=0.0, posinf=0.0, neginf=0.0)
    highest = float(values.max(initial=0.0))
    whole = 1.0 if highest <= 1 else next((2.0**bits - 1 for bits in BITS if highest < 2.0**bits), highest)
    return (np.clip(values / whole, 0, 1) * 255 + 0.5).astype(np.uint8)


def to_rgb(picture: Pillow.Image, profile: bytes | None, ground: Colour) -> Pillow.Image:
    """sRGB without transparency. profile: the ICC profile that came with the picture."""
    picture = _to_srgb(picture, profile) if profile else picture
    if picture.mode == "RGBA":
        picture = Pillow.alpha_composite(Pillow.new("RGBA", picture.size, (*ground, 255)), picture)
    return picture.convert("RGB")


def _to_srgb(picture: Pillow.Image, profile: bytes) -> Pillow.Image:
    """By the profile, if it is one of such pictures; one that is not tells nothing."""
    try:
        given = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if "sRGB" in ImageCms.getProfileDescription(given):
            return picture  # to the bit
        wanted = "RGBA" if picture.mode == "RGBA" else "RGB"
        converted = ImageCms.profileToProfile(picture, given, ImageCms.createProfile("sRGB"), outputMode=wanted)
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return picture
    return picture if converted is None else converted
