"""MediaPipe's single networks in LiteRT: 468 landmarks of a face, and those of each eye anew from a closer look.

The 468 points come from a square round the face, turned by the eye line (Kartynnik et al., "Real-time Facial Surface
Geometry from Monocular Video on Mobile GPUs", 2019); lids, brows and irises from a square round each eye (Ablavatski et
al., "Real-time Pupil Tracking from Monocular Video for Digital Puppetry", 2020).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np

from ..errors import NoFaceError
from ..frames import Image
from . import topology as topo
from .canonical import mirrored
from .choice import FORGET_S, Choice, place
from .detector import Detectors
from .motion import Array, eye_distance
from .networks import Network, Square, between
from .pair import alike, paired
from .units import in_pixels, in_units
from .views import NO_FACE, Search, View, everywhere

PRESENT = 0.0  # the network's score, of a logistic: half
FACE_ROOM = 1.5  # side of a face's square over the longer side of its landmarks' box
LOOKS = 3
TILTS = (-0.1, 0.1)  # radians
CLOSER = 0.85  # side of the square of a closer look over that of a face's
# Side of an eye's square over the distance of its corners, and by how many of those it lies higher: with 2.3 and 0, for
# which the network was made, it hardly sees the brow, and lids are less sure (correlation with the landmarker's on four
# clips: lids 0.82 against 0.89, brows -0.8 against 0.85).
EYE_ROOM = 3.2
EYE_LIFT = 0.2
# How far lips are apart in distances of the eyes, as the network sees it, and as the landmarker does in the same pictures: to the
# network shut lips are a little open, and lips a little open are less so.
SEEN = (0.0, 0.03, 0.12, 0.35)
APART = (0.0, 0.012, 0.16, 0.35)
COUNT_EVERY = 15  # pictures between two counts of faces

# Where the eye network's 71 points lie in the face's, right eye: lower and upper lid, three rings round them, the brow.
_RIGHT_EYE: Final = (
    *(33, 7, 163, 144, 145, 153, 154, 155, 133, 246, 161, 160, 159, 158, 157, 173),
    *(130, 25, 110, 24, 23, 22, 26, 112, 243, 247, 30, 29, 27, 28, 56, 190),
    *(226, 31, 228, 229, 230, 231, 232, 233, 244, 113, 225, 224, 223, 222, 221, 189),
    *(35, 124, 46, 53, 52, 65),
    *(143, 111, 117, 118, 119, 120, 121, 128, 245, 156, 70, 63, 105, 66, 107, 55, 193),
)
_ROUND = 16  # from which on they lie round the eye
_LEFT_EYE: Final = (
    *(263, 249, 390, 373, 374, 380, 381, 382, 362, 466, 388, 387, 386, 385, 384, 398),
    *(359, 255, 339, 254, 253, 252, 256, 341, 463, 467, 260, 259, 257, 258, 286, 414),
    *(446, 261, 448, 449, 450, 451, 452, 453, 464, 342, 445, 444, 443, 442, 441, 413),
    *(265, 353, 276, 283, 282, 295),
    *(372, 340, 346, 347, 348, 349, 350, 357, 465, 383, 300, 293, 334, 296, 336, 285, 417),
)


class Nets:
    """All of them, from the folder of models."""

    def __init__(self, folder: Path) -> None:
        self._mesh, self._eye = Network(folder / "face_landmark.tflite"), Network(folder / "iris_landmark.tflite")
        near, far = (folder / f"face_detection_{name}.tflite" for name in ("short_range", "full_range_sparse"))
        self.detectors = Detectors(near, far)

    def face(self, image: Image, square: Square) -> Array | None:
        """(478, 3) landmarks in pixels of the face in a square; None where there is none.

        They are best where the square fits: looks again where it did not, after a fast motion or a detector's guess. They are
        the mean of four looks, tilted to either side, and closer and in the mirror: what the network does to one side more than
        to the other, or takes for a turn because of how the face lies in its square, cancels out.
        """
        for _ in range(LOOKS):
            plain, closer = (
                [each.turned(tilt) for tilt in TILTS] for each in (square, replace(square, side=square.side * CLOSER))
            )
            cuts = square.cuts(image, self._mesh.side, [*plain, *closer])
            seen, score = self._look(cuts[0])
            if score < PRESENT:
                return None
            first = plain[0].back(seen)
            before, square = square, square_of(first)
            if before.fits(square):
                break
        looks = [first, plain[1].back(self._look(cuts[1])[0])]
        for each, cut in zip(closer, cuts[2:], strict=True):
            seen, _ = self._look(cut[:, ::-1])
            looks.append(each.back(seen[mirrored()] * [-1, 1, 1] + [1, 0, 0]))
        mesh = with_lips(np.mean(looks, axis=0))
        return self._with_eyes(image, np.concatenate([mesh, np.zeros((topo.COUNT - len(mesh), 3))]).astype(np.float32))

    def _look(self, cut: Array) -> tuple[Array, float]:
        raw, score = self._mesh(cut)
        return raw.reshape(-1, 3) / self._mesh.side, float(score.ravel()[0])

    def faces(self, image: Image, squares: Iterable[Square]) -> list[Array]:
        """The landmarks of what a detector took for faces, of those that are."""
        return [face for square in squares if (face := self.face(image, square)) is not None]

    def near(self, view: View, image: Image) -> list[Array]:
        """The faces that are large in a part of the picture."""
        return [view.back(face) for face in self.faces(view.of(image), self.detectors.near(view.of(image)))]

    def _with_eyes(self, image: Image, face: Array) -> Array:
        out = face.copy()
        for (upper, _), points, iris in zip(topo.EYES, (_RIGHT_EYE, _LEFT_EYE), topo.IRISES, strict=True):
            mirror = points is _LEFT_EYE  # the network knows the other one only
            square = between(face[upper[0]], face[upper[-1]], EYE_ROOM).lifted(EYE_LIFT / EYE_ROOM)
            cut = square.cut(image, self._eye.side)
            lids, ball = (raw.reshape(-1, 3) / self._eye.side for raw in self._eye(cut[:, ::-1] if mirror else cut))
            if mirror:
                ball = ball[[0, 3, 2, 1, 4]]  # middle, right, above, left, below
            seen = np.concatenate([lids, ball])
            if mirror:
                seen[:, 0] = 1 - seen[:, 0]
            out[[*points, *iris], :2] = square.back(seen)[:, :2]
            out[list(iris), 2] = face[list(upper), 2].mean()
        return alike(out, face, _RIGHT_EYE[_ROUND:], _LEFT_EYE[_ROUND:])


def with_lips(face: Array) -> Array:
    """The landmarks (468, 3) with the lips as far apart as they are, most of it in the middle of the mouth."""
    left, right = face[list(topo.MOUTH_CORNERS)]
    along, across = right - left, face[topo.LOWER_INNER_LIP[5]] - face[topo.UPPER_INNER_LIP[5]]
    seen = max(float(np.linalg.norm(across)) / eye_distance(face), 1e-6)
    change = across * (np.interp(seen, SEEN, APART) / min(seen, SEEN[-1]) - 1) / 2
    out = face.copy()
    for lip, way in ((topo.UPPER_LIP, -1), (topo.LOWER_LIP, 1)):
        place = np.clip((face[list(lip)] - left) @ along / (along @ along), 0, 1)  # from corner to corner
        out[list(lip)] += way * (4 * place * (1 - place))[:, None] * change
    return out


def square_of(face: Array) -> Square:
    """Where to look for the face in the next picture."""
    corners = face[[topo.RIGHT_UPPER_LID[0], topo.LEFT_UPPER_LID[-1]]]
    turned = between(corners[0], corners[1], 1.0)
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
