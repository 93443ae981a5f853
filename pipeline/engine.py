"""What an animation engine is, and the engines by name."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, Self

from . import models
from .errors import PuppetError
from .liveportrait.files import is_installed, missing_files, need_extra
from .liveportrait.options import Settings

if TYPE_CHECKING:  # to read a configuration nothing is needed that sees or decodes pictures
    from .clips import Progress
    from .face.faces import Faces
    from .face.motion import Array, Neutral
    from .follow.calibration import Calibrating
    from .follow.moment import Moment
    from .follow.neutral import FaceState
    from .follow.tuning import Tuning
    from .frames import Driving, Image
    from .label import Box
    from .portrait import Portrait
    from .shapes.ease import Room
    from .shapes.shapes import Held

log = logging.getLogger(__name__)


class Prepared(Protocol):
    """A prepared portrait: immutable, shared between streams."""

    @property
    def still(self) -> Image:
        """The portrait at rest, (h, w, 3) RGB, both sides even: what viewers see before any motion."""

    @property
    def face_box(self) -> Box:
        """Where in `still` its face is; of a portrait that moves, wherever it comes."""

    @property
    def has_doubtful_matte(self) -> bool:
        """Whether what it takes for the person may be the background's in part."""

    @property
    def has_matte(self) -> bool:
        """Whether the person is known apart from the background."""

    @property
    def fps(self) -> float:
        """How many pictures a second it shows while nobody drives; 0 for a portrait that stands still."""

    def at(self, time_s: float) -> Self:
        """What it is at a time on any steady clock: itself, but for a portrait that moves."""

    def over(self, background: Image) -> Self:
        """The same before another background (h, w, 3), of the size of `still`; itself without a matte."""

    def cut_out(self, seen: Any, yuv: Image) -> Image:
        """What `yuv`, the picture of what a puppeteer has `seen` (None for the portrait at rest), shows of the person alone:
        see `frames.stacked`. Without a matte all of it. For any thread."""


class Drivers(Protocol):
    """Drivers other than clips and cameras. clips_as_source: whether the face in a clip can be driven, too."""

    clips_as_source: bool

    def look(self, image: Image) -> Any | None:
        """What `Puppeteer.render` needs of a picture (h, w, 3) RGB that drives by itself; None where it shows no face."""

    def moments(self, path: Path) -> Sequence[Moment]:
        """A motion template's, under what `Puppeteer.tune` said; raises TemplateError."""


class Puppeteer(Protocol):
    """Follows the driver of one stream: keeps its neutral and filters. Used by one thread at a time."""

    tracker_name: str

    @property
    def state(self) -> FaceState:
        """What is seen of the driver's face."""

    @property
    def calibrating(self) -> Calibrating:
        """How far the calibration has come."""

    @property
    def faces(self) -> int:
        """How many faces are seen; one of them is followed."""

    def tune(self, tuning: Tuning) -> None:
        """Follow under `tuning` from the next picture on."""

    def pose(self, held: Callable[[Room], Held]) -> None:
        """Show named shapes beside the driver's motion, from the next picture on. held: which, asked once a picture with the room
        that this motion leaves for what comes and goes; it gives `shapes.NOTHING` for none."""

    def follow(self, driving: Driving) -> Any:
        """What `Engine.submit` needs to know of a driving picture; does not wait for the device."""

    def at_rest(self, time_s: float) -> Any | None:
        """What `Engine.submit` needs where nobody drives: what is held, and idle life. None for the portrait at rest."""

    @property
    def idle_s(self) -> float | None:
        """How long the next `at_rest` may be waited for; None for as long as nothing else is held."""

    @property
    def drivers(self) -> Drivers | None:
        """None for an engine that knows clips and cameras alone."""

    def render(self, prepared: Any, seen: Any, /) -> Image:
        """At once and by itself: the portrait under what was followed, (h, w, 3) RGB in the size of `prepared.still`."""

    def animate(self, prepared: Any, image: Image, time_s: float, /) -> Image:
        """`render` under what is followed of `image` (h, w, 3) RGB."""

    def calibrate(self, frames: Iterable[tuple[float, Image]]) -> None:
        """Take the neutral from driving frames that are known before the first is animated."""

    @property
    def resting(self) -> Array | None:
        """(478, 3) landmarks of the driver's face at rest, in any unit, as its neutral was taken of; None while there is none."""

    @property
    def neutral(self) -> Neutral | None:
        """What motion is measured against; None where there is none yet, or the engine measures otherwise."""

    def go_on(self, neutral: Neutral) -> None:
        """Measure against a neutral that was taken before, of the same face; no effect where the engine measures otherwise."""

    def recalibrate(self) -> None:
        """Take a new neutral from the frames to come; the present one goes on until then, and nothing leaps."""

    def reset(self) -> None:
        """Come to rest and take a new neutral: the driver is another one."""

    def next_face(self) -> bool:
        """Follow the next face to the right, if there is one; whether there is."""

    def close(self) -> None:
        """Free what the puppeteer holds."""


