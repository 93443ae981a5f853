"""Motion templates: a driver's motion without its picture, in a safetensors file with JSON metadata."""

from __future__ import annotations

import io
import json
import pickle
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from ..clips import Progress, first_seconds, open_clip, timed
from ..errors import ClipError, TemplateError
from ..outfile import finished
from .columns import columns_of, named, numbers
from .compose import STATE, filtered, unflat
from .follow import MotionFollower, driving_input
from .motion import Face, FaceMotion, Ratios
from .networks import KEYPOINTS

VERSION = 1
METADATA = "puppetcast"
MAX_PICKLE = 200_000_000
SHAPES = {"expression": (KEYPOINTS, 3), "rotation": (3, 3), "scale": (1,), "translation": (3,), "eyes": (2,), "lip": (1,)}


@dataclass(frozen=True)
class Template:
    """N frames of a driver. times_s: from the first frame; rest: (N,) how far a lost face has come to rest, 0..1."""

    times_s: list[float]
    motion: FaceMotion
    ratios: Ratios
    rest: list[float]
    reference: Face

    def __len__(self) -> int:
        return len(self.times_s)

    def frame(self, k: int) -> Face:
        """One frame, batch 1."""
        return _face({name: part[k : k + 1] for name, part in _parts(Face(self.motion, self.ratios)).items()})

    def to(self, device: torch.device) -> Template:
        """The same on `device`."""
        moved = [_face({n: p.to(device) for n, p in _parts(d).items()}) for d in (Face(self.motion, self.ratios), self.reference)]
        return replace(self, motion=moved[0].motion, ratios=moved[0].ratios, reference=moved[1])


def _parts(driven: Face) -> dict[str, Tensor]:
    parts = driven.motion._asdict() | driven.ratios._asdict()
    return {name: parts[name] for name in SHAPES}


def _face(parts: Mapping[str, Tensor]) -> Face:
    canonical = parts["expression"].new_zeros(1, KEYPOINTS, 3)  # the driver's is not used
    motion = FaceMotion(canonical, *(parts[n] for n in ("expression", "rotation", "scale", "translation")))
    return Face(motion, Ratios(parts["eyes"], parts["lip"]))


@torch.inference_mode()
def make(follower: MotionFollower, clip: Path, progress: Progress = lambda done, total: None) -> Template:
    """The motion of the face in a clip; ClipError where there is none. M and the filter alone: there is no portrait."""
    follower.calibrate(first_seconds(clip))
    times: list[float] = []
    faces: list[tuple[Face, float] | None] = []
    state = torch.zeros(2, 1, STATE)
    with open_clip(clip) as source:
        for done, (time_s, image) in enumerate(timed(source), 1):
            times.append(time_s)
            seen = follower.see(image, time_s)
            if seen is not None:
                motion = follower.extract([driving_input(image, seen.box)])
                columns = torch.tensor([numbers(columns_of(seen, follower.tuning, [0.0] * 6, 0))], device=motion.scale.device)
                state = filtered(motion, named(columns), state.to(columns))
                faces.append((unflat(state[0], motion.canonical), seen.rest))
            else:
                faces.append(None)
            progress(done, source.about)
    if follower.reference is None:
        raise ClipError(f"{clip}: no face was found in it")
    # Frames before the first sight of the face are at rest.
    frames = [(follower.reference, 1.0) if face is None else face for face in faces]
    parts = [_parts(face) for face, _ in frames]
    face = _face({name: torch.cat([p[name] for p in parts]) for name in SHAPES})
    return Template(times, *face, [rest for _, rest in frames], follower.reference)


def save(template: Template, path: Path, source: str) -> None:
    """Write a template; a try that fails leaves no file. source: what it was made from, for people."""
    tensors = _parts(Face(template.motion, template.ratios))
    tensors |= {f"reference.{name}": part for name, part in _parts(template.reference).items()}
    tensors |= {"times_s": torch.tensor(template.times_s, dtype=torch.float64), "rest": torch.tensor(template.rest)}
    about = {"kind": "motion template", "version": VERSION, "frames": len(template), "source": source}
    try:
        with finished(path) as part:
            save_file({k: v.cpu().contiguous() for k, v in tensors.items()}, part, {METADATA: json.dumps(about)})
    except SafetensorError as exc:
        raise TemplateError(f"{path}: cannot be written ({exc})") from exc


