"""MediaPipe FaceLandmarker (Tasks API): 478 landmarks with depth."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path

import mediapipe as mp
import numpy as np
from mediapipe.tasks import python as tasks
from mediapipe.tasks.python import vision

from ..errors import ModelError, NoFaceError
from ..frames import Image
from ..installation import command
from .choice import Choice, place
from .motion import Array
from .quiet import errors_only
from .units import differ, in_units
from .views import NO_FACE, Search, everywhere

# MediaPipe smooths by its timestamps, which costs a frame or two of delay, where it is asked for one face alone. It is
# not, and frames that seem a second apart would be left alone all the same; our own filters do the smoothing.
STEP_MS = 1000


LOOKS = 3  # at a picture of another shape, in which the place of the face that it starts from is another one
MAX_FACES = 4  # in a stream, where each costs as much as the first
MOST_FACES = 16  # in a still picture


class MediaPipeTracker:
    """Video mode: each frame starts from the faces found in the one before."""

    name = "mediapipe"
    lopsided = False

    def __init__(self, model: Path) -> None:
        self._landmarker = _landmarker(model, vision.RunningMode.VIDEO, MAX_FACES, blinks=True)
        self._last_ms = 0
        self._choice, self._search = Choice(), Search()
        self._shape: tuple[int, int] | None = None
        self.faces = 0
        self.blink: Array | None = None

    def track(self, image: Image, time_s: float) -> Array | None:
        view = self._search.view(image)
        result = self._looked(view.of(image))
        found = [in_units(view.back(face), image) for face in _pixels(result, view.of(image))]
        self.faces = len(found)
        chosen = self._choice.of(found, time_s)
        self._search.saw(image, chosen, len(found))
        if chosen is not None:
            self.blink = _blink(result, next(k for k, face in enumerate(found) if face is chosen))
        return chosen

    def _looked(self, part: Image) -> vision.FaceLandmarkerResult:
        before, self._shape = self._shape, (part.shape[0], part.shape[1])
        other = self.faces > 0 and before is not None and differ(before, self._shape)
        for _ in range(LOOKS if other else 1):
            self._last_ms += STEP_MS
            result = self._landmarker.detect_for_video(_image(part), self._last_ms)
        return result

    def next_face(self) -> bool:
        self._choice.turn = self.faces > 1
        return self._choice.turn

    def close(self) -> None:
        self._landmarker.close()


def find_landmarks(image: Image, model: Path) -> list[Array]:
    """(478, 3) landmarks in pixels of each face in a still picture, from left to right; NoFaceError where there is none."""
    with closing(_landmarker(model, vision.RunningMode.IMAGE, MOST_FACES)) as landmarker:
        faces = everywhere(image, lambda part: _pixels(landmarker.detect(_image(part)), part))
    if not faces:
        raise NoFaceError(NO_FACE)
    return faces


def landmarks_of_each(images: Iterable[Image], model: Path) -> Iterator[list[Array]]:
    """(478, 3) landmarks in pixels of each face that is large enough in each of some still pictures, from left to right."""
    with closing(_landmarker(model, vision.RunningMode.IMAGE, MOST_FACES)) as landmarker:
        for image in images:
            faces = _pixels(landmarker.detect(_image(image)), image)
            yield sorted(faces, key=lambda face: float(place(face)[0]))


def _landmarker(model: Path, mode: vision.RunningMode, faces: int, blinks: bool = False) -> vision.FaceLandmarker:
    base = tasks.BaseOptions(model_asset_path=str(model))
    options = vision.FaceLandmarkerOptions(base_options=base, running_mode=mode, num_faces=faces, output_face_blendshapes=blinks)
    try:
        with errors_only():
            return vision.FaceLandmarker.create_from_options(options)
    except (OSError, RuntimeError, ValueError) as exc:
        raise ModelError(f"{model}: not a usable face model; run '{command('models fetch')}'") from exc


def _image(image: Image) -> mp.Image:
    return mp.Image(image_format=mp.ImageFormat.SRGB, data=np.ascontiguousarray(image))


def _pixels(result: vision.FaceLandmarkerResult, image: Image) -> list[Array]:
    height, width = image.shape[:2]
    faces = [np.array([(p.x, p.y, p.z) for p in face], np.float32) for face in result.face_landmarks]
    return [face * np.array([width, height, width], np.float32) for face in faces]


def _blink(result: vision.FaceLandmarkerResult, face: int) -> Array:
    """(2,) the scores of the blendshapes for a shut right and left eye."""
    scores = {shape.category_name: shape.score for shape in result.face_blendshapes[face]}
    return np.array([scores["eyeBlinkRight"], scores["eyeBlinkLeft"]], np.float32)
