"""The mouth layer: what is seen between the lips."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from ..face import topology as topo
from ..face.motion import Array
from ..frames import Image
from .geometry import Geometry
from .layers import Box, affine, blend, draw, polygon_mask
from .pose import Pose

OWN_INTERIOR = 0.07  # a mouth open by this share of its width shows its own interior


@dataclass(frozen=True)
class Mouth:
    """upper: (h, w, 3) cavity and upper teeth, fixed to the head; lower: (h, w, 4) lower teeth
    and tongue with coverage, fixed to the jaw; both with their top left corner at `origin`."""

    origin: Array
    upper: Array
    lower: Array
    centre: Array
    width: float

    def draw(self, image: Image, geometry: Geometry, pose: Pose, driven: Array) -> None:
        """Draw into the warped crop, between the driven lips."""
        outline = np.concatenate([driven[list(topo.UPPER_INNER_LIP)], driven[list(topo.LOWER_INNER_LIP[-2:0:-1])]])
        gap = float(np.linalg.norm(driven[13] - driven[14])) / self.width
        box = Box.around(outline, 4, geometry.side)
        if box is None or gap < 0.01:
            return
        jaw = (pose.offsets[[14, 17, topo.CHIN]].mean(axis=0) @ pose.linear.T)[:2]
        colour = draw(self.upper, self.origin, affine(pose, geometry.pivot, self.centre, np.zeros(2, np.float32)), box)
        lower = draw(self.lower, self.origin, affine(pose, geometry.pivot, self.centre, jaw), box)
        colour += (lower[..., :3] - colour) * lower[..., 3:]
        mask = polygon_mask(outline, box, self.width / 90)
        shade = polygon_mask(outline, box, self.width / 14)  # lips cast a soft shadow on the teeth
        blend(image, box, colour * (0.35 + 0.65 * shade[..., None]), mask * min(gap / 0.04, 1.0))


def make_mouth(crop: Image, geometry: Geometry) -> Mouth:
    """Draw the interior of the portrait's mouth in its own tones."""
    rest = geometry.landmarks
    left, right = rest[78], rest[308]
    width = max(float(np.linalg.norm(right[:2] - left[:2])), 4.0)
    centre = (rest[13] + rest[14]) / 2
    box = Box.around(np.stack([centre[:2] - 0.8 * width, centre[:2] + (0.8 * width, 1.1 * width)]), 0, geometry.side)
    assert box is not None, "a crop is larger than its mouth"
    xs, ys = np.meshgrid(np.arange(box.x0, box.x1) + 0.5, np.arange(box.y0, box.y1) + 0.5)
    along = (right[:2] - left[:2]) / width
    u = ((xs - centre[0]) * along[0] + (ys - centre[1]) * along[1]) / width
    v = ((ys - centre[1]) * along[0] - (xs - centre[0]) * along[1]) / width
    gap = float(np.linalg.norm(rest[13, :2] - rest[14, :2])) / width
    tones = _Tones.of(crop, rest)
    upper, lower = _upper(u, v + gap / 2, tones), _lower(u, v - gap / 2, tones)
    if gap > OWN_INTERIOR:
        outline = np.concatenate([rest[list(topo.UPPER_INNER_LIP), :2], rest[list(topo.LOWER_INNER_LIP[-2:0:-1]), :2]])
        _keep_own(upper, lower, box.of(crop), polygon_mask(outline, box, 0.0), width)
    return Mouth(box.origin, upper, lower, centre, width)


