"""LivePortrait on this device in figures: each step of the builder, network by network and whole, for each batch size."""

from __future__ import annotations

import multiprocessing
import time
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from typing import Any

import torch

from pipeline.clips import Progress
from pipeline.face.faces import faces_by
from pipeline.face.units import in_units
from pipeline.frames import Driving
from pipeline.liveportrait.build import precisions
from pipeline.liveportrait.crop import DRIVING, mesh_box, mesh_ratios
from pipeline.liveportrait.device import DevicePath
from pipeline.liveportrait.engine import LivePortraitEngine
from pipeline.liveportrait.folding import FOLDINGS, Folding
from pipeline.liveportrait.follow import Seen, Sight, as_ratios, driving_input
from pipeline.liveportrait.motion import Face
from pipeline.liveportrait.options import PLAIN, Build, Compile, MotionOptions, Precision, Settings
from pipeline.liveportrait.planes import plane_encoder
from pipeline.liveportrait.runtime import Runtime, find_device
from pipeline.portrait import Portrait

from .flop import frame_tflop
from .similarity import psnr
from .timing import matrix_peak, parts, peak_mb, quantiles, times

SIDE = 512


@dataclass(frozen=True)
class Variant:
    """A row of the table. recipe: W and G alone compiled by max-autotune, as published."""

    name: str
    build: Build
    precision: Precision
    recipe: bool = False


def variants(device: torch.device) -> list[Variant]:
    """The most telling first: a time limit cuts the list."""
    best = precisions(device)[0]
    folded = replace(PLAIN, fold=True)
    rows = [
        Variant("eager fp32", PLAIN, Precision.FP32),
        Variant(f"eager {best}", PLAIN, best),
        Variant(f"folded {best}", folded, best),
        Variant(f"folded, channels-last {best}", replace(folded, channels_last=True), best),
        Variant(f"folded, channels-last, compiled {best}", Build(True, True, Compile.ON, False), best),
        Variant(f"W and G by max-autotune {best}", PLAIN, best, recipe=True),
    ]
    if device.type == "cuda":
        rows.insert(2, Variant(f"folded, channels-last, compiled, graph {best}", Build(True, True, Compile.ON, True), best))
        rows.insert(3, Variant(f"folded, channels-last, graph {best}", Build(True, True, Compile.OFF, True), best))
    return rows


def device(
    settings: Settings, portrait: Portrait, minutes: float, progress: Progress = lambda done, total: None
) -> dict[str, Any]:
    """Every variant in a process of its own, until the time is over.

    whole: a frame's way from planes to planes; networks: M, composition, S, W and G alone. Milliseconds.
    """
    where = find_device(settings.device)
    end_s = time.monotonic() + 60 * minutes
    peak = matrix_peak(where, precisions(where)[0])
    rows, left_out, failed, first = [], [], [], None
    todo = variants(where)
    for done, variant in enumerate(todo, 1):
        try:
            run = _in_own_process(variant, replace(settings, device=str(where)), portrait, end_s - time.monotonic())
        except EOFError:  # its process died, and said why above; the other rows are worth having
            failed.append(variant.name)
            continue
        if run is None:
            left_out.append(variant.name)
        else:
            picture = run.pop("picture")
            first = picture if first is None else first
            rows.append({"name": variant.name, **run, "psnr_db": None if picture is first else round(psnr(first, picture), 1)})
            tflop = frame_tflop(FOLDINGS.get(where.type, Folding()) if variant.build.fold else None)
            rows[-1]["tflops"] = {b: round(tflop * int(b) / ms["p50"] * 1000, 2) for b, ms in run["whole"].items()}
            rows[-1]["share_of_peak"] = {b: round(t / peak, 3) for b, t in rows[-1]["tflops"].items()}
        progress(done, len(todo))
    return {
        "device": torch.cuda.get_device_name(where) if where.type == "cuda" else "cpu",
        "cuda": torch.version.cuda,
        "matrix_peak_tflops": round(peak, 2),
        "rows": rows,
        "left_out_for_time": left_out,
        "failed": failed,
    }


