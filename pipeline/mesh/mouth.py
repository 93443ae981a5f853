"""The mouth layer: what is seen between the lips. Upper teeth belong to the skull, lower ones and the tongue to the jaw."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import cv2
import numpy as np

from ..face import topology as topo
from ..face.motion import Array
from ..frames import Image
from .animal import is_animal
from .finish import Grain
from .geometry import Geometry
from .interior import SHOWN, keep_own, lower_teeth, own_row, upper_teeth
from .layers import Box, affine, blend, polygon_mask
from .pose import Pose
from .teeth import ARCH, CROWN
from .tones import Tones, own_teeth

OWN_INTERIOR = 0.11  # a mouth open by this share of its width shows its own interior
EYES_TO_MOUTH = 0.8  # width of a usual mouth, in eye distances
JAW_POINTS = (152, 148, 377, 175, 171, 396)  # the chin
JAW_SLACK, JAW_GAIN = 0.02, 1.5  # of the chin's way in mouth widths the skin's own part, and the teeth's way for the rest
JAW_SHARE = 0.8  # of parted lips' gap that is the jaw's
LOWER_BOW_OPEN = 0.9  # how much higher the lower row's sides stand per way of the jaw: it is seen from above as it opens
NARROW = 0.95  # mouth widths: lips that are pursed more than this keep light out, twice as much from what is behind the teeth
PURSED = 0.38  # of the way from nose to chin: an upper lip that reaches further is pushed down its teeth,
LOWER_PURSED = 0.5  # and a lower one up by this share of that
CORNERS, CORNER = (0.36, 0.97), 0.2  # of the way from the middle to a corner between which light falls to that share
BACK_TEETH = 0.2  # mouth widths over which it falls so to the end of a row, too: none ends sharply where a head is turned
SHADOW, SHADOW_EDGE = 0.04, 0.07  # of the lips: mouth widths that it lies lower, and its softness
DARK, OWN_SHADE = 0.35, 0.3  # what it takes of the light; share of all shades that a portrait's own teeth do not show
RIM = 0.06  # mouth widths of a lip's wet inside that are seen below and beside an opening; landmarks lie outside of it
BEHIND, DIM = 0.28, 0.6  # light on what is behind the lower lip, against flesh this dim,
BARED = 0.25  # unless a smile of this widening, in mouth widths, bares it,
WIDE, DOWN = 0.3, 0.4  # or a gap this much wider than WIDE
OVER_TEETH = 0.5  # of it over the upper teeth
ROUND = (0.25, 0.55)  # heights of a mouth in its widths between which light behind the teeth comes to fall to the rim all round,
DOME, LIT = 0.7, 0.4  # from a place so far down the opening, and from that share of the way on
SINK = 0.3  # of what it is open beyond WIDE, by which lower teeth and tongue sink behind the lip
BESIDE, GAPING = 0.035, 0.25  # mouth widths that corners are further out than landmarks say, where it is open so far
UNDER, UNDER_EDGE = 0.30, 0.05  # share of the light that the upper row takes of what is behind it; mouth widths
STRETCH = 0.3  # of an opening, by which a mouth is wider without a smile
SMILE = 0.45  # of a smile's widening, by which it lowers chin and lower lip and leaves the jaw shut
UPPER_LIP_REACH = (-0.14, 0.10)  # up and down on the upper teeth, in mouth widths,
SMILE_RISE = 0.2  # and further up by this share of a smile
LEAST_RISE = -0.03  # what is left of it upward for a lip that is up in the picture
LOWER_LIP_REACH = 0.08  # no lip goes further down on its teeth


@dataclass(frozen=True)
class Mouth:
    """Textures with their top left corner at `origin`. upper: (h, w, 4) upper teeth and gum, fixed to the head; lower:
    (h, w, 4) lower teeth and tongue, fixed to the jaw; unit: what is a mouth's width for teeth, in pixels; dropped: how far the
    jaw is down in the picture, in units; shade: share of all shades that the upper row does not have already; wet: how much of
    a lip's inside rims an opening; rise: how far up the upper lip slides on the teeth, in units, negative, and how much further
    per unit of a smile."""

    origin: Array
    upper: Array
    lower: Array
    cavity: Array
    flesh: Array
    centre: Array
    along: Array  # (2,) unit vectors
    down: Array
    width: float
    unit: float
    dropped: float
    shade: float
    wet: float
    rise: tuple[float, float]

    def draw(self, image: Image, geometry: Geometry, pose: Pose, driven: Array, shut: float) -> None:
        """Draw into the warped crop, between the driven lips. shut: how far the portrait's own lips were brought together."""
        gap = float(np.linalg.norm(driven[13] - driven[14])) / self.width
        outline = np.concatenate([driven[list(topo.UPPER_INNER_LIP)], driven[list(topo.LOWER_INNER_LIP[-2:0:-1])]])
        outline = _beside(outline, BESIDE * self.width * min(gap / GAPING, 1.0))
        box = Box.around(outline, 4, geometry.side)
        alpha = min(max(gap - 0.01, 0.0) / 0.04, 1.0) * self._moved(pose)
        if box is None or alpha <= 0:
            return
        jaw, smile = self.jaw(pose, geometry) + self.dropped * (1.0 - shut), self._smile(pose, geometry)
        jaw += SINK * max(gap - WIDE, 0.0)
        bared = min(BEHIND + smile / BARED + max(gap - WIDE, 0.0) / DOWN, 1.0)
        narrow = min(float(np.linalg.norm(outline[10] - outline[0])) / self.width, 1.0)
        light, inner = self._light(outline, box, self.width * narrow)
        lip = (1 - inner) * np.float32(self.wet * max(1 - smile / BARED, 0.0))
        colour = self._interior(geometry, pose, box, jaw, bared, light, lip, _dome(outline, box))
        blend(image, box, colour, polygon_mask(outline, box, self.width / 60) * alpha)

    def _light(self, outline: Array, box: Box, width: float) -> tuple[Array, Array]:
        """(h, w) share of light below the upper lip of a mouth so wide, and how far a place is from the lower one and the
        corners."""
        pad = math.ceil(RIM * width)
        wider = Box(box.x0 - pad, box.y0 - pad, box.x1 + pad, box.y1 + pad)
        soft = cv2.GaussianBlur(polygon_mask(outline, wider, 0.0), (0, 0), SHADOW_EDGE * width)
        (x, y), size = self.down.tolist(), box.size
        parts = []
        for way in (SHADOW * width, -RIM * width):
            left, top = pad - round(way * x), pad - round(way * y)
            parts.append(soft[top : top + size[1], left : left + size[0]])
        return 1 - np.float32(DARK) * (1 - parts[0]), parts[1]

    def _moved(self, pose: Pose) -> float:
        """0 at rest, where the picture is itself, 1 once lips or jaw have moved visibly."""
        lips = [*topo.UPPER_INNER_LIP, *topo.LOWER_INNER_LIP, topo.CHIN]
        return min(float(np.abs(pose.offsets[lips, :2]).max()) / (0.03 * self.width), 1.0)

    def _interior(
        self, geometry: Geometry, pose: Pose, box: Box, jaw: float, bared: float, light: Array, lip: Array, dome: Array
    ) -> Array:
        """(h, w, 3) of the box: cavity, jaw, and over it the upper teeth, in (h, w) `light`, less towards the corners and, behind
        the teeth, by `_dome`. lip: (h, w) share of its inside."""
        left, right = (geometry.landmarks + pose.offsets)[[78, 308], :2]
        across = float(np.linalg.norm(right - left)) / self.unit
        wide = max(across / (1.9 * ARCH), 1.0)
        low, high = self._slipped(pose, geometry, upper=False) + jaw, self._slipped(pose, geometry, upper=True)
        lower, below, _ = self._row(self.lower, geometry, pose, box, low, wide, LOWER_BOW_OPEN * max(jaw, 0.0))
        upper, above, u = self._row(self.upper, geometry, pose, box, high, wide, 0.0)
        middle = float(((left + right) / 2 - self.centre[:2]) @ self.along) / self.unit / wide
        way = np.clip((np.abs(u - middle) * (2 * wide / across) - CORNERS[0]) / (CORNERS[1] - CORNERS[0]), 0, 1)
        way = np.maximum(way, np.clip((np.abs(u) - (ARCH - BACK_TEETH)) / BACK_TEETH, 0, 1))
        light, within = light * _falling(way), light * _falling(dome)
        narrow = min(across / min(NARROW, self.width / self.unit), 1.0)
        light *= narrow
        within *= narrow * narrow
        cavity, flesh = _plain(self.cavity, box), _plain(self.flesh, box)
        behind = np.asarray(cv2.addWeighted(lower, bared, flesh, DIM * (1 - bared), 0), np.float32)
        shaded = 1 - UNDER * cv2.GaussianBlur(above, (0, 0), UNDER_EDGE * self.unit)
        lit = _mixed(cavity, upper, 1 - self.shade * (1 - light))
        return _mixed(
            _mixed(_mixed(cavity, behind, below * shaded * np.minimum(light * narrow, within)), flesh, lip),
            lit,
            above * (1 - OVER_TEETH * lip),
        )

    def _row(
        self, texture: Array, geometry: Geometry, pose: Pose, box: Box, way: float, wide: float, bow: float
    ) -> tuple[Array, Array, Array]:
        """(h, w, 3) and (h, w) colour and coverage of a row in the box, `way` further down, stretched along the picture's x axis
        by `wide` and its sides raised by `bow`; and (h, w) how far right of its middle each pixel lies, in units."""
        down = way * self.unit * (self.down @ pose.linear[:2, :2].T)
        back = cv2.invertAffineTransform(affine(pose, geometry.pivot, self.centre, down)).astype(np.float32)
        back[:, 2] -= self.centre[:2]
        back[0] /= wide
        half = np.float32(0.5)  # pixel centres lie half a pixel inside
        x, y = np.arange(box.x0, box.x1, dtype=np.float32) + half, np.arange(box.y0, box.y1, dtype=np.float32)[:, None] + half
        at = [back[k, 0] * x + back[k, 1] * y + back[k, 2] for k in (0, 1)]
        u = (at[0] * self.along[0] + at[1] * self.along[1]) / np.float32(self.unit)
        raised = np.float32(bow * self.unit) * u * u
        at_x, at_y = (at[k] + raised * self.down[k] + (self.centre[k] - self.origin[k] - half) for k in (0, 1))
        row = cv2.remap(texture, at_x, at_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        return np.asarray(cv2.cvtColor(row, cv2.COLOR_RGBA2RGB), np.float32), cv2.extractChannel(row, 3), u

    def _slipped(self, pose: Pose, geometry: Geometry, upper: bool) -> float:
        """How far a row follows a mouth that has left it, in units: no lip rises (negative) or sinks further on its teeth."""
        lip = float(pose.offsets[13] @ geometry.axes[1]) / self.unit
        rise = self.rise[0] - self.rise[1] * self._smile(pose, geometry)
        return lip - float(np.clip(lip, rise if upper else min(rise, UPPER_LIP_REACH[0]), UPPER_LIP_REACH[1]))

    def _smile(self, pose: Pose, geometry: Geometry) -> float:
        """How much wider the mouth has become than it is, than a pursed one would be, and than it opens, in units."""
        opened = float((pose.offsets[14] - pose.offsets[13]) @ geometry.axes[1]) / self.unit
        return max(self._wider(pose, geometry) - STRETCH * max(opened, 0.0), 0.0)

    def _wider(self, pose: Pose, geometry: Geometry) -> float:
        wider = float((pose.offsets[308] - pose.offsets[78]) @ geometry.axes[0]) / self.unit
        return max(wider - max(NARROW - self.width / self.unit, 0.0), 0.0)

    def jaw(self, pose: Pose, geometry: Geometry) -> float:
        """How far the lower teeth have gone down, in units: as the chin does, whatever the lips do over them."""
        down = geometry.axes[1] / self.unit
        aside = SMILE * self._wider(pose, geometry) + self._slipped(pose, geometry, upper=False)
        chin = float(pose.offsets[list(JAW_POINTS)].mean(axis=0) @ down) - JAW_SLACK - aside
        lip = float(pose.offsets[[14, 87, 317]].mean(axis=0) @ down) - LOWER_LIP_REACH - aside
        return max(JAW_GAIN * max(chin, 0.0), lip)


def _beside(outline: Array, reach: float) -> Array:
    """(n, 2) an opening whose corners lie `reach` pixels further out."""
    left, right = outline[[0, 10]]
    across = max(float(np.linalg.norm(right - left)), 1e-3)
    along = (right - left) / across
    return outline + 2 * reach / across * ((outline - (left + right) / 2) @ along)[:, None] * along


def _falling(way: Array) -> Array:
    """(h, w) share of light on the `way` from the middle, 0, to a corner, 1."""
    return np.asarray(1 - np.float32(1 - CORNER) * way * way * (3 - 2 * way), np.float32)


def _dome(outline: Array, box: Box) -> Array:
    """(h, w) 0..1 how far towards the rim of a round opening a place lies, seen from where its tongue is; 0 in a slit."""
    left, top, right, bottom = outline[[0, 5, 10, 15]]
    across, high = right - left, bottom - top
    ratio = float(np.linalg.norm(high)) / max(float(np.linalg.norm(across)), 1e-3)
    x, y = np.meshgrid(*(np.arange(size, dtype=np.float32) for size in box.size))
    if ratio <= ROUND[0]:
        return np.zeros_like(x)
    middle = top + DOME * high - box.origin
    u, v = (
        ((x - middle[0]) * way[0] + (y - middle[1]) * way[1]) / max(float(way @ way) * reach, 1e-3)
        for way, reach in ((across, 0.5), (high, DOME))
    )
    roundness = min((ratio - ROUND[0]) / (ROUND[1] - ROUND[0]), 1.0)
    return np.asarray(np.clip((np.hypot(u, v) - LIT) / (1 - LIT), 0, 1) * roundness, np.float32)


def _plain(colour: Array, box: Box) -> Array:
    """(h, w, 3) of one colour."""
    return np.asarray(cv2.merge([np.full(box.size[::-1], channel, np.float32) for channel in colour.tolist()]), np.float32)


def _mixed(under: Array, over: Array, share: Array) -> Array:
    """(h, w, 3) `over` laid on `under` by a (h, w) share."""
    return np.asarray(cv2.blendLinear(under, over, 1 - share, share), np.float32)


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
    around, whole = Grain.of(box.of(crop)), Grain.of(crop)  # fur is none, and a backdrop may have more than the face
    grain = min(around, whole, key=lambda grain: grain.fine + grain.coarse)
    v = v if own is None else v - max(gap / unit - SHOWN, 0)  # from where an upper lip would be over such teeth
    drawn = replace(tones, teeth=tones.cavity, gum=tones.cavity) if is_animal(crop, rest) else tones  # not a person's smile
    upper = grain.on(upper_teeth(u, v + pursed, drawn, unit))
    lower = grain.on(lower_teeth(u, v + LOWER_PURSED * pursed, drawn, unit))
    rise = UPPER_LIP_REACH[0], SMILE_RISE
    if own is not None:
        lip = np.interp(xs, *(rest[list(topo.UPPER_INNER_LIP), :2] - centre[:2]).T)
        gums = np.clip(lip - ys, 0, 1) * min(max(gap / unit - 0.4 * CROWN, 0) / (0.3 * CROWN), 1.0)
        row = own_row(box.of(crop), inside, ys < lip + SHOWN * unit, tones, unit)
        keep_own(upper, box.of(crop), inside * row, gums, tones, unit)
        rise = min(UPPER_LIP_REACH[0] + gap / unit - SHOWN, LEAST_RISE), 0.0
    return Mouth(
        origin=box.origin,
        upper=upper,
        lower=lower,
        cavity=tones.cavity,
        flesh=tones.flesh,
        centre=centre,
        along=along.astype(np.float32),
        down=down,
        width=width,
        unit=unit,
        dropped=JAW_SHARE * max(gap, 0.0) / unit if own is None else 0.0,
        shade=1.0 if own is None else OWN_SHADE,
        wet=1.0 if own is None else 0.0,
        rise=rise,
    )
