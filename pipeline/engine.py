"""What an animation engine is, and the engines by name."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Protocol

from . import models
from .errors import PuppetError
from .follow import FaceState
from .liveportrait.files import missing_files
from .liveportrait.options import Settings
from .mesh.crop import Image
from .portrait import Portrait

log = logging.getLogger(__name__)


class Source(Protocol):
    """A prepared portrait: immutable, shared between streams."""

    @property
    def still(self) -> Image:
        """The portrait at rest, (h, w, 3) RGB, both sides even: what viewers see before any motion."""


class Puppeteer(Protocol):
    """Animates one stream: keeps the driver's neutral and filters. Used by one thread at a time."""

    tracker_name: str

    @property
    def state(self) -> FaceState:
        """What is seen of the driver's face."""

    def animate(self, source: Any, image: Image, time_s: float) -> Image:
        """The picture of `source` driven by `image` (h, w, 3) RGB, in the size of `source.still`."""

    def calibrate(self, frames: Iterable[tuple[float, Image]]) -> None:
        """Take the neutral from driving frames that are known before the first is animated."""

    def recalibrate(self) -> None:
        """Take a new neutral from the frames to come."""

    def close(self) -> None:
        """Free what the puppeteer holds."""


class Engine(Protocol):
    """Makes sources and puppeteers."""

    name: str

    def prepare(self, portrait: Portrait, max_side: int, max_crop: int) -> Source:
        """Do everything that depends on the portrait alone, scaled to the given limits in pixels."""

    def open(self) -> Puppeteer:
        """A puppeteer for a new stream."""


def _mesh(model: Path | None, settings: Settings) -> Engine:
    from .mesh.engine import MeshEngine

    return MeshEngine(model)


def _liveportrait(model: Path | None, settings: Settings) -> Engine:
    from .liveportrait.engine import LivePortraitEngine

    return LivePortraitEngine(model, settings)


ENGINES: dict[str, Callable[[Path | None, Settings], Engine]] = {"mesh": _mesh, "liveportrait": _liveportrait}
AUTO = "auto"


def open_engine(name: str, model: Path | None, settings: Settings = Settings()) -> Engine:
    """The engine called `name`, or the best one here for "auto"; the log says which and why.

    model: the face model, if there is one.
    """
    if name not in (AUTO, *ENGINES):
        raise PuppetError(f"engine '{name}' is not known; engines: {AUTO}, {', '.join(ENGINES)}")
    if name == AUTO:
        name, why = choose(settings)
        log.info("engine %s: %s", name, why)
    return ENGINES[name](model, settings)


def choose(settings: Settings) -> tuple[str, str]:
    """The best engine here, and why it is."""
    missing = missing_files(settings.checkpoints or models.folder())
    if missing:
        return "mesh", "the LivePortrait checkpoints are not here ('puppetcast models fetch liveportrait' gets them)"
    import torch  # takes seconds, so not before it is needed

    if not torch.cuda.is_available():
        return "mesh", "LivePortrait is too slow for live use without a CUDA device ('--engine liveportrait' runs it)"
    return "liveportrait", f"checkpoints and {torch.cuda.get_device_name()} are here"