def load(path: Path) -> Template:
    """A template of ours, or a published one (`.pkl`), of which nothing is run. TemplateError says what is wrong."""
    return _load_published(path) if path.suffix == ".pkl" else _load_own(path)


def _load_own(path: Path) -> Template:
    try:
        with safe_open(path, framework="pt") as file:
            about = json.loads((file.metadata() or {}).get(METADATA, "null"))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no mapping
    except (SafetensorError, OSError, ValueError, RecursionError) as exc:
        reason = (str(exc) or type(exc).__name__).splitlines()[0]
        raise TemplateError(f"{path}: not a motion template, or not whole ({reason})") from exc
    if isinstance(about, dict) and about.get("kind") == "mesh motion template":
        raise TemplateError(f"{path}: a template of the mesh engine; add '--engine mesh', or make it anew for liveportrait")
    if not isinstance(about, dict) or about.get("kind") != "motion template":
        raise TemplateError(f"{path}: not a motion template; 'puppetcast template make' makes one")
    if about.get("version") != VERSION:
        raise TemplateError(f"{path}: version {about.get('version')} of the format; this program reads {VERSION}: make it anew")
    count = about.get("frames")
    if type(count) is not int:
        raise TemplateError(f"{path}: damaged motion template ({str(count)[:40]!r} frames)")
    wanted = {n: (count, *s) for n, s in SHAPES.items()} | {f"reference.{n}": (1, *s) for n, s in SHAPES.items()}
    for name, shape in (wanted | {"times_s": (count,), "rest": (count,)}).items():
        if name not in tensors or tuple(tensors[name].shape) != shape:
            raise TemplateError(f"{path}: '{name}' is missing or has another shape than {list(shape)}")
    reference = _face({name: tensors[f"reference.{name}"] for name in SHAPES})
    return Template(tensors["times_s"].tolist(), *_face(tensors), tensors["rest"].tolist(), reference)


class _ArraysOnly(pickle.Unpickler):
    """NumPy arrays, numbers and plain containers; nothing that could run code."""

    ALLOWED = frozenset(
        {(f"numpy.{core}.multiarray", name) for core in ("core", "_core") for name in ("_reconstruct", "scalar")}
        | {("numpy", "ndarray"), ("numpy", "dtype")}
    )

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self.ALLOWED:
            raise pickle.UnpicklingError(f"it holds {module}.{name}, which is no NumPy array")
        return super().find_class(module.replace("numpy.core", "numpy._core"), name)


def _load_published(path: Path) -> Template:
    try:
        if path.stat().st_size > MAX_PICKLE:
            raise TemplateError(f"{path}: larger than {MAX_PICKLE // 1_000_000} MB")
        data = _ArraysOnly(io.BytesIO(path.read_bytes())).load()
    except OSError as exc:
        raise TemplateError(f"{path}: {exc.strerror or exc}") from exc
    except TemplateError:
        raise
    except Exception as exc:  # a damaged pickle can raise anything
        reason = (str(exc) or type(exc).__name__).splitlines()[0][:120]
        raise TemplateError(f"{path}: not a published motion template ({reason}); nothing was run") from exc
    try:
        frames = data["motion"]
        columns = {
            "expression": [f["exp"] for f in frames],
            "rotation": [f["R"] if "R" in f else f["R_d"] for f in frames],
            "scale": [f["scale"] for f in frames],
            "translation": [f["t"] for f in frames],
            "eyes": data["c_eyes_lst"] if "c_eyes_lst" in data else data["c_d_eyes_lst"],
            "lip": data["c_lip_lst"] if "c_lip_lst" in data else data["c_d_lip_lst"],
        }
        arrays = {n: np.stack([np.asarray(v, np.float32).reshape(SHAPES[n]) for v in column]) for n, column in columns.items()}
        times = [k / float(data.get("output_fps", 25)) for k in range(len(frames))]
    except (KeyError, TypeError, ValueError, IndexError, ZeroDivisionError) as exc:
        raise TemplateError(f"{path}: not a published motion template: {type(exc).__name__} {exc}") from exc
    driven = _face({name: torch.from_numpy(a) for name, a in arrays.items()})
    first = _face({name: torch.from_numpy(a[:1]) for name, a in arrays.items()})
    return Template(times, *driven, [0.0] * len(times), first)
