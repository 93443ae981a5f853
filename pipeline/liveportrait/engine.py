"""The LivePortrait engine: a portrait prepared once, then M, composition, W, G and paste-back for each frame."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from weakref import WeakKeyDictionary

import numpy as np
import torch

from ..clips import Progress
from ..face.tracker import open_tracker
from ..follow.follower import FollowingPuppeteer
from ..frames import Driving, Image, planar
from ..portrait import Portrait, fit
from . import networks
from .crop import DRIVING, SIDE, SOURCE, FaceBox, cut, mesh_box, shrink
from .device import DevicePath, Rows, Shown, Sight
from .follow import Driven, MotionFollower, driving_input, ratios_of
from .motion import FaceMotion, Ratios, drive, tuned
from .options import Precision, Settings
from .paste import PasteBack, to_bytes
from .runtime import Runtime


@dataclass(frozen=True, eq=False)
class LivePortraitSource:
    """A portrait, prepared. still: (h, w, 3) RGB, the whole picture or the crop alone."""

    still: Image
    face: FaceMotion
    resting: torch.Tensor
    portrait: networks.Portrait
    ratios: Ratios
    paste: PasteBack | None

    def shown(self, side: int) -> Shown:
        """For the device, in a square of `side`."""
        paste = self.paste or PasteBack(self.still, FaceBox(np.full(2, SIDE / 2), SIDE, 0.0), self.resting.device, feather=False)
        return Shown(self.portrait, self.face, self.resting, self.ratios, *paste.on_canvas(side))


class LivePortraitEngine:
    """See `pipeline.engine.Engine`. face_model: MediaPipe's; without it the cascade tracker places the driver's face."""

    name = "liveportrait"
    lacks: frozenset[str] = frozenset()

    def __init__(self, face_model: Path | None, settings: Settings = Settings()) -> None:
        self._face_model = face_model
        self._settings = settings
        self._proven: Precision | None = None
        self._rows = Rows()
        self._path: DevicePath | None = None
        self._path_loads = 0
        self._side = 0  # of the square that holds every picture
        self._shown: WeakKeyDictionary[LivePortraitSource, Shown] = WeakKeyDictionary()
        self.runtime = Runtime(settings)
        self.on_cpu = self.runtime.device.type == "cpu"
        self.overlaps = not self.on_cpu
        self.max_batch = 1 if self.on_cpu else settings.max_batch

    @torch.inference_mode()
    def prepare(self, portrait: Portrait, max_side: int, max_crop: int) -> LivePortraitSource:
        """The first portrait is rendered too, so that a precision that fails is found before a stream starts.
        max_crop has no effect: the networks' crop is always 512²."""
        crop = cut(portrait.image, mesh_box(portrait.landmarks, SOURCE).to_crop())
        still, landmarks = fit(portrait.image, portrait.landmarks, max_side)
        wanted = max(max_side, *still.shape[:2]) if self._settings.paste_back else SIDE
        self._side = max(self._side, wanted + wanted % 2)
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
        return LivePortraitPuppeteer(self.runtime, self._settings, self._face_model, self._rows)

    def warm_up(self, source: LivePortraitSource, progress: Progress) -> float:
        self._shown.clear()
        shown = source.shown(self._side)
        self._path = DevicePath(self.runtime, self._settings.motion, self._side, shown, self.max_batch)
        self._path_loads = self.runtime.loads
        return self._path.capture(progress)

    def submit(self, work: Sequence[tuple[LivePortraitSource, Sight | None]]) -> Callable[[], list[Image]]:
        precision = self.runtime.precision
        moving = [(source, sight) for source, sight in work if sight is not None and sight.rest < 1]
        path = self._path_for([source for source, _ in moving])
        collect = path.submit([(self._on_device(source, path.side), sight) for source, sight in moving]) if path else list

        def pictures() -> list[Image]:
            moved = iter(collect())
            out = []
            for source, sight in work:
                planes, finite = next(moved) if sight is not None and sight.rest < 1 else (None, True)
                if not finite:
                    self.runtime.step_down(precision)
                out.append(planar(source.still) if planes is None or not finite else _corner(planes, source.still.shape[:2]))
            return out

        return pictures

    def _path_for(self, sources: list[LivePortraitSource]) -> DevicePath | None:
        """The device's way for these, made anew where larger pictures are allowed or the precision has changed."""
        if not sources:
            return None
        if self._path is None or self._path.side < self._side or self._path_loads != self.runtime.loads:
            self.warm_up(sources[0], lambda done, total: None)
        return self._path

    def _on_device(self, source: LivePortraitSource, side: int) -> Shown:
        if source not in self._shown:
            self._shown[source] = source.shown(side)
        return self._shown[source]


def _corner(planes: Image, size: tuple[int, ...]) -> Image:
    """Planar YUV (h · 3 / 2, w) of the picture in the corner of square planes (S · 3 / 2, S)."""
    height, width = size
    side = planes.shape[1]
    chroma = planes[side:].reshape(2, side // 2, side // 2)[:, : height // 2, : width // 2]
    return np.concatenate([planes[:height, :width], chroma.reshape(height // 2, width)])


class LivePortraitPuppeteer(FollowingPuppeteer):
    """Follows one driver and renders sources with its motion."""

    def __init__(self, runtime: Runtime, settings: Settings, face_model: Path | None, rows: Rows) -> None:
        self._rows = rows
        self._row = rows.take()
        self.follower = MotionFollower(lambda: open_tracker(face_model), self._extract)
        super().__init__(self.follower)
        self.device = runtime.device
        self._runtime = runtime
        self._motion = settings.motion
        self._last: Image | None = None

    @torch.inference_mode()
    def follow(self, driving: Driving) -> Sight | None:
        seen = self.follower.see(driving.image, driving.time_s)
        reference = self.follower.reference
        return None if seen is None or reference is None else Sight(driving, seen, reference, self._row, self.follower.tuning)

    @torch.inference_mode()
    def animate(self, source: LivePortraitSource, image: Image, time_s: float) -> Image:
        followed = self.follower.follow(image, time_s)
        reference = self.follower.reference
        if followed is None or reference is None:
            return source.still
        driven, rest = followed
        tuning = self.follower.tuning
        gains = torch.tensor([[tuning.pose, tuning.scale, *tuning.expression]], device=self.device)
        moved = driven._replace(motion=tuned(driven.motion, reference.motion, gains))
        return self.render(source, moved, reference, rest)

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

    def close(self) -> None:
        super().close()
        self._rows.give_back(self._row)

    def _extract(self, images: list[Image]) -> FaceMotion:
        return self._runtime.motion(self._runtime.upload(images))
