"""MediaPipe's single networks in LiteRT: a detector of faces, and 478 landmarks of each from a square round it.

The square is turned by the eye line and follows from the landmarks in the picture before (Kartynnik et al., "Real-time Facial
Surface Geometry from Monocular Video on Mobile GPUs", 2019). The network: see `attention`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from ..errors import NoFaceError
from ..frames import Image
from . import topology as topo
from .attention import Attention
from .canonical import all_mirrored
from .choice import FORGET_S, Choice, place
from .detector import Detectors
from .motion import Array
from .networks import Square
from .pair import paired
from .units import in_pixels, in_units
from .views import NO_FACE, Search, View, everywhere

PRESENT = 0.0  # the network's score, of a logistic: half
FACE_ROOM = 1.5  # side of a face's square over the longer side of its landmarks' box
TRIES = 3
# Tilt in radians, side over that of a face's square, in the mirror: whatever two of them are taken, each pairing comes once.
LOOKS = ((-0.1, 1.0, False), (0.1, 1.0, True), (-0.1, 0.85, True), (0.1, 0.85, False))
COUNT_EVERY = 15  # pictures between two counts of faces


class Nets:
    """All of them, from the folder of models."""

    def __init__(self, folder: Path) -> None:
        self._network = Attention(folder / "face_landmark_with_attention.tflite")
        near, far = (folder / f"face_detection_{name}.tflite" for name in ("short_range", "full_range_sparse"))
        self.detectors = Detectors(near, far)

    def face(self, image: Image, square: Square) -> Array | None:
        """(478, 3) landmarks in pixels of the face in a square; None where there is none.

        They are best where the square fits: looks again where it did not, after a fast motion or a detector's guess. They are
        the mean of LOOKS, tilted to either side, closer and in the mirror: what the network does to one side more than to the
        other, or takes for a turn because of how the face lies in its square, cancels out.
        """
        for _ in range(TRIES):
            squares = [replace(square, side=square.side * side).turned(tilt) for tilt, side, _ in LOOKS]
            cuts = square.cuts(image, self._network.side, squares)
            seen, score = self._network(cuts[0])
            if score < PRESENT:
                return None
            first = squares[0].back(seen)
            before, square = square, square_of(first)
            if before.fits(square):
                break
        more = [
            each.back(self._in_mirror(cut) if mirror else self._network(cut)[0])
            for each, cut, (_, _, mirror) in zip(squares[1:], cuts[1:], LOOKS[1:], strict=True)
        ]
        return np.asarray(np.mean([first, *more], axis=0), np.float32)

    def _in_mirror(self, cut: Array) -> Array:
        """The landmarks as they lie in a picture, found in its mirror image."""
        seen, _ = self._network(cut[:, ::-1])
        return np.asarray(seen[all_mirrored()] * [-1, 1, 1] + [1, 0, 0])

    def faces(self, image: Image, squares: Iterable[Square]) -> list[Array]:
        """The landmarks of what a detector took for faces, of those that are."""
        return [face for square in squares if (face := self.face(image, square)) is not None]

    def near(self, view: View, image: Image) -> list[Array]:
        """The faces that are large in a part of the picture."""
        return [view.back(face) for face in self.faces(view.of(image), self.detectors.near(view.of(image)))]


def square_of(face: Array) -> Square:
    """Where to look for the face in the next picture."""
    x, y = face[topo.LEFT_UPPER_LID[-1], :2] - face[topo.RIGHT_UPPER_LID[0], :2]
    turned = Square(0.0, 0.0, 1.0, float(np.arctan2(y, x)))
    own = face[:, :2] @ turned.axes.T
    low, high = own.min(axis=0), own.max(axis=0)
    x, y = ((low + high) / 2) @ turned.axes
    return Square(float(x), float(y), float((high - low).max()) * FACE_ROOM, turned.angle)


class LitertTracker:
    """See `pipeline.face.tracker.Tracker`. Each picture starts from the landmarks in the one before."""

    name = "litert"
    lopsided = True
    blink: None = None

    def __init__(self, folder: Path) -> None:
        self._nets = Nets(folder)
        self._choice, self._search = Choice(), Search()
        self._last: Array | None = None  # in units
        self._last_s = 0.0
        self._pictures = 0
        self.faces = 0

    def track(self, image: Image, time_s: float) -> Array | None:
        # Where the face was long ago there may be anything now, in which the network sees one, too.
        known = None if self._choice.turn or time_s - self._last_s > FORGET_S else self._last
        self._last_s = time_s
        face = None if known is None else self._nets.face(image, square_of(in_pixels(known, image)))
        self._pictures += 1
        if face is None or self._pictures % COUNT_EVERY == 0:
            squares = self._nets.detectors.find(image)
            self.faces = max(len(squares), 0 if face is None else 1)
        found = (
            [face] if face is not None else self._nets.faces(image, squares) or self._nets.near(self._search.tile(image), image)
        )
        self._last = self._choice.of([in_units(face, image) for face in found], time_s)
        return None if self._last is None else paired(self._last)

    def next_face(self) -> bool:
        self._choice.turn = self.faces > 1
        return self._choice.turn

    def close(self) -> None:
        """Nothing is held."""


def find_landmarks(image: Image, folder: Path) -> list[Array]:
    """(478, 3) landmarks in pixels of each face in a still picture, from left to right; NoFaceError where there is none."""
    nets = Nets(folder)
    faces = everywhere(image, lambda part: nets.faces(part, nets.detectors.find(part)))
    if not faces:
        raise NoFaceError(NO_FACE)
    return faces


def landmarks_of_each(images: Iterable[Image], folder: Path) -> Iterator[list[Array]]:
    """(478, 3) landmarks in pixels of each face that is large enough in each of some still pictures, from left to right."""
    nets = Nets(folder)
    for image in images:
        yield sorted(nets.faces(image, nets.detectors.find(image)), key=lambda face: float(place(face)[0]))
