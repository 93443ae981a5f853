"""What files of pictures that move can be: told by the suffix, coded as players of that kind expect it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

from ..errors import PuppetError
from ..frames import CLOCK, DECLARE_RATE

PNG = ".png"
GIF_CLOCK = Fraction(1, 100)
GIF_FASTEST = 50  # pictures a second: browsers show one of less than 20 ms for 100
FASTEST = 120
SIDES = 16, 4096  # pixels
_PLACE = re.compile(r"%0?\d?d")  # of the number, as FFmpeg has it


@dataclass(frozen=True)
class Format:
    """muxer, codec, options: FFmpeg's. pixels: what the codec takes; with_alpha: where pictures have four channels. clock: of
    the pictures. sound: the coder of sound that cannot be copied, "" where there is no sound; copied: codecs that can be.
    fastest: pictures a second that players show."""

    muxer: str
    codec: str
    pixels: str
    with_alpha: str = ""
    options: Mapping[str, str] = field(default_factory=dict)
    container: Mapping[str, str] = field(default_factory=dict)
    clock: Fraction = CLOCK
    sound: str = ""
    copied: frozenset[str] = frozenset()
    fastest: int = FASTEST


_H264 = {"crf": "17", "preset": "fast", **DECLARE_RATE}
_VP9 = {"crf": "24", "b": "0", "deadline": "good", "cpu-used": "4", "row-mt": "1"}
_IN_MOV = frozenset({"aac", "ac3", "alac", "eac3", "mp3"})
FORMATS = {
    ".mp4": Format("mp4", "libx264", "yuv420p", options=_H264, sound="aac", copied=_IN_MOV | {"flac", "opus"}),
    ".mov": Format("mov", "libx264", "yuv420p", options=_H264, sound="aac", copied=_IN_MOV),
    ".webm": Format(
        "webm", "libvpx-vp9", "yuv420p", "yuva420p", _VP9, sound="libopus", copied=frozenset({"opus", "vorbis"}),
    ),
    ".gif": Format("gif", "gif", "pal8", "pal8", clock=GIF_CLOCK, fastest=GIF_FASTEST),
    ".webp": Format(
        "webp", "libwebp_anim", "yuv420p", "yuva420p", {"quality": "85"}, {"loop": "0"}, clock=Fraction(1, 1000),
        fastest=GIF_FASTEST,
    ),
}  # fmt: skip
ODD = (".gif", ".webp")  # whose sides may be odd
SUFFIXES = (*FORMATS, PNG)  # of what moves; PNG: a file for each picture


def is_sequence(path: Path) -> bool:
    """Whether pictures that move are written as files of their own."""
    return path.suffix.lower() == PNG


def holds_alpha(path: Path) -> bool:
    """Whether such files can be transparent."""
    kind = FORMATS.get(path.suffix.lower())
    return is_sequence(path) or (kind is not None and bool(kind.with_alpha))


def check_alpha(path: Path) -> None:
    """PuppetError for a file that cannot be transparent."""
    if not holds_alpha(path):
        taken = ".webm, .gif, .webp or .png" if path.suffix.lower() in FORMATS else ".png or .webp"
        raise PuppetError(f"{path}: such a file is never transparent; choose {taken}")


def numbered(path: Path, k: int) -> Path:
    """Where picture `k` of a sequence is: in place of FFmpeg's %05d, or before the suffix."""
    name = path.name if _PLACE.search(path.name) else f"{path.stem}-%05d{path.suffix}"
    return path.with_name(_PLACE.sub(lambda place: place[0] % k, name, count=1))


def fastest(path: Path) -> int:
    """Pictures a second that players of such files show."""
    return FASTEST if is_sequence(path) else FORMATS[path.suffix.lower()].fastest


def rate_of(path: Path, rate: Fraction, wanted: Fraction | None) -> Fraction | None:
    """Even pictures a second to write to `path`; None for the times of the driver, which has `rate`. PuppetError for what
    players of such files do not show."""
    most = fastest(path)
    if wanted is not None and not 0 < wanted <= most:
        raise PuppetError(f"--fps {float(wanted):g}: {path.suffix} shows more than 0 and up to {most} pictures a second")
    if wanted is None and rate > most:
        return rate / -(-rate // most)  # every second one, or third
    return wanted


def parse_size(text: str) -> tuple[int, int]:
    """Width and height of "1280x720", or longer side and 0 of "720"; ValueError says what is wrong."""
    match = re.fullmatch(r"(\d+)(?:x(\d+))?", text.strip())
    if match is None:
        raise ValueError(f"'{text}': a size such as 1280x720, or the longer side, such as 720, is expected")
    width, height = int(match[1]), int(match[2] or 0)
    for side in (width, height) if match[2] else (width,):
        if not SIDES[0] <= side <= SIDES[1]:
            raise ValueError(f"'{text}': {side} pixels; sides are from {SIDES[0]} to {SIDES[1]}")
    return width, height


def step_of(path: Path) -> int:
    """Of how many pixels the sides of such files are multiples."""
    kind = FORMATS.get(path.suffix.lower())
    return 1 if kind is None or path.suffix.lower() in ODD else 2


def check_size(path: Path, size: tuple[int, int] | None) -> None:
    """PuppetError for a size that players of such files do not take."""
    for side in size or ():
        if side % step_of(path):
            raise PuppetError(f"--size: {side} pixels; sides of {path.suffix} are even: {side - 1} or {side + 1}")
