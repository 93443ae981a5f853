"""Key pictures: other pictures of a portrait's face, bent a little instead of one picture a lot."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np

from ..face import topology as topo
from ..face.motion import Array, Motion, Neutral, eye_gaze, mouth_width, rest, umeyama
from ..frames import Image
from ..portrait import Picture
from .geometry import Geometry
from .layers import Box
from .mixing import FAR, Spaces, Weights, spaces
from .pose import offsets
from .regions import HAIRLINE, REGIONS, Region
from .regions import features as features_of
from .warp import NO_MAP

RIDGE = 0.004  # eye spans: landmarks are trusted no further
AT_REST = features_of(rest())
RIGID = list(topo.RIGID)
_BELOW_HAIRLINE = [k for k, i in enumerate(topo.OVAL) if i not in HAIRLINE]
BEYOND = 0.10  # of the way from the middle of a face to its outline, that a picture of it may reach further
SAME_PLACE, NO_EDGE = (20.0, 40.0), (60.0, 100.0)  # grey levels between which it reaches there no more
MARGIN = 0.12  # of the face's size, kept round it


@dataclass(frozen=True)
class KeyPicture:
    """image: (h, w, 3) RGB of the face alone; landmarks: (478, 2) in its pixels, where the portrait's are driven to by the
    picture's own motion, so that this motion shows the picture unbent; features: see `regions.features`; reach: (478,) how
    far beyond the face's outline it is shown, in BEYOND."""

    image: Image
    landmarks: Array
    features: dict[str, Array]
    reach: Array

    @classmethod
    def of(cls, image: Image, landmarks: Array, neutral: Neutral, geometry: Geometry, reach: Array) -> KeyPicture:
        """From a picture with (478, 3) landmarks; it takes the size of the portrait, whose own are `neutral`'s."""
        scale = eye_span(neutral.landmarks) / eye_span(landmarks)
        low, high = landmarks[:, :2].min(axis=0), landmarks[:, :2].max(axis=0)
        pad = MARGIN * float((high - low).max())
        height, width = image.shape[:2]
        x0, y0 = np.maximum(np.floor(low - pad), 0).astype(int)
        x1, y1 = np.minimum(np.ceil(high + pad), (width, height)).astype(int)
        cut = image[y0:y1, x0:x1]
        size = tuple(max(round(side * scale), 8) for side in cut.shape[1::-1])
        method = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
        factor = np.array(size, np.float32) / cut.shape[1::-1]
        small = np.asarray(cv2.resize(cut, size, interpolation=method), np.uint8)
        motion = neutral.motion(landmarks)
        driven = as_driven(landmarks, motion, neutral, geometry)
        return cls(small, (driven - (x0, y0)).astype(np.float32) * factor, features_of(motion), reach)


@dataclass(frozen=True)
class Keys:
    """All key pictures of a portrait but the neutral, where they and the neutral lie in each region's space, and the widest
    mouth among them in eye distances."""

    pictures: tuple[KeyPicture, ...]
    spaces: Spaces
    widest: float

    @classmethod
    def of(cls, more: Sequence[Picture], portrait: Picture, geometry: Geometry) -> Keys:
        """portrait: the neutral picture, in the size that is animated."""
        neutral, around = Neutral.of(portrait.landmarks), _around(portrait)
        pictures = tuple(KeyPicture.of(p.image, p.landmarks, neutral, geometry, _reach(_around(p), around)) for p in more)
        widest = max((mouth_width(p.landmarks) for p in more), default=0.0)
        return cls(pictures, spaces([AT_REST, *(picture.features for picture in pictures)]), widest)

    def for_clips(self) -> Keys:
        """The same over a picture that has lips and eyes of its own: those of the key pictures take their place wherever they
        can be bent to what is wanted, and never the face, which lives."""
        known = spaces([{name: np.full_like(at, FAR) for name, at in AT_REST.items()}, *(p.features for p in self.pictures)])
        known["face"][0], known["face"][1:] = AT_REST["face"], FAR
        return replace(self, spaces=known)


def eye_span(landmarks: Array) -> float:
    """Distance of the outer corners of the eyes, in the unit of (n, 2 or 3) landmarks."""
    return max(float(np.linalg.norm(landmarks[33] - landmarks[263])), 1e-6)


