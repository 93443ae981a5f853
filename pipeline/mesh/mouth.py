"""The mouth layer: what is seen between the lips. Upper teeth belong to the skull, lower ones and the tongue to the jaw."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np

from ..face import topology as topo
from ..face.motion import Array
from ..frames import Image
from .geometry import Geometry
from .layers import Box, affine, blend, draw, polygon_mask
from .pose import Pose
from .teeth import ARCH, CROWN, lower_row, upper_row
from .tones import LUMA, Tones, own_teeth

OWN_INTERIOR = 0.11  # a mouth open by this share of its width shows its own interior
EYES_TO_MOUTH = 0.8  # width of a usual mouth, in eye distances
SHOWN = 0.04  # how far the upper teeth reach below the resting upper lip, in mouth widths
OVERBITE = 0.09  # and over the lower ones
JAW_POINTS = (152, 148, 377, 175, 171, 396)  # the chin
JAW_SLACK, JAW_GAIN = 0.02, 1.7  # of the chin's way in mouth widths the skin's own part, and the teeth's way for the rest
FRONT, DIM = 0.24, 0.72  # mouth widths beside the middle up to which teeth are in full light, and what the last ones lack
NARROW = 0.95  # mouth widths: lips that are pursed more than this keep light out
PURSED = 0.38  # of the way from nose to chin: an upper lip that reaches further is pushed down its teeth
SHADOW, SHADOW_EDGE = 0.03, 0.07  # of the lips: mouth widths that it lies lower, and its softness
DARK, OWN_DARK = 0.38, 0.15  # what it takes of the light, and of that on a portrait's own teeth, which show it already
COVERED = 0.5  # of its light reaches a lower row behind the lower lip; all of it past this widening of a smile and way of the jaw
BARED, DOWN = 0.3, 0.5  # in mouth widths
SMILE = 0.4  # of a smile's widening, in mouth widths, by which it lowers chin and lower lip and leaves the jaw shut
BRIGHT_TOOTH, BETWEEN = 0.55, 0.02  # luma of the darkest tooth against the others, and half a line between two, in mouth widths
JAW_SHARE = 0.8  # of parted lips' gap that is the jaw's
UPPER_LIP_REACH = (-0.125, 0.10)  # up and down on the upper teeth, in mouth widths
LEAST_RISE = -0.03  # what is left of it upward for a lip that is up in the picture
LOWER_LIP_REACH = 0.09  # no lip goes further down on its teeth


@dataclass(frozen=True)
class Mouth:
    """Textures with their top left corner at `origin`. upper: (h, w, 4) upper teeth and gum, fixed to the head; lower:
    (h, w, 4) lower teeth and tongue, fixed to the jaw; unit: what is a mouth's width for teeth, in pixels;
    dropped: how far the jaw is down in the picture, in units; dark: share of light that the lips' shadow takes;
    rise: how far up the upper lip slides on the teeth, in units, negative."""

    origin: Array
    upper: Array
    lower: Array
    cavity: Array
    centre: Array
    down: Array  # (2,) unit vector
    width: float
    unit: float
    dropped: float
    dark: float
    rise: float

    def draw(self, image: Image, geometry: Geometry, pose: Pose, driven: Array, shut: float) -> None:
        """Draw into the warped crop, between the driven lips. shut: how far the portrait's own lips were brought together."""
        outline = np.concatenate([driven[list(topo.UPPER_INNER_LIP)], driven[list(topo.LOWER_INNER_LIP[-2:0:-1])]])
        gap = float(np.linalg.norm(driven[13] - driven[14])) / self.width
        box = Box.around(outline, 4, geometry.side)
        alpha = min(gap / 0.04, 1.0) * self._moved(pose)
        if box is None or gap < 0.01 or alpha <= 0:
            return
        colour = self._interior(geometry, pose, box, self.jaw(pose, geometry) + self.dropped * (1.0 - shut))
        mask = polygon_mask(outline, box, self.width / 90)
        light = polygon_mask(outline + SHADOW * self.width * self.down, box, SHADOW_EDGE * self.width)  # less below the upper lip
        blend(image, box, colour * (1 - self.dark * (1 - light[..., None])), mask * alpha)

    def _moved(self, pose: Pose) -> float:
        """0 at rest, where the picture is itself, 1 once lips or jaw have moved visibly."""
        lips = [*topo.UPPER_INNER_LIP, *topo.LOWER_INNER_LIP, topo.CHIN]
        return min(float(np.abs(pose.offsets[lips, :2]).max()) / (0.03 * self.width), 1.0)

    def _interior(self, geometry: Geometry, pose: Pose, box: Box, jaw: float) -> Array:
        """(h, w, 3) of the box: cavity, jaw, and over it the upper teeth."""
        left, right = (geometry.landmarks + pose.offsets)[[78, 308], :2]
        across = float(np.linalg.norm(right - left)) / self.unit
        down = self.unit * (self.down @ pose.linear[:2, :2].T)
        colour = np.empty((*box.size[::-1], 3), np.float32)
        colour[:] = self.cavity
        lower = self._slipped(pose, geometry, UPPER_LIP_REACH[0]) + jaw
        bared = COVERED + (1 - COVERED) * min(self._smile(pose, geometry) / BARED + max(jaw, 0.0) / DOWN, 1.0)
        for texture, way, lit in ((self.lower, lower, bared), (self.upper, self._slipped(pose, geometry, self.rise), 1.0)):
            placement = affine(pose, geometry.pivot, self.centre, way * down)
            layer = draw(texture, self.origin, _widened(placement, self.centre, max(across / (1.9 * ARCH), 1.0)), box)
            shown = layer[..., :3] if lit == 1 else self.cavity + (layer[..., :3] - self.cavity) * np.float32(lit)
            colour += (shown - colour) * layer[..., 3:]
        light = min(across / min(NARROW, self.width / self.unit), 1.0) ** 2
        return np.asarray(self.cavity + (colour - self.cavity) * np.float32(light))

    def _slipped(self, pose: Pose, geometry: Geometry, rise: float) -> float:
        """How far a row follows a mouth that has left it, in units: no lip rises (negative) or sinks further on its teeth."""
        lip = float(pose.offsets[13] @ geometry.axes[1]) / self.unit
        return lip - float(np.clip(lip, rise, UPPER_LIP_REACH[1]))

    def _smile(self, pose: Pose, geometry: Geometry) -> float:
        """How much wider the mouth has become, in units."""
        return max(float((pose.offsets[308] - pose.offsets[78]) @ geometry.axes[0]), 0.0) / self.unit

    def jaw(self, pose: Pose, geometry: Geometry) -> float:
        """How far the lower teeth have gone down, in units: as the chin does, whatever the lips do over them."""
        down = geometry.axes[1] / self.unit
        smile = SMILE * self._smile(pose, geometry)
        chin = float(pose.offsets[list(JAW_POINTS)].mean(axis=0) @ down) - JAW_SLACK - smile
        slipped = self._slipped(pose, geometry, UPPER_LIP_REACH[0])
        lip = float(pose.offsets[[14, 87, 317]].mean(axis=0) @ down) - LOWER_LIP_REACH - smile - slipped
        return max(JAW_GAIN * max(chin, 0.0), lip)


