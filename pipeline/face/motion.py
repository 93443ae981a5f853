"""Facial motion relative to a neutral face.

Landmarks are (478, 3) float32 arrays in pixels, or in the unit of `units`: x right, y down, z toward the viewer negative.
One eye distance is the distance between the middles of the two pairs of eye corners.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import topology as topo
from .lids import driven_openness

Array = NDArray[Any]  # float32 by convention; the stubs widen too much to say so

PARTED = 0.10  # lips that are further apart than this, in mouth widths, are not shut
SHUT_EYES = 0.21  # lid gap over eye width
_RIGID = np.array(topo.RIGID)


@dataclass(frozen=True)
class Motion:
    """What one frame's face does, against its neutral.

    pose: (6,) yaw, pitch, roll in radians, log scale, x and y translation in eye distances.
    expression: (478, 3) offsets in the face's own axes, in eye distances.
    openness: (2,) right and left eye, 1 = as open as the neutral, 0 = shut.
    gaze: (2, 2) right and left iris offset (x, y) in eye widths.
    mouth_width: width of the neutral mouth in eye distances. shut: 1 where the neutral's lips touch, so that a portrait's
    own must, too, for the mouth to be shut; 0 where nothing is known of them. wrinkles: how deep the skin folds, 1 for as it
    would.
    """

    pose: Array
    expression: Array
    openness: Array
    gaze: Array
    mouth_width: float
    shut: float = 0.0
    wrinkles: float = 1.0

    def toward_rest(self, amount: float) -> Motion:
        """The same motion with `amount` (0..1) of it taken away."""
        keep = np.float32(1.0 - amount)
        return replace(
            self,
            pose=self.pose * keep,
            expression=self.expression * keep,
            openness=1.0 + (self.openness - 1.0) * keep,
            gaze=self.gaze * keep,
            shut=self.shut * float(keep),
        )

    def flat(self) -> Array:
        """All its numbers, (1447,)."""
        return np.concatenate([self.pose, self.expression.ravel(), self.openness, self.gaze.ravel(), [np.float32(self.shut)]])

    def plus(self, offset: Array) -> Motion:
        """The motion with a `flat` offset added."""
        ends = np.cumsum([6, self.expression.size, 2, 4])
        pose, expression, openness, gaze, shut = np.split(offset, ends)
        return replace(
            self,
            pose=self.pose + pose,
            expression=self.expression + expression.reshape(-1, 3),
            openness=self.openness + openness,
            gaze=self.gaze + gaze.reshape(2, 2),
            shut=self.shut + float(shut[0]),
        )


def rest() -> Motion:
    """The neutral itself."""
    return Motion(
        pose=np.zeros(6, np.float32),
        expression=np.zeros((topo.COUNT, 3), np.float32),
        openness=np.ones(2, np.float32),
        gaze=np.zeros((2, 2), np.float32),
        mouth_width=0.8,
    )


@dataclass(frozen=True)
class Neutral:
    """The averaged neutral face that motion is measured against."""

    landmarks: Array
    eye_distance: float
    axes: Array  # rows: x, y, z of the face in picture axes
    pivot: Array
    openness: Array
    gaze: Array
    mouth_width: float
    shut: float
    blink: Array | None = None  # (2,) as the tracker's

    @classmethod
    def of(cls, landmarks: Array, blink: Array | None = None) -> Neutral:
        """Build from (478, 3) averaged landmarks, and the (2,) blink scores where the tracker has them."""
        distance = eye_distance(landmarks)
        return cls(
            landmarks=landmarks,
            eye_distance=distance,
            axes=face_axes(landmarks),
            pivot=landmarks[_RIGID].mean(axis=0),
            openness=eye_openness(landmarks),
            gaze=eye_gaze(landmarks),
            mouth_width=mouth_width(landmarks),
            shut=1.0 - min(lips_apart(landmarks) / PARTED, 1.0),
            blink=blink,
        )

    def motion(self, landmarks: Array, blink: Array | None = None) -> Motion:
        """Motion of `landmarks` (478, 3), and of (2,) blink scores where the tracker has them, against this neutral."""
        scale, rotation, translation = umeyama(self.landmarks[_RIGID], landmarks[_RIGID])
        back = (landmarks - translation) @ rotation / scale
        moved = scale * rotation @ self.pivot + translation - self.pivot
        ratio = eye_openness(landmarks) / np.maximum(self.openness, 1e-3)
        openness = driven_openness(ratio, None if blink is None or self.blink is None else blink - self.blink)
        pose = (*euler(rotation), math.log(scale), *(moved[:2] / self.eye_distance))
        return Motion(
            pose=np.array(pose, np.float32),
            expression=(back - self.landmarks) @ self.axes.T / np.float32(self.eye_distance),
            openness=openness,
            gaze=together(eye_gaze(landmarks) - self.gaze, openness),
            mouth_width=self.mouth_width,
            shut=self.shut,
        )


def eye_centres(landmarks: Array) -> Array:
    """(2, 3) middles of the corners of the right and left eye."""
    return np.stack([landmarks[[upper[0], upper[-1]]].mean(axis=0) for upper, _ in topo.EYES])


def eye_distance(landmarks: Array) -> float:
    """Distance of the two eyes, in the unit of the landmarks."""
    right, left = eye_centres(landmarks)
    return max(float(np.linalg.norm(left - right)), 1e-6)


def mouth_width(landmarks: Array) -> float:
    """From corner to corner, in eye distances."""
    left, right = landmarks[list(topo.MOUTH_CORNERS)]
    return float(np.linalg.norm(right - left)) / eye_distance(landmarks)


def lips_apart(landmarks: Array) -> float:
    """How far the inner lips are apart, in mouth widths."""
    left, right = landmarks[list(topo.MOUTH_CORNERS)]
    return float(np.linalg.norm(landmarks[13] - landmarks[14])) / max(float(np.linalg.norm(right - left)), 1e-6)


def eye_openness(landmarks: Array) -> Array:
    """(2,) mean lid distance over eye width."""
    out = []
    for upper, lower in topo.EYES:
        gap = np.linalg.norm(landmarks[list(upper[2:-2])] - landmarks[list(lower[2:-2])], axis=1).mean()
        out.append(gap / max(float(np.linalg.norm(landmarks[upper[-1]] - landmarks[upper[0]])), 1e-6))
    return np.array(out, np.float32)


def eye_gaze(landmarks: Array) -> Array:
    """(2, 2) iris centre against the middle of the eye corners, in eye widths, along the eye's own axes."""
    out = []
    for (upper, _), iris in zip(topo.EYES, topo.IRISES, strict=True):
        a, b = landmarks[upper[0], :2], landmarks[upper[-1], :2]
        along = (b - a) / max(float(np.linalg.norm(b - a)), 1e-6)
        offset = landmarks[iris[0], :2] - (a + b) / 2
        width = max(float(np.linalg.norm(b - a)), 1e-6)
        out.append((offset @ along / width, (offset[1] * along[0] - offset[0] * along[1]) / width))
    return np.array(out, np.float32)


