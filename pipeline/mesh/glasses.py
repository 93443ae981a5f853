"""Glasses in a portrait: whether there are any, and eyes that shut behind them without bending their rims."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np

from ..face import topology as topo
from ..face.motion import Array, Motion
from ..frames import Image
from .eyes import Eye
from .geometry import Geometry
from .pose import Pose, set_lids

SIDE = 96  # pixels that the inner corners of the eyes are apart in the patch that is looked at
ROWS, COLUMNS = slice(14, 66), slice(30, 66)  # of it: where a bridge can lie on the nose; hair and brows are above
THICK = 21  # rows: what is thicker than that is no bridge
CLIMB = 2  # rows that its line goes up or down at most from column to column
BRIDGE = 0.06  # contrast of a line across the nose, and least of it: 0.05 without glasses, 0.08 and more with transparent ones


def worn(crop: Image, landmarks: Array) -> bool:
    """Whether the face in `crop` (h, w, 3) with `landmarks` (478, 3) wears glasses: a thin line, darker or lighter than skin,
    leads across the bridge of its nose without a gap."""
    grey = cv2.GaussianBlur(_nose(crop, landmarks), (0, 0), 1.2)
    thin = np.ones((THICK, 1), np.uint8)
    hats = [cv2.morphologyEx(grey, kind, thin) for kind in (cv2.MORPH_TOPHAT, cv2.MORPH_BLACKHAT)]
    contrast = np.maximum(*hats) / np.maximum(cv2.blur(grey, (1, 2 * THICK - 1)), 20)
    return _across(np.sqrt(contrast[ROWS, COLUMNS])) ** 2 > BRIDGE


def _nose(crop: Image, landmarks: Array) -> Array:
    """(SIDE, SIDE) grey levels of the square whose middle row leads from one eye's inner corner to the other's."""
    right, left = topo.RIGHT_UPPER_LID[-1], topo.LEFT_UPPER_LID[0]
    along = landmarks[left, :2] - landmarks[right, :2]
    scale = SIDE / max(float(np.linalg.norm(along)), 1e-3)
    step = along / SIDE
    down = np.array([-step[1], step[0]], np.float32)
    start = landmarks[right, :2] - down * SIDE / 2
    grey = cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY).astype(np.float32)
    if scale < 1:  # sampled as it is, a large picture would alias
        grey = np.asarray(cv2.GaussianBlur(grey, (0, 0), 0.5 / scale), np.float32)
    placement = np.column_stack([step, down, start]).astype(np.float32)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return np.asarray(cv2.warpAffine(grey, placement, (SIDE, SIDE), flags=flags, borderMode=cv2.BORDER_REPLICATE), np.float32)


def _across(values: Array) -> float:
    """The mean along the best way from the first column to the last."""
    best = values[:, :1]
    for column in values.T[1:]:
        best = cv2.dilate(best, np.ones((2 * CLIMB + 1, 1))) + column[:, None]
    return float(best.max()) / values.shape[1]


def with_lids_over(eyes: list[Eye]) -> list[Eye]:
    """The eyes, with lids for `behind`."""
    return [replace(eye, lid=replace(eye.lid, over=True)) for eye in eyes]


def behind(pose: Pose, motion: Motion, geometry: Geometry) -> Pose:
    """`pose` as it moves the picture with the glasses in it: lids that shut do not pull at the skin; they are drawn on it."""
    offsets = pose.offsets.copy()
    set_lids(offsets, np.maximum(motion.openness, 1.0), motion.gaze * np.minimum(motion.openness, 1.0)[:, None], geometry)
    return replace(pose, offsets=offsets)
