"""How faithfully an output follows its driver, by landmarks found anew in both; its eyes by what shows between the lids, too.

The landmark model sees an eye that is drawn shut as a third open, and half of one that is a quarter open: its `openness` of an
output tells little of lids. So each portrait is animated a second time with green eyes, and what is green is counted.

Nor does it see a picture and its mirror image alike: on a head that hardly turns it agrees with itself by 0.7. So clips are
also compared by the mean of what it finds in each picture and in its mirror image (`even`), which errs to neither side.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.clips import Progress, open_clip, picture, pictures
from pipeline.engine import Engine
from pipeline.face import canonical
from pipeline.face import topology as topo
from pipeline.face.mediapipe import MediaPipeTracker
from pipeline.face.motion import Array, Neutral, eye_openness
from pipeline.face.units import in_pixels
from pipeline.frames import Image
from pipeline.mesh.layers import Box
from pipeline.offline.animate import animate
from pipeline.offline.mux import Output
from pipeline.portrait import Portrait

MEASURES = ("mouth", "openness", "brows", "yaw", "pitch", "roll", "x", "y", "gaze_x", "gaze_y")
GAZE = "gaze"  # where the eyes look, aside and up or down at once
FIGURES = ("correlation", "slope")
SHUT = 0.3  # of the opening at rest: what the landmark model still sees of a shut eye
SHUT_PICTURE = 0.5  # of the neutral picture's: less open ones may be shut, and their lashes must not be painted
SHADED = 1.6
TRACE = 16.0  # grey levels of green that compression alone may make


@dataclass(frozen=True)
class Follow:
    """Pearson correlation and least-squares slope of output against driver."""

    correlation: float
    slope: float


def measures(frames: list[Array], neutral: Neutral) -> NDArray[np.float64]:
    """(n, 10) rows of MEASURES for (478, 3) landmarks: mouth gap and brow height in eye distances,
    openness as lid gap over eye width, angles in radians, translation in eye distances, gaze in eye widths."""
    rows = []
    for landmarks in frames:
        motion = neutral.motion(landmarks)
        gap = motion.expression[14, 1] - motion.expression[13, 1]
        brows = motion.expression[[*topo.RIGHT_BROW, *topo.LEFT_BROW], 1].mean()
        yaw, pitch, roll, _, x, y = motion.pose.tolist()
        openness = float(eye_openness(landmarks).mean())
        rows.append((gap, openness, brows, yaw, pitch, roll, x, y, *motion.gaze.mean(axis=0).tolist()))
    return np.array(rows)


def follow(driver: NDArray[np.float64], output: NDArray[np.float64]) -> Follow:
    """Compare two series of one measure, frame by frame; of one that is a vector, (n, 2), its parts at once."""
    d, o = ((series - series.mean(axis=0)).ravel() for series in (driver, output))
    power = float(d @ d)
    if power < 1e-12 or float(o @ o) < 1e-12:
        return Follow(0.0, 0.0)
    return Follow(float(d @ o) / (power * float(o @ o)) ** 0.5, float(d @ o) / power)


def best_lag(driver: NDArray[np.float64], output: NDArray[np.float64], max_lag: int) -> tuple[int, Follow]:
    """The lag in frames (0..max_lag) at which the output follows best, and how well."""
    tries = []
    for lag in range(max_lag + 1):
        n = min(len(driver), len(output) - lag)
        tries.append((lag, follow(driver[:n], output[lag : lag + n])))
    return max(tries, key=lambda t: t[1].correlation)


def track(clip: Path, model: Path, *, mirror: bool = False) -> list[Array | None]:
    """(478, 3) landmarks in pixels of each frame of a clip, None where no face is seen; by MediaPipe.

    mirror: as it finds them in the mirror image, told as they lie in the picture.
    """
    tracker = MediaPipeTracker(model)
    back = of_mirror_image if mirror else lambda face, image: face
    try:
        with open_clip(clip) as source:
            seen = ((picture(f), float(f.time or 0.0)) for f in pictures(source))
            shown = ((image[:, ::-1] if mirror else image, time_s) for image, time_s in seen)
            tracked = ((image, tracker.track(image, time_s)) for image, time_s in shown)
            return [None if face is None else back(in_pixels(face, image), image) for image, face in tracked]
    finally:
        tracker.close()


def of_mirror_image(face: Array, image: Image) -> Array:
    """Where the (478, 3) landmarks found in a mirror image lie in the picture itself."""
    return np.asarray(face[canonical.all_mirrored()] * [-1, 1, 1] + [image.shape[1], 0, 0], np.float32)


def means(plain: list[Array | None], mirrored: list[Array | None]) -> list[Array | None]:
    """The mean of both ways to see each frame, None where one of them saw no face."""
    pairs = zip(plain, mirrored, strict=True)
    return [None if a is None or b is None else np.asarray((a + b) / 2, np.float32) for a, b in pairs]


def compare(driver: list[Array | None], output: list[Array | None]) -> dict[str, Follow]:
    """How the output follows in each of MEASURES and in GAZE, over the frames that show a face in both.

    Each is measured against its own median frame: a constant difference does not matter here.
    """
    both = [(d, o) for d, o in zip(driver, output, strict=True) if d is not None and o is not None]
    series = [measures(frames, Neutral.of(np.median(np.stack(frames), axis=0))) for frames in map(list, zip(*both, strict=True))]
    each = {name: follow(series[0][:, k], series[1][:, k]) for k, name in enumerate(MEASURES)}
    return {**each, GAZE: follow(series[0][:, -2:], series[1][:, -2:])}


def with_green_eyes(portrait: Portrait) -> Portrait:
    """The same face, what its lids leave free of the eyes painted green; in all its pictures that do not show them shut."""
    least = SHUT_PICTURE * eye_openness(portrait.landmarks)
    more = tuple(replace(p, image=_green_eyed(p.image, p.landmarks, least)) for p in portrait.more)
    return replace(portrait, image=_green_eyed(portrait.image, portrait.landmarks, least), more=more)


def _green_eyed(image: Image, landmarks: Array, least: Array) -> Image:
    out = image.copy()
    for (upper, lower), is_open in zip(topo.EYES, (eye_openness(landmarks) > least).tolist(), strict=True):
        outline = landmarks[[*upper, *lower[-2:0:-1]], :2]
        if is_open:
            cv2.fillPoly(out, [np.round((outline - 0.5) * 16).astype(np.int32)], (0, 255, 0), cv2.LINE_AA, 4)
    return out


def slit(plain: Image, green: Image, landmarks: Array) -> float:
    """Mean height of what shows between the lids, in eye widths, over both eyes: the area in which a picture with green eyes
    differs from `plain`, whose landmarks are (478, 3), by its green over its red."""
    heights = []
    for upper, lower in topo.EYES:
        corners = landmarks[[upper[0], upper[-1]], :2]
        width = max(float(np.linalg.norm(corners[1] - corners[0])), 1e-6)
        box = Box.around(landmarks[[*upper, *lower], :2], 0.3 * width, max(plain.shape))
        if box is not None:
            over = [box.of(p)[..., 1].astype(np.float32) - box.of(p)[..., 0] for p in (green, plain)]
            more = over[0] - over[1]
            share = np.minimum(SHADED * more / (255 - over[1]), 1.0)  # an eye is less than green in the shadow of its lid
            heights.append(float(share[more > TRACE].sum()) / width**2)
    return float(np.mean(heights)) if heights else 0.0


def slits(plain: Path, green: Path, tracked: list[Array | None]) -> NDArray[np.float64]:
    """(n,) of `slit` for each frame of a clip, NaN where no face is seen."""
    with open_clip(plain) as a, open_clip(green) as b:
        pairs = zip(pictures(a), pictures(b), tracked, strict=True)
        return np.array([np.nan if f is None else slit(picture(p), picture(g), f) for p, g, f in pairs])


def compare_slits(driver: list[Array | None], output: NDArray[np.float64]) -> tuple[Follow, float | None]:
    """How what shows between the lids follows the driver's openness, each over its own median, and its median where the
    driver's openness is below SHUT; None where it never is."""
    both = [(float(eye_openness(d).mean()), o) for d, o in zip(driver, output, strict=True) if d is not None and np.isfinite(o)]
    seen, shown = (s / np.median(s) for s in np.array(both).T)
    shut = shown[seen <= SHUT]
    return follow(seen, shown), float(np.median(shut)) if len(shut) else None


