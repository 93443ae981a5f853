"""How near a puppet comes to the person it was made of: the first part of a clip makes it, the rest drives it by its own
landmarks and is compared with the true frames. `puppetcast bench reenact`.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import median

import cv2
import numpy as np
from numpy.typing import NDArray

from bench.fidelity import compare
from bench.similarity import ssim_map
from pipeline.clips import Progress, open_clip, timed
from pipeline.errors import ClipError
from pipeline.face import topology as topo
from pipeline.face.mediapipe import MediaPipeTracker
from pipeline.face.motion import Array, Motion, Neutral
from pipeline.face.units import in_pixels
from pipeline.follow.smoothing import MotionSmoother
from pipeline.frames import Image
from pipeline.mesh.mixing import Mixer
from pipeline.mesh.pose import pose_of
from pipeline.mesh.prepared import MeshPrepared
from pipeline.portrait import Picture
from pipeline.puppet.make import Look, assemble, select

SHARE = 0.6  # of the frames makes the puppet
SIDE = 512
REGIONS = ("face", "mouth", "eyes")
WATCHED = ("face", "mouth", "right", "left")
EYES_AND_BROWS = tuple(i for upper, lower in topo.EYES for i in (*upper, *lower))

Render = Callable[[Motion, float], Image]


@dataclass(frozen=True)
class Seen:
    """A frame with a face: seconds from the clip's start, (h, w, 3) RGB, (478, 3) landmarks in pixels, blink scores."""

    time_s: float
    image: Image
    landmarks: Array
    blink: Array | None


def seen(clip: Path, model: Path) -> list[Seen]:
    """The frames of a clip that show a face."""
    with closing(MediaPipeTracker(model)) as tracker, open_clip(clip) as source:
        found = [(time_s, image, tracker.track(image, time_s), tracker.blink) for time_s, image in timed(source)]
    frames = [Seen(time_s, image, in_pixels(marks, image), blink) for time_s, image, marks, blink in found if marks is not None]
    if len(frames) < 20:
        raise ClipError(f"{clip}: shows a face in {len(frames)} frames; at least 20 are needed")
    return frames


def masks(landmarks: Array, shape: tuple[int, int]) -> dict[str, NDArray[np.bool_]]:
    """(h, w) of each of REGIONS and of each eye: hulls of the landmarks, those of mouth and eyes widened."""
    parts = {
        "face": (landmarks[list(topo.OVAL), :2], 0.0),
        "mouth": (landmarks[[*topo.UPPER_OUTER_LIP, *topo.LOWER_OUTER_LIP], :2], 0.15),
        **{
            name: (landmarks[[*upper, *lower], :2], 0.35)
            for name, (upper, lower) in zip(("right", "left"), topo.EYES, strict=True)
        },
    }
    out = {name: _hull(points, wider, shape) for name, (points, wider) in parts.items()}
    return {**out, "eyes": out["right"] | out["left"]}


def _hull(points: Array, wider: float, shape: tuple[int, int]) -> NDArray[np.bool_]:
    """The convex hull, widened by a share of its width."""
    mask = np.zeros(shape, np.uint8)
    cv2.fillConvexPoly(mask, cv2.convexHull(np.round(points).astype(np.int32)), 1)
    size = 2 * round(wider * float(np.ptp(points[:, 0]))) + 1
    return np.asarray(cv2.dilate(mask, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size))) > 0)


class Following:
    """Collects what the landmarker finds in pictures, against what it found in the true frames. Both show one face: of the same
    glance it sees less in narrower eyes."""

    def __init__(self, tracker: MediaPipeTracker) -> None:
        self._tracker = tracker
        self._true: list[Array | None] = []
        self._made: list[Array | None] = []

    def add(self, true: Seen, made: Image) -> None:
        """One frame, and the picture that was made under its motion."""
        found = self._tracker.track(made, true.time_s)
        self._true.append(true.landmarks)
        self._made.append(None if found is None else in_pixels(found, made))

    def figures(self) -> dict[str, dict[str, float]]:
        """Correlation and slope by `bench.fidelity.MEASURES`."""
        follows = compare(self._true, self._made).items()
        return {name: {key: round(value, 3) for key, value in asdict(one).items()} for name, one in follows}


class Likeness:
    """Collects how alike pictures are to the true frames, by region."""

    def __init__(self) -> None:
        self._rows: dict[str, list[tuple[float, float, float]]] = {region: [] for region in REGIONS}

    def add(self, true: Image, made: Image, regions: dict[str, NDArray[np.bool_]]) -> None:
        """One frame; both pictures (h, w, 3)."""
        x0, y0, width, height = cv2.boundingRect(regions["face"].astype(np.uint8))
        box = np.s_[max(y0 - 8, 0) : y0 + height + 8, max(x0 - 8, 0) : x0 + width + 8]
        a, b = (cv2.cvtColor(image[box], cv2.COLOR_RGB2GRAY).astype(np.float32) for image in (true, made))
        likeness, of_gradients = ssim_map(a, b), ssim_map(_gradient(a), _gradient(b))
        error = ((true.astype(np.float32) - made) ** 2).mean(axis=2)
        for region in REGIONS:
            mask = regions[region]
            psnr = 10 * np.log10(255**2 / max(float(error[mask].mean()), 1e-3))
            self._rows[region].append((psnr, float(likeness[mask[box]].mean()), float(of_gradients[mask[box]].mean())))

    def figures(self) -> dict[str, dict[str, float]]:
        """Medians by region."""
        out = {}
        for region, rows in self._rows.items():
            psnr, ssim, gradients = np.median(rows, axis=0).tolist()
            out[region] = {"psnr_db": round(psnr, 2), "ssim": round(ssim, 4), "gradient_ssim": round(gradients, 4)}
        return out


