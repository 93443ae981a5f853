"""The prototype's table with its two effects apart: mixed precision, and a limit of frames."""

from __future__ import annotations

import math
import multiprocessing
import resource
import sys
import time
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch

from pipeline import models
from pipeline.clips import Progress, open_clip, timed
from pipeline.face.faces import faces_by
from pipeline.follow.tuning import Tuning
from pipeline.frames import Image
from pipeline.liveportrait.crop import DRIVING, SOURCE, cut, mesh_box, shrink
from pipeline.liveportrait.follow import driving_input
from pipeline.liveportrait.motion import Face, FaceMotion, Gains, Ratios, drive
from pipeline.liveportrait.options import PLAIN, MotionOptions, Precision, Settings
from pipeline.liveportrait.paste import to_bytes
from pipeline.liveportrait.runtime import Runtime
from pipeline.portrait import Portrait

from .similarity import psnr, ssim

# The prototype: 148 frames, of which its limit let 20 through. A processor runs fewer, in the same ratio.
FRAMES, LIMIT = 148, 20
CPU_FRAMES, CPU_LIMIT = 22, 3


@dataclass(frozen=True)
class Row:
    """A row of the table: precision and number of frames."""

    name: str
    settings: Settings
    frames: int


def amp(
    settings: Settings, portrait: Portrait, clip: Path, frames: int | None = None, progress: Progress = lambda done, total: None
) -> dict[str, Any]:
    """fp32 with all frames, mixed precision alone, the frame limit alone, and both; each in a process of its own.

    The networks are the plain ones throughout (no folding), as in the prototype. Time is from the first driving
    crop on the host to the last picture on the host, after one frame to warm up; loading and tracking are not in it.
    """
    runtime = Runtime(replace(settings, build=PLAIN, precision=None))
    device, mixed = runtime.device, runtime.precision
    del runtime
    on_cpu = device.type == "cpu"
    total = frames or (CPU_FRAMES if on_cpu else FRAMES)
    limit = max(1, round(total * LIMIT / FRAMES))
    crops = _driving_crops(clip, total)
    source = shrink(cut(portrait.image, mesh_box(portrait.landmarks, SOURCE).to_crop()))
    plain = replace(settings, device=str(device), build=PLAIN)
    rows = [
        Row("original (fp32, all frames)", replace(plain, precision=Precision.FP32), len(crops)),
        Row(f"mixed precision alone ({mixed})", replace(plain, precision=mixed), len(crops)),
        Row(f"limit {limit} alone", replace(plain, precision=Precision.FP32), limit),
        Row("both", replace(plain, precision=mixed), limit),
    ]
    measured = []
    for k, row in enumerate(rows, 1):
        measured.append(_in_own_process(row, source, crops[: row.frames]))
        progress(k, len(rows))
    table = [_described(row, run, measured[0], len(crops)) for row, run in zip(rows, measured, strict=True)]
    return {
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "clip": clip.name,
        "frames": len(crops),
        "limit": limit,
        "scaled_down": len(crops) != FRAMES,
        "rows": table,
        "shares": _contributions(*(row["inference_s"] for row in table)),
    }


def _driving_crops(clip: Path, count: int) -> list[Image]:
    """The driver's face in `count` frames, cut by the box of the first."""
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
    process = context.Process(target=_measure, args=(theirs, row.settings, source, crops))
    process.start()
    theirs.close()
    try:
        result: dict[str, Any] = ours.recv()
        return result
    finally:
        process.join()


def _measure(pipe: Connection, settings: Settings, source: Image, crops: list[Image]) -> None:
    runtime = Runtime(settings)
    with torch.inference_mode():
        animation = Animation(runtime, source, crops[0])
        animation.frame(crops[0])
        if runtime.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(runtime.device)
        start = time.perf_counter()
        pictures = [animation.frame(crop) for crop in crops]
        spent = time.perf_counter() - start
    pipe.send({"inference_s": spent, "pictures": np.stack(pictures), "peak_mb": peak_mb(runtime.device)})


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


def peak_mb(device: torch.device) -> float:
    """Of the device's memory, or of this process'."""
    if device.type == "cuda":
        return round(torch.cuda.max_memory_allocated(device) / 1e6)
    unit = 1 if sys.platform == "darwin" else 1024
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6)


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
        "ssim": round(median(ssim(a, b) for a, b in pairs), 4),
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
