"""How fast the mesh engine is here: tracker and warp apart, and together; and what more pictures of a face cost."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import replace
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from statistics import median
from typing import Any

from pipeline import models
from pipeline.clips import Progress, open_clip, timed
from pipeline.errors import PuppetError
from pipeline.face.faces import TRACKERS, Faces, faces_by, faces_if_here
from pipeline.face.motion import Array, Neutral, rest
from pipeline.face.units import in_pixels
from pipeline.follow.calibration import Calibration
from pipeline.frames import Image
from pipeline.mesh.prepared import MeshPrepared
from pipeline.portrait import Picture, Portrait, bundled
from pipeline.puppet.make import Look, assemble, select
from pipeline.threads import one_each

FRAMES = 300
SIDE = 512
THERE = "pipeline_there"

Render = Callable[[Array], Image]  # of (478, 3) driving landmarks


def mesh(clip: Path, against: Path | None = None, progress: Progress = lambda done, total: None) -> dict[str, Any]:
    """Milliseconds a frame for tracker and warp at 512², frames per second of both in turn, and ratios of processor time of
    a puppet of the clip's own pictures to one of them. against: another checkout, whose engine draws the one picture, too."""
    there = None if against is None else other_package(against)
    frames = _frames(clip)
    faces = faces_by(models.find(models.FACE_LANDMARKER))
    seen: list[Array | None] = []
    figures: dict[str, Any] = _measure(frames, faces, seen, progress)
    found = [Picture(image, in_pixels(face, image)) for image, face in zip(frames, seen, strict=True) if face is not None]
    figures |= {"cpu_ms": _costs(frames), **(_pictures(found, there) if found else {})}
    return {"clip": clip.name, "frames": len(frames), "tracker": faces.name, **figures}


def _costs(frames: list[Image]) -> dict[str, float]:
    """Milliseconds of processor time a frame for each tracker that is here, frame by frame in turn."""
    model = models.find(models.FACE_LANDMARKER)
    with ExitStack() as stack:
        ways = [way for name in TRACKERS if (way := faces_if_here(name, model)) is not None]
        trackers = {way.name: stack.enter_context(closing(way.open_tracker())) for way in ways}
        spent: dict[str, list[float]] = {name: [] for name in trackers}
        for k, image in enumerate(frames):
            for name, tracker in trackers.items():
                start = time.process_time()
                tracker.track(image, k / 30)
                spent[name].append(time.process_time() - start)
    return {name: round(1000 * sum(each) / len(each), 2) for name, each in spent.items()}


def other_package(checkout: Path) -> str:
    """The name under which the package of another checkout is imported beside this one's."""
    spec = spec_from_file_location(THERE, checkout / "pipeline" / "__init__.py")
    if spec is None or spec.loader is None or not (checkout / "pipeline" / "mesh" / "prepared.py").is_file():
        raise PuppetError(f"--against {checkout}: no checkout of puppetcast with a mesh engine")
    sys.modules[THERE] = module_from_spec(spec)
    spec.loader.exec_module(sys.modules[THERE])
    return THERE


def _pictures(found: Sequence[Picture], there: str | None) -> dict[str, Any]:
    """What the puppet of these pictures costs against its neutral alone, here and there."""
    wanted = select([Look.at(p.image, p.landmarks) for p in found])
    puppet = assemble("bench", [found[k] for k in wanted])
    one, neutral = replace(puppet, more=()), found[wanted[0]].landmarks
    renders = {"one": _render("pipeline", one, neutral), "many": _render("pipeline", puppet, neutral)}
    if there is not None:
        renders["there"] = _render(there, one, neutral)
    one_each()
    took_s = _processor_s(renders, [p.landmarks for p in found])
    ratios = {f"{name}_to_{base}": round(took_s[name] / took_s[base], 2)
              for base in ("one", "there") if base in took_s for name in ("one", "many") if name != base}  # fmt: skip
    return {"pictures": len(wanted), **ratios}


def _render(package: str, portrait: Portrait, neutral: Array) -> Render:
    """How a package draws a portrait, driven by landmarks against a (478, 3) neutral."""
    if package == THERE:
        portrait = import_module(f"{package}.portrait").Portrait(portrait.name, portrait.image, portrait.landmarks)
    prepared = import_module(f"{package}.mesh.prepared").MeshPrepared.of(portrait, SIDE, SIDE)
    moving: Neutral = import_module(f"{package}.face.motion").Neutral.of(neutral)
    return lambda landmarks: prepared.render(moving.motion(landmarks))  # type: ignore[no-any-return]


def _processor_s(renders: Mapping[str, Render], driving: Sequence[Array]) -> dict[str, float]:
    """Median seconds of processor time of a frame, each drawn by all in turn."""
    took_s: dict[str, list[float]] = {name: [] for name in renders}
    for landmarks in driving:
        for name, render in renders.items():
            start_s = time.process_time()
            render(landmarks)
            took_s[name].append(time.process_time() - start_s)
    return {name: median(times) for name, times in took_s.items()}


def _frames(clip: Path) -> list[Image]:
    with open_clip(clip) as source:
        out = []
        for _, image in timed(source):
            out.append(image)
            if len(out) == FRAMES:
                break
        return out


def _measure(frames: list[Image], faces: Faces, seen: list[Array | None], progress: Progress) -> dict[str, float]:
    """seen: gets the landmarks of each frame."""
    source = MeshPrepared.of(bundled("astronaut"), SIDE, SIDE)
    tracker, calibration = faces.open_tracker(), Calibration()
    neutral = None
    track_s, warp_s = [], []
    start = time.perf_counter()
    for k, image in enumerate(frames):
        a = time.perf_counter()
        landmarks = tracker.track(image, k / 30)
        b = time.perf_counter()
        if landmarks is not None and neutral is None:
            neutral = calibration.add(landmarks, k / 30, tracker.blink)
        motion = rest() if landmarks is None or neutral is None else neutral.motion(landmarks, tracker.blink)
        source.render(motion)
        seen.append(landmarks)
        track_s.append(b - a)
        warp_s.append(time.perf_counter() - b)
        progress(k + 1, len(frames))
    total = time.perf_counter() - start
    tracker.close()
    return {
        "track_p50_ms": round(median(track_s) * 1000, 2),
        "warp_p50_ms": round(median(warp_s) * 1000, 2),
        "frames_per_s": round(len(frames) / total, 1),
    }
