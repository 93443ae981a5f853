"""Faces for tests: a tracker that sees what it is told, pictures with faces, and how well one face follows another."""

from __future__ import annotations

from pathlib import Path

import av
import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow

from bench.fidelity import MEASURES, measures
from pipeline.engine import Engine
from pipeline.face.mediapipe import MediaPipeTracker
from pipeline.face.motion import Neutral
from pipeline.offline.mux import Output
from pipeline.offline.still import write_posed
from pipeline.portrait import bundled
from pipeline.shapes.parse import parse

from .media import CLIP_FPS

Picture = NDArray[np.uint8]
Landmarks = NDArray[np.float32]


class Faces:
    """A tracker whose faces the test sets."""

    name, faces, blink = "test", 1, None

    def __init__(self, face: Landmarks | None) -> None:
        self.face = face

    def track(self, image: Picture, time_s: float) -> Landmarks | None:
        return self.face

    def next_face(self) -> bool:
        return self.faces > 1

    def close(self) -> None: ...


def two_faces() -> Picture:
    """(512, 1024, 3): one beside the other, the right one mirrored."""
    face = bundled("astronaut").image[:512, :512]
    return np.ascontiguousarray(np.hstack([face, face[:, ::-1]]))


def followed(frames: list[tuple[float, Picture]], measure: str, model: Path) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Times, and one of MEASURES, of the frames that show a face."""
    tracker = MediaPipeTracker(model)
    seen = [(t, landmarks) for t, image in frames if (landmarks := tracker.track(image, t)) is not None]
    tracker.close()
    faces = [face for _, face in seen]
    rows = measures(faces, Neutral.of(np.median(np.stack(faces), axis=0)))
    return np.array([t for t, _ in seen]), rows[:, MEASURES.index(measure)]


def decoded(clip: Path) -> list[tuple[float, Picture]]:
    """The pictures of a clip at 512 x 512, with their times."""
    with av.open(str(clip)) as source:
        frames = [frame.to_ndarray(format="rgb24", width=512, height=512) for frame in source.decode(video=0)]
    return [(k / CLIP_FPS, np.asarray(frame, np.uint8)) for k, frame in enumerate(frames)]


def thumbnail(image: Picture) -> NDArray[np.float64]:
    """(32, 32) grey, of mean 0 and deviation 1."""
    small = cv2.resize(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), (32, 32), interpolation=cv2.INTER_AREA).astype(float)
    return (small - small.mean()) / small.std()


def alike(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Correlation of two thumbnails."""
    return float((a * b).mean())


def assert_at_rest(engine: Engine, out: Path) -> None:
    """`pose` with every slider at 0 writes the portrait, to the pixel, and another picture where one is not."""
    own = bundled("drawing").image
    for values, moves in (({}, False), ({"smile": 0}, False), ({"smile": 0.6}, True)):
        write_posed(engine, bundled("drawing"), parse(values), Output(out))
        with Pillow.open(out) as picture:
            assert (np.asarray(picture) != own).any() == moves, (engine.name, values)
