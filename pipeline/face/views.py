"""Parts of a picture in which a small face is large enough to be found: detectors look at 128² or 192² pixels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ..frames import Image
from .choice import place
from .motion import Array
from .units import in_pixels

TILE = 0.4  # side of a tile over the picture's longer side: a face of 6 % is 15 % of it
STILL_TILES = (0.4, 0.2)  # of a still picture, in which a face of 4 % counts
LAST_TILES = 0.1  # where nothing else has a face
LEAST = 96  # pixels, side of the smallest tile
PATIENCE = 5  # pictures without a face before tiles are looked at
FAR, NEAR = 0.12, 0.16  # width over the picture's longer side below which a face is far, and above which it is no more
ROOM = 4.0  # side of the view round a far face, in face widths
NO_FACE = "no face found; use a picture that shows one face from the front"
SAME = 0.5  # widths between centres below which two faces are one


@dataclass(frozen=True)
class View:
    """A rectangle of a picture, in pixels."""

    left: int
    top: int
    right: int
    bottom: int

    def of(self, image: Image) -> Image:
        return image[self.top : self.bottom, self.left : self.right]

    def back(self, points: Array) -> Array:
        """Points (n, 3) of the view as points of the picture."""
        return np.asarray(points + np.array([self.left, self.top, 0], np.float32), np.float32)

    def suits(self, x: float, y: float, width: float) -> bool:
        """Whether it still shows a far face well."""
        side = self.right - self.left
        aside = max(abs(x - (self.left + self.right) / 2), abs(y - (self.top + self.bottom) / 2))
        return aside < side / 4 and ROOM / 2 < side / width < ROOM * 1.5


def whole(image: Image) -> View:
    return View(0, 0, image.shape[1], image.shape[0])


def around(image: Image, x: float, y: float, side: float) -> View:
    """The square round a point, moved into the picture, and cut where it is larger."""
    height, width = image.shape[:2]
    left, top = (round(min(max(c - side / 2, 0), max(n - side, 0))) for c, n in ((x, width), (y, height)))
    return View(left, top, min(left + round(side), width), min(top + round(side), height))


def tiles(image: Image, share: float = TILE) -> list[View]:
    """Squares with a side of `share` of the longer side that cover the picture, each half over the next."""
    side = share * max(image.shape[:2])
    down, across = (
        np.linspace(side / 2, n - side / 2, 1 + int(np.ceil(2 * n / side - 2))) if n > side else [n / 2] for n in image.shape[:2]
    )
    return [around(image, x, y, side) for y in down for x in across]


class Search:
    """Where to look for the face in each picture of a stream: in the whole picture; where that shows none, in turn with its
    tiles; and round a face that is far away for as long as it is."""

    def __init__(self) -> None:
        self._face: Array | None = None  # x, y and width of a far one when it was last put in the middle, in units
        self._missed = PATIENCE
        self._tile = -1

    def view(self, image: Image) -> View:
        """Where to look now."""
        if self._face is not None:
            return self._round(image, self._face)
        return self.tile(image) if self._missed > PATIENCE and self._missed % 2 == 0 else whole(image)

    def tile(self, image: Image) -> View:
        """The next one."""
        every = tiles(image)
        self._tile = (self._tile + 1) % len(every)
        return every[self._tile]

    def saw(self, image: Image, face: Array | None, faces: int) -> None:
        """What was found there: the face that is followed, in units, and how many in all."""
        if face is None:
            self._missed += 1
            self._face = None if self._missed > PATIENCE else self._face
            if faces and self._face is None:
                self._missed = PATIENCE  # the whole picture is good enough: it shows somebody else
            return
        self._missed = 0
        here = place(face)
        if float(here[2]) > (FAR if self._face is None else NEAR):
            self._face = None
        elif self._face is None or not self._round(image, self._face).suits(*in_pixels(here, image).tolist()):
            self._face = here

    @staticmethod
    def _round(image: Image, face: Array) -> View:
        x, y, width = in_pixels(face, image).tolist()
        return around(image, x, y, ROOM * width)


def everywhere(image: Image, find: Callable[[Image], list[Array]]) -> list[Array]:
    """Landmarks of each face of a still picture, from left to right. find: those that are large enough in a picture."""
    found: list[Array] = []
    for share in (None, *STILL_TILES, LAST_TILES):
        if share == LAST_TILES and found:
            break
        for view in [whole(image)] if share is None else _large(tiles(image, share)):
            for face in (view.back(face) for face in find(view.of(image))):
                fresh = _is_whole(face, view, image) and not any(is_same(face, other) for other in found)
                if fresh and (share is None or _seen_again(face, image, find)):
                    found.append(face)
    return sorted(found, key=lambda face: float(place(face)[0]))


def _large(views: list[View]) -> list[View]:
    return [view for view in views if min(view.right - view.left, view.bottom - view.top) >= LEAST]


def _seen_again(face: Array, image: Image, find: Callable[[Image], list[Array]]) -> bool:
    """Whether another look, from where a face would be in its middle, finds it too: patterns that look like one are not."""
    x, y, width = place(face).tolist()
    view = around(image, x, y, ROOM * width)
    return any(is_same(face, view.back(other)) for other in find(view.of(image)))


def _is_whole(face: Array, view: View, image: Image) -> bool:
    """Whether the view's border, where that is not the picture's, cuts the face."""
    low, high = face[:, :2].min(axis=0), face[:, :2].max(axis=0)
    own = np.array([[view.left, view.top], [view.right, view.bottom]])
    free = own == np.array([[0, 0], image.shape[1::-1]])
    return bool(((low > own[0]) | free[0]).all() and ((high < own[1]) | free[1]).all())


def is_same(a: Array, b: Array) -> bool:
    """Whether two sets of landmarks of one picture are of one face."""
    one, other = place(a), place(b)
    return float(np.linalg.norm((one - other)[:2])) < SAME * max(float(one[2]), float(other[2]))
