"""A portrait as the mesh engine animates it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from ..face.motion import Motion, euler
from ..frames import Image
from ..portrait import Portrait, fit
from .crop import Crop
from .eyes import Eye, draw_eyes, make_eyes
from .geometry import Geometry
from .keys import Keys, lay_over, with_irises
from .mixing import Weights, at_once, sparse, wanted
from .mouth import Mouth, make_mouth
from .pose import Pose, pose_of
from .regions import features
from .warp import warp


@dataclass(frozen=True)
class MeshPrepared:
    """A portrait, prepared. still: (h, w, 3) RGB; pixels: the (side, side, 3) crop of it; keys: its other pictures."""

    still: Image
    crop: Crop
    pixels: Image
    geometry: Geometry
    eyes: list[Eye]
    mouth: Mouth
    keys: Keys

    @classmethod
    def of(cls, portrait: Portrait, max_side: int, max_crop: int) -> MeshPrepared:
        still, landmarks = fit(portrait.image, portrait.landmarks, max_side, max_crop / Crop.around(portrait.landmarks).side)
        crop = Crop.around(landmarks)
        pixels = crop.cut(still)
        geometry = Geometry.of(landmarks - np.array([crop.x, crop.y, 0], np.float32), crop.side)
        keys = Keys.of(portrait.more, landmarks)
        return cls(still, crop, pixels, geometry, make_eyes(pixels, geometry), make_mouth(pixels, geometry), keys)

    def render(self, motion: Motion, mix: Callable[[Weights], Weights] = at_once) -> Image:
        """The whole picture under `motion`. mix: what becomes of the weights of key pictures that suit it."""
        pose = pose_of(motion, self.geometry)
        driven = pose.landmarks(self.geometry)
        patch = warp(self.pixels, self.geometry, pose, driven)
        draw_eyes(self.eyes, patch, self.geometry, pose, driven, motion)
        self.mouth.draw(patch, self.geometry, pose, driven)
        if self.keys.pictures:
            shares = sparse(mix(self._wanted(motion, pose)))
            patch = lay_over(patch, with_irises(driven, self.geometry.landmarks, motion), self.keys.pictures, shares)
        return self.crop.paste(patch, self.still)

    def weights(self, motion: Motion) -> Weights:
        """How much of each picture suits `motion`, the neutral first, by region."""
        return self._wanted(motion, pose_of(motion, self.geometry))

    def _wanted(self, motion: Motion, pose: Pose) -> Weights:
        linear = pose.linear / np.cbrt(np.linalg.det(pose.linear))
        expression = pose.offsets @ self.geometry.axes.T / np.float32(self.geometry.eye_distance)
        shown = replace(motion, pose=np.array([*euler(linear), 0, 0, 0], np.float32), expression=expression)
        return wanted(features(shown), self.keys.spaces)
