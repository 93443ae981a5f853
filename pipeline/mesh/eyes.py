"""The eye layer: eyeball behind the lids, iris that looks around."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np

from ..face import topology as topo
from ..face.motion import Array, Motion
from ..frames import Image
from .animal import is_animal
from .finish import Grain
from .geometry import Geometry
from .layers import Box, affine, blend, draw, filled, polygon_mask
from .lids import Lid, make_lid
from .pose import Pose
from .tones import LUMA

# A landmarker sees less of a glance than there is, most of all up or down. With these a face that is driven by itself looks as
# far as in its own pictures, by their pixels and by the landmarker.
GAZE_GAIN = np.array([1.25, 2.2], np.float32)
GAZE_LIMIT = np.array([0.37, 0.24], np.float32)  # eye widths (x, y): half axes of the ellipse within which an iris is still seen
GAZE_KNEE = 0.8  # of it, up to where the iris follows with full slope
# Eye widths that lids or iris move where the drawn eye begins to take over from the picture's own, and where it has: below
# lies what noise of a camera moves them, and an eye that came and went with it would flicker.
NOTICED = (0.015, 0.05)
LEAST = 0.005  # of an opening in eye widths: between lids that are nearer nothing shows
BRIGHTER, DIMMER = 1.08, 0.86  # a ball's middle and its sides, against what is seen of it
PALE = 60  # percent of what is bright beside the iris that is its white, the palest
# An animal's iris fills nearly all that is seen of its eye, and the landmarker takes it to be as small as a person's. What shows
# behind it in a glance is its white in the lids' shadow: by so many grey levels lighter than the iris.
ALL_IRIS, WHALE_EYE = 1.4, 40.0
RIM, ALIEN = 4, 1.3  # sixths of an iris's radius from where what is so much brighter than the rest is none of it
SHADOW, SHADE = 0.09, 0.38  # eye widths that the upper lid's shadow reaches down the eyeball, and how dark it is at the lid


@dataclass(frozen=True)
class Eye:
    """One eyeball. white: (h, w, 3) without lids and iris. iris: (h, w, 4) RGB and 0..1 coverage. aside: (2,) how far its
    centre is aside of the eye's middle, in eye widths; of up and down that tells nothing, as lids may hang low."""

    upper: tuple[int, ...]
    lower: tuple[int, ...]
    origin: Array
    white: Array
    iris: Array
    centre: Array
    aside: Array
    width: float
    along: Array
    lid: Lid

    def draw(self, image: Image, geometry: Geometry, pose: Pose, driven: Array, openness: float, gaze: Array) -> None:
        """Draw into the warped crop, between the driven lids, and the lid over it as it shuts."""
        self._draw_ball(image, geometry, pose, driven, gaze)
        self.lid.draw(image, geometry, pose, driven, openness)

    def _draw_ball(self, image: Image, geometry: Geometry, pose: Pose, driven: Array, gaze: Array) -> None:
        outline = np.concatenate([driven[list(self.upper)], driven[list(self.lower[-2:0:-1])]])
        box = Box.around(outline, 3, geometry.side)
        opening = float(np.abs(driven[self.upper[4]] - driven[self.lower[4]]).sum()) / self.width
        if box is None or opening < LEAST:
            return
        look = self.look(gaze)
        across = np.array([-self.along[1], self.along[0]], np.float32)
        shift = pose.linear[:2, :2] @ (look[0] * self.along + look[1] * across)
        still = affine(pose, geometry.pivot, self.centre, np.zeros(2, np.float32))
        moved = affine(pose, geometry.pivot, self.centre, shift)
        iris = draw(self.iris, self.origin, moved, box)
        colour = draw(self.white, self.origin, still, box)
        colour += (iris[..., :3] - colour) * iris[..., 3:]
        down = np.array([-self.along[1], self.along[0]], np.float32) * (SHADOW * self.width)
        colour *= 1 - SHADE * (1 - polygon_mask(outline + pose.linear[:2, :2] @ down, box, SHADOW * self.width / 2))[..., None]
        mask = polygon_mask(outline, box, self.width / 45)
        blend(image, box, colour, mask * min((opening - LEAST) / 0.06, 1.0) * self._moved(pose, look))

    def look(self, gaze: Array) -> Array:
        """(2,) pixels that the iris goes along the eye and across it, for a (2,) gaze in eye widths."""
        return np.asarray((soft_gaze(self.aside + GAZE_GAIN * gaze) - self.aside) * self.width, np.float32)

    def _moved(self, pose: Pose, look: Array) -> float:
        """0 at rest, where the picture is itself, 1 once lids or iris have moved visibly."""
        lids = pose.offsets[[*self.upper, *self.lower], :2]
        most = max(float(np.abs(lids).max()), float(np.abs(look).max()))
        low, high = NOTICED
        return min(max(most / self.width - low, 0.0) / (high - low), 1.0)


def make_eyes(crop: Image, geometry: Geometry) -> list[Eye]:
    """Both eyes of the resting portrait; an eye that is hidden or shut gets no layer."""
    eyes, grain, animal = [], Grain.of(crop), is_animal(crop, geometry.landmarks)
    for k in range(2):
        eye = _make_eye(crop, geometry, k, grain, animal)
        if eye is not None:
            eyes.append(eye)
    return eyes


