"""From driving pictures to LivePortrait's motion: tracker, calibration, causal box, M, filter, and a face that is lost."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable
from typing import NamedTuple

import cv2
import numpy as np
import torch
from torch import Tensor

from ..calibration import Calibration
from ..face.motion import Array
from ..face.tracker import Tracker
from ..follow import FaceState, rest_share
from ..frames import Image
from ..smoothing import OneEuroFilter
from .crop import DRIVING, DrivingBox, FaceBox, cut, mesh_box, mesh_ratios
from .motion import FaceMotion, Ratios

log = logging.getLogger(__name__)

INPUT = 256
KEPT_SIDE = 640  # pictures kept for the calibration are no larger
REFERENCES = 8  # the reference is the mean motion of so many pictures
MIN_CUTOFF_HZ, BETA = 4.0, 30.0  # of the filter; motion in LivePortrait's units, of which a face is about two wide

Extract = Callable[[list[Image]], FaceMotion]


class Driven(NamedTuple):
    """A driver's face in B frames."""

    motion: FaceMotion
    ratios: Ratios


class Seen(NamedTuple):
    """A driver's face on the host. ratios: (3,) openings; gap_s: since it was seen before, 0 for the first time, None
    for one that is lost and was here last; rest: how far it has come to rest by that, 0..1."""

    box: FaceBox
    ratios: Array
    gap_s: float | None
    rest: float


class MotionFollower:
    """One driver's face. Times are seconds on any steady clock, increasing. extract: M for 256² pictures."""

    def __init__(self, open_tracker: Callable[[], Tracker], extract: Extract) -> None:
        self._open_tracker = open_tracker
        self._extract = extract
        self.tracker = open_tracker()
        self.state = FaceState.NO_FACE
        self.reference: Driven | None = None
        self.recalibrate()

    def recalibrate(self) -> None:
        """Forget the reference and take a new one."""
        self.reference = None
        self._box: DrivingBox | None = None
        self._calibration = Calibration()
        self._kept: list[tuple[Image, float]] = []  # a picture for each frame of the calibration, and its scale
        self.forget()

    def forget(self) -> None:
        """Start the filter anew."""
        self._smooth = OneEuroFilter(MIN_CUTOFF_HZ, BETA)
        self._last: Driven | None = None
        self._last_seen: Seen | None = None
        self._seen_s = float("-inf")

    def calibrate(self, frames: Iterable[tuple[float, Image]]) -> None:
        """Take the reference from frames known beforehand; the face need not be in all of them."""
        self.recalibrate()
        time_s = 0.0
        for time_s, image in frames:
            landmarks = self.tracker.track(image, time_s)
            if landmarks is not None and self._collect(landmarks, image, time_s):
                break
        if self.reference is None and self._kept:
            self._conclude(time_s)
        if self.reference is None:
            log.warning("no face in the driver's first seconds; the portrait rests until one is seen")
        self.tracker.close()
        self.tracker = self._open_tracker()

    def see(self, image: Image, time_s: float) -> Seen | None:
        """Where the face is in `image` (h, w, 3) RGB; None while there is no reference. Nothing is asked of the device,
        but for the reference, once."""
        landmarks = self.tracker.track(image, time_s)
        if landmarks is None:
            self.state = FaceState.NO_FACE
            if self._last_seen is None:
                return None
            return self._last_seen._replace(gap_s=None, rest=rest_share(time_s - self._seen_s))
        if self._box is None:
            self.state = FaceState.CALIBRATING
            self._collect(landmarks, image, time_s)
            return None
        self.state = FaceState.TRACKING
        gap_s, self._seen_s = time_s - self._seen_s, time_s
        box = self._box.follow(mesh_box(landmarks, DRIVING), time_s)
        self._last_seen = Seen(box, mesh_ratios(landmarks), gap_s if math.isfinite(gap_s) else 0.0, 0.0)
        return self._last_seen

    def follow(self, image: Image, time_s: float) -> tuple[Driven, float] | None:
        """The face in `image` (h, w, 3) RGB and how far it has come to rest (0..1, by being lost); None while there
        is no reference."""
        seen = self.see(image, time_s)
        if seen is None:
            return None
        if seen.gap_s is None:
            return None if self._last is None else (self._last, seen.rest)
        motion = self._extract([driving_input(image, seen.box)])
        self._last = self._smoothed(Driven(motion, as_ratios(seen.ratios, motion.scale.device)), time_s)
        return self._last, 0.0

    def _collect(self, landmarks: Array, image: Image, time_s: float) -> bool:
        factor = min(1.0, KEPT_SIDE / max(image.shape[:2]))
        small = image if factor == 1 else cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
        self._kept.append((np.asarray(small, np.uint8), factor))
        if self._calibration.add(landmarks, time_s) is None:
            return False
        self._conclude(time_s)
        return True

    def _conclude(self, time_s: float) -> None:
        landmarks = self._calibration.landmarks()
        box = mesh_box(landmarks, DRIVING)
        chosen = self._calibration.chosen()
        some = [self._kept[k] for k in chosen[:: -(-len(chosen) // REFERENCES)]]
        faces = self._extract([driving_input(image, box.scaled(factor)) for image, factor in some])
        self.reference = Driven(mean_motion(faces), ratios_of(landmarks, faces.scale.device))
        self._box = DrivingBox(box, time_s)
        self._kept = []

    def _smoothed(self, driven: Driven, time_s: float) -> Driven:
        """Rotations are filtered by element: between neighbouring frames the result is a rotation to within 1e-4."""
        motion, ratios = driven
        parts = [motion.expression, motion.rotation, motion.scale, motion.translation, ratios.eyes, ratios.lip]
        flat = self._smooth(torch.cat([p.flatten() for p in parts]), time_s)
        sizes = [p.numel() for p in parts]
        new = [v.reshape(p.shape) for v, p in zip(flat.split(sizes), parts, strict=True)]
        return Driven(FaceMotion(motion.canonical, *new[:4]), Ratios(*new[4:]))

    def close(self) -> None:
        self.tracker.close()


def driving_input(image: Image, box: FaceBox) -> Image:
    """(256, 256, 3): cut at 512 and halved, as published."""
    return np.asarray(cv2.resize(cut(image, box.to_crop()), (INPUT, INPUT), interpolation=cv2.INTER_LINEAR), np.uint8)


def ratios_of(landmarks: Array, device: torch.device) -> Ratios:
    """Openings from (478, 3) landmarks."""
    return as_ratios(mesh_ratios(landmarks), device)


def as_ratios(openings: Array, device: torch.device) -> Ratios:
    """(3,) openings of left eye, right eye and lips, for the networks."""
    left, right, lip = openings.tolist()
    return Ratios(torch.tensor([[left, right]], device=device), torch.tensor([[lip]], device=device))


def mean_motion(faces: FaceMotion) -> FaceMotion:
    """Of B faces, one; the rotation is the one nearest to the mean matrix."""
    means = [part.mean(dim=0, keepdim=True) for part in faces]
    return FaceMotion(*means)._replace(rotation=nearest_rotation(means[2]))


def nearest_rotation(matrices: Tensor) -> Tensor:
    """(B, 3, 3) -> rotations, by singular value decomposition."""
    u, _, vh = torch.linalg.svd(matrices)
    return u @ vh
