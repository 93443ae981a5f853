"""Where a portrait's landmarks go for one motion: soft limits, lids and lips."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ..face import topology as topo
from ..face.motion import Array, Motion, rotation_matrix
from .geometry import Geometry
from .lips import closing

KNEE = 0.7  # of a limit: a pose is the driver's own up to there
TURN_GAIN = np.array([1.05, 1.12, 1.0, 1.0], np.float32)  # yaw, pitch: a landmarker sees a little less of a turn than is done
UPPER_LID_SHARE = 0.93  # the part of closing an eye that the upper lid does
# Of a glance up, and of one down, that the open upper and lower lid go along, in their middles: the upper one is drawn back to
# leave the iris free, the lower one is pushed down by it. And eye widths of a glance that they follow at most.
LIDS_LOOK, FURTHEST_LOOK = ((1.2, 0.1), (0.55, 1.0)), 0.15
ROUND = 0.34  # opening in eye widths of an eye whose lids hide no iris: a rounder one's go up less, and open less wide
BOW = np.sin(np.linspace(0, np.pi, len(topo.RIGHT_UPPER_LID), dtype=np.float32))[:, None]  # of a lid, from corner to corner
GAP_GAIN = 1.12  # a mouth shows a little less than is asked of it: lips rim what is between them
GAP_KNEE, GAP_LIMIT = 0.75, 1.0  # mouth opening in mouth widths: linear up to the knee
WIDE_KNEE, WIDE_LIMIT = 0.94, 1.08  # mouth width in eye distances, likewise: a smile on a smile is no wider than a face
LIPS = [*topo.UPPER_LIP, *topo.LOWER_LIP, *topo.MOUTH_CORNERS, 78, 308]


@dataclass(frozen=True)
class Pose:
    """A rigid head placement in the crop and the landmarks' offsets before it.

    linear: (3, 3) scale times rotation. shift: (2,) pixels. offsets: (478, 3) in crop pixels.
    """

    linear: Array
    shift: Array
    roll: float
    offsets: Array

    def place(self, points: Array, pivot: Array) -> Array:
        """(n, 2) picture positions of (n, 3) points under the rigid placement."""
        return ((points - pivot) @ self.linear.T)[:, :2] + pivot[:2] + self.shift

    def landmarks(self, geometry: Geometry) -> Array:
        """(478, 2) driven landmarks in crop pixels."""
        return self._driven(geometry.landmarks, geometry)

    def solid(self, geometry: Geometry) -> Array:
        """The same by the depth that was seen, which the warp has smoothed: where other pictures of the face have them."""
        return self._driven(geometry.solid, geometry)

    def _driven(self, points: Array, geometry: Geometry) -> Array:
        return self.place(points, geometry.pivot) + (self.offsets @ self.linear.T)[:, :2]


def pose_of(motion: Motion, geometry: Geometry, widest: float = 0.0) -> Pose:
    """Transfer `motion` to the portrait. widest: mouth that other pictures of the face show, in eye distances."""
    yaw, pitch, roll, log_scale = limited(motion.pose[:4] * TURN_GAIN, geometry.limits[:, :4]).tolist()
    linear = np.float32(np.exp(log_scale)) * rotation_matrix(yaw, pitch, roll)
    swing = linear[:2, 2] * np.float32(geometry.back)  # of the head's middle, about which a head turns, against the face
    middle = limited((motion.pose[4:] * geometry.eye_distance + swing) / geometry.side, geometry.limits[:, 4:])
    return Pose(linear=linear, shift=middle * geometry.side - swing, roll=roll, offsets=offsets(motion, geometry, widest))


def limited(value: Array, limits: Array) -> Array:
    """`value` up to a knee, then easing to its limit; the slope is 1 there and nowhere leaps.

    limits: (2, n) toward negative and positive values.
    """
    limit = np.where(value < 0, limits[0], limits[1])
    size = np.abs(value)
    room = (1.0 - KNEE) * limit
    over = np.maximum(size - KNEE * limit, 0.0) / room
    return np.asarray(np.sign(value) * (np.minimum(size, KNEE * limit) + room * np.tanh(over)), np.float32)


def offsets(motion: Motion, geometry: Geometry, widest: float) -> Array:
    """(478, 3) landmark offsets in picture axes of the resting portrait, in pixels."""
    expression = motion.expression.copy()
    corners = geometry.landmarks[list(topo.MOUTH_CORNERS)]
    width = float(np.linalg.norm(corners[1] - corners[0])) / geometry.eye_distance
    expression[LIPS, 0] *= width / max(motion.mouth_width, 0.2)
    out = (expression @ geometry.axes) * np.float32(geometry.eye_distance)
    if motion.shut > 0:
        out += np.float32(motion.shut) * closing(geometry.landmarks, geometry.axes[1])
    set_lids(out, motion.openness, motion.gaze, geometry)
    _limit_width(out, geometry, widest)
    _limit_mouth(out, geometry)
    return out


def set_lids(offsets: Array, openness: Array, gaze: Array, geometry: Geometry) -> None:
    """Both lids meet as the eye shuts, go along with its glance up or down while it is open, and otherwise follow its corners."""
    rest, down = geometry.landmarks, geometry.axes[1]
    for (upper, lower), opening, look in zip(topo.EYES, openness.tolist(), gaze[:, 1].tolist(), strict=True):
        up, low = list(upper[1:-1]), list(lower[1:-1])
        width = float(np.linalg.norm(rest[upper[-1]] - rest[upper[0]]))
        glance = min(opening, 1.0) * min(max(look, -FURTHEST_LOOK), FURTHEST_LOOK) * width * BOW[1:-1] * down
        of_upper, of_lower = LIDS_LOOK[look > 0]
        opened = float(np.linalg.norm(rest[low] - rest[up], axis=1)[1:-1].mean())
        calm = min((ROUND * width / max(opened, 1e-3)) ** 2, 1.0)
        of_upper *= calm if look < 0 else 1.0
        opening = min(opening, 1.0 + calm * (opening - 1.0))
        corners = offsets[[upper[0], upper[-1]]].mean(axis=0)
        gap = (1.0 - opening) * (rest[low] - rest[up])
        offsets[up] = corners + of_upper * glance + UPPER_LID_SHARE * gap
        offsets[low] = corners + of_lower * glance - (1.0 - UPPER_LID_SHARE) * gap


def soft_gap(gap: Array, rest: Array) -> Array:
    """A mouth opening in mouth widths: no narrower than shut, linear to the knee, then easing to the limit. What the picture
    shows at `rest` is within both: landmarks that cross there, or a mouth that gapes."""
    knee = np.maximum(GAP_KNEE, rest)
    room = GAP_LIMIT - GAP_KNEE
    over = np.maximum(gap - knee, 0.0)
    return np.where(gap > knee, knee + room * np.tanh(over / room), np.maximum(gap, np.minimum(rest, 0.0)))


def _limit_width(offsets: Array, geometry: Geometry, widest: float) -> None:
    """A mouth grows no wider than a face can; one that is so in a picture may be so."""
    across, unit = geometry.axes[0], geometry.eye_distance
    corners = list(topo.MOUTH_CORNERS)
    at_rest = float(np.diff(geometry.landmarks[corners] @ across)[0]) / unit
    change = float(np.diff(offsets[corners] @ across)[0]) / unit
    knee, room = max(WIDE_KNEE, at_rest, widest), WIDE_LIMIT - WIDE_KNEE
    over = at_rest + change - knee
    if over > 0:
        keep = (knee + room * math.tanh(over / room) - at_rest) / change
        offsets[LIPS] -= (1.0 - keep) * (offsets[LIPS] @ across)[:, None] * across


def _limit_mouth(offsets: Array, geometry: Geometry) -> None:
    """Lips never cross and the mouth never opens wider than a face can."""
    down = geometry.axes[1]
    placed = geometry.landmarks + offsets
    left, right = placed[topo.MOUTH_CORNERS[0]], placed[topo.MOUTH_CORNERS[1]]
    width = max(float(np.linalg.norm(right - left)), 1e-3)
    upper, lower = list(topo.UPPER_INNER_LIP[1:-1]), list(topo.LOWER_INNER_LIP[1:-1])
    gap = (placed[lower] - placed[upper]) @ down / width
    at_rest = (geometry.landmarks[lower] - geometry.landmarks[upper]) @ down / width
    change = (soft_gap(at_rest + GAP_GAIN * (gap - at_rest), at_rest) - gap) * width
    for row, column in zip((upper, lower), (-0.5, 0.5), strict=True):
        offsets[row] += column * change[:, None] * down
    # The rest of each lip follows the middle of its inner edge.
    middle = float(change[3:6].mean())
    inner = set(upper) | set(lower)
    offsets[[i for i in topo.UPPER_LIP if i not in inner]] -= 0.5 * middle * down
    offsets[[i for i in topo.LOWER_LIP if i not in inner]] += 0.5 * middle * down