def looking(landmarks: Array, gaze: Array) -> Array:
    """The same (478, 3) face with its irises moved to where its `eye_gaze` is (2, 2) `gaze`."""
    out, moves = landmarks.copy(), gaze - eye_gaze(landmarks)
    for (upper, _), iris, (aside, down) in zip(topo.EYES, topo.IRISES, moves.tolist(), strict=True):
        x, y = landmarks[upper[-1], :2] - landmarks[upper[0], :2]
        out[list(iris), :2] += np.array([aside * x - down * y, aside * y + down * x], np.float32)
    return out


def together(gaze: Array, openness: Array) -> Array:
    """(2, 2) gaze of two eyes that look the same way, from (2, 2) of each as it was seen: of one that shuts little is seen."""
    seen = np.clip(openness, 0.05, 1.0)
    return np.tile(np.float32(seen @ gaze / seen.sum()), (2, 1))


def eyes_look_shut(landmarks: Array) -> bool:
    """Whether a picture shows its eyes shut, or as good as: lids that cannot be opened without inventing an eye."""
    return float(eye_openness(landmarks).mean()) < SHUT_EYES


def face_axes(landmarks: Array) -> Array:
    """(3, 3) orthonormal rows: x from eye to eye, y from forehead to chin, z = x cross y."""
    right, left = eye_centres(landmarks)
    x = (left - right) / max(float(np.linalg.norm(left - right)), 1e-6)
    down = landmarks[topo.CHIN] - landmarks[topo.FOREHEAD]
    y = down - (down @ x) * x
    y /= max(float(np.linalg.norm(y)), 1e-6)
    return np.stack([x, y, np.cross(x, y)]).astype(np.float32)


def umeyama(source: Array, target: Array) -> tuple[float, Array, Array]:
    """Least-squares similarity with target ≈ scale · rotation · source + translation.

    source, target: (n, 3). Umeyama, "Least-squares estimation of transformation parameters
    between two point patterns", PAMI 13(4), 1991.
    """
    mean_s, mean_t = source.mean(axis=0), target.mean(axis=0)
    s, t = source - mean_s, target - mean_t
    u, d, vt = np.linalg.svd(t.T @ s / len(s))
    sign = np.array([1.0, 1.0, np.sign(np.linalg.det(u) * np.linalg.det(vt))])
    rotation = (u * sign) @ vt
    scale = float((d * sign).sum() / max(float((s * s).sum() / len(s)), 1e-9))
    translation = mean_t - scale * rotation @ mean_s
    return max(scale, 1e-6), rotation.astype(np.float32), translation.astype(np.float32)


def euler(rotation: Array) -> tuple[float, float, float]:
    """yaw, pitch, roll in radians of R = Rz(roll) · Ry(yaw) · Rx(pitch)."""
    yaw = math.asin(float(np.clip(-rotation[2, 0], -1.0, 1.0)))
    pitch = math.atan2(float(rotation[2, 1]), float(rotation[2, 2]))
    roll = math.atan2(float(rotation[1, 0]), float(rotation[0, 0]))
    return yaw, pitch, roll


def rotation_matrix(yaw: float, pitch: float, roll: float) -> Array:
    """(3, 3) Rz(roll) · Ry(yaw) · Rx(pitch), the inverse of `euler`."""
    cy, sy, cp, sp, cr, sr = (f(a) for a in (yaw, pitch, roll) for f in (math.cos, math.sin))
    rx = np.array([[1, 0, 0], [0, cp, -sp], [0, sp, cp]])
    ry = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    rz = np.array([[cr, -sr, 0], [sr, cr, 0], [0, 0, 1]])
    return (rz @ ry @ rx).astype(np.float32)
