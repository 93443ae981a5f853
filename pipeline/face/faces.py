"""How faces are found on this machine; opened once, at the root, and handed to whoever needs it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Protocol

from .. import models, wheel
from ..errors import LandmarksNeeded, ModelError
from ..frames import Image
from ..installation import command
from .motion import Array
from .noise import CalmTracker
from .tracker import Tracker

TRACKERS = ("mediapipe", "litert", "cascade")  # the better ones first


class Faces(Protocol):
    """A way to find faces. name: of its trackers."""

    name: str

    def open_tracker(self) -> Tracker:
        """A tracker for one driver; ModelError where the model cannot be used."""

    def find(self, image: Image) -> list[Array]:
        """(478, 3) landmarks in pixels of each face in a still picture (h, w, 3) RGB, from left to right. NoFaceError where
        there is none, LandmarksNeeded where they must be given by hand."""

    def find_in(self, images: Iterable[Image]) -> Iterator[list[Array]]:
        """The same of each of several pictures, but only of faces that are large enough in it; none where there is none."""


class MediaPipeFaces:
    """By MediaPipe's landmarker. See `Faces`."""

    name = "mediapipe"

    def __init__(self, model: Path) -> None:
        self._model = model

    def open_tracker(self) -> Tracker:
        from .mediapipe import MediaPipeTracker

        return CalmTracker(MediaPipeTracker(self._model))

    def find(self, image: Image) -> list[Array]:
        from .mediapipe import find_landmarks

        return find_landmarks(image, self._model)

    def find_in(self, images: Iterable[Image]) -> Iterator[list[Array]]:
        from .mediapipe import landmarks_of_each

        return landmarks_of_each(images, self._model)


class LitertFaces:
    """By MediaPipe's single networks in LiteRT. See `Faces`."""

    name = "litert"

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def open_tracker(self) -> Tracker:
        from .litert import LitertTracker

        return CalmTracker(LitertTracker(self._folder))

    def find(self, image: Image) -> list[Array]:
        from .litert import find_landmarks

        return find_landmarks(image, self._folder)

    def find_in(self, images: Iterable[Image]) -> Iterator[list[Array]]:
        from .litert import landmarks_of_each

        return landmarks_of_each(images, self._folder)


class CascadeFaces:
    """Roughly, by what OpenCV brings along: drivers are followed, portraits are marked by hand. See `Faces`."""

    name = "cascade"

    def open_tracker(self) -> Tracker:
        from .cascade import CascadeTracker

        return CalmTracker(CascadeTracker())

    def find(self, image: Image) -> list[Array]:
        raise LandmarksNeeded(
            "without the face model, mark both eye centres, the nose tip and the mouth corners "
            f"(or run '{command('models fetch')}')"
        )

    def find_in(self, images: Iterable[Image]) -> Iterator[list[Array]]:
        return (self.find(image) for image in images)


def faces_by(model: Path | None) -> Faces:
    """The best way there is on this machine: by MediaPipe's landmarker where its model is at hand, by LiteRT where its
    models and the runtime are, else by the cascade."""
    if model is not None:
        return MediaPipeFaces(model)
    return LitertFaces(models.folder()) if litert_is_here() else CascadeFaces()


def faces_for(what: str) -> Faces:
    """The same, for what the cascade is too rough for; ModelError where there is nothing better."""
    faces = faces_by(models.find(models.FACE_LANDMARKER))
    if isinstance(faces, CascadeFaces):
        raise ModelError(f"{what} needs the face model; run '{command('models fetch')}'")
    return faces


def faces_if_here(name: str, model: Path | None) -> Faces | None:
    """The way of that name, of TRACKERS, where its models are here; model: of MediaPipe's landmarker."""
    ways: list[Faces] = [CascadeFaces()]
    if model is not None:
        ways.append(MediaPipeFaces(model))
    if litert_is_here():
        ways.append(LitertFaces(models.folder()))
    return next((way for way in ways if way.name == name), None)


def litert_is_here() -> bool:
    """Whether LiteRT and its models are on this machine."""
    return litert_can_run() and wheel.LITERT.is_here()


def litert_can_run() -> bool:
    """Whether LiteRT is installed: there are platforms that it is not made for."""
    return find_spec("ai_edge_litert") is not None
