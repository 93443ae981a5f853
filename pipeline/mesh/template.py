"""Motion templates of the mesh engine: what landmarks did in a clip, without its pictures, in a safetensors file."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save as pack

from ..clips import Progress, first_seconds, open_clip, timed
from ..errors import ClipError, TemplateError
from ..face.motion import Array, Motion, rest
from ..follow.neutral import FaceState
from ..frames import Driving, Image
from ..outfile import finished

KIND, VERSION = "mesh motion template", 1
METADATA = "puppetcast"
OTHER = "motion template"  # of the liveportrait engine
FLAT = rest().flat().size
MOST = 20.0  # eye distances, or radians: beyond it is no motion of a face
_SHAPES: dict[str, tuple[int, ...]] = {"times_s": (), "motion": (FLAT,), "mouth_width": (), "followed": ()}


class Following(Protocol):
    """What `make` needs of a `MeshPuppeteer`."""

    @property
    def state(self) -> FaceState: ...

    def calibrate(self, frames: Iterable[tuple[float, Image]]) -> None: ...

    def follow(self, driving: Driving) -> Motion: ...


@dataclass(frozen=True)
class MeshTemplate:
    """N frames. times_s (N,): from the first one; motion (N, 1447): `Motion.flat`; mouth_width (N,); followed (N,): 1 where a
    face was seen."""

    times_s: Array
    motion: Array
    mouth_width: Array
    followed: Array

    def __len__(self) -> int:
        return len(self.times_s)

    def motions(self) -> Iterator[tuple[float, Motion, bool]]:
        """When, what, and whether a face was followed."""
        still = rest()
        away = still.flat()
        for time_s, flat, width, followed in zip(self.times_s, self.motion, self.mouth_width, self.followed, strict=True):
            yield float(time_s), replace(still.plus(flat - away), mouth_width=float(width)), bool(followed)


def make(puppeteer: Following, clip: Path, progress: Progress = lambda done, total: None) -> MeshTemplate:
    """The motion that a `MeshPuppeteer` follows in a clip, smoothed, with all gains at 1; ClipError where there is none."""
    puppeteer.calibrate(first_seconds(clip))
    rows = []
    with open_clip(clip) as source:
        for done, (time_s, image) in enumerate(timed(source), 1):
            motion = puppeteer.follow(Driving(image, time_s))
            rows.append((time_s, motion.flat(), motion.mouth_width, puppeteer.state is FaceState.TRACKING))
            progress(done, source.about)
    times_s, flat, widths, followed = (np.array(column, float) for column in zip(*rows, strict=True))
    if not followed.any():
        raise ClipError(f"{clip}: no face was found in it")
    return MeshTemplate(times_s, *(array.astype(np.float32) for array in (flat, widths, followed)))


def save(template: MeshTemplate, path: Path, source: str) -> None:
    """Write a template; a try that fails leaves no file. source: what it was made from, for people."""
    about = {"kind": KIND, "version": VERSION, "frames": len(template), "source": source}
    with finished(path) as part:
        part.write_bytes(pack({n: np.ascontiguousarray(a) for n, a in vars(template).items()}, {METADATA: json.dumps(about)}))


def load(path: Path) -> MeshTemplate:
    """A template of this engine. TemplateError says what is wrong."""
    other = f"{path}: a template of LivePortrait's keypoints, which are no landmarks; add '--engine liveportrait'"
    if path.suffix == ".pkl":
        raise TemplateError(other)
    about, arrays = _read(path)
    if about.get("kind") == OTHER:
        raise TemplateError(f"{other}, or make it anew with 'puppetcast template make CLIP --engine mesh'")
    if about.get("kind") != KIND:
        raise TemplateError(f"{path}: not a motion template; 'puppetcast template make' makes one")
    if about.get("version") != VERSION:
        raise TemplateError(f"{path}: version {about.get('version')} of the format; this program reads {VERSION}: make it anew")
    count = len(arrays.get("times_s", ()))
    for name, shape in _SHAPES.items():
        if not count or name not in arrays or arrays[name].shape != (count, *shape):
            raise TemplateError(f"{path}: '{name}' is missing or has another shape than {[count, *shape]}")
    motion = np.abs(arrays["motion"])
    if not (np.diff(arrays["times_s"]) > 0).all() or not (motion <= MOST).all() or not np.isfinite(arrays["mouth_width"]).all():
        raise TemplateError(f"{path}: damaged motion template; make it anew")
    return MeshTemplate(**{name: arrays[name] for name in _SHAPES})


def _read(path: Path) -> tuple[dict[str, Any], dict[str, Array]]:
    """What is said of the arrays of a file, and they."""
    try:
        with safe_open(path, framework="np") as file:
            about = json.loads((file.metadata() or {}).get(METADATA, "{}"))
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no mapping
    except (SafetensorError, OSError, ValueError, RecursionError) as exc:
        reason = (str(exc) or type(exc).__name__).splitlines()[0]
        raise TemplateError(f"{path}: not a motion template, or not whole ({reason})") from exc
    return about if isinstance(about, dict) else {}, arrays
