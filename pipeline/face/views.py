"""Parts of a still picture in which a small face is large enough to be found."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from ..frames import Image
from .motion import Array

LEVELS = (2, 4, 8)  # how many tiles lie along the longer side, half over each other
SEEN = 0.1  # of a tile's side: narrower faces may be missed
CROWD = 0.25  # of the longer side: where the widest face is narrower, there may be others that were missed
LEAST = 0.25  # of the widest face's width: narrower ones are no part of a group
SMALLEST = 24  # pixels of a face that was found in a tile
ROOM = 3.0  # side of the square in which that is looked at again, in face widths
SAME = 0.5  # face widths between two that are one
Find = Callable[[Image], list[Array]]


def everywhere(image: Image, find: Find) -> list[Array]:
    """Landmarks of each face of a still picture, from left to right. find: those that are large enough in a picture."""
    faces = find(image)
    longest = max(image.shape[:2])
    if not faces:
        faces = next((found for level in LEVELS if (found := _in_tiles(image, level, find))), [])
    widest = max((_width(face) for face in faces), default=0.0)
    if not 0 < widest < CROWD * longest:
        return faces
    needed = SEEN * longest / (LEAST * widest)  # the last level sees the narrowest
    others = [face for level in LEVELS if level < 2 * needed for face in _in_tiles(image, level, find)]
    return _apart([*faces, *(face for face in others if _width(face) > LEAST * widest)])


def _in_tiles(image: Image, level: int, find: Find) -> list[Array]:
    """Faces of overlapping square tiles, each looked at again: a tile may cut a face, and not all that looks like one is one."""
    side = -(-max(image.shape[:2]) // level)
    found = [face for x, y in _corners(image, side) for face in _within(image, x, y, side, find)]
    again = (_again(image, face, find) for face in _apart(found) if _width(face) >= SMALLEST)
    return _apart([face for face in again if face is not None])


def _again(image: Image, face: Array, find: Find) -> Array | None:
    """The same face where it is in the middle, and where it is aside."""
    side = round(ROOM * _width(face))
    looks = []
    for aside in (0.0, 0.25):
        x, y = (int(c) for c in np.maximum(_middle(face) - (0.5 - aside) * side, 0))
        looks.append(next((other for other in _within(image, x, y, side, find) if _is_same(face, other)), None))
    return looks[0] if looks[1] is not None else None


def _within(image: Image, x: int, y: int, side: int, find: Find) -> list[Array]:
    return [face + np.array([x, y, 0], np.float32) for face in find(image[y : y + side, x : x + side])]


def _corners(image: Image, side: int) -> Iterator[tuple[int, int]]:
    """x, y of the tiles' upper left corners: half a tile apart, the last ones at the picture's edge."""
    down, across = (sorted({min(k, max(n - side, 0)) for k in range(0, n, max(side // 2, 1))}) for n in image.shape[:2])
    return ((x, y) for y in down for x in across)


def _apart(faces: list[Array]) -> list[Array]:
    """Each face once, from left to right; of several that are one, the first."""
    kept: list[Array] = []
    for face in faces:
        if not any(_is_same(face, other) for other in kept):
            kept.append(face)
    return sorted(kept, key=lambda face: float(_middle(face)[0]))


def _is_same(face: Array, other: Array) -> bool:
    return float(np.linalg.norm(_middle(face) - _middle(other))) < SAME * max(_width(face), _width(other))


def _middle(face: Array) -> Array:
    return np.asarray((face[:, :2].min(axis=0) + face[:, :2].max(axis=0)) / 2)


def _width(face: Array) -> float:
    return float(np.ptp(face[:, 0]))