def _around(picture: Picture) -> Array:
    """(n, 3) colours just outside the face, at the n landmarks of its outline below the hairline."""
    outline = picture.landmarks[list(topo.OVAL), :2]
    at = (outline + BEYOND * (outline - outline.mean(axis=0)))[_BELOW_HAIRLINE]
    blurred = cv2.blur(picture.image, (max(round(eye_span(picture.landmarks) / 16), 1),) * 2)
    columns, rows = np.clip(at, 0, np.array(picture.image.shape[1::-1]) - 1).astype(int).T
    return blurred[rows, columns].astype(np.float32)


def _reach(around: Array, other: Array) -> Array:
    """(478,) how far a picture reaches beyond its face, by the colours around it and around the portrait's: cheeks and jaw with
    their surroundings where both were taken at one place, unless they differ so much that one would see an edge. Hair moves on
    its own: it is always the portrait's."""
    difference = np.abs(around - other).max(axis=1)
    same_place = np.interp(np.percentile(difference, 75), SAME_PLACE, (1.0, 0.0))
    out = np.zeros(topo.COUNT, np.float32)
    out[np.array(topo.OVAL)[_BELOW_HAIRLINE]] = same_place * np.interp(difference, NO_EDGE, (1.0, 0.0))
    return out


def as_driven(landmarks: Array, motion: Motion, neutral: Neutral, geometry: Geometry) -> Array:
    """(478, 2) where in a picture with (478, 3) landmarks those of the portrait come to lie by the picture's own motion: lids
    and lips are driven by rules of their own, which no landmarks of a picture keep."""
    scale, rotation, shift = umeyama(neutral.landmarks[RIGID], landmarks[RIGID])
    corner = neutral.landmarks[topo.NOSE_TIP] - geometry.solid[topo.NOSE_TIP]  # of the crop
    moved = geometry.solid + corner + offsets(motion, geometry, mouth_width(landmarks))
    driven = (scale * moved @ rotation.T + shift)[:, :2].astype(np.float32)
    return with_irises(driven, geometry.landmarks, motion)


def with_irises(driven: Array, rest: Array, motion: Motion) -> Array:
    """(478, 2) driven landmarks with both irises where the gaze has them; in a shut eye they lie between the lids."""
    out = driven.copy()
    at_rest = eye_gaze(rest)
    for k, ((upper, lower), iris) in enumerate(zip(topo.EYES, topo.IRISES, strict=True)):
        start, end = driven[upper[0]], driven[upper[-1]]
        along = end - start
        look = at_rest[k] + motion.gaze[k]
        open_eye = (start + end) / 2 + look[0] * along + look[1] * np.array([-along[1], along[0]], np.float32)
        between = (driven[list(upper[3:6])] + driven[list(lower[3:6])]).mean(axis=0) / 2
        between = between + look[0] * along
        centre = between + min(max(float(motion.openness[k]), 0.0), 1.0) * (open_eye - between)
        size = np.linalg.norm(along) / max(float(np.linalg.norm(rest[upper[-1], :2] - rest[upper[0], :2])), 1e-6)
        turned = along / max(float(np.linalg.norm(along)), 1e-6)
        radius = float(np.linalg.norm(rest[iris[1], :2] - rest[iris[3], :2])) / 2 * size
        out[iris[0]], out[iris[1]], out[iris[3]] = centre, centre + radius * turned, centre - radius * turned
    return out


def lay_over(base: Image, driven: Array, keys: tuple[KeyPicture, ...], weights: Weights) -> Image:
    """`base` (side, side, 3), which shows the neutral picture driven, with the other key pictures' regions over it.

    driven: (478, 2) landmarks, irises too. keys: without the neutral; weights: with it, first.
    """
    if all(share[0] > 1 - 1e-4 for share in weights.values()):
        return base
    out = base.copy()
    for name, region in REGIONS.items():
        if name == "face" and weights[name][0] > 1 - 1e-4:
            continue
        _lay_region(out, base, region, driven, keys, weights[name])
    return out


def _lay_region(out: Image, base: Image, region: Region, driven: Array, keys: tuple[KeyPicture, ...], share: Array) -> None:
    used = np.flatnonzero(share[1:] > 0)
    outline = driven[list(region.outline)]
    reach = sum((float(share[1 + k]) * keys[k].reach for k in used), np.zeros(topo.COUNT, np.float32))
    outline = outline + BEYOND * reach[list(region.outline), None] * (outline - outline.mean(axis=0))
    box = Box.around(outline, 0, base.shape[0])
    if box is None:
        return
    unit = eye_span(driven)
    maps = _maps(region, driven, [keys[k].landmarks for k in used], box, unit) if len(used) else []
    pictures = [_remapped(keys[k].image, m) for k, m in zip(used, maps, strict=True)]
    shares = [float(share[1 + k]) for k in used]
    if share[0] > 0:
        pictures.append(box.of(base))
        shares.append(float(share[0]))
    mask = _mask(outline, box, region, unit)
    box.of(out)[:] = cv2.blendLinear(box.of(out), _mixed(pictures, shares), 1 - mask, mask)