def make_mouth(crop: Image, geometry: Geometry) -> Mouth:
    """Set teeth into the portrait's mouth, in its own light; what the picture shows of its mouth's interior stays."""
    rest = geometry.landmarks
    left, right = rest[78], rest[308]
    width = max(float(np.linalg.norm(right[:2] - left[:2])), 4.0)
    unit = max(float(np.sqrt(width * EYES_TO_MOUTH * geometry.eye_distance)), 4.0)
    along = (right[:2] - left[:2]) / width
    down = np.array([-along[1], along[0]], np.float32)
    centre = (rest[13] + rest[14]) / 2
    box = Box.around(np.stack([centre[:2] - 1.1 * unit, centre[:2] + 1.1 * unit]), 0, geometry.side)
    assert box is not None, "a crop is larger than its mouth"
    xs, ys = np.meshgrid(np.arange(box.x0, box.x1) + 0.5 - centre[0], np.arange(box.y0, box.y1) + 0.5 - centre[1])
    u, v = (xs * along[0] + ys * along[1]) / unit, (xs * down[0] + ys * down[1]) / unit
    gap = float((rest[14, :2] - rest[13, :2]) @ down)
    tones = Tones.of(crop, rest)
    outline = np.concatenate([rest[list(topo.UPPER_INNER_LIP), :2], rest[list(topo.LOWER_INNER_LIP[-2:0:-1]), :2]])
    inside = polygon_mask(outline, box, 0.0)
    own = own_teeth(box.of(crop), inside, tones.skin) if gap > OWN_INTERIOR * width else None
    tones = tones if own is None else replace(tones, teeth=own)
    nose, lip, chin = (rest[[2, 13, topo.CHIN]] @ geometry.axes[1]).tolist()
    pursed = max(lip - nose - PURSED * (chin - nose), 0.0) / unit
    v = v + gap / unit / 2  # from the upper lip
    upper = _upper(u, v + pursed - (0 if own is None else max(gap / unit - SHOWN, 0)), tones, unit)
    lower = _lower(u, v, tones, unit)
    if own is not None:
        lip = np.interp(xs, *(rest[list(topo.UPPER_INNER_LIP), :2] - centre[:2]).T)
        gums = np.clip(lip - ys, 0, 1) * min(max(gap / unit - 0.4 * CROWN, 0) / (0.3 * CROWN), 1.0)
        _keep_own(upper, box.of(crop), inside * _own_row(box.of(crop), inside, ys < lip + SHOWN * unit, tones, unit), gums, tones)
    return Mouth(
        box.origin,
        upper,
        lower,
        tones.cavity,
        centre,
        down,
        width,
        unit,
        JAW_SHARE * max(gap, 0.0) / unit if own is None else 0.0,
        DARK if own is None else OWN_DARK,
        UPPER_LIP_REACH[0] if own is None else min(UPPER_LIP_REACH[0] + gap / unit - SHOWN, LEAST_RISE),
    )


