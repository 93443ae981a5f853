"""`puppetcast bench`: what is measured, and where the figures go."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from bench.check import compare, unlike
from bench.machine import CLASS, committed, machine, speed
from pipeline import models as model_files
from pipeline import outfile
from pipeline.errors import ModelError, PuppetError
from pipeline.face.faces import TRACKERS, faces_by, faces_if_here
from pipeline.installation import command
from pipeline.liveportrait.files import need_extra
from pipeline.liveportrait.options import Settings
from pipeline.portrait import DEMO_CLIP, bundled, bundled_names, load_portrait
from streamer.cli.console import (
    Checkpoints,
    Device,
    bar,
    console,
    one_line_errors,
    tidy_end,
)


class MarkPart(StrEnum):
    """Of `bench mark`."""

    ATTACKS = "attacks"
    UNMARKED = "unmarked"
    WAYS = "ways"
    FILES = "files"


app = typer.Typer(
    help="Measure speed and fidelity on this machine; JSON on stdout or into a file.", no_args_is_help=True, add_completion=False
)


def _checked_result(out: Path | None) -> Path | None:
    with one_line_errors():
        if out is not None:
            outfile.check(out, (".json",))
    return out


_Result = Annotated[
    Path | None,
    typer.Option("-o", "--output", callback=_checked_result, help="The JSON file to write, instead of stdout."),
]
_Check = Annotated[
    bool, typer.Option("--check", help="Compare with the committed figures of this class of machine; exit code 1 if worse.")
]
_Clip = Annotated[Path | None, typer.Option(help="The driving clip; the built-in demo by default.")]


def _report(figures: dict[str, Any], out: Path | None, check: str | None = None) -> None:
    """Write the figures; check: the benchmark whose committed figures they must equal, exit code 1 where they do not."""
    figures = {**machine(), "speed": speed(), **figures}
    text = json.dumps(figures, indent=1) + "\n"
    if out is None:
        typer.echo(text, nl=False)
    else:
        with one_line_errors(), outfile.finished(out) as part:
            part.write_text(text, "utf-8")
        console.print(f"{out}: written")
    if check is not None:
        with one_line_errors():
            _check(check, figures)


def _check(kind: str, figures: dict[str, Any]) -> None:
    found = committed(kind)
    if found is None:
        raise PuppetError(f"--check: bench/results has no figures of '{kind}' for this class of machine ({', '.join(CLASS)})")
    path, base = found
    different = [f"{key}: {figures.get(key)}, there {base.get(key)}" for key in unlike(figures, base)]
    if different:
        raise PuppetError(f"--check: {path.name} was measured otherwise ({'; '.join(different)})")
    console.print(f"{'speed':34} {figures['speed']:9.2f}  was {base.get('speed', 0):9.2f}")
    rows = list(compare(kind, figures, base))
    for row in rows:
        verdict = "ok" if row.ok else "WORSE"
        console.print(f"{row.name:34} {row.now:9.2f}  was {row.base:9.2f}  {row.worse:5.2f}x  limit {row.limit:g}x  {verdict}")
    if not all(row.ok for row in rows):
        raise typer.Exit(1)


@app.command("mesh")
def bench_mesh(
    clip: _Clip = None,
    against: Annotated[Path | None, typer.Option(help="Another checkout of puppetcast, to compare its engine's cost.")] = None,
    out: _Result = None,
    check: _Check = False,
) -> None:
    """Tracker and warp of the mesh engine, in milliseconds a frame, and what a puppet of many pictures costs against one."""
    from bench.mesh import mesh

    with one_line_errors(), bar("mesh") as progress:
        figures = mesh(clip or DEMO_CLIP, against, progress)
    _report(figures, out, "mesh" if check else None)


@app.command("live")
def bench_live(
    clip: _Clip = None,
    seconds: Annotated[float, typer.Option(min=1, help="How long to measure.")] = 15,
    viewers: Annotated[int, typer.Option(min=1, max=64, help="How many viewers watch.")] = 1,
    extra_ms: Annotated[float, typer.Option(min=0, help="Slow the engine down by so much a frame: an overload.")] = 0,
    mqtt: Annotated[str, typer.Option(help="URL of a broker that the server tells its state meanwhile.")] = "",
    out: _Result = None,
    check: _Check = False,
) -> None:
    """The whole server from glass to glass over WebRTC on this machine, beside a bare aiortc echo."""

    from bench.live import live

    with one_line_errors():
        _report(live(clip or DEMO_CLIP, seconds, viewers, extra_ms, mqtt), out, "live" if check else None)


@app.command("viewers")
def bench_viewers(
    clip: _Clip = None,
    seconds: Annotated[float, typer.Option(min=1, help="How long to measure each number of viewers.")] = 15,
    out: _Result = None,
    check: _Check = False,
) -> None:
    """What 1, 4 and 8 viewers of one stream cost the server: a stream is encoded once."""

    from bench.live import viewers

    with one_line_errors():
        _report(viewers(clip or DEMO_CLIP, seconds=seconds), out, "viewers" if check else None)


@app.command("sessions")
def bench_sessions(
    clip: _Clip = None,
    fps: Annotated[int, typer.Option(min=1, max=60, help="What every stream is to keep.")] = 30,
    most: Annotated[int, typer.Option(min=1, max=64, help="Try no more streams than this.")] = 16,
    out: _Result = None,
    check: _Check = False,
) -> None:
    """How many streams the server keeps at a frame rate before their frames grow old; each has a driver and a viewer."""

    from bench.live import sessions

    with one_line_errors(), bar("streams") as progress:
        figures = sessions(clip or DEMO_CLIP, fps, most, progress=progress)
    _report(figures, out, "sessions" if check else None)


@app.command("gallery")
def bench_gallery(
    uploads: Annotated[int, typer.Option(min=1, max=2000, help="How many portraits are uploaded.")] = 200, out: _Result = None
) -> None:
    """What a long gallery costs the server, and how soon the page shows it; with Chromium and Playwright, the page too."""

    from bench.gallery import gallery

    with one_line_errors(), bar("portraits") as progress:
        figures = gallery(uploads, progress)
    _report(figures, out)


@app.command("outputs")
def bench_outputs(
    seconds: Annotated[float, typer.Option(min=3, help="How long to measure.")] = 10, out: _Result = None, check: _Check = False
) -> None:
    """A recording and the sound in it, JPEG, a push by WHIP, and what a recording loses where the server is killed."""
    from bench.outputs import outputs

    with one_line_errors():
        _report(outputs(seconds), out, "outputs" if check else None)


@app.command("network")
def bench_network(
    seconds: Annotated[float, typer.Option(min=10, help="How long to read MJPEG of each rate.")] = 30,
    hls_seconds: Annotated[float, typer.Option(min=20, help="How long to read HLS.")] = 60,
    out: _Result = None,
) -> None:
    """How far behind pictures are that come over HTTP: MJPEG at 15, 30 and 60 frames per second, and live HLS."""
    from bench.network import network

    with one_line_errors():
        _report(network(seconds, hls_seconds), out)


@app.command("amp")
def bench_amp(
    clip: _Clip = None,
    frames: Annotated[int | None, typer.Option(min=8, help="Frames in all; 148 on a GPU, 22 on a processor.")] = None,
    checkpoints: Checkpoints = None,
    device: Device = None,
    out: _Result = None,
) -> None:
    """Mixed precision against fp32, with and without a limit of 20 animated frames in 148.

    Measures time, memory, and quality against fp32. The table goes to stderr, JSON to stdout or into a file.
    """
    with one_line_errors(), bar("rows") as progress:
        need_extra()
        from bench.amp import amp, markdown

        figures = amp(Settings(checkpoints, device), bundled("astronaut"), clip or DEMO_CLIP, frames, progress)
    console.print(markdown(figures))
    _report(figures, out)


@app.command("device")
def bench_device(
    checkpoints: Checkpoints = None,
    device: Device = None,
    minutes: Annotated[float, typer.Option(min=0.5, help="Start and keep no variant beyond this time.")] = 8,
    out: _Result = None,
) -> None:
    """LivePortrait on this device: each step of the builder, network by network and whole, for each batch size.

    Eager fp32, mixed precision, folded, channels-last, compiled, captured as a CUDA graph, and the published recipe.
    """
    with one_line_errors(), bar("variants") as progress:
        need_extra()
        from bench.device import device as measure
        from bench.device import markdown

        figures = measure(Settings(checkpoints, device), bundled("astronaut"), minutes, progress)
    console.print(markdown(figures))
    _report(figures, out)


@app.command("follow")
def bench_follow(
    clips: Annotated[list[Path], typer.Argument(help="Driving clips.")],
    portrait: Annotated[list[str] | None, typer.Option(help="Portraits; all the bundled ones by default.")] = None,
    tracker: Annotated[str, typer.Option(help="mediapipe, litert or cascade: what drives. MediaPipe measures.")] = "mediapipe",
    folder: Annotated[Path, typer.Option(help="Where the animated clips go.")] = Path("out"),
    out: _Result = None,
) -> None:
    """How faithfully outputs follow their drivers: correlation and slope by measure."""
    from bench.fidelity import report
    from pipeline.engine import open_engine

    with one_line_errors(), tidy_end():
        if tracker not in TRACKERS:
            raise PuppetError(f"tracker '{tracker}' is not known; trackers: {', '.join(TRACKERS)}")
        model = _face_model_to_measure()
        _make(folder)
        portraits = [load_portrait(p, faces_by(model)) for p in portrait or bundled_names()]
        faces = faces_if_here(tracker, model)
        if faces is None:
            raise ModelError(f"the models of the {tracker} tracker are not here; run 'puppetcast models fetch {tracker}'")
        engine = open_engine("mesh", faces)
        with bar("pairs") as progress:
            figures = report(portraits, clips, engine, model, folder, progress)
    _report({"tracker": tracker, **figures}, out)


@app.command("reenact")
def bench_reenact(
    clips: Annotated[list[Path], typer.Argument(help="Clips of one person each.")],
    sheets: Annotated[Path | None, typer.Option(help="A folder for pictures: true frames beside made ones.")] = None,
    out: _Result = None,
) -> None:
    """How near a puppet comes to the person it was made of: the first 60 % of a clip make it, the rest drives it.

    PSNR and SSIM against the true frames in face, mouth and eyes, popping against the true clip, and cost.
    """
    from bench.reenact import report

    with one_line_errors(), tidy_end():
        model = _face_model_to_measure()
        if sheets is not None:
            _make(sheets)
        with bar("clips") as progress:
            figures = report(clips, model, sheets, progress)
    _report(figures, out)


@app.command("stability")
def bench_stability(
    clips: Annotated[list[Path] | None, typer.Argument(help="Driving clips; the built-in demo by default.")] = None,
    portrait: Annotated[str, typer.Option(help="A bundled portrait or a picture file.")] = "astronaut",
    seconds: Annotated[float, typer.Option(min=2, help="Of the loop over which drift is measured.")] = 60,
    out: _Result = None,
    check: _Check = False,
) -> None:
    """How still the puppet is, in pixels at 512²: jitter and its cure's delay by smoothing strength, drift, steps at a
    recalibration and a change of portrait, and what gains do."""
    from bench.stability import report
    from pipeline.engine import open_engine

    with one_line_errors():
        model = _face_model_to_measure()
        portraits = [load_portrait(name, faces_by(model)) for name in (portrait, "drawing")]
        with bar("measures") as progress:
            figures = report(open_engine("mesh", faces_by(model)), portraits, clips or [DEMO_CLIP], model, seconds, progress)
    _report(figures, out, "stability" if check else None)


@app.command("mark")
def bench_mark(
    clips: Annotated[list[Path] | None, typer.Argument(help="Driving clips; the built-in demo by default.")] = None,
    portraits: Annotated[list[str] | None, typer.Option("--portrait", help="Picture files beside the bundled portraits.")] = None,
    parts: Annotated[
        list[MarkPart] | None, typer.Option("--part", help="What is measured; the figures of other parts stay. All by default.")
    ] = None,
    minutes: Annotated[float, typer.Option(min=0.1, help="For attacks, at most: the more, the more windows are counted.")] = 20,
    cuts: Annotated[int, typer.Option(min=1, help="Of each two pictures in a row where there is no mark.")] = 100,
    windows: Annotated[int, typer.Option(min=1, help="Of each of three portraits by each way out of a server.")] = 8,
    out: _Result = None,
) -> None:
    """The invisible mark: found or not after encoders, scaling, cropping and more; how faint it is, what it costs, whether it is
    found where there is none, as viewers, recordings and pushes get it, and in fifty files."""
    from bench.mark import attacks
    from bench.mark_files import files
    from bench.mark_unmarked import unmarked
    from bench.mark_ways import WATCHED, ways
    from pipeline.engine import open_engine

    with one_line_errors(), tidy_end(), bar("steps") as progress:
        faces, driving = faces_by(_face_model_to_measure()), clips or [DEMO_CLIP]
        loaded = [load_portrait(name, faces) for name in [*bundled_names(), *(portraits or [])]]
        measured = {
            MarkPart.ATTACKS: lambda: attacks(open_engine("mesh", faces), loaded, driving, minutes, progress),
            MarkPart.UNMARKED: lambda: unmarked(loaded, [*driving, DEMO_CLIP], cuts, progress),
            MarkPart.WAYS: lambda: ways(WATCHED, driving, windows, progress),
            MarkPart.FILES: lambda: files([*driving, *map(Path, portraits or [])], progress),
        }
        before = json.loads(out.read_text("utf-8")) if parts and out is not None and out.exists() else {}
        kept = {part.value: before[part.value] for part in MarkPart if part.value in before}
        figures = {part.value: measured[part]() for part in parts or MarkPart}
    _report({**kept, **figures}, out)


@app.command("sliders")
def bench_sliders(
    portraits: Annotated[list[str] | None, typer.Argument(help="Bundled portraits or picture files; all bundled ones.")] = None,
    out: _Result = None,
) -> None:
    """What each slider of 'puppetcast pose' moves: the landmarks of its region and no others. A table on stderr, too."""
    from bench.sliders import measure, table

    with one_line_errors(), bar("portraits") as progress:
        model = _face_model_to_measure()
        figures = measure([load_portrait(name, faces_by(model)) for name in portraits or bundled_names()], model, progress)
    console.print(table(figures))
    _report(figures, out)


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        raise PuppetError(f"{folder}: no folder can be made there ({exc.strerror})") from exc


def _face_model_to_measure() -> Path:
    model = model_files.find(model_files.FACE_LANDMARKER)
    if model is None:
        raise ModelError(f"the face model is needed to measure; run '{command('models fetch')}'")
    return model
