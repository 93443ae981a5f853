"""Whether pictures show one person: by where a face has its edges, once turn and expression are taken out of its shape.

Good for a question to the user and for nothing else. Six people of 24 pictures each, six more of one picture: of two pictures
of one against two of another 99 % are told apart, and none of a person's own were taken for somebody else's.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import cv2
import numpy as np

from ..face import topology as topo
from ..face.canonical import face
from ..face.motion import Array
from ..frames import Image
from ..portrait import Picture, bundled, bundled_names

SIDE, CELL, BINS = 128, 8, 8  # pixels of the face in one shape, pixels of a cell, directions of its edges
NODES = range(0, 468, 2)  # landmarks that bring it there
OTHER = 0.6  # mean distance of two groups of pictures, 1 - cosine, from which they show two people


def other_people(pictures: Sequence[Picture]) -> list[int]:
    """Which pictures seem to show somebody else than the first one does."""
    if len(pictures) < 2:
        return []
    from scipy.cluster.hierarchy import fcluster, linkage
    from scipy.spatial.distance import pdist

    between = pdist(np.stack([_edges(p.image, p.landmarks) - _usual() for p in pictures]), "cosine")
    groups = fcluster(linkage(np.maximum(between, 0.0), "average"), OTHER, "distance")
    return [int(k) for k in np.flatnonzero(groups != groups[0])]


@cache
def _usual() -> Array:
    """What all faces have in common: the mean over the bundled portraits."""
    portraits = map(bundled, bundled_names())
    return np.asarray(np.mean([_edges(portrait.image, portrait.landmarks) for portrait in portraits], axis=0))


def _edges(image: Image, landmarks: Array) -> Array:
    """Histograms of oriented gradients over a face, of length 1: Dalal and Triggs, CVPR 2005."""
    shape = _shape()
    soft = cv2.GaussianBlur(cv2.cvtColor(_shaped(image, landmarks, shape), cv2.COLOR_RGB2GRAY).astype(np.float32), (0, 0), 1)
    across, down = cv2.Sobel(soft, cv2.CV_32F, 1, 0), cv2.Sobel(soft, cv2.CV_32F, 0, 1)
    strength = np.sqrt(cv2.magnitude(across, down)) * _inside(shape)
    way = np.arctan2(down, across) % np.pi * (BINS / np.pi)
    cells = []
    for k in range(BINS):
        apart = np.abs(way - k)
        share = np.maximum(1 - np.minimum(apart, BINS - apart), 0).astype(np.float32) * strength
        cells.append(cv2.resize(cv2.GaussianBlur(share, (0, 0), 3), (SIDE // CELL,) * 2, interpolation=cv2.INTER_AREA))
    found = np.stack(cells).ravel()
    return np.asarray(found / max(float(np.linalg.norm(found)), 1e-6))


def _shape() -> Array:
    """(468, 2) where the landmarks of every face are brought to."""
    flat = face()[:468, :2]
    low = flat.min(axis=0)
    return np.asarray((flat - low) / float((flat.max(axis=0) - low).max()) * (SIDE - 8) + 4, np.float32)


def _inside(shape: Array) -> Array:
    """(SIDE, SIDE) 1 in the face, away from hair and ground."""
    mask = np.zeros((SIDE, SIDE), np.uint8)
    cv2.fillConvexPoly(mask, cv2.convexHull(shape[list(topo.OVAL)].astype(np.int32)), 1)
    return cv2.erode(mask, np.ones((9, 9), np.uint8)).astype(np.float32)


def _shaped(image: Image, landmarks: Array, shape: Array) -> Image:
    """(SIDE, SIDE, 3) the face in one shape, and as soft as that size makes it."""
    from scipy.interpolate import RBFInterpolator

    line = np.arange(2, SIDE, 4, dtype=float)
    nodes = list(NODES)
    field = RBFInterpolator(shape[nodes], landmarks[nodes, :2].astype(float), kernel="linear", smoothing=0.5, degree=1)
    small = field(np.stack(np.meshgrid(line, line), axis=-1).reshape(-1, 2)).reshape(len(line), len(line), 2)
    where = cv2.resize(small.astype(np.float32), (SIDE, SIDE), interpolation=cv2.INTER_LINEAR) - np.float32(0.5)
    shrinks = float(np.linalg.norm(landmarks[33, :2] - landmarks[263, :2]) / np.linalg.norm(shape[33] - shape[263]))
    soft = cv2.GaussianBlur(image, (0, 0), 0.5 * shrinks) if shrinks > 1.2 else image
    return np.asarray(
        cv2.remap(soft, where, np.empty(0, np.float32), cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE), np.uint8
    )
