"""A tracker that needs no model file: Haar cascades find the face, optical flow follows it.

The face is rectified by its last placement and compared with the first good one by dense flow
(DIS: Kroeger, Timofte, Dai, Van Gool, "Fast Optical Flow using Dense Inverse Search", ECCV 2016).
The flow gives head pose (a weak-perspective fit of a canonical face) and a handful of expression
numbers; both are turned into the 478 landmarks that the rest of the pipeline expects. Rough by
nature: head, mouth, brows and lids, no gaze.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np
from scipy.interpolate import RBFInterpolator

from ..frames import Image
from . import canonical
from . import topology as topo
from .lids import OPEN_FLOOR
from .motion import Array
from .units import in_pixels, in_units

PATCH = 128  # side of the rectified face
UNIT = 42.0  # its pixels per eye distance
ORIGIN = np.array([64.0, 46.0], np.float32)  # where the middle of the eyes lies in it
FITS = 3
INNER = (slice(16, 84), slice(28, 100))  # the patch without the mouth
MIN_MATCH = 0.4  # correlation with the reference below which the face counts as lost
SURE_MATCH = 0.7  # below which it is looked for anew
LEAN = 0.15  # depth per height, measured on frontal faces
DEPTH_RIDGE = 0.01
FAR_COST = 0.01  # of a match, per row: of two alike the nearer one is the lip
MOUTH_ROWS = slice(84, 110)  # of the patch: the darkest of them is where the lips meet

Grey = np.ndarray


@dataclass
class _Placement:
    """Weak perspective: image = linear (2, 3) · canonical + shift (2,)."""

    linear: Array
    shift: Array

    def place(self, points: Array) -> Array:
        """(…, 2) image positions of (…, 3) canonical points."""
        return np.asarray(points @ self.linear.T + self.shift, np.float32)

    def in_pixels(self, image: Grey) -> _Placement:
        """From units."""
        return _Placement(self.linear * max(image.shape), in_pixels(np.append(self.shift, 0), image)[:2])

    def in_units(self, image: Grey) -> _Placement:
        return _Placement(self.linear / max(image.shape), in_units(np.append(self.shift, 0), image)[:2])


class _Lips:
    """How far the lips part: each lip of the reference is looked for, up and down, in later patches.

    Unlike the darkness between them, that does not mind teeth.
    """

    def __init__(self, reference: Grey) -> None:
        rows = reference[:, 54:74].mean(axis=1)
        valley = rows - cv2.blur(rows[:, None], (1, 13)).ravel()
        line = MOUTH_ROWS.start + int(np.argmin(valley[MOUTH_ROWS]))
        self._upper = _Strip(reference, line - 11, line - 1, above=8, below=8)
        self._lower = _Strip(reference, line + 2, line + 13, above=5, below=20)

    def gap(self, patch: Grey) -> float:
        """Against the reference's, in eye distances."""
        return (self._lower.shift(patch) - self._upper.shift(patch)) / UNIT


class _Strip:
    """A strip of the reference between two rows, found again between `above` and `below` rows further."""

    def __init__(self, reference: Grey, top: int, bottom: int, above: int, below: int) -> None:
        self._template = reference[top:bottom, 50:78]
        self._above = above
        self._window = slice(top - above, min(bottom + below, PATCH))

    def shift(self, patch: Grey) -> float:
        """Rows downward, with a fraction."""
        score = cv2.matchTemplate(patch[self._window, 48:80], self._template, cv2.TM_CCOEFF_NORMED).max(axis=1)
        score -= FAR_COST * np.abs(np.arange(len(score)) - self._above)
        best = int(np.argmax(score))
        fraction = 0.0
        if 0 < best < len(score) - 1:
            before, here, after = score[best - 1 : best + 2].tolist()
            fraction = 0.5 * (before - after) / min(before - 2 * here + after, -1e-6)
        return best + fraction - self._above