def _remapped(image: Image, at: Array) -> Image:
    return np.asarray(cv2.remap(image, at, NO_MAP, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE), np.uint8)


def _mixed(pictures: list[Image], shares: list[float]) -> Image:
    """Their weighted mean."""
    out, so_far = np.ascontiguousarray(pictures[0]), shares[0]
    for picture, share in zip(pictures[1:], shares[1:], strict=True):
        so_far += share
        out = np.asarray(cv2.addWeighted(out, 1 - share / so_far, np.ascontiguousarray(picture), share / so_far, 0), np.uint8)
    return out


def _maps(region: Region, driven: Array, sources: list[Array], box: Box, unit: float) -> list[Array]:
    """For each source's landmarks a (h, w, 2) map from the box's pixels to its picture: linear radial basis functions with
    an affine part, from where the landmarks are driven back to where they lie."""
    nodes = driven[list(region.nodes)].astype(np.float64)
    origin, n = nodes.mean(axis=0), len(nodes)
    at = (nodes - origin) / unit
    system = np.zeros((n + 3, n + 3))
    system[:n, :n] = -_distances(at, at)
    system[:n, :n].flat[:: n + 1] += RIDGE
    system[:n, n] = system[n, :n] = 1
    system[:n, n + 1 :] = at
    system[n + 1 :, :n] = at.T
    wanted = np.zeros((n + 3, 2 * len(sources)))
    wanted[:n] = np.concatenate([source[list(region.nodes)] for source in sources], axis=1)
    weights = np.linalg.solve(system, wanted)
    width, height = box.size
    columns, rows = _cells(width, height, region.grid)
    xs = box.x0 + (np.arange(columns) + 0.5) * (width / columns) - 0.5
    ys = box.y0 + (np.arange(rows) + 0.5) * (height / rows) - 0.5
    points = (np.stack(np.meshgrid(xs, ys), axis=-1).reshape(-1, 2) + 0.5 - origin) / unit
    basis = np.concatenate([-_distances(points, at), np.ones((len(points), 1)), points], axis=1)
    found = (basis @ weights).reshape(rows, columns, -1).astype(np.float32) - np.float32(0.5)
    return [
        np.asarray(cv2.resize(np.ascontiguousarray(found[..., k : k + 2]), box.size, interpolation=cv2.INTER_LINEAR), np.float32)
        for k in range(0, found.shape[2], 2)
    ]


def _cells(width: int, height: int, most: int) -> tuple[int, int]:
    longest = max(width, height)
    return max(round(most * width / longest), 2), max(round(most * height / longest), 2)


def _distances(a: Array, b: Array) -> Array:
    """(len(a), len(b)) between two lists of points."""
    squares = (a * a).sum(axis=1)[:, None] + (b * b).sum(axis=1)[None] - 2 * (a @ b.T)
    return np.sqrt(np.maximum(squares, 0.0))


def _mask(outline: Array, box: Box, region: Region, unit: float) -> Array:
    """(h, w) 0..1: 1 well inside the outline, soft at its edge, 0 on it."""
    width, height = box.size
    shrink = min(1.0, 64 / max(width, height))
    size = (max(round(width * shrink), 2), max(round(height * shrink), 2))
    small = np.zeros(size[::-1], np.uint8)
    corners = (outline - box.origin) * (np.array(size, np.float32) / (width, height))
    cv2.fillPoly(small, [np.round(corners * 16 - 8).astype(np.int32)], 1, cv2.LINE_8, 4)
    inside = cv2.distanceTransform(cv2.copyMakeBorder(small, 1, 1, 1, 1, cv2.BORDER_CONSTANT), cv2.DIST_L2, 3)[1:-1, 1:-1]
    ramp = np.clip((inside - 1) / max(region.feather * unit * size[0] / width, 1e-3), 0, 1)
    soft = ramp * ramp * (3 - 2 * ramp)
    return np.clip(cv2.resize(soft, box.size, interpolation=cv2.INTER_LINEAR), 0, 1).astype(np.float32)
