"""Which pixels of a portrait are the person's: made once, from the place of the face alone, for all sizes it is shown in."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Self

import cv2
import numpy as np

from ..face.motion import Array
from ..frames import Image
from .finish import Grain
from .geometry import oval_frame

SIDE = 112  # the cut is made at this size, and refined at the picture's own; at 160 noise decided it more often
BODY_SIDE = 320  # the same, of the whole picture: the head is a part of it
# In half heights of the face from its middle: the body does not lie beside the head's box higher up than the first, goes on
# straight down to the second at least, where a bust may end, and reaches no further aside than the third.
BESIDE, CHEST, BROAD = 0.5, 2.5, 3.1
ROUNDS = 3
BUSY = 14.0  # grey levels of noise at that size: no colours to tell apart, and the cut would take seconds
LEAST = 0.02  # of the picture that must be known as ground, to tell one from the other
SECTORS = 9
LEAST_HAIR, SOME_HAIR = 0.85, 0.95  # the outline at least, see `_outline`
MAX_LEAK = 0.06  # of the far ground's inner edge that the person may touch above the shoulders
CONTRAST = 26.0  # grey levels between both sides of an outline that can be told
MIN_CLEAR = 0.85  # of the head's outline that must be told: at 0.77 grey hair before a grey ground was cut in two
MIN_CLEAR_BODY = 0.5  # of the body's, or it is doubtful: at 0.62 it was right, at 0.41 a landscape stayed at both shoulders
EPS = 2e-4  # of the guided filter: variance, of a picture from 0 to 1, that counts as an edge


@dataclass(frozen=True)
class Matte:
    """Where the person is in a portrait, at small sizes that do not depend on the one it is shown in: cuts of nearly equal
    pictures can differ a lot. head: (h, w) bool in a box around the head; picture: (H, W, 3) all of the portrait, small;
    box: rows and columns of the box in that; landmarks: (478, 3) in it."""

    head: np.ndarray
    picture: Image
    box: tuple[slice, slice]
    landmarks: Array

    @classmethod
    def of(cls, picture: Image, box: tuple[slice, slice], landmarks: Array) -> Self | None:
        """From the portrait (h, w, 3) as it came, see `person`."""
        rows, columns = box
        head = person(picture[box], landmarks - np.array([columns.start, rows.start, 0], np.float32))
        if head is None:
            return None
        small, factor = _small(picture, BODY_SIDE)
        rows, columns = (slice(math.ceil(s.start * factor), math.floor(s.stop * factor)) for s in box)
        return cls(head, small, (rows, columns), landmarks * factor)

    def coverage(self, picture: Image) -> Array:
        """(h, w) 0..1 of the person in that box, of a picture (h, w, 3) of it in any size."""
        return _refined(picture, self.head)

    def whole(self, picture: Image, known: Array, box: tuple[slice, slice]) -> Array:
        """(h, w) 0..1 coverage of the person in all of the portrait, in any size, of which `known` (h, w) tells what lies in
        the box."""
        if self._body is None:
            return known
        out = _refined(picture, self._body)
        out[box] = known[box]
        return out

    @property
    def is_doubtful(self) -> bool:
        """Whether the body is told from the ground by so little that much of what is cut out may be the ground's."""
        if self._body is None:
            return False
        _, v = _places(self.landmarks, self.picture.shape)
        return _clear(self.picture.astype(np.float32), self._body, v >= 0.8, 1.0) < MIN_CLEAR_BODY

    @cached_property
    def _body(self) -> np.ndarray | None:
        """(H, W) bool. The body goes on below whatever touches the box's lower border, and grows wider there; None where the box
        is all there is."""
        u, v = _places(self.landmarks, self.picture.shape)
        bottom = self.box[0].stop
        mask = np.where((v > 0.9) & (np.abs(u) < 2.2 * v), cv2.GC_PR_FGD, cv2.GC_PR_BGD).astype(np.uint8)
        *_, half_w, half_h = oval_frame(self.landmarks)
        mask[(v < BESIDE) | (np.abs(u) * half_w > BROAD * half_h)] = cv2.GC_BGD
        inside = _resized(self.head, mask[self.box].shape) > 0.5
        mask[self.box] = np.where(inside, cv2.GC_FGD, cv2.GC_BGD)
        mask[(np.arange(len(mask))[:, None] >= bottom) & (mask[bottom - 1] == cv2.GC_FGD) & (v < CHEST)] = cv2.GC_FGD
        if not np.isin(mask, (cv2.GC_PR_FGD, cv2.GC_PR_BGD)).any():
            return None
        return _solid(self.picture, mask, mask == cv2.GC_FGD)


def person(picture: Image, landmarks: Array) -> np.ndarray | None:
    """(h, w) bool, at most SIDE: the head and shoulders of (478, 3) landmarks in a picture; None where that cannot be trusted.

    It is not in a picture that is all noise, nor where the person reaches the far ground above the shoulders, lacks the
    outline of a head, or where less than MIN_CLEAR of that outline parts colours that differ by CONTRAST. A segmenter
    could take this function's place.
    """
    small, factor = _small(picture, SIDE)
    u, v = _places(landmarks * factor, small.shape)
    far = (np.hypot(u / 2.1, v / 2.45) > 1) & (v < 0.9)
    if far.mean() < LEAST or Grain.of(small).fine > BUSY:
        return None
    near = (np.hypot(u / 1.6, v / 1.75) < 1) | ((v > 0.9) & (np.abs(u) < 2.2))
    for maybe, least in ((~far, LEAST_HAIR), (near, SOME_HAIR)):
        mask = _cut(small, u, v, far, maybe)
        if _trusted(small.astype(np.float32), mask, u, v, far, least):
            return mask
    return None