def _in_own_process(variant: Variant, settings: Settings, portrait: Portrait, seconds: float) -> dict[str, Any] | None:
    """What a variant measures; None if the time is over, EOFError if it fails. Peak memory of a process cannot be reset."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_measure, args=(theirs, variant, settings, portrait))
    process.start()
    theirs.close()
    try:
        result: dict[str, Any] | None = ours.recv() if ours.poll(max(seconds, 0)) else None
        return result
    finally:
        process.kill()
        process.join()


@torch.inference_mode()
def _measure(pipe: Connection, variant: Variant, settings: Settings, portrait: Portrait) -> None:
    cuda = settings.device != "cpu"
    largest = 8 if cuda else 2
    measured = replace(settings, build=variant.build, precision=variant.precision, max_batch=largest)
    engine = LivePortraitEngine(faces_by(None), measured)
    runtime = engine.runtime
    prepared = engine.prepare(portrait, SIDE, SIDE)
    if variant.recipe:
        for root in (runtime._networks.warping, runtime._networks.generator):
            root.forward = torch.compile(root.forward, mode="max-autotune-no-cudagraphs")  # type: ignore[method-assign]
    start = time.perf_counter()
    on_device = prepared.on_device(SIDE)
    path = DevicePath(runtime, MotionOptions(), SIDE, on_device, largest, plane_encoder(runtime.device))
    path.capture(lambda done, total: None)
    build_s = time.perf_counter() - start
    sight = _sight(runtime, portrait)
    planes = [path.submit([(on_device, sight)])() for _ in range(2)]
    whole = {}
    for batch in path.batches:
        path.submit([(on_device, sight._replace(row=row)) for row in range(batch)])()
        whole[str(batch)] = quantiles(times(lambda batch=batch: path.steps.whole(batch), runtime.device))  # type: ignore[misc]
    seen = runtime.upload([driving_input(portrait.image, sight.seen.box)])
    networks, picture = parts(runtime, on_device, seen, sight.reference, bool(variant.build.graph))
    assert planes[1][0][1], "the picture is finite"
    figures = {"build_s": round(build_s, 1), "whole": whole, "networks": networks, "peak_mb": peak_mb(runtime.device)}
    pipe.send({**figures, "picture": picture})


def _sight(runtime: Runtime, portrait: Portrait) -> Sight:
    """The portrait as its own driver, a little moved."""
    box = mesh_box(in_units(portrait.landmarks, portrait.image), DRIVING)
    motion = runtime.motion(runtime.upload([driving_input(portrait.image, box)]))
    reference = motion._replace(expression=motion.expression * 0.9)
    ratios = mesh_ratios(portrait.landmarks)
    face = Face(reference, as_ratios(ratios, runtime.device))
    return Sight(Driving(portrait.image, 0.0), Seen(box, ratios, 0.0, 0.0), face, 0)


def markdown(figures: dict[str, Any]) -> str:
    """The table for people."""
    if not figures["rows"]:
        return f"No row was finished; failed: {', '.join(figures['failed']) or 'none'}."
    batches = list(figures["rows"][0]["whole"])
    head = [
        "",
        "M",
        "W",
        "G",
        "M+W+G+S",
        *(f"whole, batch {b}" for b in batches),
        "TFLOP/s",
        "of peak",
        "memory",
        "build",
        "PSNR",
    ]
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    base = figures["rows"][0]["networks"]["M+W+G+S"]["p50"]
    for row in figures["rows"]:
        nets = row["networks"]
        cells = [row["name"], *(str(nets[n]["p50"]) for n in ("M", "W", "G"))]
        cells += [
            f"{nets['M+W+G+S']['p50']} ({base / nets['M+W+G+S']['p50']:.2f} ×)",
            *(str(row["whole"][b]["p50"]) for b in batches),
        ]
        cells += [str(row["tflops"][batches[-1]]), f"{row['share_of_peak'][batches[-1]]:.0%}", f"{row['peak_mb']} MB"]
        cells += [f"{row['build_s']} s", "" if row["psnr_db"] is None else f"{row['psnr_db']} dB"]
        lines.append(f"| {' | '.join(cells)} |")
    lines.append(f"\nMilliseconds, medians. Peak of a matrix product on this device: {figures['matrix_peak_tflops']} TFLOP/s.")
    if figures["left_out_for_time"]:
        lines.append(f"Left out, as the time was over: {', '.join(figures['left_out_for_time'])}.")
    if figures["failed"]:
        lines.append(f"Failed: {', '.join(figures['failed'])}.")
    return "\n".join(lines)
