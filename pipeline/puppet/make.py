"""A puppet from pictures of one face: frames of a clip, or photographs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from ..clips import Progress, open_clip, timed
from ..errors import ClipError, PuppetError
from ..face.canonical import face
from ..face.faces import Faces
from ..face.motion import Array
from ..face.units import in_pixels
from ..frames import Image
from ..portrait import MAX_SIDE, Picture, Portrait, make_portrait, read_picture
from .choose import BLURRED, BUDGET, chosen, evened, most_neutral, sharpness, whole
from .doubts import doubts

LONGEST_S = 60.0  # of a clip is looked at
LOOKS = 900  # frames of it at most, evenly
TRACKED_SIDE = 1280  # pixels of the longer side are enough to find landmarks
KEPT_SIDE = 640  # pixels of the longer side of a key picture
MARGIN = 0.15  # of the face's size, kept round it

Warn = Callable[[str], None]  # takes a line about what may be wrong with the pictures


@dataclass(frozen=True)
class Look:
    """What is known of a picture before it is chosen. landmarks: (478, 3) pixels."""

    landmarks: Array
    sharpness: float
    whole: bool

    @classmethod
    def at(cls, image: Image, landmarks: Array) -> Look:
        return cls(landmarks, sharpness(image, landmarks), whole(image, landmarks))


def select(looks: Sequence[Look], budget: int = BUDGET, usual: Array | None = None) -> list[int]:
    """Which pictures make the puppet, the neutral first; blurred ones, faces cut off and doubles are left out.

    usual: see `most_neutral`."""
    sharp_enough = BLURRED * float(np.median([look.sharpness for look in looks]))
    usable = [k for k, look in enumerate(looks) if look.whole and look.sharpness >= sharp_enough] or list(range(len(looks)))
    faces = [looks[k].landmarks for k in usable]
    return [usable[k] for k in chosen(faces, most_neutral(faces, usual), budget)]


def assemble(name: str, pictures: Sequence[Picture]) -> Portrait:
    """The puppet of chosen pictures, the neutral first."""
    neutral = scaled(pictures[0], MAX_SIDE)
    return Portrait(name, neutral.image, neutral.landmarks, more=tuple(face_of(evened(p, neutral)) for p in pictures[1:]))


def face_of(picture: Picture) -> Picture:
    """The face and a margin, all of a picture that a key picture needs."""
    flat = picture.landmarks[:, :2]
    low, high = flat.min(axis=0), flat.max(axis=0)
    pad = MARGIN * float((high - low).max())
    x0, y0 = np.maximum(np.floor(low - pad), 0).astype(int)
    x1, y1 = np.minimum(np.ceil(high + pad), picture.image.shape[1::-1]).astype(int)
    moved = picture.landmarks - np.array([x0, y0, 0], np.float32)
    return scaled(Picture(np.ascontiguousarray(picture.image[y0:y1, x0:x1]), moved), KEPT_SIDE)


def scaled(picture: Picture, longest: int) -> Picture:
    """The picture with sides of at most `longest` pixels."""
    height, width = picture.image.shape[:2]
    factor = longest / max(height, width)
    if factor >= 1:
        return picture
    size = (round(width * factor), round(height * factor))
    scale = np.array([size[0] / width, size[1] / height, size[0] / width], np.float32)
    return Picture(np.asarray(cv2.resize(picture.image, size, interpolation=cv2.INTER_AREA), np.uint8), picture.landmarks * scale)


def of_clip(
    path: Path, faces: Faces, budget: int = BUDGET, progress: Progress = lambda done, total: None, warn: Warn = lambda line: None
) -> Portrait:
    """The puppet of the person in a clip's first LONGEST_S, decoded twice: once to look, once to cut. ClipError where no
    face is seen often enough."""
    step, total = _pace(path)
    looks: dict[int, Look] = {}
    times: dict[int, float] = {}
    with closing(faces.open_tracker()) as tracker, open_clip(path) as clip:
        for k, (time_s, image) in enumerate(timed(clip)):
            if time_s > LONGEST_S:
                break
            if k % step == 0:
                small = scaled(Picture(image, np.zeros((0, 3), np.float32)), TRACKED_SIDE).image
                landmarks = tracker.track(small, time_s)
                if landmarks is not None:
                    looks[k] = Look.at(image, in_pixels(landmarks, image))
                    times[k] = time_s
            progress(k + 1, total)
    if len(looks) < 5:
        raise ClipError(f"{path}: a face is seen in {len(looks)} of its frames; a puppet needs one that is seen throughout")
    numbers = list(looks)
    wanted = [numbers[k] for k in select(list(looks.values()), budget)]
    with open_clip(path) as clip:
        kept: dict[int, Picture] = {}
        for k, (_, image) in enumerate(timed(clip)):
            if k in wanted:
                picture = Picture(image, looks[k].landmarks)
                kept[k] = picture if k == wanted[0] else face_of(picture)
                if len(kept) == len(wanted):
                    break
    pictures = [kept[k] for k in wanted]
    for line in doubts(pictures, [f"the picture at {times[k]:.1f} s" for k in wanted]):
        warn(f"{path}: {line}")
    return assemble(path.name, pictures)


def _pace(path: Path) -> tuple[int, int | None]:
    """Every how manieth frame of a clip is looked at, and how many it has, where the file says so."""
    with open_clip(path) as clip:
        rate = float(clip.rate)
        total = clip.frames or round(rate * (clip.seconds or 0))
    most = round(rate * LONGEST_S)
    frames = min(total, most) if total else most
    return max(-(-frames // LOOKS), 1), frames if total else None


def of_photographs(
    paths: Sequence[Path], faces: Faces, budget: int = BUDGET, progress: Progress = lambda done, total: None,
    warn: Warn = lambda line: None,
) -> Portrait:  # fmt: skip
    """The puppet of the person on several photographs; one of them that shows no face is an error that names it."""
    pictures = []
    for done, path in enumerate(paths, 1):
        portrait = make_portrait(path.name, read_picture(path), faces)
        if portrait.others:
            raise PuppetError(f"{path}: shows {len(portrait.others)} faces; cut it to the one that the puppet is of")
        pictures.append(Picture(portrait.image, portrait.landmarks))
        progress(done, len(paths))
    wanted = select([Look.at(p.image, p.landmarks) for p in pictures], budget, face())
    first = wanted[0]
    every = [first, *(k for k in range(len(paths)) if k != first)]
    for line in doubts([pictures[k] for k in every], [str(paths[k]) for k in every]):
        warn(line)
    return assemble(paths[0].name, [pictures[k] for k in wanted])
