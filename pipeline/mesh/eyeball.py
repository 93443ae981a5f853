"""Where an eyeball really ends: drawn and very wide eyes reach beyond the landmarks of their lids. And whose it is."""

from __future__ import annotations

import cv2
import numpy as np

from ..face import topology as topo
from ..face.motion import Array, eye_openness
from ..frames import Image
from .layers import Box, polygon_mask
from .tones import LUMA

FURTHEST = 0.16  # eye widths that an edge is looked for beyond its landmark
STEPS = 24
CONTRAST = 45.0  # colour distance of white and skin below which no edge can be trusted
ROUND = 0.33  # opening of the eyes, in their widths, above which they are round, and
AS_IRIS = 0.25  # of the way from an iris's brightness to the skin's up to which what lies beside it is iris, too


def with_whole_eyes(crop: Image, landmarks: Array) -> Array:
    """(478, 3) `landmarks` of the crop with lids and eye corners moved outward to where the white of the eye ends."""
    out = landmarks.copy()
    soft = cv2.GaussianBlur(crop, (0, 0), 0.8).astype(np.float32)
    for (upper, lower), iris in zip(topo.EYES, topo.IRISES, strict=True):
        colours = _white_and_skin(soft, landmarks, upper, lower, iris)
        if colours is None:
            continue
        along = landmarks[upper[-1], :2] - landmarks[upper[0], :2]
        width = max(float(np.linalg.norm(along)), 1e-3)
        along = along / width
        down = np.array([-along[1], along[0]], np.float32)
        for points, direction in ((upper[1:-1], -down), (lower[1:-1], down), (upper[:1], -along), (upper[-1:], along)):
            beyond = [_beyond(soft, landmarks[i, :2], direction, width, *colours) for i in points]
            even = cv2.blur(np.array(beyond, np.float32)[:, None], (1, 3), borderType=cv2.BORDER_REPLICATE).ravel()
            out[list(points), :2] += even[:, None] * direction
    return out


def _white_and_skin(
    soft: Array, rest: Array, upper: tuple[int, ...], lower: tuple[int, ...], iris: tuple[int, ...]
) -> tuple[Array, Array] | None:
    """(3,) colours of an eye's white and of the skin around it; None where they are too alike, or no white is seen."""
    outline = rest[[*upper, *lower[-2:0:-1]], :2]
    width = float(np.linalg.norm(outline[8] - outline[0]))
    box = Box.around(outline, 0.4 * width, soft.shape[0])
    if box is None:
        return None
    inside = polygon_mask(outline, box, 0) > 0.9
    ys, xs = np.mgrid[box.y0 : box.y1, box.x0 : box.x1]
    centre = rest[iris[0], :2]
    radius = float(np.linalg.norm(rest[list(iris[1:]), :2] - centre, axis=1).mean())
    white = box.of(soft)[inside & (np.hypot(xs - centre[0], ys - centre[1]) > 1.2 * radius)]
    wide = cv2.dilate(inside.astype(np.uint8), np.ones((3, 3)), iterations=max(int(0.3 * width), 1)) > 0
    skin = np.median(box.of(soft)[~wide], axis=0) if (~wide).any() else None
    if len(white) < 12 or skin is None:
        return None
    bright = np.median(white[white.sum(axis=1) >= np.median(white.sum(axis=1))], axis=0)
    return (bright, skin) if np.linalg.norm(bright - skin) > CONTRAST else None


def _beyond(soft: Array, start: Array, direction: Array, width: float, white: Array, skin: Array) -> float:
    """How many pixels the white goes on from `start`; 0 where it ends there, or does not end within FURTHEST."""
    reach = np.linspace(0, FURTHEST * width, STEPS, dtype=np.float32)
    at = (start + reach[:, None] * direction - 0.5).astype(np.float32)[None]
    colours = cv2.remap(soft, at, np.empty(0), cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)[0]
    is_white = np.linalg.norm(colours - white, axis=1) < 0.45 * np.linalg.norm(colours - skin, axis=1)
    ends = int(np.argmin(is_white))  # the first that is not
    return float(reach[ends]) if is_white[0] and not is_white.all() else 0.0


def is_animal(crop: Image, landmarks: Array) -> bool:
    """Whether both eyes are round and show no white beside what would be a person's iris. landmarks: (478, 3) of the crop."""
    if not (eye_openness(landmarks[:, :2]) > ROUND).all():
        return False
    return all(_all_iris(crop, landmarks, *eye, iris) for eye, iris in zip(topo.EYES, topo.IRISES, strict=True))


def _all_iris(crop: Image, landmarks: Array, upper: tuple[int, ...], lower: tuple[int, ...], iris: tuple[int, ...]) -> bool:
    outline = landmarks[[*upper, *lower[-2:0:-1]], :2]
    box = Box.around(outline, 0.35 * float(np.linalg.norm(outline[8] - outline[0])), crop.shape[0])
    if box is None:
        return False
    luma, eye = box.of(crop) @ LUMA, (polygon_mask(outline, box, 0) > 0.5).astype(np.uint8)
    visible = cv2.erode(eye, np.ones((3, 3))) > 0
    ys, xs = np.mgrid[box.y0 : box.y1, box.x0 : box.x1]
    centre = landmarks[iris[0], :2]
    radius = float(np.linalg.norm(landmarks[list(iris[1:]), :2] - centre, axis=1).mean())
    inside = np.hypot(xs + 0.5 - centre[0], ys + 0.5 - centre[1]) < 1.2 * radius
    parts = [luma[part] for part in (visible & inside, visible & ~inside, cv2.dilate(eye, np.ones((3, 3)), iterations=3) == 0)]
    if min(map(len, parts)) < 12:
        return False
    within, beside, skin = (float(np.median(part)) for part in parts)
    return beside - within < AS_IRIS * (skin - within)