class Popping:
    """Collects mean colours of regions: what pops in them is in their second difference."""

    def __init__(self) -> None:
        self._means: list[Array] = []

    def add(self, image: Image, regions: dict[str, NDArray[np.bool_]]) -> None:
        """The next frame."""
        self._means.append(np.stack([image[regions[name]].mean(axis=0) for name in WATCHED]))

    def p99(self) -> float:
        """p99 of the second difference, in grey levels."""
        return float(np.percentile(np.abs(np.diff(np.stack(self._means), 2, axis=0)), 99))


def _gradient(grey: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(cv2.magnitude(cv2.Sobel(grey, cv2.CV_32F, 1, 0), cv2.Sobel(grey, cv2.CV_32F, 0, 1)) / 4, np.float32)


def reenact(clip: Path, model: Path, sheet: Path | None = None) -> dict[str, object]:
    """Figures of one clip. sheet: a folder for true frames beside made ones, one PNG picture every fifth frame.

    Pictures are compared under the motion as it was seen, as a filter's delay is none of the engine's; popping is measured
    under the motion as it is smoothed when live, where the face then is: a head goes only as far as its picture has room.
    """
    frames = seen(clip, model)
    cut = round(SHARE * len(frames))
    puppet, neutral = _puppet(frames[:cut])
    renders, smoothed = _renders(puppet), _renders(puppet)
    smooth, likeness = MotionSmoother(), {name: Likeness() for name in renders}
    popping = {name: Popping() for name in ("true", *renders)}
    cost_s: dict[str, list[float]] = {name: [] for name in renders}
    with ExitStack() as stack:
        follows = {name: Following(stack.enter_context(closing(MediaPipeTracker(model)))) for name in renders}
        for k, frame in enumerate(frames[cut:]):
            motion = neutral.motion(frame.landmarks, frame.blink)
            made = {name: _timed(render, motion, frame.time_s, cost_s[name]) for name, render in renders.items()}
            true, regions = _truth(frame, next(iter(made.values())).shape)
            popping["true"].add(true, regions)
            live = smooth(motion, frame.time_s)
            shown = _shown(puppet, live)
            for name, picture in made.items():
                likeness[name].add(true, picture, regions)
                follows[name].add(frame, picture)
                popping[name].add(smoothed[name](live, frame.time_s), shown)
            if sheet is not None and k % 5 == 0:
                row = np.hstack([true, *made.values()])
                cv2.imwrite(str(sheet / f"{clip.stem}-{k:04d}.png"), cv2.cvtColor(row, cv2.COLOR_RGB2BGR))
    costs = {name: median(times) for name, times in cost_s.items()}
    still = max(popping["true"].p99(), 1e-3)
    return {
        "frames": len(frames) - cut,
        "pictures": 1 + len(puppet.keys.pictures),
        **{
            name: {**like.figures(), "popping": round(popping[name].p99() / still, 3), "follows": follows[name].figures()}
            for name, like in likeness.items()
        },
        "cost_ratio": {name: round(cost / costs["one"], 2) for name, cost in costs.items()},
    }


def _truth(frame: Seen, shape: tuple[int, ...]) -> tuple[Image, dict[str, NDArray[np.bool_]]]:
    """The frame in the size of what is made of it, scaled as portraits are, and its `masks`."""
    height, width = shape[:2]
    scale = np.array([width / frame.image.shape[1], height / frame.image.shape[0], 1], np.float32)
    method = cv2.INTER_AREA if width < frame.image.shape[1] else cv2.INTER_CUBIC
    true = np.asarray(cv2.resize(frame.image, (width, height), interpolation=method), np.uint8)
    return true, masks(frame.landmarks * scale, (height, width))


def _timed(render: Render, motion: Motion, time_s: float, into: list[float]) -> Image:
    start = time.perf_counter()
    picture = render(motion, time_s)
    into.append(time.perf_counter() - start)
    return picture


def _puppet(frames: list[Seen]) -> tuple[MeshPrepared, Neutral]:
    """The puppet of some frames, and the driver's neutral: the frame that the portrait is."""
    wanted = select([Look.at(f.image, f.landmarks) for f in frames])
    puppet = assemble("reenact", [Picture(frames[k].image, frames[k].landmarks) for k in wanted])
    return MeshPrepared.of(puppet, SIDE, SIDE), Neutral.of(frames[wanted[0]].landmarks, frames[wanted[0]].blink)


def _renders(puppet: MeshPrepared) -> dict[str, Render]:
    """What is compared, by name: its neutral picture alone, and all of them as one stream mixes them."""
    one, mixer = replace(puppet, keys=replace(puppet.keys, pictures=(), widest=0.0)), Mixer()
    return {
        "one": lambda motion, time_s: one.render(motion),
        "many": lambda motion, time_s: puppet.render(motion, lambda target: mixer(puppet, target, time_s)),
    }


def _shown(puppet: MeshPrepared, motion: Motion) -> dict[str, NDArray[np.bool_]]:
    """The `masks` of the face that a puppet shows under a motion."""
    driven = pose_of(motion, puppet.geometry, puppet.keys.widest).landmarks(puppet.geometry)
    return masks(driven + (puppet.crop.x, puppet.crop.y), puppet.still.shape[:2])


def report(clips: list[Path], model: Path, sheets: Path | None, progress: Progress) -> dict[str, object]:
    """All clips, by name. sheets: a folder for pictures to look at."""
    out: dict[str, object] = {}
    for clip in clips:
        out[clip.stem] = reenact(clip, model, sheets)
        progress(len(out), len(clips))
    return out