def draw_eyes(eyes: list[Eye], image: Image, geometry: Geometry, pose: Pose, driven: Array, motion: Motion) -> None:
    """Draw each eye with its own gaze."""
    for eye in eyes:
        k = 0 if eye.upper is topo.RIGHT_UPPER_LID else 1
        eye.draw(image, geometry, pose, driven, float(motion.openness[k]), motion.gaze[k])


def soft_gaze(gaze: Array) -> Array:
    """A gaze in eye widths: as it is up to the knee, then easing to the limit in its own direction."""
    size, room = float(np.linalg.norm(gaze / GAZE_LIMIT)), 1 - GAZE_KNEE
    return gaze if size <= GAZE_KNEE else gaze * ((GAZE_KNEE + room * math.tanh((size - GAZE_KNEE) / room)) / size)


def _make_eye(crop: Image, geometry: Geometry, k: int, grain: Grain, animal: bool) -> Eye | None:
    (upper, lower), iris, rest, side = topo.EYES[k], topo.IRISES[k], geometry.landmarks, geometry.side
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
    radius = float(np.linalg.norm(rest[list(iris[1:]), :2] - rest[iris[0], :2], axis=1).mean()) * (ALL_IRIS if animal else 1.0)
    ys, xs = np.mgrid[0 : patch.shape[0], 0 : patch.shape[1]]
    distance = np.hypot(xs + 0.5 - centre[0], ys + 0.5 - centre[1])
    along /= max(width, 1e-6)
    aside = np.array([(rest[iris[0], :2] - (outline[0] + outline[8]) / 2) @ along / width, 0.0], np.float32)
    return Eye(
        upper, lower, box.origin,
        _white(patch, visible, distance > radius * 1.2, grain, animal) * _round(outline, box, width)[..., None],
        _iris(patch, visible, distance, radius, animal), rest[list(iris[:1])].mean(axis=0), aside, width, along,
        make_lid(crop, geometry, k),
    )  # fmt: skip


def _white(patch: Image, visible: np.ndarray, beside_iris: np.ndarray, grain: Grain, animal: bool) -> Array:
    """The eyeball with iris and lids filled in from what is seen of its white, with the picture's grain."""
    known = visible & beside_iris
    if animal and (visible & ~beside_iris).any():
        hue = np.median(patch[visible & ~beside_iris], axis=0)
        return grain.on(np.full((*patch.shape[:2], 3), hue * (1 + WHALE_EYE / max(float(hue @ LUMA), 1.0)), np.float32))
    if known.sum() < 4:  # an eye that is all iris: a white a little darker than the usual
        return np.full((*patch.shape[:2], 3), patch[visible].mean(axis=0) if visible.any() else 90, np.float32)
    if known.sum() < 12:  # a tiny eye
        return grain.on(np.full((*patch.shape[:2], 3), np.median(patch[known], axis=0), np.float32))
    luma = patch @ LUMA
    bright = np.percentile(luma[known], 80)
    clear = known & (luma > 0.8 * bright)  # lashes and the lid's shadow do not go on behind the iris,
    hue = np.ptp(patch, axis=2) / np.maximum(luma, 1)
    clear &= hue <= np.percentile(hue[clear], PALE)  # nor do the lids' rims and the red of the corners
    return np.where(clear[..., None], patch, grain.on(filled(patch, clear, 1.2))).astype(np.float32)


def _round(outline: Array, box: Box, width: float) -> Array:
    """(h, w) the shade of a ball: its middle turns to the light, and its sides turn away."""
    xs, ys = np.meshgrid(np.arange(box.x0, box.x1) + 0.5, np.arange(box.y0, box.y1) + 0.5)
    middle = (outline.min(axis=0) + outline.max(axis=0)) / 2
    away = np.hypot(xs - middle[0], ys - middle[1]) / (0.5 * width)
    return np.asarray(BRIGHTER - (BRIGHTER - DIMMER) * np.minimum(away, 1.2) ** 2, np.float32)


def _iris(patch: Image, visible: np.ndarray, distance: Array, radius: float, animal: bool = False) -> Array:
    """The iris, what the lids hide filled in from the visible colours at the same radius; so is what of white, or of a tear on
    the lower lid, reaches into its rim. An animal's is even there."""
    ring = np.minimum(distance / max(radius, 1.0) * 6, 9).astype(int)
    colour, luma = patch.astype(np.float32), patch @ LUMA
    seen = np.zeros(3, np.float32)
    for k in range(10):
        here = (ring == k) & visible
        even = animal and k >= RIM
        seen = np.median(patch[here], axis=0).astype(np.float32) if here.any() and not even else seen
        alien = ~visible if k < RIM else ~visible | even | (luma > ALIEN * float(seen @ LUMA) + 8)
        colour[(ring == k) & alien] = seen
    coverage = np.clip((radius * 1.08 - distance) / max(0.16 * radius, 1.0) + 0.5, 0.0, 1.0)
    return np.dstack([colour, coverage]).astype(np.float32)
