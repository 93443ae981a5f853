"""Which pictures of a face make its puppet."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from ..face.motion import Array, Neutral
from ..frames import Image
from ..mesh.regions import REGIONS, features
from ..portrait import Picture

BUDGET = 64  # pictures, the neutral among them
COVERED = 0.6  # steps (see `mesh.regions`) from every face to the nearest picture: there are enough
BLURRED = 0.5  # of the usual sharpness
EDGE = 0.01  # of the picture's side: a face that comes so near to the border may be cut off
SHARP_SIDE = 128  # pixels of the face at which sharpness is compared
MAX_GAIN = 1.5  # exposure is evened no further
FACE = 468  # landmarks, without the irises


def most_neutral(faces: Sequence[Array], usual: Array | None = None) -> int:
    """Which of (478, 3) landmarks has head and eyes as in `usual`, the eyes open and the mouth shut. usual: (478, 3); where it
    is not given, as they mostly are."""
    upright = [_normal(face) for face in faces]
    mostly = Neutral.of(np.median(upright, axis=0).astype(np.float32) if usual is None else _normal(usual))

    def oddness(face: Array) -> float:
        motion = mostly.motion(face)
        shut = float(np.maximum(1.0 - motion.openness, 0.0).sum())
        gap = float(np.linalg.norm(face[13] - face[14])) / mostly.eye_distance
        return float(np.abs(motion.pose[:3]).sum()) + 2.0 * gap + 0.5 * shut + float(np.abs(motion.gaze).sum())

    return int(np.argmin([oddness(face) for face in upright]))


def _normal(face: Array) -> Array:
    """In units of the eyes' distance, from between them: pictures of any size can be averaged."""
    return ((face - face[[33, 263]].mean(axis=0)) / max(float(np.linalg.norm(face[33] - face[263])), 1e-6)).astype(np.float32)


def whole(image: Image, landmarks: Array) -> bool:
    """Whether the face lies inside the picture."""
    size = np.array(image.shape[1::-1])
    margin = EDGE * size
    return bool((landmarks[:, :2] > margin).all() and (landmarks[:, :2] < size - margin).all())


def sharpness(image: Image, landmarks: Array) -> float:
    """Variance of the Laplacian in the face, at one size."""
    low, high = np.clip(np.stack([landmarks[:, :2].min(axis=0), landmarks[:, :2].max(axis=0)]), 0, image.shape[1::-1]).astype(int)
    grey = cv2.cvtColor(image[low[1] : high[1], low[0] : high[0]], cv2.COLOR_RGB2GRAY)
    small = cv2.resize(grey, (SHARP_SIDE, SHARP_SIDE), interpolation=cv2.INTER_AREA)
    return float(cv2.Laplacian(small, cv2.CV_32F).var())


def chosen(faces: Sequence[Array], neutral: int, budget: int = BUDGET) -> list[int]:
    """Indices of at most `budget` faces (478, 3), the neutral first: each next one is the face that brings all faces nearest to
    a chosen one, by the squares of their distances in the spaces of all regions, until none is farther than COVERED.

    Nemhauser, Wolsey and Fisher, "An analysis of approximations for maximizing submodular set functions", Mathematical
    Programming 14, 1978: the greedy choice.
    """
    reference = Neutral.of(faces[neutral])
    described = [features(reference.motion(face)) for face in faces]
    between = [_squares(np.stack([d[name] for d in described])) for name in REGIONS]
    out, away = [neutral], [squares[neutral] for squares in between]
    while len(out) < min(budget, len(faces)) and max(float(a.max()) for a in away) > COVERED**2:
        nearer = [np.minimum(squares, a) for squares, a in zip(between, away, strict=True)]
        new = int(np.argmin(sum(squares.sum(axis=1) for squares in nearer)))
        out.append(new)
        away = [squares[new] for squares in nearer]
    return out


def _squares(points: Array) -> Array:
    """(n, n) squared distances between n points."""
    from scipy.spatial.distance import cdist

    return np.asarray(np.square(cdist(points, points)), np.float32)


def evened(picture: Picture, neutral: Picture) -> Picture:
    """The picture as bright and as coloured as the neutral: by the median over the face, which neither a smile's shading nor
    what only one of them shows moves."""
    gain = np.median(_colours(neutral) / np.maximum(_colours(picture), 1.0), axis=0)
    table = np.clip(np.arange(256)[:, None] * np.clip(gain, 1 / MAX_GAIN, MAX_GAIN) + 0.5, 0, 255).astype(np.uint8)
    return Picture(np.asarray(cv2.LUT(picture.image, table[None]), np.uint8), picture.landmarks)


def _colours(picture: Picture) -> Array:
    """(FACE, 3) colours at the landmarks, and a little around them."""
    unit = float(np.linalg.norm(picture.landmarks[33, :2] - picture.landmarks[263, :2]))
    blurred = cv2.blur(picture.image, (max(round(unit / 8), 1),) * 2)
    high = np.array(picture.image.shape[1::-1]) - 1
    xs, ys = np.clip(picture.landmarks[:FACE, :2], 0, high).astype(int).T
    return blurred[ys, xs].astype(np.float32)
