"""Five points that place a face by hand: their names, their order, and which of them is wrong and why."""

from __future__ import annotations

import numpy as np

from .motion import Array

NAMES = (
    "the eye on the left", "the eye on the right", "the tip of the nose", "the left corner of the mouth",
    "the right corner of the mouth",
)  # fmt: skip
ORDER = f"{', '.join(NAMES[:-1])}, and {NAMES[-1]}"
BESIDE = 0.5  # of the picture's size that a point may lie outside of it: faces are cut off by borders
EYES_APART = 4.0  # pixels at least
# In distances between the eyes:
MOUTH_BELOW = 0.1  # the eyes at least
MOUTH_WIDE = 0.1  # at least
NOSE_ABOVE, NOSE_BELOW, NOSE_ASIDE = 0.3, 0.4, 1.5  # the eyes, the mouth and the middle at most: noses of cats and of profiles


def problem(marks: Array, width: int, height: int) -> str:
    """What is wrong with five points (5, 2) in the pixels of a picture, and what to do; nothing where they can be a face."""
    if marks.shape != (5, 2) or not np.isfinite(marks).all():
        return f"five points are expected: {ORDER}"
    size = np.array([width, height])
    for name, point in zip(NAMES, marks, strict=True):
        if (point < -BESIDE * size).any() or (point > (1 + BESIDE) * size).any():
            return f"{name} is at {point[0]:.0f},{point[1]:.0f}, far outside the picture, which has {width}x{height} pixels"
    across = marks[1] - marks[0]
    distance = float(np.linalg.norm(across))
    if distance < EYES_APART:
        return f"the eyes are {distance:.0f} pixels apart; put the first point on one, the second on the other"
    return _of_order(_in_face(marks, across, distance))


def _in_face(marks: Array, across: Array, distance: float) -> Array:
    """The points from the middle between the eyes on, to the right and down as the face lies, in distances of the eyes."""
    axes = np.column_stack([across, [-across[1], across[0]]]) / distance**2
    return np.asarray((marks - marks[:2].mean(axis=0)) @ axes)


def _of_order(points: Array) -> str:
    nose, left, right = points[2:]
    mouth = float((left[1] + right[1]) / 2)
    if mouth < -MOUTH_BELOW and not _of_order(-points):  # all lies well, seen from eyes that are changed over
        return "the eyes are changed over; the one on the left of the picture comes first"
    if mouth < MOUTH_BELOW:
        return "the mouth is not below the eyes; the eyes come first, its corners last"
    if np.linalg.norm(right - left) < MOUTH_WIDE:
        return "the corners of the mouth are at one place; put a point on each"
    if right[0] < left[0]:
        return "the corners of the mouth are changed over; the one on the left of the picture comes first"
    if nose[1] < -NOSE_ABOVE or nose[1] > mouth + NOSE_BELOW or abs(nose[0]) > NOSE_ASIDE:
        where = "above the eyes" if nose[1] < -NOSE_ABOVE else "below the mouth" if nose[1] > mouth else "beside the face"
        return f"the tip of the nose is {where}; it comes third"
    return ""