class Engine(Protocol):
    """Prepares portraits, makes puppeteers, and animates for all streams of a device.

    max_batch: streams in one call. overlaps: `submit` returns while the device still works. on_cpu: the device is the
    processor itself. by_size: a frame of a larger picture takes longer. lacks: names of what in `Tuning` has no effect.
    unseen: names of shapes that move nothing. faces: how drivers' faces are found.
    """

    name: str
    max_batch: int
    overlaps: bool
    on_cpu: bool
    by_size: bool
    lacks: frozenset[str]
    unseen: frozenset[str]
    faces: Faces

    def prepare(self, portrait: Portrait, max_side: int, max_crop: int) -> Prepared:
        """Do everything that depends on the portrait alone, scaled to the given limits in pixels."""

    def open(self) -> Puppeteer:
        """A puppeteer for a new stream."""

    def warm_up(self, prepared: Any, progress: Progress, /) -> float:
        """Do what would make the first frames slow; seconds that the device then takes for one frame."""

    def submit(self, work: Sequence[tuple[Any, Any]]) -> Callable[[], Sequence[Image | None]]:
        """Animate portraits under what puppeteers have followed; the result waits for the pictures, planar
        YUV 4:2:0 (h · 3 / 2, w), the same array as a stream's last one where nothing has moved, and None for the portrait at
        rest where that takes no work. From one thread."""


def _mesh(faces: Faces, settings: Settings) -> Engine:
    from .mesh.engine import MeshEngine

    return MeshEngine(faces)


def _liveportrait(faces: Faces, settings: Settings) -> Engine:
    need_extra()
    from .liveportrait.engine import LivePortraitEngine

    return LivePortraitEngine(faces, settings)


ENGINES: dict[str, Callable[[Faces, Settings], Engine]] = {"mesh": _mesh, "liveportrait": _liveportrait}
AUTO = "auto"


def open_engine(name: str, faces: Faces, settings: Settings = Settings()) -> Engine:
    """The engine called `name`, or the best one here for "auto"; the log says which and why.

    faces: how drivers' faces are found.
    """
    if name not in (AUTO, *ENGINES):
        raise PuppetError(f"engine '{name}' is not known; engines: {AUTO}, {', '.join(ENGINES)}")
    if name == AUTO:
        name, why = choose(settings)
        log.info("engine %s: %s", name, why)
    return ENGINES[name](faces, settings)


def choose(settings: Settings) -> tuple[str, str]:
    """The best engine here, and why it is."""
    if not is_installed():
        return "mesh", "PyTorch, which the liveportrait engine needs, is not installed"
    if missing_files(settings.checkpoints or models.folder()):
        return "mesh", "LivePortrait's checkpoints are not here"
    device = cuda_device()
    if device is None:
        return "mesh", "LivePortrait is too slow for live use without a CUDA device ('--engine liveportrait' runs it)"
    return "liveportrait", f"checkpoints and {device} are here"


def cuda_device() -> str | None:
    """What torch calls the CUDA device here, if there is one."""
    import torch  # takes seconds, so not before it is needed

    return torch.cuda.get_device_name() if torch.cuda.is_available() else None
