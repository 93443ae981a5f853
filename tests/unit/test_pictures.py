"""Pictures of every kind that is read come upright and in true colours; what is too large is refused before it is decoded."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageCms, features

from pipeline.errors import PortraitError
from pipeline.pictures.colours import parse_colour
from pipeline.pictures.decode import MAX_SIDE, UPRIGHT, decode, decode_picture
from pipeline.pictures.formats import HEIC_CURE, known, taken
from pipeline.portrait import bundled, is_picture, is_portrait
from streamer.http.portraits import _jpeg

SMALL = Image.fromarray(bundled("astronaut").image).resize((96, 120))
SEEN = np.array(SMALL)
GREY = np.array(SMALL.convert("L"))
NEEDS = {"WEBP": "webp", "AVIF": "avif", "JPEG2000": "jpg_2000"}
INVERSE = {2: 2, 3: 3, 4: 4, 5: 5, 6: 8, 7: 7, 8: 6}  # EXIF turns


def encoded(picture: Image.Image, kind: str = "PNG", **options) -> bytes:
    if kind in NEEDS and not features.check(NEEDS[kind]):
        pytest.skip(f"this Pillow has no {kind}")
    out = io.BytesIO()
    picture.save(out, kind, **options)
    return out.getvalue()


def differ(image: np.ndarray, other: np.ndarray) -> float:
    assert image.shape == other.shape
    return float(np.abs(image.astype(int) - other.astype(int)).mean())


@pytest.mark.parametrize(
    ("kind", "options", "most"),
    [
        ("PNG", {}, 0), ("BMP", {}, 0), ("TIFF", {}, 0), ("WEBP", {"lossless": True}, 0),
        ("JPEG2000", {"irreversible": False}, 0), ("JPEG", {"quality": 95}, 6), ("MPO", {"quality": 95}, 6),
        ("AVIF", {"quality": 95}, 6), ("GIF", {}, 12),
    ],
)  # fmt: skip
def test_a_format_is_read_by_its_content(kind, options, most):
    assert differ(decode_picture(encoded(SMALL, kind, **options), "p.txt"), SEEN) <= most


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_every_turn_that_a_camera_writes_is_undone(kind):
    for turn, back in INVERSE.items():
        exif = Image.Exif()
        exif[274] = turn
        data = encoded(SMALL.transpose(UPRIGHT[back]), kind, exif=exif)
        assert differ(decode_picture(data, "p"), SEEN) < 12, turn


def test_what_is_shown_of_a_picture_is_its_pixels_alone():
    """Neither what a camera wrote beside them nor what somebody appended."""
    exif = Image.Exif()
    exif[0x010E] = "secret"
    data = encoded(SMALL, "JPEG", exif=exif) + b"PK\x03\x04secret"
    shown = _jpeg(decode_picture(data, "p"))
    assert b"secret" in data
    assert not any(word in shown for word in (b"secret", b"Exif", b"PK\x03\x04"))


@pytest.mark.parametrize("kind", ["RGBA", "LA", "P"])
def test_what_lies_under_transparency_is_not_seen(kind):
    """Programs leave the old background there."""
    noise = np.random.default_rng(1).integers(0, 256, SEEN.shape, np.uint8)
    alpha = np.zeros(SEEN.shape[:2], np.uint8)
    alpha[30:90, 20:70] = 255
    picture = Image.fromarray(np.where(alpha[..., None] > 0, SEEN, noise))
    picture = picture.convert("L") if kind == "LA" else picture
    picture.putalpha(Image.fromarray(alpha))
    data = encoded(picture, "GIF" if kind == "P" else "PNG")
    for ground in ((128, 128, 128), (10, 200, 30)):
        image = decode_picture(data, "p", ground)
        assert (image[alpha == 0] == ground).all()
        assert differ(image[alpha > 0], np.stack([GREY] * 3, -1)[alpha > 0] if kind == "LA" else SEEN[alpha > 0]) < 12


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (GREY.astype(np.uint16) * 257, "PNG"), (GREY.astype(np.uint16) * 16, "PNG"), (GREY.astype(np.uint16), "TIFF"),
        (GREY.astype(np.int32) * 257, "TIFF"), (GREY.astype(np.float32) / 255, "TIFF"), (GREY.astype(np.float32), "TIFF"),
    ],
    ids=["16 bits", "12 of 16", "8 of 16", "16 of 32", "floats to 1", "floats to 255"],
)  # fmt: skip
def test_deep_pictures_look_like_their_8_bit_twins(values, kind):
    assert differ(decode_picture(encoded(Image.fromarray(values), kind), "p"), np.stack([GREY] * 3, -1)) < 1


def red_for_blue() -> bytes:
    """An ICC profile like that of sRGB with two of its primaries exchanged, under another name."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    red, blue = profile.index(b"rXYZ", 128), profile.index(b"bXYZ", 128)
    profile[red : red + 4], profile[blue : blue + 4] = b"bXYZ", b"rXYZ"
    return bytes(profile).replace("sRGB".encode("utf-16-be"), "mine".encode("utf-16-be"))


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_colours_are_brought_to_srgb(mode):
    picture = SMALL.convert(mode)
    image = decode_picture(encoded(picture, icc_profile=red_for_blue()), "p")
    assert differ(image, SEEN[..., ::-1]) < 3
    own = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    assert differ(decode_picture(encoded(picture, icc_profile=own), "p"), SEEN) == 0
    assert differ(decode_picture(encoded(picture, icc_profile=b"none at all"), "p"), SEEN) == 0


