"""How faces are found on this machine; opened once, at the root, and handed to whoever needs it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Protocol

from ..errors import LandmarksNeeded
from ..frames import Image
from .motion import Array
from .tracker import Tracker


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

        return MediaPipeTracker(self._model)

    def find(self, image: Image) -> list[Array]:
        from .mediapipe import find_landmarks

        return find_landmarks(image, self._model)

    def find_in(self, images: Iterable[Image]) -> Iterator[list[Array]]:
        from .mediapipe import landmarks_of_each

        return landmarks_of_each(images, self._model)


class CascadeFaces:
    """Roughly, by what OpenCV brings along: drivers are followed, portraits are marked by hand. See `Faces`."""

    name = "cascade"

    def open_tracker(self) -> Tracker:
        from .cascade import CascadeTracker

        return CascadeTracker()

    def find(self, image: Image) -> list[Array]:
        raise LandmarksNeeded(
            "without the face model, mark both eye centres, the nose tip and the mouth corners (or run 'puppetcast models fetch')"
        )

    def find_in(self, images: Iterable[Image]) -> Iterator[list[Array]]:
        return (self.find(image) for image in images)


def faces_by(model: Path | None) -> Faces:
    """MediaPipe's where its model is at hand, else the cascade's."""
    return CascadeFaces() if model is None else MediaPipeFaces(model)
