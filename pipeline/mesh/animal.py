"""Faces of animals: told by their eyes, and a mouth that is not where a person's would be."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np

from ..face import topology as topo
from ..face.motion import Array, Motion, eye_openness
from ..follow.tuning import region_weights
from ..frames import Image
from .layers import Box, polygon_mask
from .tones import LUMA, skin_of

ROUND = 0.33  # opening of the eyes, in their widths, above which they are round, and
AS_IRIS = 0.25  # of the way from an iris's brightness to the skin's up to which what lies beside it is iris, too
CHIN = (365, 378, 152, 149, 136)
CAVITY = 0.5  # of the skin's brightness that a quarter of what lies below the lips is darker than where a mouth stands open


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


def has_open_mouth(crop: Image, landmarks: Array) -> bool:
    """Whether what lies between lips and chin is the inside of a mouth: the landmark model puts the lips of an animal that pants
    above it, and there they would open as a second one. landmarks: (478, 3) of the crop."""
    outline = np.concatenate([landmarks[list(topo.LOWER_OUTER_LIP), :2], landmarks[list(CHIN), :2]])
    box = Box.around(outline, 0, crop.shape[0])
    if box is None:
        return False
    below = (box.of(crop) @ LUMA)[polygon_mask(outline, box, 0) > 0.9]
    return len(below) > 20 and float(np.percentile(below, 25)) < CAVITY * float(skin_of(crop, landmarks) @ LUMA)


def silent(motion: Motion) -> Motion:
    """The motion with a mouth that stays as it is."""
    return replace(motion, expression=motion.expression * (1 - region_weights()[:, :1]), shut=0.0)
