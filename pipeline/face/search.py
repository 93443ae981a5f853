"""The faces of a still picture, wherever they are: lying, upside down, small, or many."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

from ..errors import NoFaceError
from ..frames import Image
from .faces import Faces
from .motion import Array, eye_centres

LYING = math.radians(60)  # a face that leans further is taken for one in a picture that is to be turned
LEVELS = (2, 4, 8)  # how many tiles lie along the longer side, half over each other
SEEN = 0.1  # of a tile's side: narrower faces may be missed
CROWD = 0.25  # of the longer side: where the widest face is narrower, there may be others that were missed
LEAST = 0.25  # of the widest face's width: narrower ones are no part of a group
SMALLEST = 24  # pixels of a face that was found in a tile
SAME = 0.5  # face widths between two that are one
# Squares in which a face is looked at again: half their side, and how far their middle is from the face's, in face widths.
VIEWS = ((1.3, 0.0, 0.0), (1.6, 0.2, -0.15), (1.2, -0.15, 0.1), (1.8, 0.0, 0.2))
STEADY = 0.05  # face widths by which a true face's landmarks differ between those views at most; mostly it is 0.002


@dataclass(frozen=True)
class Found:
    """image: (h, w, 3) RGB, turned so that its face is upright; faces: (478, 3) landmarks in it, from left to right."""

    image: Image
    faces: list[Array]


def find_faces(image: Image, finder: Faces) -> Found:
    """All faces of a picture. NoFaceError where there is none; LandmarksNeeded where they must be given by hand."""
    ways = [Found(turned, faces) for turned, faces in _ways(image, finder)]
    upright = [way for way in ways if way.faces and not _lies(_widest(way.faces))]
    if upright:
        best = upright[0] if len(upright) == 1 else min(upright, key=lambda way: _spread(way.image, _widest(way.faces), finder))
        return Found(best.image, _crowd(best.image, best.faces, finder))
    if ways[0].faces:
        return ways[0]
    for level in LEVELS:
        faces = _in_tiles(image, level, finder)
        if faces:
            return Found(image, _crowd(image, faces, finder))
    raise NoFaceError("no face found; use a picture that shows one face from the front")


def _ways(image: Image, finder: Faces) -> Iterator[tuple[Image, list[Array]]]:
    """The picture turned by 0 to 3 quarters, and the faces in it. An upside-down face may look like an upright one: its hair
    like a beard, its chin like a forehead."""
    turned = [np.ascontiguousarray(np.rot90(image, quarters)) for quarters in range(4)]
    return zip(turned, finder.find_in(turned), strict=True)


def _crowd(image: Image, faces: list[Array], finder: Faces) -> list[Array]:
    """With those that were missed, where all are small."""
    longest, widest = max(image.shape[:2]), _width(_widest(faces))
    if widest > CROWD * longest:
        return faces
    needed = SEEN * longest / (LEAST * widest)
    levels = [level for level in LEVELS if level < 2 * needed]  # the last one sees the narrowest
    others = (face for level in levels for face in _in_tiles(image, level, finder))
    return _apart([*faces, *(face for face in others if _width(face) > LEAST * widest)])


def _in_tiles(image: Image, level: int, finder: Faces) -> list[Array]:
    """Faces of overlapping square tiles, each looked at again: a tile may cut a face, and not all that looks like one is one."""
    corners, side = list(_tiles(image, level)), _side(image, level)
    tiles = (image[y : y + side, x : x + side] for x, y in corners)
    found = [
        face + np.array([x, y, 0], np.float32)
        for (x, y), faces in zip(corners, finder.find_in(tiles), strict=True)
        for face in faces
    ]
    again = _again(image, [face for face in _apart(found) if _width(face) >= SMALLEST], finder)
    return _apart([views[0] for views in again if len(views) == len(VIEWS) and _differ(views) < STEADY])


def _spread(image: Image, face: Array, finder: Faces) -> float:
    """By how many face widths its landmarks differ between VIEWS; what is hardly seen in them differs most."""
    [views] = _again(image, [face], finder)
    return _differ(views) + len(VIEWS) - len(views)


def _differ(views: Sequence[Array]) -> float:
    if not views:
        return math.inf
    flat = np.stack([view[:, :2] for view in views])
    return float(np.sqrt(np.square(flat - flat.mean(axis=0)).sum(axis=-1).mean())) / _width(views[0])


def _again(image: Image, faces: Sequence[Array], finder: Faces) -> list[list[Array]]:
    """Each face in those of its VIEWS in which it is found."""
    squares = [_square(face, *view) for face in faces for view in VIEWS]
    looks = finder.find_in(_cut(image, *square) for square in squares)
    seen: list[list[Array]] = []
    for k, ((x, y, _), others) in enumerate(zip(squares, looks, strict=True)):
        if k % len(VIEWS) == 0:
            seen.append([])
        moved = (other + np.array([x, y, 0], np.float32) for other in others)
        seen[-1] += [other for other in moved if _is_same(other, faces[k // len(VIEWS)])][:1]
    return seen


def _square(face: Array, half: float, x: float, y: float) -> tuple[int, int, int]:
    """Left, top and side of one of VIEWS."""
    left, top = (_middle(face) + np.array([x - half, y - half]) * _width(face)).astype(int)
    return int(left), int(top), math.ceil(2 * half * _width(face))


def _cut(image: Image, left: int, top: int, side: int) -> Image:
    """(side, side, 3); beyond the picture its edge goes on."""
    height, width = image.shape[:2]
    columns = np.clip(np.arange(left, left + side), 0, width - 1)
    rows = np.clip(np.arange(top, top + side), 0, height - 1)
    return image[rows[:, None], columns]


def _side(image: Image, level: int) -> int:
    return -(-max(image.shape[:2]) // level)


def _tiles(image: Image, level: int) -> Iterator[tuple[int, int]]:
    """x, y of their upper left corners: half a tile apart, the last ones at the picture's edge."""
    side = _side(image, level)
    height, width = image.shape[:2]

    def starts(length: int) -> list[int]:
        last = max(length - side, 0)
        return sorted({min(start, last) for start in range(0, last + side // 2, max(side // 2, 1))})

    return ((x, y) for y, x in product(starts(height), starts(width)))


def _apart(faces: Sequence[Array]) -> list[Array]:
    """Each face once, from left to right; of several that are one, the first."""
    kept: list[Array] = []
    for face in faces:
        if not any(_is_same(face, other) for other in kept):
            kept.append(face)
    return sorted(kept, key=lambda face: float(_middle(face)[0]))


def _is_same(face: Array, other: Array) -> bool:
    away = float(np.linalg.norm(_middle(face) - _middle(other)))
    return away < SAME * max(_width(face), _width(other))


def _middle(face: Array) -> Array:
    return np.asarray((face[:, :2].min(axis=0) + face[:, :2].max(axis=0)) / 2)


def _width(face: Array) -> float:
    return float(np.ptp(face[:, 0]))


def _widest(faces: Sequence[Array]) -> Array:
    return max(faces, key=_width)


def _lies(face: Array) -> bool:
    right, left = eye_centres(face)[:, :2]
    x, y = left - right
    return abs(math.atan2(y, x)) > LYING
