"""A tracker that needs no model file: Haar cascades find the face, optical flow follows it.

The face is rectified by its last placement and compared with the first good one by dense flow
(DIS: Kroeger, Timofte, Dai, Van Gool, "Fast Optical Flow using Dense Inverse Search", ECCV 2016).
The flow gives head pose (a weak-perspective fit of a canonical face) and a handful of expression
numbers; both are turned into the 478 landmarks that the rest of the pipeline expects. Rough by
nature: head, mouth, brows and lids, no gaze.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from ..mesh.crop import Image
from . import topology as topo
from .canonical import face
from .motion import OPEN_FLOOR, Array

PATCH = 128  # side of the rectified face
UNIT = 42.0  # its pixels per eye distance
ORIGIN = np.array([64.0, 46.0], np.float32)  # where the middle of the eyes lies in it
MIN_MATCH = 0.30  # correlation with the reference below which the face counts as lost
DEPTH_RIDGE = 0.02
DARK = 0.55  # of the skin's brightness: the inside of a mouth

Grey = np.ndarray


@dataclass
class _Placement:
    """Weak perspective: image = linear (2, 3) · canonical + shift (2,)."""

    linear: Array
    shift: Array

    def similarity(self) -> Array:
        """(2, 3) map of the rectified patch into the image, without the turn of the head."""
        a, b = self.linear[0, 0], self.linear[1, 0]
        size = np.sqrt(max(np.linalg.svd(self.linear, compute_uv=False).max(), 1e-3) / max(np.hypot(a, b), 1e-3))
        a, b = a * size * size, b * size * size
        turn = np.array([[a, -b], [b, a]], np.float32) / UNIT
        return np.column_stack([turn, self.shift - turn @ ORIGIN]).astype(np.float32)


class CascadeTracker:
    """See `pipeline.face.tracker.Tracker`."""

    name = "cascade"

    def __init__(self) -> None:
        self._faces = _cascade("haarcascade_frontalface_alt2.xml")
        self._flow = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)  # type: ignore[attr-defined]
        self._reference: Grey | None = None
        self._place: _Placement | None = None
        self._eyes = np.ones(2, np.float32)
        self._least_gap = np.inf

    def track(self, image: Image, time_s: float) -> Array | None:
        grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
        if self._place is None:
            self._place = self._find(grey)
            if self._place is None:
                return None
        patch = _rectify(grey, self._place)
        if self._reference is None:
            self._reference, self._eyes = patch, np.maximum(_eye_contrast(patch), 1.0)
        flow = self._flow.calc(self._reference, patch, None)
        if _match(self._reference, patch, flow) < MIN_MATCH:
            self._place = None
            return None
        self._place = _fit(self._place.similarity(), flow)
        self._eyes = np.maximum(self._eyes * 0.999, 0.9 * _eye_contrast(patch))
        openness = np.clip((_eye_contrast(patch) / self._eyes - 0.35) / 0.5, 0.0, 1.0)
        return self._landmarks(flow, patch, self._place, openness)

    def close(self) -> None:
        """Nothing is held."""

    def _find(self, grey: Grey) -> _Placement | None:
        factor = min(1.0, 320 / max(grey.shape))
        small = cv2.resize(grey, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
        least = max(24, min(small.shape) // 6)
        boxes = self._faces.detectMultiScale(small, 1.1, 4, minSize=(least, least))
        if not len(boxes):
            return None
        x, y, w, h = (max(boxes, key=lambda b: int(b[2])) / factor).astype(float)
        left, right = (_dark_blob(grey, x + w * c, y + 0.39 * h, 0.14 * w) for c in (0.30, 0.70))
        unit = float(np.linalg.norm(right - left))
        if not 0.28 * w < unit < 0.55 * w:
            left, right, unit = np.array([x + 0.3 * w, y + 0.39 * h]), np.array([x + 0.7 * w, y + 0.39 * h]), 0.4 * w
        cos, sin = (right - left) / unit
        linear = unit * np.array([[cos, -sin, 0], [sin, cos, 0]], np.float32)
        return _Placement(linear, ((left + right) / 2).astype(np.float32))

    def _landmarks(self, flow: Array, patch: Grey, place: _Placement, openness: Array) -> Array:
        offsets, gap = _expression(flow, place)
        gap += _dark_gap(patch)
        self._least_gap = min(self._least_gap + 0.0005, gap)  # the most closed mouth so far, slowly forgotten
        _open_mouth(offsets, gap - self._least_gap)
        shape = face() + offsets
        for (upper, lower), opening in zip(topo.EYES, openness, strict=True):
            up, low = list(upper[1:-1]), list(lower[1:-1])
            seen = OPEN_FLOOR + (1 - OPEN_FLOOR) * opening
            shape[up] = shape[low] + (shape[up] - shape[low]) * seen
        scale = float(np.linalg.norm(place.linear, axis=1).mean())
        third = np.cross(place.linear[0], place.linear[1]) / scale
        full = np.vstack([place.linear, third])
        return (shape @ full.T + np.append(place.shift, 0)).astype(np.float32)


def _cascade(name: str) -> cv2.CascadeClassifier:
    return cv2.CascadeClassifier(cv2.data.haarcascades + name)  # type: ignore[attr-defined]


def _dark_blob(grey: Grey, x: float, y: float, reach: float) -> Array:
    """The middle of the darkest round spot near (x, y)."""
    x0, y0 = int(max(x - reach, 0)), int(max(y - 0.7 * reach, 0))
    window = grey[y0 : int(y + 0.7 * reach), x0 : int(x + reach)]
    if window.size < 16:
        return np.array([x, y], np.float32)
    soft = cv2.GaussianBlur(window, (0, 0), max(reach * 0.25, 1.0))
    row, column = np.unravel_index(int(np.argmin(soft)), soft.shape)
    return np.array([x0 + column, y0 + row], np.float32)


def _rectify(grey: Grey, place: _Placement) -> Grey:
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    patch = cv2.warpAffine(grey, place.similarity(), (PATCH, PATCH), flags=flags, borderMode=cv2.BORDER_REPLICATE)
    return cv2.GaussianBlur(patch, (0, 0), 0.8)


def _match(reference: Grey, patch: Grey, flow: Array) -> float:
    """Correlation of the inner face after the flow is undone."""
    y, x = np.mgrid[0:PATCH, 0:PATCH].astype(np.float32)
    back = cv2.remap(patch, x + flow[..., 0], y + flow[..., 1], cv2.INTER_LINEAR)
    inner = (slice(24, 104), slice(28, 100))
    a, b = reference[inner].astype(np.float32), back[inner].astype(np.float32)
    a, b = a - a.mean(), b - b.mean()
    return float((a * b).sum() / max(float(np.sqrt((a * a).sum() * (b * b).sum())), 1e-6))


def _points() -> tuple[Array, Array]:
    """Rigid part of the canonical face: (n, 3) points and their pixels in the patch."""
    rigid = [i for i in range(468) if face()[i, 1] < 0.62 and abs(face()[i, 0]) < 0.95]
    lids = {i for upper, lower in topo.EYES for i in (*upper, *lower)} | {*topo.RIGHT_BROW, *topo.LEFT_BROW}
    points = face()[[i for i in rigid if i not in lids]]
    return points, points[:, :2] * UNIT + ORIGIN


def _at(flow: Array, pixels: Array) -> Array:
    """(n, 2) flow at patch pixels."""
    xy = np.clip(np.round(pixels).astype(int), 0, PATCH - 1)
    return np.asarray(flow[xy[:, 1], xy[:, 0]])


def _fit(similarity: Array, flow: Array) -> _Placement:
    """Weak-perspective placement of the rigid points where the flow says they are, robustly."""
    points, pixels = _points()
    seen = (pixels + _at(flow, pixels)) @ similarity[:, :2].T + similarity[:, 2]
    system = np.column_stack([points, np.ones(len(points))]).astype(float)
    ridge = np.diag([0, 0, DEPTH_RIDGE * len(points), 0])
    weight = np.ones(len(points))
    for _ in range(4):
        weighted = system * weight[:, None]
        solution = np.linalg.solve(system.T @ weighted + ridge, weighted.T @ seen)
        error = np.linalg.norm(seen - system @ solution, axis=1)
        weight = 1 / (1 + (error / max(1.5 * float(np.median(error)), 1e-3)) ** 2)
    linear, shift = solution[:3].T, solution[3]
    return _Placement(_orthogonal(linear), shift.astype(np.float32))


def _orthogonal(linear: Array) -> Array:
    """The nearest scaled pair of orthonormal rows."""
    u, d, vt = np.linalg.svd(linear, full_matrices=False)
    return (d.mean() * u @ vt).astype(np.float32)


def _eye_contrast(patch: Grey) -> Array:
    """(2,) contrast inside each eye: lids are even, an open eye is not."""
    out = []
    for upper, lower in topo.EYES:
        eye = face()[[*upper, *lower], :2] * UNIT + ORIGIN
        low, high = eye.min(axis=0).astype(int), np.ceil(eye.max(axis=0)).astype(int)
        out.append(float(patch[low[1] : high[1] + 1, low[0] : high[0] + 1].std()))
    return np.array(out, np.float32)


def _expression(flow: Array, place: _Placement) -> tuple[Array, float]:
    """(478, 3) offsets of brows and mouth corners, and how far the lips part, both in eye distances:
    what the flow leaves after the head's own motion."""
    canonical = face()
    pixels = canonical[:, :2] * UNIT + ORIGIN
    inverse = cv2.invertAffineTransform(place.similarity())
    residual = (_at(flow, pixels) - _rigid_flow(place, inverse, canonical, pixels)) / UNIT
    offsets = np.zeros_like(canonical)
    for corner, inner in zip(topo.MOUTH_CORNERS, (78, 308), strict=True):
        offsets[[corner, inner], :2] = residual[corner]
    for brow in (topo.RIGHT_BROW, topo.LEFT_BROW):
        offsets[list(brow), 1] = _mean(residual, brow, 1)
    return offsets, _mean(residual, topo.LOWER_LIP, 1) - _mean(residual, topo.UPPER_LIP, 1)


def _dark_gap(patch: Grey) -> float:
    """Height of what is dark where the mouth is, in eye distances: an open mouth, seen from the front."""
    skin = float(np.median(patch[66:80, 36:92]))
    rows = patch[80:126, 54:74].mean(axis=1)
    return float((rows < DARK * skin).sum()) / UNIT


def _open_mouth(offsets: Array, gap: float) -> None:
    """Lower lip and jaw follow the gap, in eye distances."""
    offsets[list(topo.LOWER_LIP), 1] = 0.9 * gap
    offsets[list(topo.UPPER_LIP), 1] = -0.1 * gap
    offsets[list(topo.JAW), 1] = 0.65 * gap


def _rigid_flow(place: _Placement, inverse: Array, canonical: Array, pixels: Array) -> Array:
    image = canonical @ place.linear.T + place.shift
    return image @ inverse[:, :2].T + inverse[:, 2] - pixels


def _mean(residual: Array, points: tuple[int, ...], axis: int) -> float:
    return float(np.median(residual[list(points), axis]))
