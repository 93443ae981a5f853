"""The LivePortrait engine: a portrait prepared once, then M, composition, W, G and paste-back for each frame."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TypeVar
from weakref import WeakSet

import numpy as np
import torch
from torch import Tensor

from ..clips import Progress
from ..clock import steady
from ..errors import DeviceLost, PortraitError, PuppetError
from ..face.faces import Faces
from ..follow.moment import Moment
from ..follow.neutral import FaceState
from ..frames import Driving, Image, planar
from ..label import box_of
from ..portrait import Portrait, fit
from . import editor, template
from .crop import DRIVING, SIDE, SOURCE, FaceBox, cut, mesh_box, shrink
from .follow import Given, MotionFollower, Sight, driving_input, ratios_of
from .motion import Face, FaceMotion
from .networks import PortraitFeatures
from .options import Precision, Settings
from .paste import PasteBack, to_bytes, to_nearest_bytes
from .planes import corner, plane_encoder
from .prepared import LivePortraitPrepared
from .renderer import Beside, Renderer
from .rows import RowPool
from .runtime import Runtime
from .worker import Worker, start

log = logging.getLogger(__name__)

T = TypeVar("T")
CPU = torch.device("cpu")
CROP = FaceBox(np.full(2, SIDE / 2), SIDE, 0.0)  # the crop as a picture of its own


class LivePortraitEngine:
    """See `pipeline.engine.Engine`."""

    name = "liveportrait"
    by_size = False
    lacks: frozenset[str] = frozenset()
    unseen = editor.UNSEEN

    def __init__(self, faces: Faces, settings: Settings = Settings(), beside: Beside = start) -> None:
        """beside: lets something run while frames go on, such as building another way through the networks."""
        self.faces = faces
        self._paste_back = settings.paste_back
        self._proven: Precision | None = None
        self._painted_s = 0.0  # what the picture took that proved it
        self._rows = RowPool()
        self._worker = Worker()
        self._beside = beside
        self._lowering = threading.Lock()
        self._overflowed: WeakSet[Runtime] = WeakSet()
        start_s = steady()
        log.info("engine liveportrait: loading its networks")
        self.runtime = Runtime(settings)
        said = self.runtime.device, self.runtime.precision, steady() - start_s
        log.info("engine liveportrait: loaded on %s, %s, in %.1f s; the first picture follows", *said)
        self._lowered: Runtime | None = None  # the next precision, while another way through it is built
        self.on_cpu = self.runtime.device.type == "cpu"
        self.overlaps = not self.on_cpu
        self.max_batch = 1 if self.on_cpu else settings.max_batch
        # For streams, and for pictures that are wanted one by one, in full colour.
        encode = plane_encoder(self.runtime.device)
        self._live = Renderer(settings.motion, self.max_batch, encode, beside, self._lower_beside, settings.still_px)
        self._last: dict[int, tuple[LivePortraitPrepared, Image]] = {}  # each stream's last picture, by row
        self._single = Renderer(settings.motion, 1, to_nearest_bytes if settings.paste_back else to_bytes)

    def prepare(self, portrait: Portrait, max_side: int, max_crop: int) -> LivePortraitPrepared:
        """The first portrait is rendered too, so that a precision that fails is found before a stream starts.
        max_crop has no effect: the networks' crop is always 512². From any thread: what the device has to do for it is
        done between frames, in steps that take no longer than one of those."""
        if portrait.loop is not None:
            raise PortraitError(
                f"{portrait.name}: a clip as portrait moves live with the engine mesh alone; choose that engine, or a picture"
            )
        to_crop = mesh_box(portrait.landmarks, SOURCE).to_crop()
        crop = cut(portrait.image, to_crop)
        still, landmarks = fit(portrait.image, portrait.landmarks, max_side)
        self._live.grow(max(max_side, *still.shape[:2]) if self._paste_back else SIDE)
        if self._paste_back:
            paste = PasteBack(still, mesh_box(landmarks, SOURCE), CPU)
        else:
            still, paste = crop, PasteBack(crop, CROP, CPU, feather=False)
            landmarks = portrait.landmarks[:, :2] @ to_crop[:, :2].T + to_crop[:, 2]
        face_box = box_of(landmarks, *still.shape[1::-1])
        while True:
            runtime = self.runtime
            face, resting, features = self._between(partial(_looked_at, runtime, shrink(crop), portrait))
            proven = runtime.precision is self._proven
            if proven or self._between(partial(self._is_finite, runtime.ready, features, resting)):
                self._proven = runtime.precision
                break
            self._step_down(runtime)
        return LivePortraitPrepared(still, features, face, resting, self._between(lambda: paste.to(runtime.device)), face_box)

    def _is_finite(self, runtime: Runtime, features: PortraitFeatures, keypoints: Tensor) -> bool:
        start = steady()
        finite = bool(runtime.render(features, keypoints).isfinite().all())
        self._painted_s = steady() - start
        return finite

    def open(self) -> LivePortraitPuppeteer:
        return LivePortraitPuppeteer(self, self.faces, self._rows.take())

    def warm_up(self, source: LivePortraitPrepared, progress: Progress) -> float:
        frame_s = self._between(lambda: self._live.warm_up(self.runtime, source, progress))
        self.max_batch = self._live.max_batch
        return frame_s or self._painted_s

    def submit(self, work: Sequence[tuple[LivePortraitPrepared, Sight | Given | None]]) -> Callable[[], list[Image | None]]:
        """As in `pipeline.engine.Engine`. DeviceLost, also from the result, where the device does not answer any more."""
        moving = [(prepared, sight) for prepared, sight in work if sight is not None and sight.moves]
        with self._asking():
            collect = self._worker.frames(lambda: self._live.submit(self._lowered or self.runtime, moving))
        self._follow_up()

        def pictures() -> list[Image | None]:
            with self._asking():
                moved = iter(collect())
            return [
                None if sight is None or not sight.moves else self._picture(prepared, sight.row, *next(moved))
                for prepared, sight in work
            ]

        return pictures

    def _picture(self, prepared: LivePortraitPrepared, row: int, planes: Image | None, finite: bool) -> Image:
        """planes: None where the row's last picture is to be shown again."""
        if not finite:
            return planar(prepared.still)
        if planes is not None:
            self._last[row] = prepared, corner(planes, prepared.still.shape)
        of, picture = self._last.get(row, (None, None))
        return planar(prepared.still) if picture is None or of is not prepared else picture  # the one before was none

    def leave(self, row: int) -> None:
        """A stream has ended."""
        self._last.pop(row, None)
        self._live.forget(row)
        self._rows.give_back(row)

    def _follow_up(self) -> None:
        """Another way may be in use; then all else goes on in its precision too, whose kernels are compiled by now."""
        self.max_batch = self._live.max_batch
        if (lowered := self._lowered) is not None and self._live.runtime is lowered:
            with self._lowering:  # not before: networks may be loaded meanwhile, for seconds
                self.runtime, self._lowered, self._proven = lowered, None, lowered.precision

    @contextmanager
    def _asking(self) -> Iterator[None]:
        """After a failure, see whether it is the device's end: an error of CUDA's that stays fails everything that comes."""
        try:
            yield
        except Exception as failure:  # whatever a batch dies of, the device is asked whether it still answers
            try:
                self.runtime.synchronize()
            except RuntimeError as exc:
                why = str(exc).splitlines()[0]
                raise DeviceLost(f"{self.runtime.device} does not answer any more ({why})") from failure
            raise

    def render(self, prepared: LivePortraitPrepared, sight: Sight | Given | None) -> Image:
        """One picture in RGB, at once; rendered again where a precision fails."""
        if sight is None or not sight.moves:
            return prepared.still
        height, width = prepared.still.shape[:2]
        self._single.grow(max(height, width))
        while True:
            runtime = self.runtime
            collect = self._worker.frames(partial(self._single.submit, runtime, [(prepared, sight)]))
            [(picture, finite)] = collect()
            if finite:
                assert picture is not None, "each one is painted here"
                return picture[:height, :width].copy()
            self._step_down(runtime)

    def extract(self, images: list[Image]) -> FaceMotion:
        """M for RGB pictures of 256², on the host; padded to a batch size that is compiled, where another would be for
        seconds."""
        size = 1 if len(images) == 1 else self.max_batch if self.runtime.compiles else len(images)
        padded = [*images, *images[-1:] * (-len(images) % size)]
        faces = [self._between(partial(_motion, self.runtime, padded[k : k + size])) for k in range(0, len(padded), size)]
        return FaceMotion(*(torch.cat(parts)[: len(images)].cpu() for parts in zip(*faces, strict=True)))

    def _between(self, job: Callable[[], T]) -> T:
        """Let the device do it between frames."""

        def run() -> T:
            with torch.inference_mode(), self.runtime.on_device():
                return job()

        with self._asking():
            try:
                return self._worker.between(run)
            except torch.OutOfMemoryError as exc:
                where = self.runtime.device
                raise PuppetError(f"{where} has no memory left for it; a lower liveportrait.max_batch leaves some") from exc

    def _step_down(self, failed: Runtime) -> None:
        """Go on in the next precision, as this one gave values that are not finite; ModelError after the last."""
        with self._lowering:
            if self.runtime is failed:  # else another was first
                self.runtime, self._lowered = self._lowered or failed.lower(), None

    def _lower_beside(self, failed: Runtime) -> None:
        """The same while frames go on, until a way through it is built; once, and what cannot be helped is logged."""
        if failed in self._overflowed:
            return
        self._overflowed.add(failed)

        def lower() -> None:
            try:
                with self._lowering:
                    if failed in (self.runtime, self.runtime.ready):
                        self._lowered = failed.lower()
            except PuppetError as exc:
                log.error("%s", exc)

        self._beside(lower)


