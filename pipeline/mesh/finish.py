"""What makes drawn parts look like the portrait: its grain, and the shading of skin that an expression folds."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from ..face import topology as topo
from ..face.motion import Array, Motion
from ..frames import Image
from .geometry import Geometry

DEPTH = 0.11  # how much darker a fold at its deepest is than the skin
LEAST = 0.04  # of a fold that is drawn at all
SMOOTH = 1.2  # grey levels of grain below which a face is painted flat, and has no folds either
UNSHADED = 200  # in bytes, what leaves a colour as it is
LINE = 0.045  # eye distances: half width of a fold
# Landmarks along folds, and how far an offset of landmarks goes (in eye distances) until the fold is at its deepest.
SMILE_FOLDS = ((129, 203, 206, 216), (358, 423, 426, 436))
FULL_SMILE, FULL_FROWN, FULL_RAISE = 0.22, 0.10, 0.16


@dataclass(frozen=True)
class Grain:
    """Noise of a picture in grey levels, standard deviations: fine as measured at its own size, coarse at half of it."""

    fine: float
    coarse: float

    @classmethod
    def of(cls, picture: Image) -> Grain:
        """Of (h, w, 3); edges hardly count."""
        grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY).astype(np.float32)
        half = cv2.resize(grey, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
        return cls(_noise(grey), _noise(np.asarray(half, np.float32)))

    def on(self, texture: Array) -> Array:
        """(h, w, 3 or more) float32: a drawn texture with this grain; further channels stay as they are. Once, at
        preparation: grain moves with what it lies on."""
        height, width = texture.shape[:2]
        rng = np.random.default_rng(0)  # a portrait looks the same each time
        coarse = rng.normal(0, max(self.coarse**2 - self.fine**2 / 4, 0.0) ** 0.5, (height // 2 + 1, width // 2 + 1))
        grown = cv2.resize(coarse.astype(np.float32), (width, height), interpolation=cv2.INTER_CUBIC)
        out = texture.astype(np.float32)
        out[..., :3] += (rng.normal(0, self.fine, (height, width)) + grown)[..., None]
        return out


def _noise(grey: Array) -> float:
    """Immerkær, "Fast noise variance estimation", Computer Vision and Image Understanding 64(2), 1996, by the median."""
    line = np.array([1, -2, 1], np.float32)
    return float(np.median(np.abs(cv2.sepFilter2D(grey, -1, line, line))) / (0.6745 * 6))


@dataclass(frozen=True)
class Wrinkles:
    """Shading of smile folds, frown and raised brows. part: the rows and columns of the crop where they lie; fields:
    (3, h, w) of it, -1 in a fold's deepest."""

    part: tuple[slice, slice]
    fields: Array

    @classmethod
    def of(cls, geometry: Geometry, grain: Grain) -> Wrinkles | None:
        """None for a face that is painted flat."""
        if grain.fine + grain.coarse < SMOOTH:
            return None
        points = geometry.landmarks[:, :2]
        oval = points[list(topo.OVAL)]
        low, high = (np.clip(f(axis=0), 0, geometry.side).astype(int) for f in (oval.min, oval.max))
        size, unit = tuple((high - low)[::-1].tolist()), geometry.eye_distance
        lines = ([points[list(fold)] for fold in SMILE_FOLDS], _frown(points), _forehead(points))
        fields = np.stack([_folds([line - low for line in group], size, unit * LINE) for group in lines])
        return cls((slice(low[1], high[1]), slice(low[0], high[0])), fields)

    def on(self, picture: Image, motion: Motion) -> Image:
        """`picture` (side, side, 3 or 4), or a copy that is shaded as `motion` folds the skin."""
        depth = DEPTH * motion.wrinkles * _amounts(motion)
        if not (depth > DEPTH * LEAST).any():
            return picture
        out, channels = picture.copy(), picture.shape[2]
        shade = cv2.convertScaleAbs(1.0 + np.tensordot(depth, self.fields, 1), alpha=UNSHADED)
        factors = cv2.merge([shade] * 3 + [np.full_like(shade, UNSHADED)] * (channels - 3))
        out[self.part] = cv2.multiply(out[self.part], factors, scale=1 / UNSHADED)
        return out


def _amounts(motion: Motion) -> Array:
    """(3,) 0..1 how much of a smile, a frown and raised brows there is."""
    offset = motion.expression
    right, left = topo.MOUTH_CORNERS
    smile = (offset[left, 0] - offset[right, 0]) / 2 - (offset[left, 1] + offset[right, 1]) / 2
    frown = (offset[[107, 55], 0].mean() - offset[[336, 285], 0].mean()) / 2 + offset[[107, 336], 1].mean() / 2
    rise = -offset[[*topo.RIGHT_BROW, *topo.LEFT_BROW], 1].mean()
    share = np.clip(np.array([smile / FULL_SMILE, frown / FULL_FROWN, rise / FULL_RAISE]), 0.0, 1.0)
    return (share * share * (3 - 2 * share)).astype(np.float32)


def _frown(points: Array) -> list[Array]:
    """Two short lines between the brows."""
    low, high = points[[8, 9]]
    inner = points[[107, 336]]
    return [np.stack([low + 0.3 * (side - low) * (1, 0), high + 0.3 * (side - high) * (1, 0)]) for side in inner]


def _forehead(points: Array) -> list[Array]:
    """Three lines from brow to brow, up to the hair."""
    brows = points[[105, 66, 9, 296, 334]]
    up = points[topo.FOREHEAD] - points[9]
    return [brows + share * up for share in (0.35, 0.52, 0.69)]


def _folds(lines: list[Array], size: tuple[int, int], width: float) -> Array:
    """(h, w) dark along the lines, a little brighter beside them, and nothing at their ends."""
    drawn = np.zeros(size, np.float32)
    for line in lines:
        way = np.linspace(0.0, 1.0, 48)
        places = np.stack([np.interp(way, np.linspace(0.0, 1.0, len(line)), line[:, k]) for k in (0, 1)], axis=1)
        inside = ((places >= 0) & (places < size[::-1])).all(axis=1)
        columns, rows = places[inside].astype(int).T
        np.add.at(drawn, (rows, columns), np.sin(np.pi * way[inside]))
    soft = cv2.GaussianBlur(drawn, (0, 0), width) - 0.8 * cv2.GaussianBlur(drawn, (0, 0), 2 * width)
    return np.asarray(-soft / max(float(soft.max()), 1e-6), np.float32)
