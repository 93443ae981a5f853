"""A whole portrait cut out of its background, for those who put another behind it. Made when it is first asked for."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np

from ..frames import Image
from .backdrop import Backdrop, apart, through, without
from .crop import Crop
from .finish import Grain
from .matte import Matte


@dataclass(frozen=True)
class CutOut:
    """A picture (h, w, 3) whose crop has the given backdrop, made with that matte."""

    picture: Image
    crop: Crop
    backdrop: Backdrop
    matte: Matte | None

    @cached_property
    def alpha(self) -> Image:
        """(h, w) the person's coverage; all of the picture without a matte."""
        if self.matte is None:
            return np.full(self.picture.shape[:2], 255, np.uint8)
        nothing = np.zeros(self.picture.shape[:2], np.uint8)
        known = self.crop.paste(self.backdrop.head[..., 3], nothing) * np.float32(1 / 255)
        alpha = np.round(255 * self.matte.whole(self.picture, known, self.crop.inside(self.picture))).astype(np.uint8)
        alpha[apart(alpha)] = 0
        return alpha

    @cached_property
    def ground(self) -> Image:
        """(h, w, 3) with the person filled in."""
        if self.backdrop.ground is None:
            return np.zeros_like(self.picture)
        no_border = np.zeros(self.picture.shape[:2], np.float32)
        ground = Backdrop.of(self.picture, self.alpha * np.float32(1 / 255), no_border, Grain.of(self.picture)).ground
        assert ground is not None
        return self.crop.paste(self.backdrop.ground, ground)

    def before(self, background: Image) -> Image:
        """(h, w, 3) the person before another background of that size."""
        person = without(self.ground, self.picture, self.alpha)
        return np.asarray(cv2.add(person, through(background, self.alpha)), np.uint8)
