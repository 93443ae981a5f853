"""The prototype's table with its two effects apart: mixed precision, and a limit of frames."""

from __future__ import annotations

import math
import multiprocessing
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib.util import find_spec
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from pipeline.follow.tuning import Tuning
from pipeline.frames import Image
from pipeline.liveportrait.build import precisions, searching
from pipeline.liveportrait.crop import DRIVING, SOURCE, cut, mesh_box, shrink
from pipeline.liveportrait.follow import driving_input
from pipeline.liveportrait.motion import Face, FaceMotion, Gains, Ratios, drive
from pipeline.liveportrait.options import PLAIN, MotionOptions, Precision, Settings
from pipeline.liveportrait.paste import to_bytes
from pipeline.liveportrait.runtime import Runtime, find_device

from .similarity import psnr, ssim
from .timing import peak_mb

if TYPE_CHECKING:
    from pipeline.clips import Progress
    from pipeline.portrait import Portrait

# The prototype: 148 frames, of which its limit let 20 through. A processor runs fewer, in the same ratio.
FRAMES, LIMIT = 148, 20
CPU_FRAMES, CPU_LIMIT = 22, 3


@dataclass(frozen=True)
class Row:
    """A row of the table: precision and number of frames. tf32: convolutions in fp32 may round their operands to 10 bits, as
    PyTorch lets them on Ampere and later."""

    name: str
    settings: Settings
    frames: int
    tf32: bool = False


def amp(
    settings: Settings, portrait: Portrait, clip: Path, frames: int | None = None, progress: Progress = lambda done, total: None
) -> dict[str, Any]:
    """fp32 with all frames, mixed precision alone, the frame limit alone, and both; each in a process of its own.

    The networks are the plain ones throughout (no folding), as in the prototype. Time is from the first driving
    crop on the host to the last picture on the host, after one frame to warm up; loading and tracking are not in it.
    """
    total = frames or (CPU_FRAMES if find_device(settings.device).type == "cpu" else FRAMES)
    crops = driving_crops(clip, total)
    source = shrink(cut(portrait.image, mesh_box(portrait.landmarks, SOURCE).to_crop()))
    return {"clip": clip.name, **table(settings, source, crops, _in_own_process, progress)}


def table(
    settings: Settings, source: Image, crops: list[Image], measure: Callable[[Row, Image, list[Image]], dict[str, Any]],
    progress: Progress = lambda done, total: None,
) -> dict[str, Any]:  # fmt: skip
    """Of these crops (256, 256, 3). measure: `_in_own_process`, or `measured` where the process is the caller's own."""
    device, limit = find_device(settings.device), max(1, round(len(crops) * LIMIT / FRAMES))
    rows = _rows(replace(settings, device=str(device), build=PLAIN), device, len(crops), limit)
    runs = []
    for k, row in enumerate(rows, 1):
        runs.append(measure(row, source, crops[: row.frames]))
        progress(k, len(rows))
    described = [_described(row, run, runs[0], len(crops)) for row, run in zip(rows, runs, strict=True)]
    return {
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else str(device),
        "frames": len(crops),
        "limit": limit,
        "scaled_down": len(crops) != FRAMES,
        "rows": described,
        "shares": _contributions(*(row["inference_s"] for row in (described[0], *described[-3:]))),
    }


def _rows(plain: Settings, device: torch.device, total: int, limit: int) -> list[Row]:
    """The original first; mixed precision, the limit and both last."""
    half: list[Precision] = [p for p in precisions(device) if p is not Precision.FP32] or [Precision.FP32]
    whole, mixed = replace(plain, precision=Precision.FP32), replace(plain, precision=half[0])
    rows = [Row("original (fp32, all frames)", whole, total)]
    if device.type == "cuda" and torch.cuda.get_device_capability(device) >= (8, 0):
        rows.append(Row("fp32 with TF32, as PyTorch ships it", whole, total, tf32=True))
    rows += [Row(f"mixed precision ({p})", replace(plain, precision=p), total) for p in half[1:]]
    return [
        *rows,
        Row(f"mixed precision alone ({half[0]})", mixed, total),
        Row(f"limit {limit} alone", whole, limit),
        Row("both", mixed, limit),
    ]


def driving_crops(clip: Path, count: int) -> list[Image]:
    """The driver's face (256, 256, 3) in up to `count` frames, cut by the box of the first."""
    from pipeline import models
    from pipeline.clips import open_clip, timed
    from pipeline.face.faces import faces_by

    tracker = faces_by(models.find(models.FACE_LANDMARKER)).open_tracker()
    crops: list[Image] = []
    box = None
    try:
        with open_clip(clip) as source:
            for time_s, image in timed(source):
                if box is None and (landmarks := tracker.track(image, time_s)) is not None:
                    box = mesh_box(landmarks, DRIVING)
                if box is not None:
                    crops.append(driving_input(image, box))
                if len(crops) == count:
                    break
    finally:
        tracker.close()
    return crops


