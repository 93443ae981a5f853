"""The LivePortrait engine: a portrait prepared once, then M, composition, W, G and paste-back for each frame."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch

from ..clips import Progress
from ..errors import DeviceLost
from ..face.faces import Faces
from ..follow.moment import Moment
from ..frames import Driving, Image, planar
from ..portrait import Portrait, fit
from . import template
from .crop import DRIVING, SIDE, SOURCE, FaceBox, cut, mesh_box, shrink
from .device import RowPool
from .follow import Given, MotionFollower, Sight, driving_input, ratios_of
from .motion import Face, FaceMotion
from .options import Precision, Settings
from .paste import PasteBack, to_bytes, to_nearest_bytes
from .planes import corner, plane_encoder
from .prepared import LivePortraitPrepared
from .renderer import Renderer
from .runtime import Runtime

CROP = FaceBox(np.full(2, SIDE / 2), SIDE, 0.0)  # the crop as a picture of its own


class LivePortraitEngine:
    """See `pipeline.engine.Engine`."""

    name = "liveportrait"
    by_size = False
    lacks: frozenset[str] = frozenset()

    def __init__(self, faces: Faces, settings: Settings = Settings()) -> None:
        self.faces = faces
        self._paste_back = settings.paste_back
        self._proven: Precision | None = None
        self._rows = RowPool()
        self.runtime = Runtime(settings)
        self.on_cpu = self.runtime.device.type == "cpu"
        self.overlaps = not self.on_cpu
        self.max_batch = 1 if self.on_cpu else settings.max_batch
        # For streams, and for pictures that are wanted one by one, in full colour.
        self._live = Renderer(self.runtime, settings.motion, self.max_batch, plane_encoder(self.runtime.device))
        self._single = Renderer(self.runtime, settings.motion, 1, to_nearest_bytes if settings.paste_back else to_bytes)

    @torch.inference_mode()
    def prepare(self, portrait: Portrait, max_side: int, max_crop: int) -> LivePortraitPrepared:
        """The first portrait is rendered too, so that a precision that fails is found before a stream starts.
        max_crop has no effect: the networks' crop is always 512²."""
        crop = cut(portrait.image, mesh_box(portrait.landmarks, SOURCE).to_crop())
        still, landmarks = fit(portrait.image, portrait.landmarks, max_side)
        self._live.grow(max(max_side, *still.shape[:2]) if self._paste_back else SIDE)
        while True:
            precision = self.runtime.precision
            picture = self.runtime.upload([shrink(crop)])
            motion = self.runtime.motion(picture)
            resting = motion.keypoints()
            features = self.runtime.features(picture, resting)
            if precision is self._proven or self.runtime.render(features, resting).isfinite().all():
                self._proven = precision
                break
            self.runtime.step_down(precision)
        face = Face(motion, ratios_of(portrait.landmarks, self.runtime.device))
        if not self._paste_back:
            paste = PasteBack(crop, CROP, self.runtime.device, feather=False)
            return LivePortraitPrepared(crop, features, face, resting, paste)
        paste = PasteBack(still, mesh_box(landmarks, SOURCE), self.runtime.device)
        return LivePortraitPrepared(still, features, face, resting, paste)

    def open(self) -> LivePortraitPuppeteer:
        return LivePortraitPuppeteer(self, self.faces, self._rows)

    def warm_up(self, source: LivePortraitPrepared, progress: Progress) -> float:
        return self._live.warm_up(source, progress)

    def submit(self, work: Sequence[tuple[LivePortraitPrepared, Sight | None]]) -> Callable[[], list[Image]]:
        """As in `pipeline.engine.Engine`. DeviceLost, also from the result, where the device does not answer any more."""
        precision = self.runtime.precision
        with self._asking():
            collect = self._live.submit([(prepared, sight) for prepared, sight in work if sight is not None and sight.rest < 1])

        def pictures() -> list[Image]:
            with self._asking():
                moved = iter(collect())
            out = []
            for prepared, sight in work:
                planes, finite = next(moved) if sight is not None and sight.rest < 1 else (None, True)
                if not finite:
                    self.runtime.step_down(precision)
                out.append(planar(prepared.still) if planes is None or not finite else corner(planes, prepared.still.shape))
            return out

        return pictures

    @contextmanager
    def _asking(self) -> Iterator[None]:
        """After a failure, see whether it is the device's end: an error of CUDA's that stays fails everything that comes."""
        try:
            yield
        except Exception as failure:
            try:
                self.runtime.synchronize()
            except RuntimeError as exc:
                why = str(exc).splitlines()[0]
                raise DeviceLost(f"{self.runtime.device} does not answer any more ({why})") from failure
            raise

    def render(self, prepared: LivePortraitPrepared, sight: Sight | Given | None) -> Image:
        """One picture in RGB, at once; rendered again where a precision fails."""
        if sight is None or sight.rest >= 1:
            return prepared.still
        height, width = prepared.still.shape[:2]
        self._single.grow(max(height, width))
        while True:
            precision = self.runtime.precision
            [(picture, finite)] = self._single.submit([(prepared, sight)])()
            if finite:
                return picture[:height, :width].copy()
            self.runtime.step_down(precision)


class LivePortraitPuppeteer(MotionFollower):
    """Follows one driver and renders prepared portraits with its motion. See also `pipeline.engine.Drivers`."""

    def __init__(self, engine: LivePortraitEngine, faces: Faces, rows: RowPool) -> None:
        self._rows = rows
        self._row = rows.take()
        self._engine = engine
        super().__init__(faces.open_tracker, self._extract)

    @property
    def drivers(self) -> LivePortraitPuppeteer:
        return self

    @torch.inference_mode()
    def follow(self, driving: Driving) -> Sight | None:
        seen, reference = self.see(driving.image, driving.time_s), self.reference
        return None if seen is None or reference is None else Sight(driving, seen, reference, self._row, self.tuning)

    def render(self, source: LivePortraitPrepared, seen: Sight | Given | None) -> Image:
        return self._engine.render(source, seen)

    def animate(self, source: LivePortraitPrepared, image: Image, time_s: float) -> Image:
        return self.render(source, self.follow(Driving(image, time_s)))

    @torch.inference_mode()
    def look(self, image: Image) -> Given | None:
        """As published: the expression counts from none at all, the pose from itself."""
        landmarks = self.tracker.track(image, 0.0)
        if landmarks is None:
            return None
        motion = self._extract([driving_input(image, mesh_box(landmarks, DRIVING))])
        face = Face(motion, ratios_of(landmarks, motion.scale.device))
        reference = face._replace(motion=motion._replace(expression=motion.expression * 0))
        return Given(face, reference, self._row, self.tuning)

    def moments(self, path: Path) -> list[Moment]:
        made = template.load(path).to(self._engine.runtime.device)
        rows = zip(made.times_s, map(made.frame, range(len(made))), made.rest, strict=True)
        return [
            Moment(time_s, Given(face, made.reference, self._row, self.tuning, rest), rest == 0) for time_s, face, rest in rows
        ]

    @torch.inference_mode()
    def calibrate(self, frames: Iterable[tuple[float, Image]]) -> None:
        super().calibrate(frames)

    def close(self) -> None:
        super().close()
        self._rows.give_back(self._row)

    def _extract(self, images: list[Image]) -> FaceMotion:
        return self._engine.runtime.motion(self._engine.runtime.upload(images))