def test_cmyk_is_read():
    assert differ(decode_picture(encoded(SMALL.convert("CMYK"), "JPEG", quality=95), "p"), SEEN) < 8


def test_a_jpeg_of_any_size_is_reduced_while_it_is_decoded():
    tall = encoded(Image.new("L", (5000, 9000), 90), "JPEG", quality=50)
    decoded = decode(tall, "p")
    assert decoded.image.shape == (MAX_SIDE, 1138, 3)
    assert decoded.scale == pytest.approx(MAX_SIDE / 9000)
    assert abs(int(decoded.image.mean()) - 90) < 2


def said_larger(data: bytes, side: int) -> bytes:
    """A JPEG or PNG whose head claims so many pixels a side."""
    if data.startswith(b"\x89PNG"):
        head = b"IHDR" + struct.pack(">II", side, side) + data[24:29]
        return data[:12] + head + struct.pack(">I", zlib.crc32(head)) + data[33:]
    start = next(k for k in range(len(data)) if data[k : k + 2] in (b"\xff\xc0", b"\xff\xc2"))
    return data[: start + 5] + struct.pack(">HH", side, side) + data[start + 9 :]


def scans_apart(jpeg: bytes) -> bytes:
    """One that says that its first scan has the first component alone."""
    start = jpeg.index(b"\xff\xda")
    return jpeg[: start + 4] + b"\x01" + jpeg[start + 5 :]


def tiled(side: int) -> bytes:
    """A TIFF of 100x100 pixels in one tile of `side` by `side`."""
    tags = {256: 100, 257: 100, 258: 8, 259: 1, 262: 1, 277: 1, 322: side, 323: side, 324: 8, 325: 100}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(200)


JPEG = encoded(SMALL, "JPEG")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (said_larger(encoded(SMALL), 7000), "49 megapixels; at most 40 are taken"),
        (said_larger(JPEG, 20_000), "400 megapixels; at most 250 are taken"),
        (said_larger(encoded(SMALL, "JPEG", progressive=True), 9000), "81 megapixels; at most 64 are taken"),
        (scans_apart(said_larger(JPEG, 9000)), "81 megapixels; at most 64 are taken"),
        (tiled(60_000), "3600 megapixels; at most 40 are taken"),
        (JPEG[:400], "damaged picture"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 99 99\n", f"not a {taken()} picture"),
        (b"%PDF-1.7\n", f"not a {taken()} picture"),
        (b"\xd7\xcd\xc6\x9a" + bytes(40), f"not a {taken()} picture"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", f"not a {taken()} picture"),
        (b"", f"not a {taken()} picture"),
    ],
    ids=["PNG", "JPEG", "progressive", "scans apart", "tile", "cut off", "EPS", "PDF", "WMF", "SVG", "empty"],
)
def test_bombs_and_foreign_formats_are_refused_in_one_line(data, message):
    with pytest.raises(PortraitError) as caught:
        decode(data, "p")
    assert str(caught.value).startswith(f"p: {message}")
    assert "\n" not in str(caught.value)


def test_a_damaged_avif_is_refused_in_one_line():
    """Its decoder raises what no other does."""
    data = encoded(SMALL, "AVIF")
    start = data.index(b"mdat") + 4
    for broken in (data.replace(b"pitm", b"xitm"), data[:start] + bytes(200) + data[start + 200 :]):
        with pytest.raises(PortraitError, match=r"^p: damaged picture \(.+\)$"):
            decode(broken, "p")


def test_heic_is_read_or_the_cure_is_told():
    if "HEIF" in known():
        assert differ(decode_picture(encoded(SMALL, "HEIF", quality=95), "p"), SEEN) < 6
        return
    with pytest.raises(PortraitError) as caught:
        decode(struct.pack(">I", 24) + b"ftypmif1\0\0\0\0mif1heic" + bytes(40), "p.heic")
    assert str(caught.value) == f"p.heic: {HEIC_CURE}"


def test_an_animated_picture_is_a_clip_and_a_portrait_of_its_first_frame(tmp_path):
    others = [SMALL.point(lambda value: 255 - value), SMALL.rotate(90)]
    for kind in ("GIF", "WEBP", "PNG"):
        path = tmp_path / f"moving.{kind.lower()}"
        path.write_bytes(encoded(SMALL, kind, save_all=True, append_images=others))
        assert (is_portrait(path), is_picture(path)) == (True, False)
        assert differ(decode_picture(path.read_bytes(), "p"), SEEN) < 12
    path.write_bytes(encoded(SMALL, "MPO", save_all=True, append_images=others))  # of a phone with two lenses
    assert is_picture(path)


@pytest.mark.parametrize("text", ["grey", "#12345", "#1234567", "123456", "#ggg000"])
def test_a_colour_is_told_as_the_web_does(text):
    assert parse_colour("#ff8000") == (255, 128, 0)
    with pytest.raises(ValueError, match=r"colour|hexadecimal"):
        parse_colour(text)
