"""The eye layer: eyeball behind the lids, iris that looks around."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from ..face import topology as topo
from ..face.motion import Array, Motion
from ..frames import Image
from .geometry import Geometry
from .layers import Box, affine, blend, draw, polygon_mask
from .pose import Pose

MAX_GAZE = 0.18  # eye widths: further the iris would leave the eye


@dataclass(frozen=True)
class Eye:
    """One eyeball. white: (h, w, 3) without lids and iris. iris: (h, w, 4) RGB and 0..1 coverage."""

    upper: tuple[int, ...]
    lower: tuple[int, ...]
    origin: Array
    white: Array
    iris: Array
    centre: Array
    width: float
    along: Array

    def draw(self, image: Image, geometry: Geometry, pose: Pose, driven: Array, gaze: Array) -> None:
        """Draw into the warped crop, between the driven lids."""
        outline = np.concatenate([driven[list(self.upper)], driven[list(self.lower[-2:0:-1])]])
        box = Box.around(outline, 3, geometry.side)
        if box is None:
            return
        look = MAX_GAZE * np.tanh(gaze / MAX_GAZE) * self.width
        across = np.array([-self.along[1], self.along[0]], np.float32)
        shift = pose.linear[:2, :2] @ (look[0] * self.along + look[1] * across)
        still = affine(pose, geometry.pivot, self.centre, np.zeros(2, np.float32))
        moved = affine(pose, geometry.pivot, self.centre, shift)
        iris = draw(self.iris, self.origin, moved, box)
        colour = draw(self.white, self.origin, still, box)
        colour += (iris[..., :3] - colour) * iris[..., 3:]
        mask = polygon_mask(outline, box, self.width / 45)
        opening = float(np.abs(driven[self.upper[4]] - driven[self.lower[4]]).sum()) / self.width
        blend(image, box, colour, mask * min(opening / 0.06, 1.0))


def make_eyes(crop: Image, geometry: Geometry) -> list[Eye]:
    """Both eyes of the resting portrait; an eye that is hidden or shut gets no layer."""
    eyes = []
    for (upper, lower), iris in zip(topo.EYES, topo.IRISES, strict=True):
        eye = _make_eye(crop, geometry.landmarks, upper, lower, iris, geometry.side)
        if eye is not None:
            eyes.append(eye)
    return eyes


def draw_eyes(eyes: list[Eye], image: Image, geometry: Geometry, pose: Pose, driven: Array, motion: Motion) -> None:
    """Draw each eye with its own gaze."""
    for eye in eyes:
        gaze = motion.gaze[0 if eye.upper is topo.RIGHT_UPPER_LID else 1]
        eye.draw(image, geometry, pose, driven, gaze)


def _make_eye(
    crop: Image, rest: Array, upper: tuple[int, ...], lower: tuple[int, ...], iris: tuple[int, ...], side: int
) -> Eye | None:
    outline = np.concatenate([rest[list(upper)], rest[list(lower[-2:0:-1])]])[:, :2]
    along = rest[upper[-1], :2] - rest[upper[0], :2]
    width = float(np.linalg.norm(along))
    gap = np.linalg.norm(rest[list(upper[2:-2]), :2] - rest[list(lower[2:-2]), :2], axis=1).mean()
    box = Box.around(outline, 0.35 * width, side)
    if box is None or width < 6 or gap < 0.1 * width:
        return None
    patch = box.of(crop).copy()
    visible = polygon_mask(outline, box, 0) > 0.5
    visible = cv2.erode(visible.astype(np.uint8), np.ones((3, 3))) > 0
    centre = rest[iris[0], :2] - box.origin
    radius = float(np.linalg.norm(rest[list(iris[1:]), :2] - rest[iris[0], :2], axis=1).mean())
    ys, xs = np.mgrid[0 : patch.shape[0], 0 : patch.shape[1]]
    distance = np.hypot(xs + 0.5 - centre[0], ys + 0.5 - centre[1])
    return Eye(
        upper, lower, box.origin, _white(patch, visible, distance > radius * 1.12),
        _iris(patch, visible, distance, radius), rest[list(iris[:1])].mean(axis=0), width, along / max(width, 1e-6),
    )  # fmt: skip


def _white(patch: Image, visible: np.ndarray, beside_iris: np.ndarray) -> Array:
    """The eyeball with iris and lids filled in from what is seen of its white."""
    known = visible & beside_iris
    if known.sum() < 12:  # an eye that is all iris: a white a little darker than the usual
        return np.full((*patch.shape[:2], 3), patch[visible].mean(axis=0) if visible.any() else 90, np.float32)
    filled = cv2.inpaint(patch, (~known).astype(np.uint8), 3, cv2.INPAINT_TELEA)
    soft = cv2.GaussianBlur(filled, (0, 0), 1.2)
    return np.where(known[..., None], patch, soft).astype(np.float32)


def _iris(patch: Image, visible: np.ndarray, distance: Array, radius: float) -> Array:
    """The iris, what the lids hide filled in from the visible colours at the same radius."""
    ring = np.minimum(distance / max(radius, 1.0) * 6, 9).astype(int)
    colour = patch.astype(np.float32)
    seen = np.zeros(3, np.float32)
    for k in range(10):
        here = (ring == k) & visible
        seen = patch[here].mean(axis=0) if here.any() else seen
        colour[(ring == k) & ~visible] = seen
    coverage = np.clip((radius * 1.08 - distance) / max(0.16 * radius, 1.0) + 0.5, 0.0, 1.0)
    return np.dstack([colour, coverage]).astype(np.float32)