class LivePortraitPuppeteer(MotionFollower):
    """Follows one driver and renders prepared portraits with its motion. See also `pipeline.engine.Drivers`."""

    clips_as_source = True

    def __init__(self, engine: LivePortraitEngine, faces: Faces, row: int) -> None:
        self._engine, self._row = engine, row
        self._still = editor.still_face(engine.runtime.device)
        super().__init__(faces.open_tracker, engine.extract)

    @property
    def drivers(self) -> LivePortraitPuppeteer:
        return self

    @torch.inference_mode()
    def follow(self, driving: Driving) -> Sight | Given | None:
        seen, reference = self.see(driving.image, driving.time_s), self.reference
        if seen is None or reference is None:
            return self.at_rest(driving.time_s)
        held = self.holding(driving.time_s, driven=self.keeper.state is not FaceState.NO_FACE)
        return Sight(driving, seen, reference, self._row, self.tuning, held)

    def at_rest(self, time_s: float) -> Given | None:
        held = self.holding(time_s, driven=False)
        return Given(self._still, self._still, self._row, self.tuning, 1.0, held) if held.shapes.values else None

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
        motion = self._engine.extract([driving_input(image, mesh_box(landmarks, DRIVING))])
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
        self._engine.leave(self._row)


def _looked_at(runtime: Runtime, crop: Image, portrait: Portrait) -> tuple[Face, Tensor, PortraitFeatures]:
    """What the networks see in a portrait's crop (256, 256, 3): its face, the keypoints at rest, and what W needs."""
    picture = runtime.upload([crop]).contiguous()  # as live: kernels are compiled for one layout
    motion = runtime.motion(picture)
    resting = motion.keypoints()
    return Face(motion, ratios_of(portrait.landmarks, runtime.device)), resting, runtime.features(picture, resting)


def _motion(runtime: Runtime, images: list[Image]) -> FaceMotion:
    """As it is asked for live, in memory too."""
    return runtime.motion(runtime.upload(images).contiguous())
