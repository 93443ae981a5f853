"""Against the published results, and what half precision does to keypoints."""

from __future__ import annotations

import itertools
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bench.gpu.setup import Setup, StepFailed
from bench.similarity import psnr
from pipeline.errors import ModelError
from pipeline.liveportrait import conformance
from pipeline.liveportrait.build import apply
from pipeline.liveportrait.folding import DTYPES
from pipeline.liveportrait.motion import face_motion
from pipeline.liveportrait.options import PLAIN, Build, Compile, Precision
from pipeline.liveportrait.paste import to_bytes
from pipeline.liveportrait.weights import load_networks


def golden(setup: Setup) -> Iterator[dict[str, Any]]:
    """Each golden file in each precision, also by replayed graphs: the error of every row, and its tolerance. "plain": what the
    published code's own form comes to in that precision, by which tolerances are set; it is judged in float32 alone."""
    if setup.golden is None:
        yield {"skipped": "no --golden"}
        return
    checkpoints, missed = _golden_checkpoints(setup, setup.golden), []
    builds = {"plain": PLAIN, "folded": Build(compile=Compile.OFF, graph=False), "graph": Build(compile=Compile.OFF, graph=True)}
    if not setup.cuda:
        del builds["graph"]
    for precision, (form, build) in itertools.product(Precision, builds.items()):
        networks = conformance.open_networks(checkpoints, build, precision, str(setup.where))
        for path in sorted(setup.golden.glob("golden_*.npz")):
            file, name = conformance.load_golden(path), path.stem.removeprefix("golden_")
            if "paste.result" in file:  # the host's alone, and the same each time
                continue
            pictures: list[Tensor] = []
            with networks.generator.register_forward_hook(lambda _, __, out, kept=pictures: kept.append(out)):  # type: ignore[misc]
                rows = list(conformance.verify(file, networks, path, precision))
            yield {f"{name} {precision} {form}": _errors(rows)}
            for batch in pictures:
                db = [psnr(picture, file[f"G.image{k}"]) for k, picture in enumerate(to_bytes(batch.float()).cpu().numpy())]
                yield {f"pictures {precision} {form}": {"psnr_db": [round(each, 1) for each in db]}}
            if build is not PLAIN or precision is Precision.FP32:
                missed += [f"{name} {precision} {form}: {row.key}" for row in rows if not row.ok]
    for path in sorted(setup.golden.glob("golden_crop*.npz")):
        if lacks := _lacking():
            yield {"crop": {"skipped": lacks}}
            continue
        rows = list(conformance.verify_crop(conformance.load_golden(path)))
        yield {"crop": _errors(rows)}
        missed += [f"crop: {row.key}" for row in rows if not row.ok]
    if missed:
        raise StepFailed(f"{len(missed)} rows beyond their tolerance: {'; '.join(missed[:5])}")


def _errors(rows: list[conformance.Row]) -> dict[str, list[float]]:
    return {row.key: [float(f"{row.error:.3g}"), row.tolerance] for row in rows}


def _lacking() -> str | None:
    """What the cuts need to be those that were published."""
    try:
        import cv2
    except ModuleNotFoundError:
        return "no OpenCV, which cuts crops"
    return f"OpenCV {cv2.__version__}; the published cuts are of 4, which rounds places" if cv2.__version__ >= "5" else None


def _golden_checkpoints(setup: Setup, folder: Path) -> Path:
    """The checkpoints that the files were made with: beside them, or made by the script that is."""
    script, made = folder / "make_weights.py", setup.work / "golden"
    if not script.is_file():
        return folder
    try:
        load_networks(made)
    except ModelError:
        subprocess.run([sys.executable, str(script), str(made)], check=True)
    return made


def noise(setup: Setup) -> Iterator[dict[str, Any]]:
    """How far M's keypoints are from those of float32, and how much of that changes from frame to frame; in pixels of the
    512² crop, root of the mean square and the most."""
    exact = _keypoints(setup, Precision.FP32)
    for precision in (Precision.FP16, Precision.BF16):
        off = (_keypoints(setup, precision) - exact) * 256
        yield {
            f"{precision}_px": {"rms": _rms(off), "most": round(float(off.abs().max()), 4)},
            f"{precision}_step_px": {"rms": _rms(off.diff(dim=0)), "most": round(float(off.diff(dim=0).abs().max()), 4)},
        }


def _keypoints(setup: Setup, precision: Precision) -> Tensor:
    """(n, K, 3) of the driver's crops."""
    networks = apply(PLAIN, load_networks(setup.checkpoints()), precision, setup.where)
    out = []
    for crop in setup.footage.crops:
        picture = conformance.as_input(crop[None], setup.where)
        with torch.autocast(setup.where.type, DTYPES[precision], enabled=precision is not Precision.FP32):
            heads = networks.motion(picture)
        out.append(face_motion(heads).keypoints().float())
    return torch.cat(out)


def _rms(values: Tensor) -> float:
    return round(float(values.square().mean().sqrt()), 4)
