"""The mesh engine: the portrait itself, warped by the driver's motion. No learned generator."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..clips import Progress
from ..face.motion import Motion, Neutral, rest
from ..face.tracker import open_tracker
from ..follow.calibration import Calibration
from ..follow.follower import FollowingPuppeteer
from ..frames import Driving, Image, planar
from ..portrait import Portrait, fit
from .crop import Crop
from .eyes import Eye, draw_eyes, make_eyes
from .follow import FaceFollower
from .geometry import Geometry
from .mouth import Mouth, make_mouth
from .pose import pose_of
from .warp import warp

WARM_UP = 5


@dataclass(frozen=True)
class MeshSource:
    """A portrait, prepared. still: (h, w, 3) RGB; pixels: the (side, side, 3) crop of it."""

    still: Image
    crop: Crop
    pixels: Image
    geometry: Geometry
    eyes: list[Eye]
    mouth: Mouth

    @classmethod
    def of(cls, portrait: Portrait, max_side: int, max_crop: int) -> MeshSource:
        still, landmarks = fit(portrait.image, portrait.landmarks, max_side, max_crop / Crop.around(portrait.landmarks).side)
        crop = Crop.around(landmarks)
        pixels = crop.cut(still)
        geometry = Geometry.of(landmarks - np.array([crop.x, crop.y, 0], np.float32), crop.side)
        return cls(still, crop, pixels, geometry, make_eyes(pixels, geometry), make_mouth(pixels, geometry))

    def render(self, motion: Motion) -> Image:
        """The whole picture under `motion`."""
        pose = pose_of(motion, self.geometry)
        driven = pose.landmarks(self.geometry)
        patch = warp(self.pixels, self.geometry, pose, driven)
        draw_eyes(self.eyes, patch, self.geometry, pose, driven, motion)
        self.mouth.draw(patch, self.geometry, pose, driven)
        return self.crop.paste(patch, self.still)


class MeshPuppeteer(FollowingPuppeteer):
    """Tracks one driver and renders sources with its motion."""

    def __init__(self, model: Path | None) -> None:
        self._model = model
        self.follower = FaceFollower(open_tracker(model))
        super().__init__(self.follower)

    def follow(self, driving: Driving) -> Motion:
        return self.follower.follow(driving.image, driving.time_s)

    def animate(self, source: MeshSource, image: Image, time_s: float) -> Image:
        return source.render(self.follower.follow(image, time_s))

    def calibrate(self, frames: Iterable[tuple[float, Image]]) -> None:
        self.follower.known(self._neutral(frames), open_tracker(self._model))

    def _neutral(self, frames: Iterable[tuple[float, Image]]) -> Neutral | None:
        tracker, calibration = open_tracker(self._model), Calibration()
        try:
            for time_s, image in frames:
                landmarks = tracker.track(image, time_s)
                neutral = None if landmarks is None else calibration.add(landmarks, time_s)
                if neutral is not None:
                    return neutral
        finally:
            tracker.close()
        return calibration.neutral()


class MeshEngine:
    """See `pipeline.engine.Engine`."""

    name = "mesh"
    max_batch = 1
    overlaps = False
    on_cpu = True
    lacks = frozenset({"eye_retargeting", "lip_retargeting"})  # lids and lips are relative to the portrait's own

    def __init__(self, model: Path | None) -> None:
        self._model = model

    def prepare(self, portrait: Portrait, max_side: int, max_crop: int) -> MeshSource:
        return MeshSource.of(portrait, max_side, max_crop)

    def open(self) -> MeshPuppeteer:
        return MeshPuppeteer(self._model)

    def warm_up(self, source: MeshSource, progress: Progress) -> float:
        start = time.perf_counter()
        for done in range(WARM_UP):
            source.render(rest())
            progress(done + 1, WARM_UP)
        return (time.perf_counter() - start) / WARM_UP

    def submit(self, work: Sequence[tuple[MeshSource, Motion]]) -> Callable[[], list[Image]]:
        pictures = [planar(source.render(motion)) for source, motion in work]
        return lambda: pictures
