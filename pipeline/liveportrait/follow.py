"""From driving pictures to where M looks: tracker, calibration, causal box, and a face that is lost."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..face.motion import Array
from ..face.tracker import Tracker
from ..follow.blend import Presence
from ..follow.follower import Follower
from ..follow.framing import View
from ..follow.neutral import NeutralKeeper
from ..follow.tuning import Tuning
from ..frames import Driving, Image
from ..shapes.shapes import NOTHING, Held
from .crop import DRIVING, DrivingBox, FaceBox, cut, mesh_box, mesh_ratios
from .motion import Face, FaceMotion, Ratios
from .networks import INPUT

log = logging.getLogger(__name__)


KEPT_SIDE = 640  # pictures kept for the calibration are no larger
REFERENCES = 8  # the reference is the mean motion of so many pictures
MIN_CUTOFF_HZ, BETA = 4.0, 30.0  # of the filter; motion in LivePortrait's units, of which a face is about two wide

Extract = Callable[[list[Image]], FaceMotion]


class Seen(NamedTuple):
    """A driver's face on the host. ratios: (3,) openings; gap_s: since it was seen before, 0 for the first time, None
    for one that is lost and was here last; rest: how far it has come to rest, 0..1. leap, left: whether what is shown
    leaps here, and how much of the last leap is still to be taken back."""

    box: FaceBox
    ratios: Array
    gap_s: float | None
    rest: float
    leap: bool = False
    left: float = 0.0


class Sight(NamedTuple):
    """A driving picture, followed on the host. reference: what its motion is measured against; row: the stream's place
    on the device."""

    driving: Driving
    seen: Seen
    reference: Face
    row: int
    tuning: Tuning = Tuning()
    held: Held = NOTHING

    @property
    def rest(self) -> float:
        """How far the driver has come to rest, 0..1."""
        return self.seen.rest

    @property
    def moves(self) -> bool:
        """Whether there is anything but the portrait at rest."""
        return self.rest < 1 or bool(self.held.shapes.values)


class Given(NamedTuple):
    """A motion that needs no picture and no filter: of a template, or of a picture by itself. As for `Sight` otherwise."""

    face: Face
    reference: Face
    row: int
    tuning: Tuning = Tuning()
    rest: float = 0.0
    held: Held = NOTHING

    @property
    def moves(self) -> bool:
        return self.rest < 1 or bool(self.held.shapes.values)


class MotionFollower(Follower):
    """One driver's face. Times are seconds on any steady clock, increasing. extract: M for 256² pictures."""

    def __init__(self, open_tracker: Callable[[], Tracker], extract: Extract) -> None:
        super().__init__(open_tracker)
        self.extract = extract
        self.reference: Face | None = None
        self._box: DrivingBox | None = None
        self._kept: list[tuple[Image, View]] = []  # a picture for each frame of the calibration, and what it shows
        self._last_seen: Seen | None = None

    def calibrate(self, frames: Iterable[tuple[float, Image]]) -> None:
        """Take the reference from frames known beforehand; the face need not be in all of them."""
        self.keeper, self.reference, self._box, self._last_seen = NeutralKeeper(), None, None, None
        time_s = 0.0
        for time_s, image in frames:
            landmarks = self.track(image, time_s)
            if landmarks is not None and self._collect(landmarks, image, time_s):
                break
        if self.reference is None and self._kept:
            self._conclude(time_s)
        if self.reference is None:
            log.warning("no face in the driver's first seconds; the portrait rests until one is seen")
        else:
            self.keeper = NeutralKeeper(True, self.keeper.resting)
            self.keeper.presence = Presence(1.0)  # the first frame is already animated
        self._begin()

    def see(self, image: Image, time_s: float) -> Seen | None:
        """Where the face is in `image` (h, w, 3) RGB; None while nothing moves. Nothing is asked of the device, but for
        the reference, once."""
        landmarks = self.track(image, time_s)
        if landmarks is None:
            return self._held(1.0 - self.keeper.lost(time_s, self.tuning), time_s)
        gap_s = self.keeper.found(time_s, self.tuning)
        if self.keeper.calibration is not None:
            self._collect(landmarks, image, time_s)
        if not self.keeper.calibrated or self._box is None:
            return self._held(1.0 - self.keeper.presence(time_s, False, math.inf), time_s)
        box = self._box.follow(mesh_box(landmarks, DRIVING), time_s).under(self.framing.view)
        leap, left = self.keeper.leap(time_s)
        rest = 1.0 - self.keeper.presence(time_s, True)
        gap_s = gap_s if math.isfinite(gap_s) else 0.0
        self._last_seen = Seen(box, mesh_ratios(landmarks), gap_s, rest, leap, left)
        return self._last_seen

    def _held(self, rest: float, time_s: float) -> Seen | None:
        """The motion that was last seen, on its way to rest."""
        if self._last_seen is None or self.reference is None:
            return None
        pending, self.keeper.leap.pending = self.keeper.leap.pending, False
        _, left = self.keeper.leap(time_s)
        self.keeper.leap.pending = pending  # a leap is for the next motion that is new
        return self._last_seen._replace(gap_s=None, rest=rest, leap=False, left=left)

    def _collect(self, landmarks: Array, image: Image, time_s: float) -> bool:
        assert self.keeper.calibration is not None
        import cv2

        del self._kept[len(self.keeper.calibration) :]  # those of a calibration that was given up
        factor = min(1.0, KEPT_SIDE / max(image.shape[:2]))
        small = image if factor == 1 else cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
        self._kept.append((np.asarray(small, np.uint8), self.framing.view))
        if self.keeper.calibration.add(landmarks, time_s) is None:
            return False
        self._conclude(time_s)
        return True

    def _conclude(self, time_s: float) -> None:
        calibration = self.keeper.calibration
        assert calibration is not None
        landmarks, chosen = calibration.landmarks(), calibration.chosen()
        box = mesh_box(landmarks, DRIVING)
        some = [self._kept[k] for k in chosen[:: -(-len(chosen) // REFERENCES)]]
        faces = self.extract([driving_input(image, box.under(view)) for image, view in some])
        self.reference = Face(mean_motion(faces), ratios_of(landmarks, faces.scale.device))
        self._box = DrivingBox(box, time_s)
        self._kept, self._last_seen = [], None
        self.keeper.done(landmarks)


def driving_input(image: Image, box: FaceBox) -> Image:
    """(256, 256, 3): cut at 512 and halved, as published. box: in units."""
    import cv2

    return np.asarray(
        cv2.resize(cut(image, box.in_pixels(image).to_crop()), (INPUT, INPUT), interpolation=cv2.INTER_LINEAR), np.uint8
    )


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
