"""What can be turned while a stream is live, and for a file beforehand. No torch here: configuration reads it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cache

import numpy as np

from ..face import canonical
from ..face import topology as topo
from ..face.motion import Array, Motion

NEAR = 0.22  # eye distances within which a point moves with a region


class Region(StrEnum):
    """Which part of the driver's motion is used, with the meaning of the published LivePortrait (its `animation_region`)
    in every engine, live and offline. all: everything. exp: all expression. pose: the head turns and moves, but keeps its
    size: only under "all" does the published code take the driver's scale. lip, eyes: the expression there."""

    ALL = "all"
    EXPRESSION = "exp"
    POSE = "pose"
    LIP = "lip"
    EYES = "eyes"


@dataclass(frozen=True)
class Tuning:
    """Gains: 1 for as much as the driver. smoothing: see `smoothing.ratio`. scale_lock: the head keeps its size.

    mouth, eyes, brows: times expression_gain. retargeting: open eyes and lips as far as the driver's, whatever the
    portrait's own opening; not in every engine. paused: the driver is not looked at. recalibrate_after_s: a face that
    comes back after so long gets a new neutral; 0 for never. recentre_s: see `recentre.Recentring`. wrinkles_gain: of the
    folds that an expression shades; both of the mesh engine. idle: see `idle.IdleLife`.
    """

    pose_gain: float = 1.0
    expression_gain: float = 1.0
    mouth_gain: float = 1.0
    eyes_gain: float = 1.0
    brows_gain: float = 1.0
    region: Region = Region.ALL
    smoothing: float = 0.5
    scale_lock: bool = False
    eye_retargeting: bool = False
    lip_retargeting: bool = False
    paused: bool = False
    recalibrate_after_s: float = 10.0
    recentre_s: float = 30.0
    wrinkles_gain: float = 1.0
    idle: bool = False

    @property
    def pose(self) -> float:
        """Gain of the head's motion under the region."""
        return self.pose_gain if self.region in (Region.ALL, Region.POSE) else 0.0

    @property
    def scale(self) -> float:
        """Gain of the head's size: it changes under Region.ALL alone, as published, and not under the lock."""
        return 0.0 if self.scale_lock or self.region is not Region.ALL else self.pose_gain

    @property
    def expression(self) -> tuple[float, float, float, float]:
        """Gains of mouth, eyes, brows and all else under the region."""
        everything = self.region in (Region.ALL, Region.EXPRESSION)
        mouth = self.mouth_gain if everything or self.region is Region.LIP else 0.0
        eyes = self.eyes_gain if everything or self.region is Region.EYES else 0.0
        rest = 1.0 if everything else 0.0
        whole = self.expression_gain
        return whole * mouth, whole * eyes, whole * rest * self.brows_gain, whole * rest

    @property
    def gains(self) -> tuple[float, ...]:
        """All that scales motion, as one row of 8: pose, scale, the four of `expression`, retargeting of eyes and of lips."""
        return (self.pose, self.scale, *self.expression, float(self.eye_retargeting), float(self.lip_retargeting))


def tuned(motion: Motion, tuning: Tuning) -> Motion:
    """`motion` with the gains of `tuning`."""
    mouth, eyes, brows, rest = tuning.expression
    pose = motion.pose * np.float32(tuning.pose)
    pose[3] = motion.pose[3] * np.float32(tuning.scale)
    weight = region_weights() @ np.array([mouth, eyes, brows, rest], np.float32)
    return replace(
        motion,
        pose=pose,
        expression=motion.expression * weight[:, None],
        openness=np.clip(1.0 + (motion.openness - 1.0) * np.float32(eyes), 0.0, 1.3),
        gaze=motion.gaze * np.float32(eyes),
        shut=motion.shut * min(mouth, 1.0),
        wrinkles=tuning.wrinkles_gain,
    )


@cache
def region_weights() -> Array:
    """(478, 4) how far each landmark belongs to mouth, eyes, brows and the rest; each row sums to 1, and regions
    fade into each other over NEAR."""
    face = canonical.face()[:, :2]
    regions = (
        [*topo.UPPER_LIP, *topo.LOWER_LIP, *topo.MOUTH_CORNERS, 78, 308, *topo.JAW],
        [i for upper, lower in topo.EYES for i in (*upper, *lower)] + [i for iris in topo.IRISES for i in iris],
        [*topo.RIGHT_BROW, *topo.LEFT_BROW],
    )
    gaps = np.stack([np.linalg.norm(face[:, None] - face[r][None], axis=2).min(axis=1) for r in regions], axis=1)
    near = np.exp(-((gaps / NEAR) ** 2))
    out = np.column_stack([near, 1.0 - near.max(axis=1)])
    return np.asarray(out / out.sum(axis=1, keepdims=True), np.float32)
