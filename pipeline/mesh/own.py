"""What one picture of a clip does already, against the picture of it that was prepared: a motion is put in its place."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np

from ..face import topology as topo
from ..face.motion import Array, euler, umeyama
from .backward import NO_MAP, backward
from .geometry import GRID, NODES, Geometry
from .pose import Pose

STEPS, DAMPING = 8, 0.75  # of the fixed point that turns a displacement round
RIGID = list(topo.RIGID)


@dataclass(frozen=True)
class Own:
    """pose: the head's, and where all landmarks are; forth: (2, G, G, 2) from a node of the prepared picture to where it lies in
    this one, in crop pixels, between the eyes and the mouth and outside; half floats, as there are many."""

    pose: Pose
    forth: Array

    @classmethod
    def of(cls, landmarks: Array, geometry: Geometry) -> Own:
        """From (478, 3) landmarks of the picture, in pixels of its crop, which has the side of the prepared one's."""
        pose = _pose(landmarks, geometry)
        inner, outer, _ = backward(geometry, pose)
        return cls(pose, np.stack([_forth(inner, geometry.side), _forth(outer, geometry.side)]).astype(np.float16))

    def under(self, driver: Pose) -> Pose:
        """The head as the driver moves it from where it is; expression, lids and gaze are the driver's alone."""
        linear = driver.linear @ self.pose.linear
        roll = self.pose.roll + driver.roll
        return Pose(linear=linear, shift=self.pose.shift + driver.shift, roll=roll, offsets=driver.offsets)

    def onward(self, side: int, inner: Array, outer: Array) -> tuple[Array, Array]:
        """Two (G, G, 2) displacements to the prepared picture, in pixels of a crop of that side, made to lead on to this one."""
        one, other = (
            there + _at(forth.astype(np.float32), NODES + there * np.float32(GRID / side))
            for there, forth in zip((inner, outer), self.forth, strict=True)
        )
        return one, other


def _pose(landmarks: Array, geometry: Geometry) -> Pose:
    """The pose that brings the prepared landmarks exactly to (478, 3) others."""
    scale, rotation, translation = umeyama(geometry.solid[RIGID], landmarks[RIGID])
    pose = Pose(
        linear=scale * rotation,
        shift=(scale * rotation @ geometry.pivot + translation - geometry.pivot)[:2],
        roll=euler(rotation)[2],
        offsets=np.asarray((landmarks - translation) @ rotation / scale - geometry.solid, np.float32),
    )
    missed = landmarks[:, :2] - pose.landmarks(geometry)
    offsets = pose.offsets.copy()
    offsets[:, :2] += missed @ np.linalg.inv(pose.linear[:2, :2]).T
    return replace(pose, offsets=offsets)


def _forth(back: Array, side: int) -> Array:
    """(G, G, 2) the displacement f of which `back` is the reverse: f(x) = -back(x + f(x)), in pixels."""
    cells = np.float32(GRID / side)
    out = np.zeros_like(back)
    for _ in range(STEPS):
        out += np.float32(DAMPING) * (-_at(back, NODES + out * cells) - out)
    return out


def _at(field: Array, where: Array) -> Array:
    return np.asarray(cv2.remap(field, where, NO_MAP, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE), np.float32)
