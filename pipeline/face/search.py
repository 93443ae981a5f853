"""The faces of a still picture, whichever way it lies."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ..frames import Image
from .choice import place
from .faces import Faces
from .motion import Array, eye_centres
from .views import is_same

LYING = math.radians(60)  # a face that leans further is taken for one in a picture that is to be turned
SPECK = 0.15  # of the widest face: what is narrower is an ear or a bottle that looks like one, or nobody's choice
# Squares in which a face is looked at again: half their side, and how far their middle is from the face's, in face widths.
VIEWS = ((1.3, 0.0, 0.0), (1.6, 0.2, -0.15), (1.2, -0.15, 0.1), (1.8, 0.0, 0.2))


@dataclass(frozen=True)
class Found:
    """image: (h, w, 3) RGB, turned so that its face is upright; faces: (478, 3) landmarks in it, from left to right."""

    image: Image
    faces: list[Array]


def find_faces(image: Image, finder: Faces) -> Found:
    """All faces of a picture. NoFaceError where there is none; LandmarksNeeded where they must be given by hand."""
    upright = [Found(turned, faces) for turned, faces in _ways(image, finder) if faces and not _lies(_widest(faces))]
    if len(upright) > 1:
        upright.sort(key=lambda way: _spread(way.image, _widest(way.faces), finder))
    seen = upright[0].image if upright else image
    faces = finder.find(seen)
    least = SPECK * max((float(place(face)[2]) for face in faces), default=0.0)
    return Found(seen, [face for face in faces if float(place(face)[2]) >= least])


def _ways(image: Image, finder: Faces) -> Iterator[tuple[Image, list[Array]]]:
    """The picture turned by 0 to 3 quarters, and the faces in it. An upside-down face may look like an upright one: its hair
    like a beard, its chin like a forehead."""
    turned = [np.ascontiguousarray(np.rot90(image, quarters)) for quarters in range(4)]
    return zip(turned, finder.find_in(turned), strict=True)


def _spread(image: Image, face: Array, finder: Faces) -> float:
    """By how many face widths its landmarks differ between VIEWS: some 0.002 of a true face, ten times as much of one that is
    upside down. What is hardly seen in them differs most."""
    squares = [_square(face, *view) for view in VIEWS]
    looks = zip(squares, finder.find_in(_cut(image, *square) for square in squares), strict=True)
    moved = [[other + np.array([x, y, 0], np.float32) for other in others] for (x, y, _), others in looks]
    same = [[other for other in others if is_same(other, face)][:1] for others in moved]
    seen = [other for others in same for other in others]
    if not seen:
        return math.inf
    flat = np.stack([other[:, :2] for other in seen])
    differ = float(np.sqrt(np.square(flat - flat.mean(axis=0)).sum(axis=-1).mean())) / float(place(face)[2])
    return differ + len(VIEWS) - len(seen)


def _square(face: Array, half: float, x: float, y: float) -> tuple[int, int, int]:
    """Left, top and side of one of VIEWS."""
    middle_x, middle_y, width = place(face).tolist()
    return int(middle_x + (x - half) * width), int(middle_y + (y - half) * width), math.ceil(2 * half * width)


def _cut(image: Image, left: int, top: int, side: int) -> Image:
    """(side, side, 3); beyond the picture its edge goes on."""
    height, width = image.shape[:2]
    columns = np.clip(np.arange(left, left + side), 0, width - 1)
    rows = np.clip(np.arange(top, top + side), 0, height - 1)
    return image[rows[:, None], columns]


def _widest(faces: Sequence[Array]) -> Array:
    return max(faces, key=lambda face: float(place(face)[2]))


def _lies(face: Array) -> bool:
    right, left = eye_centres(face)[:, :2]
    x, y = left - right
    return abs(math.atan2(y, x)) > LYING
