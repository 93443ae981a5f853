"""Where a face is cut out of a picture for the networks, and how the result goes back.

The published rectangle is taken from landmarks of jaw, brows, eyes, nose and lips. `mesh_box` takes it
from MediaPipe's 478 points: of those, jaw and brows span the same box, the forehead must be left out.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ..face import topology as topo
from ..face.motion import Array
from ..face.units import in_pixels
from ..follow.framing import View
from ..frames import Image

SIDE = 512
EYES_203, LIPS_203 = ((0, 6, 12, 18), (24, 30, 36, 42)), (48, 66)
# The points of the mesh whose box is that of jaw-and-brow landmarks, and what is left between the two boxes.
# Measured against the 68 landmarks of dlib, which cover what the published 106 and 203 cover, on eleven faces
# (portraits s1, s5, s9, s12, the astronaut, six driving clips): side of their box against that of MESH_BOX
# 0.977 to 1.046, median 1.014; its centre 0.009 sides lower (-0.005 to 0.042). All 478 points: 0.86 and 0.09.
MESH_BOX = (*(127, 234, 93, 132, 356, 454, 323, 361), *topo.JAW, *topo.RIGHT_BROW, *topo.LEFT_BROW)
MESH_SIDE, MESH_DOWN = 1.014, 0.009
LID_MIDDLES, LID_CORNERS = ((159, 145), (386, 374)), ((33, 133), (362, 263))
FEATHER = 16  # pixels over which the soft mask of a crop fades at its edge


@dataclass(frozen=True)
class Rectangle:
    """How a face is cut. scale: side against the larger side of the landmarks' box in the face's own axes;
    up: shift along those axes, in sides; rotate: turn the face upright."""

    scale: float
    up: float
    rotate: bool = True


SOURCE = Rectangle(2.3, -0.125)
DRIVING = Rectangle(2.2, -0.1, rotate=False)
TIGHT = Rectangle(1.5, -0.1)


@dataclass(frozen=True)
class FaceBox:
    """A square around a face. centre: (2,) and side in pixels, a driver's in the unit of `face.units`; angle: radians of the
    face's x axis."""

    centre: Array
    side: float
    angle: float

    @classmethod
    def of(cls, points: Array, eyes: Array, lips: Array, rectangle: Rectangle) -> FaceBox:
        """points: (n, 2); eyes, lips: (2,) the middle between the eyes and that of the lips."""
        down = lips - eyes
        length = float(np.linalg.norm(down))
        y = (down / length if length > 1e-6 else np.array([0.0, 1.0])).astype(np.float32)
        x = np.array([y[1], -y[0]], np.float32)
        axes = np.stack([x, y])
        turned = points @ axes.T
        low, high = turned.min(axis=0), turned.max(axis=0)
        side = float((high - low).max()) * rectangle.scale
        centre = ((low + high) / 2) @ axes + y * (rectangle.up * side)
        # As published, in float32: near 0 its arc cosine is coarser than an arc tangent, by up to 0.001 pixels.
        angle = math.copysign(float(np.arccos(np.clip(x[0], -1, 1))), x[1])
        return cls(centre, side, angle if rectangle.rotate else 0.0)

    def under(self, view: View) -> FaceBox:
        """A driver's box in its first picture as one in the picture with this view."""
        return self._at(view.own(np.array([*self.centre, self.side])))

    def in_pixels(self, image: Image) -> FaceBox:
        """A driver's box in a picture (h, w, …) of any size."""
        return self._at(in_pixels(np.array([*self.centre, self.side]), image))

    def _at(self, square: Array) -> FaceBox:
        x, y, side = square.tolist()
        return FaceBox(np.array([x, y]), side, self.angle)

    def to_crop(self, size: int = SIDE) -> Array:
        """(3, 3) picture -> crop of `size` pixels."""
        zoom = size / self.side
        c, s = zoom * math.cos(self.angle), zoom * math.sin(self.angle)
        linear = np.array([[c, s], [-s, c]])
        matrix = np.eye(3)
        matrix[:2, :2], matrix[:2, 2] = linear, size / 2 - linear @ self.centre
        return matrix

    def to_picture(self, size: int = SIDE) -> Array:
        """(3, 3) crop -> picture."""
        return np.asarray(np.linalg.inv(self.to_crop(size)))