class CascadeTracker:
    """See `pipeline.face.tracker.Tracker`."""

    name = "cascade"
    lopsided = False
    blink: None = None

    def __init__(self) -> None:
        self._faces = _cascade("haarcascade_frontalface_alt2.xml")
        self._flow = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)  # type: ignore[attr-defined]
        self._reference: Grey | None = None
        self._lips: _Lips | None = None
        self._place: _Placement | None = None  # in units
        self._eyes = np.ones(2, np.float32)
        self._grey: Grey | None = None
        self.faces = 0

    def track(self, image: Image, time_s: float) -> Array | None:
        self._grey = grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
        place = self._place and self._fitted(grey, self._place.in_pixels(grey))
        if place is None or self._match(grey, place) < SURE_MATCH:
            found = self._find(grey)
            self.faces = len(found)
            again = [self._fitted(grey, p) for p in found]
            place = max([*again, *([place] if place else [])], key=lambda p: self._match(grey, p), default=None)
        if place is None or self._match(grey, place) < MIN_MATCH:
            self._place = None
            return None
        self._place = place.in_units(grey)
        patch = _frontal(grey, place)
        flow = self._flow.calc(self._reference, patch, None)
        self._eyes = np.maximum(self._eyes * 0.999, 0.9 * _eye_contrast(patch))
        openness = np.clip((_eye_contrast(patch) / self._eyes - 0.35) / 0.5, 0.0, 1.0)
        return in_units(self._landmarks(flow, patch, place, openness), grey)

    def _fitted(self, grey: Grey, place: _Placement) -> _Placement:
        """The placement that makes the face look most like the reference; the first face seen is that."""
        if self._reference is None:
            self._reference = _frontal(grey, place)
            self._lips = _Lips(self._reference)
            self._eyes = np.maximum(_eye_contrast(self._reference), 1.0)
            return place
        for _ in range(FITS):
            place = _fit(place, self._flow.calc(self._reference, _frontal(grey, place), None))
        return place

    def _match(self, grey: Grey, place: _Placement) -> float:
        """Correlation of the face without the mouth with the reference's."""
        assert self._reference is not None
        a, b = (p[INNER].astype(np.float32) for p in (self._reference, _frontal(grey, place)))
        a, b = a - a.mean(), b - b.mean()
        return float((a * b).sum() / max(float(np.sqrt((a * a).sum() * (b * b).sum())), 1e-6))

    def next_face(self) -> bool:
        found = [] if self._grey is None else [place.in_units(self._grey) for place in self._find(self._grey)]
        faces = sorted(found, key=lambda p: float(p.shift[0]))
        self.faces = len(faces)
        if len(faces) < 2 or self._place is None:
            return False
        here = int(np.argmin([np.linalg.norm(p.shift - self._place.shift) for p in faces]))
        self._reference, self._place = None, faces[(here + 1) % len(faces)]
        return True

    def close(self) -> None:
        """Nothing is held."""

    def _find(self, grey: Grey) -> list[_Placement]:
        """The faces in a picture, the largest first."""
        factor = min(1.0, 320 / max(grey.shape))
        small = cv2.resize(grey, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
        least = max(24, min(small.shape) // 6)
        boxes = self._faces.detectMultiScale(small, 1.1, 4, minSize=(least, least))
        return [_placed(grey, np.asarray(b, float) / factor) for b in sorted(boxes, key=lambda b: -int(b[2]))]

    def _landmarks(self, flow: Array, patch: Grey, place: _Placement, openness: Array) -> Array:
        assert self._lips is not None
        offsets, gap = _expression(flow), self._lips.gap(patch)
        _open_mouth(offsets, gap)
        shape = _face() + offsets
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


def _placed(grey: Grey, box: Array) -> _Placement:
    """The face in a box (x, y, width, height), by its eyes."""
    x, y, w, h = box.tolist()
    left, right = (_dark_blob(grey, x + w * c, y + 0.39 * h, 0.14 * w) for c in (0.30, 0.70))
    unit = float(np.linalg.norm(right - left))
    if not 0.28 * w < unit < 0.55 * w:
        left, right, unit = np.array([x + 0.3 * w, y + 0.39 * h]), np.array([x + 0.7 * w, y + 0.39 * h]), 0.4 * w
    cos, sin = (right - left) / unit
    linear = unit * np.array([[cos, -sin, 0], [sin, cos, 0]], np.float32)
    return _Placement(linear, ((left + right) / 2).astype(np.float32))


def _dark_blob(grey: Grey, x: float, y: float, reach: float) -> Array:
    """The middle of the darkest round spot near (x, y)."""
    x0, y0 = int(max(x - reach, 0)), int(max(y - 0.7 * reach, 0))
    window = grey[y0 : int(y + 0.7 * reach), x0 : int(x + reach)]
    if window.size < 16:
        return np.array([x, y], np.float32)
    soft = cv2.GaussianBlur(window, (0, 0), max(reach * 0.25, 1.0))
    row, column = np.unravel_index(int(np.argmin(soft)), soft.shape)
    return np.array([x0 + column, y0 + row], np.float32)


@cache
def _face() -> Array:
    """(478, 3) the canonical face upright: the landmark model's depth leans by LEAN, which a yaw would show as a roll."""
    shape = canonical.face().copy()
    shape[:, 2] -= LEAN * shape[:, 1]
    return shape


@cache
def _surface() -> Array:
    """(PATCH, PATCH, 3) canonical points under the pixels of the patch."""
    x, y = np.meshgrid(*[np.arange(PATCH, dtype=np.float32)] * 2)
    flat = (np.stack([x, y], axis=-1) - ORIGIN) / UNIT
    nodes = _face()[:468]
    depth = RBFInterpolator(nodes[:, :2], nodes[:, 2], kernel="linear", smoothing=0.02, neighbors=40, degree=0)
    inside = np.clip(flat, nodes[:, :2].min(axis=0), nodes[:, :2].max(axis=0)).reshape(-1, 2)
    return np.dstack([flat, depth(inside).reshape(PATCH, PATCH)]).astype(np.float32)


def _frontal(grey: Grey, place: _Placement) -> Grey:
    """(PATCH, PATCH) the face as it would look from the front, at rest."""
    at = place.place(_surface())
    return cv2.GaussianBlur(cv2.remap(grey, at, np.empty(0), cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE), (0, 0), 0.8)


def _points() -> tuple[Array, Array]:
    """Rigid part of the canonical face: (n, 3) points and their pixels in the patch."""
    rigid = [i for i in range(468) if _face()[i, 1] < 0.62 and abs(_face()[i, 0]) < 0.95]
    lids = {i for upper, lower in topo.EYES for i in (*upper, *lower)} | {*topo.RIGHT_BROW, *topo.LEFT_BROW}
    points = _face()[[i for i in rigid if i not in lids]]
    return points, points[:, :2] * UNIT + ORIGIN


def _at(flow: Array, pixels: Array) -> Array:
    """(n, 2) flow at patch pixels."""
    xy = np.clip(np.round(pixels).astype(int), 0, PATCH - 1)
    return np.asarray(flow[xy[:, 1], xy[:, 0]])


def _fit(place: _Placement, flow: Array) -> _Placement:
    """Weak-perspective placement of the rigid points where the flow in the frontal patch says they are, robustly."""
    points, pixels = _points()
    seen = place.place(_at(_surface(), pixels + _at(flow, pixels)))
    system = np.column_stack([points, np.ones(len(points))]).astype(float)
    ridge = np.diag([0, 0, DEPTH_RIDGE * len(points), 0])
    before = np.vstack([place.linear.T, place.shift])  # where the flow says nothing of the depth, the turn stays
    weight = np.ones(len(points))
    for _ in range(4):
        weighted = system * weight[:, None]
        solution = np.linalg.solve(system.T @ weighted + ridge, weighted.T @ seen + ridge @ before)
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
        eye = _face()[[*upper, *lower], :2] * UNIT + ORIGIN
        low, high = eye.min(axis=0).astype(int), np.ceil(eye.max(axis=0)).astype(int)
        out.append(float(patch[low[1] : high[1] + 1, low[0] : high[0] + 1].std()))
    return np.array(out, np.float32)


def _expression(flow: Array) -> Array:
    """(478, 3) offsets of brows and mouth corners in eye distances: what the flow leaves after the head's own motion."""
    canonical = _face()
    residual = _at(flow, canonical[:, :2] * UNIT + ORIGIN) / UNIT
    offsets = np.zeros_like(canonical)
    for corner, inner in zip(topo.MOUTH_CORNERS, (78, 308), strict=True):
        offsets[[corner, inner], :2] = residual[corner]
    for brow in (topo.RIGHT_BROW, topo.LEFT_BROW):
        offsets[list(brow), 1] = _mean(residual, brow, 1)
    return offsets


def _open_mouth(offsets: Array, gap: float) -> None:
    """Lower lip and jaw follow the gap, in eye distances."""
    offsets[list(topo.LOWER_LIP), 1] = 0.9 * gap
    offsets[list(topo.UPPER_LIP), 1] = -0.1 * gap
    offsets[list(topo.JAW), 1] = 0.65 * gap


def _mean(residual: Array, points: tuple[int, ...], axis: int) -> float:
    return float(np.median(residual[list(points), axis]))
