"""Whether two resting faces may be one person's, by eleven lengths of what expression hardly moves.

Enough to tell that somebody else sits down, not to know a person: docs/security.md has how often it errs.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from . import topology as topo
from .canonical import face
from .motion import Array, umeyama

# Pairs of points right and left, whose distance counts: inner corners of the eyes, nostrils, temples, cheeks, jaw.
WIDTHS = ((133, 362), (98, 327), (127, 356), (234, 454), (132, 361), (172, 397), (150, 379))
# How far below the eyes: tip and base of the nose, chin, corners of the jaw.
HEIGHTS = ((topo.NOSE_TIP, topo.NOSE_TIP), (2, 2), (topo.CHIN, topo.CHIN), (172, 397))
OUTER, INNER = (33, 263), (133, 362)  # corners of the eyes
# How much each of them differs from one calibration of a person to the next: over seven clips.
SPREAD = np.array([0.0046, 0.0096, 0.0122, 0.0128, 0.0154, 0.0153, 0.0101, 0.0120, 0.0166, 0.0328, 0.0202])
LIMIT = 2.2  # times that, from which two faces are two people's
COUNT = len(SPREAD)
ROUGH = ("cascade",)  # trackers whose landmarks are an average face's
STRANGE = "this portrait moves for one face alone, and the driver's seems to be another"
LOOKING = "this portrait moves for one face alone: look straight into the camera"
UNKNOWN = "this portrait moves for one face alone, which is not known here"
TOO_ROUGH = "this portrait moves for one face alone, and the tracker in use cannot tell faces apart"
_RIGID = np.array(topo.RIGID)


def proportions(landmarks: Array) -> Array:
    """(11,) lengths in eye distances, of (478, 3) landmarks of a face at rest in any unit; both sides as one, upright."""
    scale, rotation, translation = umeyama(face()[_RIGID], landmarks[_RIGID])
    seen = (landmarks - translation) @ rotation / scale
    eyes_y = np.mean([seen[point, 1] for point in (*OUTER, *INNER)])
    eye_distance = (_width(seen, OUTER) + _width(seen, INNER)) / 2
    heights = [(seen[right, 1] + seen[left, 1]) / 2 - eyes_y for right, left in HEIGHTS]
    lengths = [*(_width(seen, pair) / 2 for pair in WIDTHS), *heights]
    return np.asarray(lengths, np.float32) / max(eye_distance, 1e-6)


def unlike(one: Array, other: Array) -> float:
    """How unlike two `proportions` are: 1 is what one person's are from each other, LIMIT too much for one person."""
    return float(np.sqrt(np.mean(np.square((np.asarray(one) - np.asarray(other)) / SPREAD))))


@dataclass(frozen=True)
class FaceLock:
    """A face that whoever drives must have. like: its `proportions`; None for one that is not known here, so nobody has it."""

    like: tuple[float, ...] | None

    @classmethod
    def of(cls, landmarks: Array) -> FaceLock:
        """That of (478, 3) landmarks at rest."""
        return cls(tuple(proportions(landmarks).tolist()))

    def refusal(self, resting: Array | None, tracker: str) -> str:
        """Why a driver may not drive, in words; "" where they may. resting: (478, 3) landmarks of their face at rest, None while
        those are not known; tracker: what saw it."""
        if self.like is None:
            return UNKNOWN
        if tracker in ROUGH:
            return TOO_ROUGH
        if resting is None:
            return LOOKING
        return "" if unlike(proportions(resting), np.array(self.like)) <= LIMIT else STRANGE


def _width(points: Array, pair: tuple[int, int]) -> float:
    return float(abs(points[pair[0], 0] - points[pair[1], 0]))