def _small(picture: Image, side: int) -> tuple[Image, float]:
    """A picture with sides of at most `side`, and what its own were multiplied by."""
    factor = min(side / max(picture.shape[:2]), 1.0)
    return np.asarray(cv2.resize(picture, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA), np.uint8), factor


def _resized(mask: np.ndarray, shape: tuple[int, ...]) -> Array:
    """(h, w) 0..1 of a mask."""
    method = cv2.INTER_AREA if shape[0] < mask.shape[0] else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(mask.astype(np.float32), shape[1::-1], interpolation=method), np.float32)


def _refined(picture: Image, mask: np.ndarray) -> Array:
    """(h, w) 0..1: a small mask of a picture (h, w, 3), drawn to its edges."""
    return _guided(picture, _resized(mask, picture.shape), max(round(2.5 * max(picture.shape) / max(mask.shape)), 2))


def _places(landmarks: Array, shape: tuple[int, ...]) -> tuple[Array, Array]:
    """(h, w) places across and down the face, 1 at the oval's side and at the chin."""
    centre, x, y, half_w, half_h = oval_frame(landmarks)
    grid = np.stack(np.meshgrid(np.arange(shape[1]) + 0.5, np.arange(shape[0]) + 0.5), axis=-1) - centre
    return grid @ x / half_w, grid @ y / half_h


def _cut(picture: Image, u: Array, v: Array, far: np.ndarray, maybe: np.ndarray) -> np.ndarray:
    """(h, w) bool. Rother, Kolmogorov and Blake, "GrabCut", SIGGRAPH 2004, from an oval, a hair ellipse and shoulders."""
    sure = (np.hypot(u / 0.95, v / np.where(v < 0, 1.2, 0.95)) < 1) | ((np.abs(u) < 0.3) & (v > 0) & (v < 1.5))
    mask = np.where(maybe, cv2.GC_PR_FGD, cv2.GC_PR_BGD)
    mask[far], mask[sure] = cv2.GC_BGD, cv2.GC_FGD
    return _solid(picture, mask.astype(np.uint8), sure)


def _solid(picture: Image, mask: Image, sure: np.ndarray) -> np.ndarray:
    """(h, w) bool. What GrabCut makes of a mask, in one piece with what is surely the person, and without holes."""
    far = mask == cv2.GC_BGD
    cv2.setRNGSeed(0)  # a portrait looks the same each time
    cv2.grabCut(picture, mask, (0, 0, 1, 1), np.zeros((1, 65)), np.zeros((1, 65)), ROUNDS, cv2.GC_INIT_WITH_MASK)
    person = ((mask == cv2.GC_FGD) | (mask == cv2.GC_PR_FGD)).astype(np.uint8)
    person = cv2.morphologyEx(person, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8)) | sure.astype(np.uint8)
    _, parts = cv2.connectedComponents(person)
    body = parts == np.bincount(parts[sure]).argmax()
    _, holes = cv2.connectedComponents((~body).astype(np.uint8), connectivity=4)
    open_ground = np.unique(holes[far])
    return body | ~np.isin(holes, open_ground)


def _trusted(picture: Array, mask: np.ndarray, u: Array, v: Array, far: np.ndarray, hair: float) -> bool:
    near_far = (cv2.dilate(far.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0) & ~far & (v < 0.9)
    leak = float(mask[near_far].mean()) if near_far.any() else 0.0
    return leak <= MAX_LEAK and _outline(mask, u, v).min() >= hair and _clear(picture, mask, v < 0.8) >= MIN_CLEAR


def _outline(mask: np.ndarray, u: Array, v: Array) -> Array:
    """How far the person reaches in directions from ear to ear over the crown, 1 for the usual head with its hair."""
    distance = np.where(mask, np.hypot(u / 1.25, v / 1.5), 0.0)
    sector = np.floor((np.arctan2(-v, u) / np.pi) * SECTORS).astype(int)
    return np.array([distance[sector == k].max(initial=0.0) for k in range(SECTORS)])


def _clear(picture: Array, mask: np.ndarray, where: np.ndarray, none: float = 0.0) -> float:
    """How much of the outline there, such as above the chin, parts colours that differ. none: where it has no outline."""
    person = mask.astype(np.uint8)
    kernel = np.ones((7, 7), np.uint8)
    inside = (person - cv2.erode(person, kernel)).astype(np.float32)
    outside = (cv2.dilate(person, kernel) - person).astype(np.float32)
    near = [cv2.blur(picture * side[..., None], (9, 9)) / np.maximum(cv2.blur(side, (9, 9)), 1e-3)[..., None]
            for side in (inside, outside)]  # fmt: skip
    edge = (person - cv2.erode(person, np.ones((3, 3), np.uint8)) > 0) & where
    edge[[0, -1]] = edge[:, [0, -1]] = False  # the picture's border is no outline
    differs = np.linalg.norm(near[0] - near[1], axis=-1)[edge] > CONTRAST
    return float(differs.mean()) if differs.size else none


def _guided(picture: Image, mask: Array, radius: int) -> Array:
    """`mask` drawn to the edges of the picture. He, Sun and Tang, "Guided image filtering", PAMI 35(6), 2013, by grey."""
    guide = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY).astype(np.float32) / 255
    box = (2 * radius + 1, 2 * radius + 1)

    def mean(a: Array) -> Array:
        return np.asarray(cv2.blur(a, box), np.float32)

    mean_i, mean_p = mean(guide), mean(mask)
    a = (mean(guide * mask) - mean_i * mean_p) / (mean(guide * guide) - mean_i * mean_i + EPS)
    b = mean_p - a * mean_i
    return np.clip((mean(a) * guide + mean(b) - 0.08) / 0.84, 0.0, 1.0)
