"""The visible label: a few words in a corner of each picture, where no face is. A leaf.

Drawn as white letters on a dark plate, so that it reads before anything; prepared once for a size and a place of the face, and
laid over the few pixels of its corner then.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from functools import cache, lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from PIL import ImageFont

Plane = NDArray[np.uint8]
Box = tuple[float, float, float, float]  # of a face: x, y, width, height as shares of the picture
TEXT = "AI modified"
LEAST = 16  # pixels that a label is high, however small the picture is: its letters can be read then
WIDEST = 0.9  # of the picture
PLATE = 0.65  # how dark it is: white letters keep a contrast of 7 to 1 on it even before pure white
LETTERS, BESIDE, APART = 0.72, 0.35, 0.4  # of the label's height: size of letters, room beside them, distance from the border
STROKE = 0.02  # of its height, by which letters are bolder: thin ones would be lost in coding
MOVES = 1.3  # as much larger than at rest the face is taken, as it moves
SMOOTH = 4


class Corner(StrEnum):
    """Of a picture."""

    TOP_RIGHT = "top_right"
    TOP_LEFT = "top_left"
    BOTTOM_RIGHT = "bottom_right"
    BOTTOM_LEFT = "bottom_left"


@dataclass(frozen=True)
class Label:
    """size: height as a share of the picture's shorter side. corner: where it stands unless the face is there. seconds: how long
    it shows from the first moment that somebody sees the picture; 0 for all along. font: a TrueType file, in place of the
    built-in one. Methods raise OSError for a font that is none."""

    text: str = TEXT
    corner: Corner = Corner.TOP_RIGHT
    size: float = 0.06
    seconds: float = 0.0
    font: Path | None = None

    def shows(self, seen_s: float | None) -> bool:
        """Whether it does after somebody has seen the picture for so many seconds; None where nobody can tell."""
        return not self.seconds or seen_s is None or seen_s < self.seconds

    def place(self, width: int, height: int, face: Box | None) -> tuple[int, int, int, int]:
        """x, y, width and height of it in a picture, in pixels."""
        patch = _patch(self, width, height, face)
        return patch.x, patch.y, patch.keep.shape[1], patch.keep.shape[0]

    def lay_over(self, planes: list[Plane], face: Box | None) -> None:
        """Draw it into planar YUV 4:2:0: brightness (h, w) and both colours (h / 2, w / 2)."""
        bright, *colours = planes
        patch = _patch(self, bright.shape[1], bright.shape[0], face)
        patch.lay(bright, 1, 16, 235)
        for plane in colours:
            patch.lay(plane, 2, 128, 128)

    def cover(self, coverage: Plane, face: Box | None) -> None:
        """Make it part of what a cut-out shows: `coverage` (h, w) as brightness."""
        _patch(self, coverage.shape[1], coverage.shape[0], face).lay(coverage, 1, 235, 235)

    def drawn(self, image: Plane, face: Box | None) -> Plane:
        """A picture (h, w, 3) RGB, or (h, w, 4) with colours times coverage, with the label on it."""
        made = image.copy()
        patch = _patch(self, image.shape[1], image.shape[0], face)
        for channel in range(3):
            patch.lay(made[..., channel], 1, 0, 255)
        if image.shape[2] == 4:
            patch.lay(made[..., 3], 1, 255, 255)
        return made

    def missing(self) -> str:
        """The letters of its text that the font does not have."""
        return _missing(_font(self, 32), self.text)


def box_of(landmarks: NDArray[np.float32], width: int, height: int) -> Box:
    """Around landmarks (n, 2 or more), in pixels of a picture."""
    low, high = (edge(axis=0)[:2] / (width, height) for edge in (landmarks.min, landmarks.max))
    return (*low.tolist(), *(high - low).tolist())


@dataclass(frozen=True, eq=False)
class _Patch:
    """keep: the share of the picture that stays, of 256; light: how bright the label is, 0 to 255. Both (h, w), even sides."""

    x: int
    y: int
    keep: NDArray[np.uint16]
    light: NDArray[np.uint16]

    def lay(self, plane: Plane, step: int, dark: int, bright: int) -> None:
        """Over the pixels of a plane of which one stands for `step` by `step`. dark, bright: the plane's 0 and 255."""
        keep, light = self.keep[::step, ::step], self.light[::step, ::step]
        height, width = keep.shape
        part = plane[self.y // step : self.y // step + height, self.x // step : self.x // step + width]
        shade = dark + light * (bright - dark) // 255 if bright != dark else dark
        part[:] = (part * keep + shade * (256 - keep)) >> 8


@lru_cache(maxsize=64)
def _patch(label: Label, width: int, height: int, face: Box | None) -> _Patch:
    keep, light = _drawn(label, width, height)
    keep, light = keep[:, :width], light[:, :width]  # a picture of a few pixels, in which nobody reads
    high, wide = keep.shape
    x, y = _corner(label.corner, (width, height), (wide, high), face)
    return _Patch(x, y, keep, light)


def _even(length: float) -> int:
    return max(round(length / 2) * 2, 2)


def _drawn(label: Label, width: int, height: int) -> tuple[NDArray[np.uint16], NDArray[np.uint16]]:
    """What stays of the picture, and the label's brightness."""
    from PIL import Image as Pillow  # a machine that only measures its GPU has none
    from PIL import ImageDraw

    high = max(label.size * min(width, height), LEAST)
    length = _font(label, LETTERS * high).getlength(label.text) / high + 2 * BESIDE
    high = _even(min(high, WIDEST * width / length, height / 2))
    wide, font = _even(length * high), _font(label, LETTERS * high)
    letters = Pillow.new("L", (wide, high))
    ImageDraw.Draw(letters).text((wide / 2, high / 2), label.text, fill=255, font=font, anchor="mm", stroke_width=STROKE * high)
    plate = Pillow.new("L", (SMOOTH * wide, SMOOTH * high))
    ImageDraw.Draw(plate).rounded_rectangle((0, 0, SMOOTH * wide - 1, SMOOTH * high - 1), SMOOTH * high / 4, fill=255)
    white = np.asarray(letters, np.float32) / 255
    dark = np.asarray(plate.resize((wide, high), Pillow.Resampling.BOX), np.float32) / 255 * PLATE * (1 - white)
    covered = np.maximum(white + dark, 1e-6)
    return np.round(256 * (1 - np.minimum(covered, 1))).astype(np.uint16), np.round(255 * white / covered).astype(np.uint16)


def _font(label: Label, size: float) -> ImageFont.FreeTypeFont:
    """Pillow's own has the letters of English; others are drawn with that of matplotlib, which MediaPipe brings."""
    from PIL import ImageFont

    if label.font is not None:
        return ImageFont.truetype(str(label.font), size)
    font, more = ImageFont.load_default(size), _of_many_letters()
    assert isinstance(font, ImageFont.FreeTypeFont)
    return ImageFont.truetype(str(more), size) if more is not None and _missing(font, label.text) else font


@cache
def _of_many_letters() -> Path | None:
    found = find_spec("matplotlib")
    path = Path(found.origin or "").with_name("mpl-data") / "fonts/ttf/DejaVuSans.ttf" if found is not None else None
    return path if path is not None and path.is_file() else None


def _missing(font: ImageFont.FreeTypeFont, text: str) -> str:
    blank = {(mask.size, bytes(mask)) for mask in map(font.getmask, "\uffff\U0010ffff")}
    drawn = {letter: font.getmask(letter) for letter in text if not letter.isspace()}
    return "".join(letter for letter, mask in drawn.items() if (mask.size, bytes(mask)) in blank)


def _corner(wanted: Corner, picture: tuple[int, int], label: tuple[int, int], face: Box | None) -> tuple[int, int]:
    """Left and top of the label, both even: in the corner that is wanted, or where the face is furthest if it is there."""
    (width, height), (wide, high) = picture, label
    apart = min(_even(APART * high), max((width - wide) // 4 * 2, 0), max((height - high) // 4 * 2, 0))
    places = {
        corner: (
            apart if corner.endswith("left") else (width - wide - apart) // 2 * 2,
            apart if corner.startswith("top") else (height - high - apart) // 2 * 2,
        )
        for corner in (wanted, *Corner)
    }
    if face is None:
        return places[wanted]
    return next(
        (place for place in places.values() if _clear(place, label, picture, face) >= MOVES),
        max(places.values(), key=lambda place: _clear(place, label, picture, face)),
    )


def _clear(place: tuple[int, int], label: tuple[int, int], picture: tuple[int, int], face: Box) -> float:
    """How many times larger the face, an oval in its box, could be before it met the label."""
    away = []
    for k in (0, 1):
        radius, middle = face[k + 2] * picture[k] / 2, (face[k] + face[k + 2] / 2) * picture[k]
        nearest = min(max(middle, place[k]), place[k] + label[k])
        away.append((nearest - middle) / max(radius, 1e-6))
    return math.hypot(*away)
