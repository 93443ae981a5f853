"""The LivePortrait engine: a portrait prepared once, then M, composition, W, G and paste-back for each frame."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import torch

from ..face.tracker import open_tracker
from ..follow import FaceState
from ..frames import Image
from ..mesh.crop import fit
from ..portrait import Portrait
from . import networks
from .crop import DRIVING, SOURCE, cut, mesh_box, shrink
from .follow import Driven, MotionFollower, driving_input, ratios_of
from .motion import FaceMotion, Ratios, drive
from .options import Precision, Settings
from .paste import PasteBack, to_bytes
from .runtime import Runtime

WHATEVER_CROP = 1 << 20


@dataclass(frozen=True)
class LivePortraitSource:
    """A portrait, prepared. still: (h, w, 3) RGB, the whole picture or the crop alone."""

    still: Image
    face: FaceMotion
    resting: torch.Tensor
    portrait: networks.Portrait
    ratios: Ratios
    paste: PasteBack | None


class LivePortraitEngine:
    """See `pipeline.engine.Engine`. face_model: MediaPipe's; without it the cascade tracker places the driver's face."""

    name = "liveportrait"

    def __init__(self, face_model: Path | None, settings: Settings = Settings()) -> None:
        self._face_model = face_model
        self._settings = settings
        self._proven: Precision | None = None
        self.runtime = Runtime(settings)

    @torch.inference_mode()
    def prepare(self, portrait: Portrait, max_side: int, max_crop: int) -> LivePortraitSource:
        """The first portrait is rendered too, so that a precision that fails is found before a stream starts.
        max_crop has no effect: the networks' crop is always 512²."""
        crop = cut(portrait.image, mesh_box(portrait.landmarks, SOURCE).to_crop())
        still, landmarks = fit(portrait.image, portrait.landmarks, max_side, WHATEVER_CROP)
        while True:
            precision = self.runtime.precision
            picture = self.runtime.upload([shrink(crop)])
            face = self.runtime.motion(picture)
            resting = face.keypoints()
            prepared = self.runtime.portrait(picture, resting)
            if precision is self._proven or self.runtime.render(prepared, resting).isfinite().all():
                self._proven = precision
                break
            self.runtime.step_down(precision)
        ratios = ratios_of(portrait.landmarks, self.runtime.device)
        if not self._settings.paste_back:
            return LivePortraitSource(crop, face, resting, prepared, ratios, None)
        paste = PasteBack(still, mesh_box(landmarks, SOURCE), self.runtime.device)
        return LivePortraitSource(still, face, resting, prepared, ratios, paste)

    def open(self) -> LivePortraitPuppeteer:
        return LivePortraitPuppeteer(self.runtime, self._settings, self._face_model)


class LivePortraitPuppeteer:
    """Follows one driver and renders sources with its motion."""

    def __init__(self, runtime: Runtime, settings: Settings, face_model: Path | None) -> None:
        self.follower = MotionFollower(lambda: open_tracker(face_model), self._extract)
        self.tracker_name = self.follower.tracker.name
        self.device = runtime.device
        self._runtime = runtime
        self._motion = settings.motion
        self._last: Image | None = None

    @property
    def state(self) -> FaceState:
        return self.follower.state

    @torch.inference_mode()
    def animate(self, source: LivePortraitSource, image: Image, time_s: float) -> Image:
        followed = self.follower.follow(image, time_s)
        reference = self.follower.reference
        if followed is None or reference is None:
            return source.still
        return self.render(source, followed[0], reference, followed[1])

    @torch.inference_mode()
    def render(self, source: LivePortraitSource, driven: Driven, reference: Driven, rest: float = 0.0) -> Image:
        """The picture of `source` under one frame's motion; rest: how far it has come to rest, 0..1."""
        if rest >= 1.0:
            return source.still
        precision = self._runtime.precision
        keypoints = drive(
            source.face, driven.motion, reference.motion, self._runtime.controllers, self._motion, source.ratios, driven.ratios
        )
        picture = self._runtime.render(source.portrait, torch.lerp(keypoints, source.resting, rest))
        finite = picture.isfinite().all()
        part = to_bytes(picture) if source.paste is None else source.paste(picture)
        out = part[0].cpu().numpy() if source.paste is None else source.paste.whole(part[0])
        if not finite:  # asked after the download, which waits for the device anyway
            self._runtime.step_down(precision)
            self.follower.forget()
            return source.still if self._last is None or self._last.shape != source.still.shape else self._last
        self._last = out
        return out

    @torch.inference_mode()
    def look(self, image: Image) -> Driven | None:
        """The face in a single picture."""
        landmarks = self.follower.tracker.track(image, 0.0)
        if landmarks is None:
            return None
        motion = self._extract([driving_input(image, mesh_box(landmarks, DRIVING))])
        return Driven(motion, ratios_of(landmarks, self.device))

    @torch.inference_mode()
    def calibrate(self, frames: Iterable[tuple[float, Image]]) -> None:
        self.follower.calibrate(frames)

    def recalibrate(self) -> None:
        self.follower.recalibrate()

    def close(self) -> None:
        self.follower.close()

    def _extract(self, images: list[Image]) -> FaceMotion:
        return self._runtime.motion(self._runtime.upload(images))
