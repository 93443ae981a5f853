"""What an animation engine is, and the engines by name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from .errors import PuppetError
from .follow import FaceState
from .mesh.crop import Image
from .portrait import Portrait


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

    def calibrate(self, frames: list[tuple[float, Image]]) -> None:
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


def _mesh(model: Path | None) -> Engine:
    from .mesh.engine import MeshEngine

    return MeshEngine(model)


ENGINES: dict[str, Callable[[Path | None], Engine]] = {"mesh": _mesh}
AUTO = "mesh"


def open_engine(name: str, model: Path | None) -> Engine:
    """The engine called `name`, or the best one here for "auto". model: the face model, if there is one."""
    make = ENGINES.get(AUTO if name == "auto" else name)
    if make is None:
        raise PuppetError(f"engine '{name}' is not known; engines: auto, {', '.join(ENGINES)}")
    return make(model)