def box_203(points: Array, rectangle: Rectangle) -> FaceBox:
    """The box of 203 landmarks (203, 2)."""
    eyes = np.stack([points[list(e)].mean(axis=0) for e in EYES_203]).mean(axis=0)
    return FaceBox.of(points, eyes, points[list(LIPS_203)].mean(axis=0), rectangle)


def mesh_box(landmarks: Array, rectangle: Rectangle) -> FaceBox:
    """The box of MediaPipe's landmarks (478, 2 or more)."""
    points = landmarks[:, :2]
    eyes = np.stack([points[[*m, *c]].mean(axis=0) for m, c in zip(LID_MIDDLES, LID_CORNERS, strict=True)]).mean(axis=0)
    lips = points[list(topo.MOUTH_CORNERS)].mean(axis=0)
    scale = rectangle.scale * MESH_SIDE
    fitted = Rectangle(scale, rectangle.up + MESH_DOWN / scale, rectangle.rotate)
    return FaceBox.of(points[list(MESH_BOX)], eyes, lips, fitted)


def mesh_ratios(landmarks: Array) -> Array:
    """(3,) openings of left eye, right eye and lips as the retargeting networks know them, from (478, 2 or more)
    landmarks: lid gap over eye width, inner lip gap over mouth width. "Left" is the picture's left, as published."""
    points = landmarks[:, :2]

    def length(a: int, b: int) -> float:
        return float(np.linalg.norm(points[a] - points[b]))

    eyes = [length(*m) / (length(*c) + 1e-6) for m, c in zip(LID_MIDDLES, LID_CORNERS, strict=True)]
    return np.array([*eyes, length(13, 14) / (length(*topo.MOUTH_CORNERS) + 1e-6)], np.float32)


class DrivingBox:
    """The causal box of a driver: starts at the neutral face, then follows slowly, so that the head's own
    translation and scale survive; a face that leaves for good is followed."""

    SECONDS = 20.0  # how slowly it follows
    LEASH = 0.2  # the face's middle is never further from the box' than this share of its side
    ZOOM = 1.35  # nor its size by more than this factor

    def __init__(self, box: FaceBox, time_s: float) -> None:
        self.box = box
        self._time_s = time_s

    def follow(self, seen: FaceBox, time_s: float) -> FaceBox:
        """The box for a frame in which the face by itself has the box `seen`."""
        step = min(max((time_s - self._time_s) / self.SECONDS, 0.0), 1.0)
        self._time_s = time_s
        side = self.box.side + step * (seen.side - self.box.side)
        side = float(np.clip(side, seen.side / self.ZOOM, seen.side * self.ZOOM))
        off = (self.box.centre - seen.centre) * (1 - step)
        leash = self.LEASH * side
        off *= min(1.0, leash / max(float(np.linalg.norm(off)), 1e-9))
        self.box = FaceBox(seen.centre + off, side, 0.0)
        return self.box


def cut(image: Image, to_crop: Array, size: int = SIDE) -> Image:
    """(size, size, 3) crop; black outside the picture."""
    import cv2

    return np.asarray(cv2.warpAffine(image, to_crop[:2], (size, size), flags=cv2.INTER_LINEAR), np.uint8)


def shrink(crop: Image, size: int = 256) -> Image:
    """The networks' input from a source crop."""
    import cv2

    return np.asarray(cv2.resize(crop, (size, size), interpolation=cv2.INTER_AREA), np.uint8)


def transform(points: Array, matrix: Array) -> Array:
    """(n, 2) points under a (3, 3) affine matrix."""
    return points @ matrix[:2, :2].T + matrix[:2, 2]


def soft_mask() -> Image:
    """(SIDE, SIDE) 255 inside, fading in a straight line to 0 over the outer FEATHER pixels, with round corners."""
    index = np.arange(SIDE, dtype=np.float32)
    outside = np.maximum(np.maximum(FEATHER - index, index - (SIDE - FEATHER)), 0)
    distance = np.hypot(outside[:, None], outside[None, :])
    return np.asarray(255 * np.clip(1 - distance / FEATHER, 0, 1), np.uint8)


def mask_in_picture(to_picture: Array, size: tuple[int, int]) -> Array:
    """(height, width) 0..1: how much of each pixel comes from the crop. size: width, height."""
    import cv2

    warped = cv2.warpAffine(soft_mask(), to_picture[:2], size, flags=cv2.INTER_LINEAR)
    return np.asarray(warped, np.float32) / 255
