"""A portrait as the mesh engine animates it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import cv2
import numpy as np

from ..face.motion import Motion, euler
from ..frames import Image, planar, stacked
from ..label import Box, box_of
from ..portrait import Picture, Portrait, fit
from .animal import has_open_mouth, is_animal, silent
from .backdrop import Backdrop, without
from .crop import Crop
from .cutout import CutOut
from .eyeball import with_whole_eyes
from .eyes import Eye, draw_eyes, make_eyes
from .finish import Grain, Wrinkles
from .geometry import Geometry
from .glasses import behind, with_lids_over, worn
from .keys import Keys, lay_over, with_irises
from .looped import PreparedLoop
from .matte import Matte
from .mixing import Weights, at_once, sparse, wanted
from .mouth import Mouth, make_mouth
from .own import Own
from .pose import Pose, pose_of
from .regions import features
from .warp import warp

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class MeshPrepared:
    """A portrait, prepared. still: (h, w, 3) RGB; pixels: the (side, side, 3) crop of it; keys: its other pictures; glasses:
    whether the face wears some; panting: whether it is an animal with an open mouth; cut: the person alone; background: what
    was put behind, (h, w, 3); own: what one picture of a clip does already; loop: the clip."""

    still: Image
    crop: Crop
    pixels: Image
    geometry: Geometry
    eyes: list[Eye]
    mouth: Mouth
    backdrop: Backdrop
    wrinkles: Wrinkles | None
    keys: Keys
    glasses: bool
    cut: CutOut
    panting: bool = False
    background: Image | None = None
    own: Own | None = None
    loop: PreparedLoop | None = None

    @classmethod
    def of(cls, portrait: Portrait, max_side: int, max_crop: int) -> MeshPrepared:
        still, landmarks = fit(portrait.image, portrait.landmarks, max_side, max_crop / Crop.around(portrait.landmarks).side)
        crop = Crop.around(landmarks)
        pixels = crop.cut(still)
        inside = with_whole_eyes(pixels, landmarks - np.array([crop.x, crop.y, 0], np.float32))
        geometry = Geometry.of(inside, crop.side, crop.free(still))
        grain = Grain.of(pixels)
        matte = _matte(portrait)
        coverage = None if matte is None else crop.coverage(still, matte)
        backdrop = Backdrop.of(pixels, coverage, crop.beyond(still), grain)
        wrinkles = Wrinkles.of(geometry, grain)
        eyes, mouth, glasses = make_eyes(pixels, geometry), make_mouth(pixels, geometry), worn(pixels, geometry.landmarks)
        eyes = with_lids_over(eyes) if glasses else eyes
        keys = Keys.of(portrait.more, Picture(still, landmarks), geometry)
        cut = CutOut(still, crop, backdrop, matte)
        panting = is_animal(pixels, geometry.landmarks) and has_open_mouth(pixels, geometry.landmarks)
        if panting:
            log.warning(
                "%s: an animal whose mouth is open in the picture; it stays so, and only eyes and head move", portrait.name
            )
        made = cls(still, crop, pixels, geometry, eyes, mouth, backdrop, wrinkles, keys, glasses, cut, panting)
        if portrait.loop is None:
            return made
        loop = PreparedLoop.of(portrait.loop, still.shape[1::-1], crop, geometry)
        return replace(made, loop=loop, keys=keys.for_clips(), wrinkles=None)

    @property
    def fps(self) -> float:
        return 0.0 if self.loop is None else self.loop.clip.fps

    def at(self, time_s: float) -> MeshPrepared:
        if self.loop is None:
            return self
        still, crop, own = self.loop.at(time_s)
        return replace(self, still=still, crop=crop, backdrop=Backdrop(crop.quick(still), None), own=own)

    @cached_property
    def face_box(self) -> Box:
        if self.loop is not None:
            return box_of(self.loop.clip.landmarks.reshape(-1, 3), *self.still.shape[1::-1])
        return box_of(self.geometry.landmarks + np.array([self.crop.x, self.crop.y, 0], np.float32), *self.still.shape[1::-1])

    @property
    def has_doubtful_matte(self) -> bool:
        return self.cut.matte is not None and self.cut.matte.is_doubtful

    @property
    def has_matte(self) -> bool:
        return self.backdrop.ground is not None

    def over(self, background: Image) -> MeshPrepared:
        if not self.has_matte:
            return self
        backdrop = replace(self.backdrop.no_brighter(), ground=self.crop.cut(background))
        return replace(self, still=self.cut.before(background), backdrop=backdrop, background=background)

    def cut_out(self, seen: Any, yuv: Image) -> Image:
        """seen: a `Followed`."""
        alpha = self.cut.alpha if seen is None or not self.has_matte else self.crop.paste(seen.coverage(), self.cut.alpha)
        ground = self.cut.ground if self.background is None else self.background
        return stacked(planar(without(ground, np.asarray(cv2.cvtColor(yuv, cv2.COLOR_YUV2RGB_I420), np.uint8), alpha)), alpha)

    def render(self, motion: Motion, mix: Callable[[Weights], Weights] = at_once, keep: Callable[[Image], object] = id) -> Image:
        """The whole picture under `motion`. mix: what becomes of the weights of key pictures that suit it; keep: gets the
        person as the motion moves her, before any ground, see `Backdrop.head`."""
        motion = silent(motion) if self.panting else motion
        pose = self._pose(motion)
        driven = pose.landmarks(self.geometry)
        head = self.backdrop.head if self.wrinkles is None else self.wrinkles.on(self.backdrop.head, motion)
        skin = behind(pose, motion, self.geometry) if self.glasses else pose
        moved = warp(head, self.geometry, skin, skin.landmarks(self.geometry), self.own)
        keep(moved)
        patch = self.backdrop.behind(moved)
        draw_eyes(self.eyes, patch, self.geometry, pose, driven, motion)
        self.mouth.draw(patch, self.geometry, pose, driven, motion.shut)
        if self.keys.pictures:
            shares = sparse(mix(self._wanted(motion, pose)))
            solid = with_irises(pose.solid(self.geometry), self.geometry.landmarks, motion)
            patch = lay_over(patch, solid, self.keys.pictures, shares)
        return self.crop.paste(patch, self.still)

    def weights(self, motion: Motion) -> Weights:
        """How much of each picture suits `motion`, the neutral first, by region."""
        return self._wanted(motion, self._pose(motion))

    def _pose(self, motion: Motion) -> Pose:
        pose = pose_of(motion, self.geometry, self.keys.widest)
        return pose if self.own is None else self.own.under(pose)

    def _wanted(self, motion: Motion, pose: Pose) -> Weights:
        linear = pose.linear / np.cbrt(np.linalg.det(pose.linear))
        expression = pose.offsets @ self.geometry.axes.T / np.float32(self.geometry.eye_distance)
        shown = replace(motion, pose=np.array([*euler(linear), 0, 0, 0], np.float32), expression=expression)
        return wanted(features(shown), self.keys.spaces)


def _matte(portrait: Portrait) -> Matte | None:
    """Of the picture in its own size; none of a clip, as what is behind it moves, too."""
    if portrait.loop is not None:
        return None
    return Matte.of(portrait.image, Crop.around(portrait.landmarks).inside(portrait.image), portrait.landmarks)