def _in_own_process(row: Row, source: Image, crops: list[Image]) -> dict[str, Any]:
    """Peak memory of a process cannot be reset, so each row gets one."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_send, args=(theirs, row, source, crops))
    process.start()
    theirs.close()
    try:
        result: dict[str, Any] = ours.recv()
        return result
    except EOFError:
        raise RuntimeError(f"the row '{row.name}' failed; its error is above") from None
    finally:
        process.join()


def _send(pipe: Connection, row: Row, source: Image, crops: list[Image]) -> None:
    pipe.send(measured(row, source, crops))


@torch.inference_mode()
def measured(row: Row, source: Image, crops: list[Image]) -> dict[str, Any]:
    """A row by this process."""
    runtime = Runtime(row.settings)
    if runtime.device.type == "cuda":
        torch.backends.cudnn.allow_tf32 = row.tf32
        torch.cuda.reset_peak_memory_stats(runtime.device)
    with searching():
        animation = Animation(runtime, source, crops[0])
        animation.frame(crops[0])
    start = time.perf_counter()
    pictures = [animation.frame(crop) for crop in crops]
    spent = time.perf_counter() - start
    return {"inference_s": spent, "pictures": np.stack(pictures), "peak_mb": peak_mb(runtime.device)}


class Animation:
    """One portrait and one driver, without tracker and paste-back."""

    def __init__(self, runtime: Runtime, source: Image, first: Image) -> None:
        self._runtime = runtime
        picture = runtime.upload([source])
        closed = Ratios(*(torch.zeros(1, n, device=runtime.device) for n in (2, 1)))  # eyes and lips are left alone
        self.face = Face(runtime.motion(picture), closed)
        self.features = runtime.features(picture, self.face.motion.keypoints())
        self.reference = runtime.motion(runtime.upload([first]))
        self._gains = Gains.of(Tuning(), runtime.device)

    def keypoints(self, motion: FaceMotion) -> torch.Tensor:
        driving, controllers = self.face._replace(motion=motion), self._runtime.controllers
        return drive(self.face, driving, self.reference, self._gains, controllers, MotionOptions())

    def frame(self, crop: Image) -> Image:
        """(512, 512, 3) for a driving crop (256, 256, 3)."""
        motion = self._runtime.motion(self._runtime.upload([crop]))
        return np.asarray(to_bytes(self._runtime.render(self.features, self.keypoints(motion)))[0].cpu().numpy())


def _described(row: Row, run: dict[str, Any], original: dict[str, Any], total: int) -> dict[str, Any]:
    pairs = list(zip(original["pictures"], run["pictures"], strict=False))
    return {
        "name": row.name,
        "inference_s": round(run["inference_s"], 2),
        "ms_per_frame": round(1000 * run["inference_s"] / row.frames, 1),
        "speed_up": round(original["inference_s"] / run["inference_s"], 2),
        "frames": f"{row.frames} of {total}",
        "peak_mb": run["peak_mb"],
        # of the frames that were made; None for no difference at all
        "psnr_db": None if run is original else _finite(median(psnr(a, b) for a, b in pairs)),
        "ssim": round(median(ssim(a, b) for a, b in pairs), 4) if find_spec("cv2") else None,
    }


def _finite(value: float) -> float | None:
    return round(value, 1) if math.isfinite(value) else None


def _contributions(original: float, amp: float, limit: float, both: float) -> dict[str, Any]:
    """How much of the whole speed-up each effect gives by itself: by logarithms, as speed-ups multiply."""
    whole = math.log(original / both)
    return {
        "speed_up_both": round(original / both, 2),
        "speed_up_amp": round(original / amp, 2),
        "speed_up_limit": round(original / limit, 2),
        "share_amp": round(math.log(original / amp) / whole, 3),
        "share_limit": round(math.log(original / limit) / whole, 3),
    }


def markdown(figures: dict[str, Any]) -> str:
    """The table of `amp` for people."""
    lines = ["| | time | per frame | speed-up | frames | peak memory | PSNR | SSIM |", "|---|---|---|---|---|---|---|---|"]
    for row in figures["rows"]:
        quality = "identical" if row["psnr_db"] is None else f"{row['psnr_db']} dB"
        lines.append(
            f"| {row['name']} | {row['inference_s']} s | {row['ms_per_frame']} ms | {row['speed_up']} × | {row['frames']} "
            f"| {row['peak_mb']} MB | {quality} | {row['ssim']} |"
        )
    shares = figures["shares"]
    lines.append(
        f"\nOf the {shares['speed_up_both']} × in all, mixed precision gives {shares['speed_up_amp']} × "
        f"({shares['share_amp']:.0%} of the logarithm) and the frame limit {shares['speed_up_limit']} × "
        f"({shares['share_limit']:.0%}): the limit makes fewer pictures, not faster ones."
    )
    if figures["scaled_down"]:
        fewer = f"{figures['frames']} frames instead of {FRAMES}, limit {figures['limit']} instead of {LIMIT}"
        lines.append(f"\nScaled down to this device: {fewer}.")
    return "\n".join(lines)