def report(
    portraits: list[Portrait], clips: list[Path], engine: Engine, model: Path, folder: Path, progress: Progress
) -> dict[str, object]:
    """Animate every portrait with every clip into `folder` and compare; rows by pair, and medians over the pairs.

    even: the same by the mean of what is found in each picture and in its mirror image. slit: see `compare_slits`;
    slit_when_shut: its last figure.
    """
    rows: dict[str, dict[str, Follow]] = {}
    even: dict[str, dict[str, Follow]] = {}
    shut: dict[str, float | None] = {}
    for clip in clips:
        driver = track(clip, model)
        mean = means(driver, track(clip, model, mirror=True))
        for portrait in portraits:
            name = f"{Path(portrait.name).stem}-{clip.stem}"
            out, green = folder / f"{name}.mp4", folder / f"{name}-green.mp4"
            animate(engine, portrait, clip, Output(out))
            animate(engine, with_green_eyes(portrait), clip, Output(green))
            tracked = track(out, model)
            rows[name] = compare(driver, tracked)
            even[name] = compare(mean, means(tracked, track(out, model, mirror=True)))
            rows[name]["slit"], shut[name] = compare_slits(driver, slits(out, green, tracked))
            progress(len(rows), len(clips) * len(portraits))
    return {
        "median": _medians(rows, (*MEASURES, GAZE, "slit")),
        "median_even": _medians(even, (*MEASURES, GAZE)),
        "slit_when_shut": {name: None if s is None else round(s, 3) for name, s in shut.items()},
        "pairs": _all(rows),
        "pairs_even": _all(even),
    }


def _medians(rows: dict[str, dict[str, Follow]], names: tuple[str, ...]) -> dict[str, dict[str, float]]:
    return {m: _rounded(*(median(getattr(r[m], k) for r in rows.values()) for k in FIGURES)) for m in names}


def _all(rows: dict[str, dict[str, Follow]]) -> dict[str, dict[str, dict[str, float]]]:
    return {name: {m: _rounded(f.correlation, f.slope) for m, f in row.items()} for name, row in rows.items()}


def _rounded(correlation: float, slope: float) -> dict[str, float]:
    return dict(zip(FIGURES, (round(correlation, 3), round(slope, 3)), strict=True))