@dataclass(frozen=True)
class _Tones:
    """Colours of the interior, from the portrait's own skin and lips."""

    cavity: Array
    flesh: Array
    teeth: Array

    @classmethod
    def of(cls, crop: Image, rest: Array) -> _Tones:
        skin = _sample(crop, rest[[50, 280, 205, 425, 151, 9]])
        lip = _sample(crop, rest[[0, 17, 37, 267, 84, 314]])
        grey = float(skin.mean())
        saturation = float(np.ptp(skin)) / max(float(skin.max()), 1.0)
        warm = np.array([1.0, 1.0 - 0.10 * min(1.0, 2.5 * saturation), 1.0 - 0.30 * min(1.0, 2.5 * saturation)])
        flesh = 0.55 * lip + 0.45 * grey * np.array([0.8, 0.45, 0.42]) if saturation > 0.12 else 0.6 * lip
        return cls(
            cavity=(0.16 * lip + 0.05 * grey).astype(np.float32),
            flesh=np.clip(0.85 * flesh, 0, 255).astype(np.float32),
            teeth=np.clip(min(1.02 * grey + 22, 215) * warm, 0, 235).astype(np.float32),
        )


def _sample(crop: Image, points: Array) -> Array:
    blurred = cv2.GaussianBlur(crop, (0, 0), max(crop.shape[0] / 200, 0.8))
    xy = np.clip(points[:, :2].astype(int), 0, crop.shape[0] - 1)
    return np.median(blurred[xy[:, 1], xy[:, 0]].astype(np.float32), axis=0)


def _teeth(u: Array, edge: Array, count: float) -> tuple[Array, Array]:
    """Shade and coverage of a row of teeth; edge: distance past their biting edge, in mouth widths."""
    arc = np.arcsin(np.clip(u / 0.5, -1, 1))
    slot = np.abs(np.sin(arc * count))
    shade = (0.82 + 0.18 * np.clip(slot * 5, 0, 1)) * (0.55 + 0.45 * np.cos(np.clip(u / 0.5, -1, 1) * 1.45))
    bite = 0.012 * np.abs(np.cos(arc * count))
    return shade, np.clip((bite - edge) / 0.02 + 0.5, 0, 1) * np.clip((0.47 - np.abs(u)) / 0.06, 0, 1)


def _upper(u: Array, v: Array, tones: _Tones) -> Array:
    """Cavity, darker the deeper, and the upper teeth. v = 0 at the upper lip's resting edge."""
    depth = np.clip(1.0 - np.hypot(u / 0.55, (v - 0.35) / 0.75), 0, 1)
    colour = tones.cavity * (1.25 - 0.95 * depth[..., None])
    palate = np.clip(1.0 - (v - 0.02) / 0.25, 0, 1)[..., None] * 0.25
    colour = colour + (tones.flesh * 0.55 - colour) * palate
    shade, cover = _teeth(u, v - (0.115 - 0.12 * u * u), 6.0)
    teeth = tones.teeth * shade[..., None]
    return (colour + (teeth - colour) * cover[..., None]).astype(np.float32)


def _lower(u: Array, v: Array, tones: _Tones) -> Array:
    """Tongue and lower teeth, v = 0 at the lower lip's resting edge."""
    tongue = np.clip((0.86 - np.hypot(u / 0.36, (v + 0.02) / 0.17)) / 0.3 + 0.5, 0, 1)
    groove = 1.0 - 0.15 * np.exp(-((u / 0.03) ** 2))
    colour = tones.flesh * (0.72 * groove * (0.75 + 0.25 * np.clip(-v / 0.15, 0, 1)))[..., None]
    shade, cover = _teeth(u, -(v + 0.035 - 0.10 * u * u), 7.5)
    teeth = tones.teeth * (0.78 * shade)[..., None]
    colour = colour + (teeth - colour) * cover[..., None]
    return np.dstack([colour, np.maximum(tongue, cover)]).astype(np.float32)


def _keep_own(upper: Array, lower: Array, own: Image, inside: Array, width: float) -> None:
    """Where the portrait shows its mouth's interior, its own pixels stand in for the drawn ones."""
    radius = max(width / 24, 1.0)
    core = cv2.erode(inside, np.ones((3, 3)))
    keep = np.clip(cv2.GaussianBlur(core, (0, 0), radius) * 2 - 0.6, 0, 1) * core
    upper += (own.astype(np.float32) - upper) * keep[..., None]
    lower[..., 3] *= 1 - keep