def _widened(placement: Array, centre: Array, wide: float) -> Array:
    """The placement after a stretch along the picture's x axis, about `centre`."""
    stretch = np.array([[wide, 0, (1 - wide) * centre[0]], [0, 1, 0], [0, 0, 1]], np.float32)
    return np.asarray(placement @ stretch, np.float32)


def _lit(colour: Array, u: Array, tones: Tones) -> Array:
    """A row of teeth in the light that falls through the lips: the further back they stand, the more they are as the cavity."""
    way = np.clip((np.abs(u) - FRONT) / (ARCH - 0.05 - FRONT), 0, 1)
    light = 1.0 - DIM * way * way * (3 - 2 * way)
    return np.asarray(tones.cavity + (colour - tones.cavity) * light[..., None])


def _upper(u: Array, v: Array, tones: Tones, unit: float) -> Array:
    """Upper teeth and the gum above them. v = 0 at the resting upper lip's edge."""
    past = v - SHOWN + 0.10 * u * u
    relative, cover = upper_row(u, past, unit)
    gum = np.clip((-past - 0.74 * CROWN) / 0.02 + 0.5, 0, 1)
    shadow = 0.92 + 0.08 * np.clip((past + CROWN) / (0.6 * CROWN), 0, 1)  # of the upper lip
    colour = _lit(tones.gum + (relative * tones.teeth * shadow[..., None] - tones.gum) * cover[..., None], u, tones)
    return np.dstack([colour, np.maximum(gum, cover)]).astype(np.float32)


def _lower(u: Array, v: Array, tones: Tones, unit: float) -> Array:
    """Tongue, lower teeth and their gum while the jaw is shut. v = 0 at the resting upper lip's edge."""
    past = -(v - SHOWN + OVERBITE) - 0.32 * u * u
    relative, cover = lower_row(u, past, unit)
    tongue, light = _tongue(u, past)
    colour = tones.flesh * light[..., None]
    gum = np.clip((-past - 0.70 * CROWN) / 0.02 + 0.5, 0, 1)
    colour = colour + (_lit(1.1 * tones.flesh, u, tones) - colour) * gum[..., None]
    colour = colour + (_lit(0.82 * relative * tones.teeth, u, tones) - colour) * cover[..., None]
    return np.dstack([colour, np.maximum(np.maximum(tongue, gum), cover)]).astype(np.float32)


def _tongue(u: Array, past: Array) -> tuple[Array, Array]:
    """Coverage and light of the tongue, which lies behind the lower teeth and rises to the back."""
    tongue = np.clip((1.0 - np.hypot(u / 0.42, (past - 0.14) / 0.34)) / 0.25, 0, 1)
    groove = 1.0 - 0.07 * np.exp(-((u / 0.05) ** 2)) * np.clip(past / 0.1, 0, 1)
    behind = np.clip((past + 0.02) / 0.10, 0.35, 1)  # the teeth's own shadow
    return tongue, np.asarray(1.0 * groove * behind * (1.0 - 0.55 * np.clip((past - 0.10) / 0.36, 0, 1)))


def _own_row(own: Image, inside: Array, above: Array, tones: Tones, unit: float) -> Array:
    """(h, w) 1 where the portrait shows its upper teeth: bright from the upper lip's edge on, down to the first dark. What lies
    below them, a gap, a tongue, lower teeth, is no part of the skull. above: (h, w) what lies over that edge."""
    bright = (own.astype(np.float32) @ LUMA > BRIGHT_TOOTH * float(tones.teeth @ LUMA)).astype(np.uint8)
    size = 2 * round(BETWEEN * unit) + 1
    closed = cv2.morphologyEx(bright, cv2.MORPH_CLOSE, np.ones((size, size), np.uint8))  # over the lines between teeth
    seen = np.minimum.accumulate((closed > 0) | above | (inside < 0.5), axis=0)
    shown = inside > 0.5
    columns = np.flatnonzero(shown.any(axis=0))
    first = np.argmax(shown[:, columns], axis=0)
    depth = (seen & shown)[:, columns].sum(axis=0).astype(np.float32)
    even = cv2.GaussianBlur(depth[None], (0, 0), 0.08 * unit)[0]  # a row of teeth ends in a line
    end = np.zeros(own.shape[1], np.float32)
    end[columns] = first + np.minimum(depth, even) if len(columns) else 0
    return np.clip(end[None] - np.arange(own.shape[0])[:, None], 0, 1).astype(np.float32)


def _keep_own(upper: Array, own: Image, inside: Array, gums: Array, tones: Tones) -> None:
    """The teeth that a portrait shows take the place of the upper row in its skull; `gums` (h, w) go above whole crowns."""
    core = cv2.GaussianBlur(cv2.erode(inside, np.ones((3, 3))), (0, 0), 0.8)[..., None]
    upper[..., :3] += (tones.gum - upper[..., :3]) * gums[..., None]
    upper[..., :3] += (own.astype(np.float32) - upper[..., :3]) * core
    upper[..., 3] = np.maximum(np.maximum(core[..., 0], gums), upper[..., 3] * (1 - gums.max()))
