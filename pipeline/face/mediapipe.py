"""MediaPipe FaceLandmarker (Tasks API): 478 landmarks with depth."""

from __future__ import annotations

import os
from pathlib import Path

os.environ.setdefault("GLOG_minloglevel", "2")

import mediapipe as mp
import numpy as np
from mediapipe.tasks import python as tasks
from mediapipe.tasks.python import vision

from ..errors import ModelError, NoFaceError
from ..mesh.crop import Image
from .motion import Array

# MediaPipe smooths in video mode by its timestamps, which costs a frame or two of delay. Frames that
# seem a second apart are left alone; our own filters do the smoothing.
STEP_MS = 1000


class MediaPipeTracker:
    """Video mode: each frame starts from the face found in the one before."""

    name = "mediapipe"

    def __init__(self, model: Path) -> None:
        self._landmarker = _landmarker(model, vision.RunningMode.VIDEO)
        self._last_ms = 0

    def track(self, image: Image, time_s: float) -> Array | None:
        self._last_ms += STEP_MS
        result = self._landmarker.detect_for_video(_image(image), self._last_ms)
        return _pixels(result, image)

    def close(self) -> None:
        self._landmarker.close()


def find_landmarks(image: Image, model: Path) -> Array:
    """(478, 3) landmarks in pixels of the face in a still picture; NoFaceError where there is none."""
    landmarker = _landmarker(model, vision.RunningMode.IMAGE)
    try:
        landmarks = _pixels(landmarker.detect(_image(image)), image)
    finally:
        landmarker.close()
    if landmarks is None:
        raise NoFaceError("no face found; use a picture that shows one face from the front")
    return landmarks


def _landmarker(model: Path, mode: vision.RunningMode) -> vision.FaceLandmarker:
    base = tasks.BaseOptions(model_asset_path=str(model))
    options = vision.FaceLandmarkerOptions(base_options=base, running_mode=mode, num_faces=1)
    try:
        return vision.FaceLandmarker.create_from_options(options)
    except (OSError, RuntimeError, ValueError) as exc:
        raise ModelError(f"{model}: not a usable face model; run 'puppetcast models fetch'") from exc


def _image(image: Image) -> mp.Image:
    return mp.Image(image_format=mp.ImageFormat.SRGB, data=np.ascontiguousarray(image))


def _pixels(result: vision.FaceLandmarkerResult, image: Image) -> Array | None:
    if not result.face_landmarks:
        return None
    height, width = image.shape[:2]
    points = [(p.x, p.y, p.z) for p in result.face_landmarks[0]]
    return np.array(points, np.float32) * np.array([width, height, width], np.float32)
