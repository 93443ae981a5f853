"""Pictures that move and that are not told, or not read, by others: animated WebP, and JPEG files one after the other."""

from __future__ import annotations

import io
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from PIL import Image as Pillow
from PIL import ImageSequence

DAMAGED = (OSError, ValueError, SyntaxError, EOFError, Pillow.DecompressionBombError)  # as Pillow says it
SHORTEST_MS, USUAL_MS = 11, 100  # browsers show a picture of less than the first for as long as the second
LOOKED_AT = 20_000_000  # bytes in which the first JPEG has to end


def is_motion_jpeg(path: Path) -> bool:
    """Whether a file is JPEG pictures one after the other."""
    try:
        with Pillow.open(path, formats=("JPEG",)) as picture:
            return picture.format == "JPEG" and _jpegs_follow(path)
    except DAMAGED:
        return False


def about(path: Path) -> tuple[int, Fraction] | None:
    """How many pictures `frames` gives, and how many a second at first; None for what FFmpeg reads, which knows no
    animated WebP."""
    try:
        with Pillow.open(path, formats=("WEBP",)) as picture:
            count = getattr(picture, "n_frames", 1)
            picture.load()
            return (count, 1000 / Fraction(_shown_ms(picture))) if count > 1 else None
    except DAMAGED:
        return None


def frames(path: Path) -> Iterator[tuple[float, av.VideoFrame]]:
    """Seconds from the first one, and the picture. OSError or EOFError, where it is damaged."""
    at_ms = 0
    with Pillow.open(path, formats=("WEBP",)) as picture:
        for shown in ImageSequence.Iterator(picture):
            image = np.asarray(shown.convert("RGB"), np.uint8)
            yield at_ms / 1000, av.VideoFrame.from_ndarray(image, format="rgb24")
            at_ms += _shown_ms(shown)


def _shown_ms(picture: Pillow.Image) -> int:
    """For how long a decoded picture is shown."""
    said = round(picture.info.get("duration") or 0)
    return said if said >= SHORTEST_MS else USUAL_MS


def _jpegs_follow(path: Path) -> bool:
    """Whether another JPEG of the same size follows the first; what phones hide behind a photograph is smaller, or said
    in its head, which makes it another format (MPO)."""
    with path.open("rb") as file:
        data = file.read(LOOKED_AT)
    end = _end_of_jpeg(data)
    with Pillow.open(io.BytesIO(data)) as first, Pillow.open(io.BytesIO(data[end:]), formats=("JPEG",)) as second:
        return end > 0 and first.size == second.size


def _end_of_jpeg(data: bytes) -> int:
    """Where the first picture of a JPEG stream ends (ITU-T T.81, B.1.1); 0 if it does not."""
    at = 2
    while (at := data.find(b"\xff", at)) >= 0 and at + 4 <= len(data):
        marker = data[at + 1]
        if marker == 0xD9:
            return at + 2
        alone = marker in (0x00, 0x01, 0xFF) or 0xD0 <= marker <= 0xD7
        at += (1 if marker == 0xFF else 2) if alone else 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return at + 2 if at >= 0 and data[at : at + 2] == b"\xff\xd9" else 0
