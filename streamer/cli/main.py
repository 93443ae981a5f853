"""The command line."""

from __future__ import annotations

import json
import logging
import signal
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from types import FrameType
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.logging import RichHandler
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from pipeline import models as model_files
from pipeline import outfile
from pipeline.errors import ModelError, PuppetError
from pipeline.follow.tuning import Region
from pipeline.liveportrait.options import PLAIN, Build, Compile, MotionOptions, Precision, Settings
from pipeline.offline.mux import Sound
from pipeline.portrait import DEMO_CLIP, bundled_names, find_portrait, load_portrait

from ..config import load_config
from ..errors import StreamerError
from .override import override

app = typer.Typer(no_args_is_help=True, add_completion=False)
models_app = typer.Typer(help="Download and check model files.", no_args_is_help=True)
app.add_typer(models_app, name="models")
template_app = typer.Typer(help="Motion templates: a driver's motion without its picture.", no_args_is_help=True)
app.add_typer(template_app, name="template")
bench_app = typer.Typer(help="Measure speed and fidelity on this machine; JSON on stdout or into a file.", no_args_is_help=True)
app.add_typer(bench_app, name="bench")
_LP = "liveportrait"
_Checkpoints = Annotated[
    Path | None,
    typer.Option(help="Folder of the checkpoints, in the official layout; else the models' folder.", rich_help_panel=_LP),
]
_Device = Annotated[str | None, typer.Option(help="Such as cuda:1 or cpu; else the best one here.", rich_help_panel=_LP)]
_Precision = Annotated[
    Precision | None, typer.Option(help="Of the networks; else the fastest that is finite.", rich_help_panel=_LP)
]
_ChannelsLast = Annotated[
    bool | None,
    typer.Option(help="Convolutions in channels-last layout; else where it pays, on CUDA.", rich_help_panel=_LP),
]
_Compile = Annotated[
    Compile | None,
    typer.Option(
        "--compile", help="off, on, or auto: on where it succeeds; else auto on CUDA and off elsewhere.", rich_help_panel=_LP
    ),
]
ENGINE_HELP = "mesh, liveportrait, or auto: liveportrait where its checkpoints and a CUDA device are, else mesh."
console = Console(stderr=True, soft_wrap=True)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"puppetcast {version('puppetcast')}")
        raise typer.Exit


@app.callback()
def main(
    show_version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and end.")
    ] = False,
) -> None:
    """puppetcast: one portrait, driven live by a face."""


@contextmanager
def _one_line_errors() -> Iterator[None]:
    """A user's mistake gives one line and exit code 2."""
    try:
        yield
    except (PuppetError, StreamerError) as exc:
        console.print(f"[red]error:[/] {exc}", highlight=False)
        raise typer.Exit(2) from exc


@contextmanager
def _tidy_end() -> Iterator[None]:
    """SIGINT and SIGTERM unwind the work, so that no unfinished file stays; exit codes 130 and 143."""
    ends = (signal.SIGINT, signal.SIGTERM)

    def end(number: int, frame: FrameType | None) -> None:
        for each in ends:
            signal.signal(each, signal.SIG_IGN)  # a second one, from a wrapper or a group, must not cut the unwinding short
        raise SystemExit(128 + number)

    before = {each: signal.signal(each, end) for each in ends}
    try:
        yield
    except SystemExit as exc:
        console.print(
            f"stopped by {signal.Signals(int(exc.code or 128) - 128).name}; no unfinished file is left", highlight=False
        )
        raise
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


@contextmanager
def _bar(text: str, unit_scale: float = 1.0) -> Iterator[Callable[[int, int | None], None]]:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console) as progress:
        task = progress.add_task(text, total=None)
        yield lambda done, total: progress.update(
            task, completed=int(done / unit_scale), total=None if total is None else int(total / unit_scale)
        )


@app.command()
def serve(
    config: Annotated[Path | None, typer.Option(help="YAML config; see configs/default.yaml.")] = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on, up to 65535; 0 takes a free one.")] = None,
    portrait: Annotated[str | None, typer.Option(help="Portrait of the stream 'live': a bundled name or a file.")] = None,
    clip: Annotated[Path | None, typer.Option(help="Drive 'live' with this clip, looped.")] = None,
    webcam: Annotated[
        str | None,
        typer.Option(
            help="Drive 'live' with this machine's camera: a name, a number ('puppetcast devices' lists them) or /dev/video0."
        ),
    ] = None,
    url: Annotated[
        str | None, typer.Option(help="Drive 'live' with a network camera: rtsp://, rtmp://, srt://, http(s)://.")
    ] = None,
    engine: Annotated[str | None, typer.Option(help=ENGINE_HELP)] = None,
) -> None:
    """Start the server; open the printed address in a browser.

    Without --clip, --webcam or --url the page's own camera drives the portrait.
    """
    from ..app import Server, run

    _log_to_console()
    with _one_line_errors():
        server = Server(override(load_config(config), host, port, portrait, clip, webcam, url, engine))
        run(server.serve(lambda url: console.print(f"puppetcast is ready: [bold]{url}[/]  (Ctrl+C ends it)")))


@app.command()
def devices() -> None:
    """The cameras of this machine; 'puppetcast serve --webcam NAME' takes a name, a part of it, or the number."""
    from ..sources.webcam import cameras

    found = cameras()
    for number, camera in enumerate(found):
        typer.echo(f"{number}  {camera.name}  {camera.device}")
    if not found:
        console.print("no camera is here; a container needs its device passed in (--device /dev/video0)")


@app.command()
def animate(
    portrait: Annotated[str, typer.Argument(help="A bundled portrait's name, a picture file, or a clip whose face is driven.")],
    driver: Annotated[Path, typer.Argument(help="What drives: a clip, a picture, or a motion template.")],
    out: Annotated[
        Path,
        typer.Option(
            "-o",
            "--output",
            help="The file to write: .mp4, or .png, .jpg, .webp for a picture by a picture. "
            "An existing one is replaced when the new one is whole.",
        ),
    ] = Path("out.mp4"),
    engine: Annotated[str, typer.Option(help=ENGINE_HELP)] = "auto",
    max_frames: Annotated[int | None, typer.Option(min=1, help="Stop after exactly so many frames.")] = None,
    side_by_side: Annotated[bool, typer.Option("--side-by-side", help="Driver, source and result in one picture.")] = False,
    audio: Annotated[
        Sound, typer.Option(help="Whose sound: the driver's (or else the source's), the source's, none.")
    ] = Sound.DRIVER,
    paste_back: Annotated[
        bool, typer.Option(help="liveportrait: the whole picture, or its 512² crop.", rich_help_panel=_LP)
    ] = True,
    relative: Annotated[
        bool, typer.Option("--relative/--absolute", help="Add the driver's motion, or take it as it is.", rich_help_panel=_LP)
    ] = MotionOptions.relative,
    region: Annotated[Region, typer.Option(help="What moves.", rich_help_panel=_LP)] = MotionOptions.region,
    multiplier: Annotated[float, typer.Option(min=0, max=3, help="Strength of all motion.", rich_help_panel=_LP)] = 1.0,
    pose_gain: Annotated[float, typer.Option(min=0, max=3, help="Strength of head motion.", rich_help_panel=_LP)] = 1.0,
    expression_gain: Annotated[float, typer.Option(min=0, max=3, help="Strength of expression.", rich_help_panel=_LP)] = 1.0,
    stitching: Annotated[bool, typer.Option(help="Keep shoulders and background in place.", rich_help_panel=_LP)] = True,
    eye_retargeting: Annotated[bool, typer.Option(help="Open the eyes as far as the driver's.", rich_help_panel=_LP)] = False,
    lip_retargeting: Annotated[bool, typer.Option(help="Open the lips as far as the driver's.", rich_help_panel=_LP)] = False,
    close_lips: Annotated[bool, typer.Option(help="Close an open mouth before moving it.", rich_help_panel=_LP)] = True,
    checkpoints: _Checkpoints = None,
    device: _Device = None,
    precision: _Precision = None,
) -> None:
    """Animate a portrait, or the face in a clip, into a file. The driver's frame times are kept.

    The driver should look straight ahead with a closed mouth at some time in its first three seconds: that
    is what its motion is measured against. Without --engine liveportrait only portraits and clips as drivers are taken.
    """
    from pipeline.engine import open_engine
    from pipeline.offline.animate import animate as animate_file
    from pipeline.offline.animate import check_paths, is_clip
    from pipeline.offline.mux import Output

    _log_to_console()
    with _one_line_errors(), _tidy_end():
        where = find_portrait(portrait)
        check_paths(where, driver, out)  # again in animate_file, but a user should not wait for models to hear of it
        from ..app import face_model

        model = face_model(load_config())
        source = where if where is not None and is_clip(where) else load_portrait(portrait, model)
        motion = MotionOptions(
            relative=relative, region=region, multiplier=multiplier, pose_gain=pose_gain, expression_gain=expression_gain,
            stitching=stitching, eye_retargeting=eye_retargeting, lip_retargeting=lip_retargeting, close_lips=close_lips,
            keep_place=isinstance(source, Path),
        )  # fmt: skip
        settings = Settings(checkpoints, device, precision, paste_back, motion)
        opened = open_engine(engine, model, settings)
        if opened.name != _LP and replace(settings, motion=replace(motion, keep_place=False)) != Settings():
            raise PuppetError(
                f"options of the liveportrait engine are given, but the engine is {opened.name}; add '--engine {_LP}'"
            )
        output = Output(out, max_frames, side_by_side, audio)
        with _bar(driver.name) as progress:
            result = animate_file(opened, source, driver, output, model, progress)
    if not result.tracked:
        console.print(f"[yellow]warning:[/] no face was followed in {driver}; the portrait rests throughout")
    console.print(f"{out}: {result.frames} frames, engine {opened.name}, tracker {result.tracker}", highlight=False)


@template_app.command("make")
def template_make(
    clip: Annotated[Path, typer.Argument(help="The clip whose motion is kept, or a published template (.pkl).")],
    out: Annotated[Path, typer.Option("-o", "--output", help="The file to write: .safetensors.")] = Path("motion.safetensors"),
    checkpoints: _Checkpoints = None,
    device: _Device = None,
    precision: _Precision = None,
) -> None:
    """Keep a driver's motion without its picture; 'puppetcast animate PORTRAIT motion.safetensors' uses it.

    Of a published template nothing but its arrays is read.
    """
    _log_to_console()
    with _one_line_errors(), _tidy_end():
        outfile.check(out, (".safetensors",), [clip])
        from pipeline.liveportrait import template  # brings torch, which takes seconds

        if clip.suffix == ".pkl":
            made = template.load(clip)
        else:
            from pipeline.liveportrait.engine import LivePortraitEngine

            from ..app import face_model

            engine = LivePortraitEngine(face_model(load_config()), Settings(checkpoints, device, precision))
            with closing(engine.open()) as puppeteer, _bar(clip.name) as progress:
                made = template.make(puppeteer.follower, clip, progress)
        template.save(made, out, clip.name)
    console.print(f"{out}: {len(made)} frames", highlight=False)


@app.command()
def verify(
    checkpoints: Annotated[Path, typer.Option(help="Folder of LivePortrait checkpoints, in the official layout.")],
    golden: Annotated[list[Path], typer.Option(help="Golden file (.npz): networks, motion or crop. May be given again.")],
    plain: Annotated[bool, typer.Option("--plain", help="The networks as they are: every step below off.")] = False,
    fold: Annotated[bool, typer.Option(help="Norms folded into convolutions.")] = True,
    channels_last: _ChannelsLast = None,
    compile_: _Compile = None,
    graph: Annotated[bool, typer.Option("--graph", help="Each network replayed as a CUDA graph.")] = False,
    device: _Device = None,
    precision: Annotated[Precision, typer.Option(help="Rows are compared more coarsely below fp32.")] = Precision.FP32,
) -> None:
    """Compare this machine's LivePortrait with published results, row by row; exit code 1 on any miss."""
    from pipeline.liveportrait.conformance import load_golden, open_networks
    from pipeline.liveportrait.conformance import verify as compare

    missed = rows = 0
    with _one_line_errors():
        files = [(path, load_golden(path)) for path in golden]
        build = PLAIN if plain else Build(fold, channels_last, compile_, graph)
        networks = open_networks(checkpoints, build, precision, device)
        typer.echo(f"{'key':32} {'error':>10} {'tolerance':>10}")
        for path, arrays in files:
            for row in compare(arrays, networks, path, precision):
                rows, missed = rows + 1, missed + (not row.ok)
                typer.echo(f"{row.key:32} {row.error:10.2e} {row.tolerance:10.2e} {'ok' if row.ok else 'MISSED'}")
    console.print(f"{rows - missed} of {rows} rows ok", highlight=False)
    if missed:
        raise typer.Exit(1)


_Models = Annotated[list[str] | None, typer.Argument(help="face_landmarker or liveportrait; the first by default.")]


def _asked(names: list[str] | None) -> list[str]:
    known = (*model_files.MODELS, _LP)
    for name in names or ():
        if name not in known:
            raise ModelError(f"model '{name}' is not known; models: {', '.join(known)}")
    return names or list(model_files.MODELS)


@models_app.command("fetch")
def models_fetch(names: _Models = None) -> None:
    """Download models; goes on where an earlier try stopped.

    face_landmarker (3.8 MB) tracks faces. liveportrait (about 520 MB, from KwaiVGI/LivePortrait on the
    Hugging Face hub; HF_ENDPOINT and HF_HUB_OFFLINE hold) is for '--engine liveportrait'.
    """
    with _one_line_errors():
        for name in _asked(names):
            if name == _LP:
                from pipeline.liveportrait.download import fetch

                for path in fetch(model_files.folder()):
                    console.print(f"{name}: {path}", highlight=False)
                continue
            with _bar(f"{name} (kB)", 1000) as progress:
                path = model_files.fetch(model_files.MODELS[name], progress)
            console.print(f"{name}: {path}", highlight=False)


@models_app.command("list")
def models_list() -> None:
    """The models, and which are here."""
    from pipeline.liveportrait.files import missing_files

    for model in model_files.MODELS.values():
        here = "here" if model_files.find(model) else "not downloaded"
        console.print(
            f"{model.name}  {model.size / 1e6:.1f} MB  {model.licence}  {here}  {model_files.path_of(model)}", highlight=False
        )
    missing = missing_files(model_files.folder())
    here = f"lacks {', '.join(missing)}" if missing else "here"
    console.print(f"{_LP}  520 MB  MIT  {here}  {model_files.folder() / 'liveportrait'}", highlight=False)


@models_app.command("verify")
def models_verify(names: _Models = None) -> None:
    """Check the models that are here; exit code 2 if one is missing or damaged.

    face_landmarker by size and SHA-256, liveportrait by loading it strictly.
    """
    with _one_line_errors():
        for name in _asked(names):
            if name == _LP:
                from pipeline.liveportrait.weights import load_networks

                load_networks(model_files.folder())
            else:
                model = model_files.MODELS[name]
                path = model_files.path_of(model)
                if not model_files.is_good(model, path):
                    state = "damaged" if path.exists() else "missing"
                    raise ModelError(f"{path}: {state}; run 'puppetcast models fetch'")
            console.print(f"{name}: good", highlight=False)


def _checked_result(out: Path | None) -> Path | None:
    with _one_line_errors():
        if out is not None:
            outfile.check(out, (".json",))
    return out


_Result = Annotated[
    Path | None,
    typer.Option("-o", "--output", callback=_checked_result, help="The JSON file to write, instead of stdout."),
]
_Clip = Annotated[Path | None, typer.Option(help="The driving clip; the built-in demo by default.")]


def _report(figures: dict[str, Any], out: Path | None) -> None:
    from bench.mesh import machine

    text = json.dumps({**machine(), **figures}, indent=1) + "\n"
    if out is None:
        typer.echo(text, nl=False)
    else:
        with _one_line_errors(), outfile.finished(out) as part:
            part.write_text(text, "utf-8")
        console.print(f"{out}: written", highlight=False)


@bench_app.command("mesh")
def bench_mesh(clip: _Clip = None, out: _Result = None) -> None:
    """Tracker and warp of the mesh engine, in milliseconds a frame."""
    from bench.mesh import mesh

    with _one_line_errors(), _bar("mesh") as progress:
        figures = mesh(clip or DEMO_CLIP, progress)
    _report(figures, out)


@bench_app.command("live")
def bench_live(
    clip: _Clip = None,
    seconds: Annotated[float, typer.Option(min=1, help="How long to measure.")] = 15,
    viewers: Annotated[int, typer.Option(min=1, max=64, help="How many viewers watch.")] = 1,
    extra_ms: Annotated[float, typer.Option(min=0, help="Slow the engine down by so much a frame: an overload.")] = 0,
    out: _Result = None,
) -> None:
    """The whole server from glass to glass over WebRTC on this machine, beside a bare aiortc echo."""

    from bench.glass import live

    with _one_line_errors():
        _report(live(clip or DEMO_CLIP, seconds, viewers, extra_ms), out)


@bench_app.command("viewers")
def bench_viewers(
    clip: _Clip = None,
    seconds: Annotated[float, typer.Option(min=1, help="How long to measure each number of viewers.")] = 15,
    out: _Result = None,
) -> None:
    """What 1, 4 and 8 viewers of one stream cost the server: a stream is encoded once."""

    from bench.glass import viewers

    with _one_line_errors():
        _report(viewers(clip or DEMO_CLIP, seconds=seconds), out)


@bench_app.command("sessions")
def bench_sessions(
    clip: _Clip = None,
    fps: Annotated[int, typer.Option(min=1, max=60, help="What every stream is to keep.")] = 30,
    most: Annotated[int, typer.Option(min=1, max=64, help="Try no more streams than this.")] = 16,
    out: _Result = None,
) -> None:
    """How many streams the server keeps at a frame rate before their frames grow old; each has a driver and a viewer."""

    from bench.glass import sessions

    with _one_line_errors(), _bar("streams") as progress:
        figures = sessions(clip or DEMO_CLIP, fps, most, progress=progress)
    _report(figures, out)


@bench_app.command("seed")
def bench_seed(
    clip: _Clip = None,
    frames: Annotated[int | None, typer.Option(min=8, help="Frames in all; 148 on a GPU, 22 on a processor.")] = None,
    checkpoints: _Checkpoints = None,
    device: _Device = None,
    out: _Result = None,
) -> None:
    """The prototype's table with its two effects apart: mixed precision, and the limit of 20 frames in 148.

    Time, memory, and quality against fp32. The table goes to stderr, JSON to stdout or into a file.
    """
    from bench.amp import markdown, seed

    with _one_line_errors(), _bar("rows") as progress:
        figures = seed(Settings(checkpoints, device), load_portrait("astronaut", None), clip or DEMO_CLIP, frames, progress)
    console.print(markdown(figures), highlight=False, markup=False)
    _report(figures, out)


@bench_app.command("device")
def bench_device(
    checkpoints: _Checkpoints = None,
    device: _Device = None,
    minutes: Annotated[float, typer.Option(min=0.5, help="Start and keep no variant beyond this time.")] = 8,
    out: _Result = None,
) -> None:
    """LivePortrait on this device: each step of the builder, network by network and whole, for each batch size.

    Eager fp32, mixed precision, folded, channels-last, compiled, captured as a CUDA graph, and the published recipe.
    """
    from bench.device import device as measure
    from bench.device import markdown

    with _one_line_errors(), _bar("variants") as progress:
        figures = measure(Settings(checkpoints, device), load_portrait("astronaut", None), minutes, progress)
    console.print(markdown(figures), highlight=False, markup=False)
    _report(figures, out)


@bench_app.command("follow")
def bench_follow(
    clips: Annotated[list[Path], typer.Argument(help="Driving clips.")],
    portrait: Annotated[list[str] | None, typer.Option(help="Portraits; all the bundled ones by default.")] = None,
    tracker: Annotated[str, typer.Option(help="mediapipe or cascade: what drives. MediaPipe measures.")] = "mediapipe",
    folder: Annotated[Path, typer.Option(help="Where the animated clips go.")] = Path("out"),
    out: _Result = None,
) -> None:
    """How faithfully outputs follow their drivers: correlation and slope by measure."""
    from bench.fidelity import report
    from pipeline.engine import open_engine

    with _one_line_errors(), _tidy_end():
        if tracker not in ("mediapipe", "cascade"):
            raise PuppetError(f"tracker '{tracker}' is not known; trackers: mediapipe, cascade")
        model = _face_model_to_measure()
        _make(folder)
        portraits = [load_portrait(p, model) for p in portrait or bundled_names()]
        engine = open_engine("mesh", model if tracker == "mediapipe" else None)
        with _bar("pairs") as progress:
            figures = report(portraits, clips, engine, model, folder, progress)
    _report({"tracker": tracker, **figures}, out)


@bench_app.command("stability")
def bench_stability(
    clips: Annotated[list[Path] | None, typer.Argument(help="Driving clips; the built-in demo by default.")] = None,
    portrait: Annotated[str, typer.Option(help="A bundled portrait or a picture file.")] = "astronaut",
    seconds: Annotated[float, typer.Option(min=2, help="Of the loop over which drift is measured.")] = 60,
    out: _Result = None,
) -> None:
    """How still the puppet is, in pixels at 512²: jitter and its cure's delay by smoothing strength, drift, steps at a
    recalibration and a change of portrait, and what gains do."""
    from bench.stillness import report
    from pipeline.engine import open_engine

    with _one_line_errors():
        model = _face_model_to_measure()
        portraits = [load_portrait(name, model) for name in (portrait, "drawing")]
        with _bar("measures") as progress:
            figures = report(open_engine("mesh", model), portraits, clips or [DEMO_CLIP], model, seconds, progress)
    _report(figures, out)


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        raise PuppetError(f"{folder}: no folder can be made there ({exc.strerror})") from exc


def _face_model_to_measure() -> Path:
    model = model_files.find(model_files.FACE_LANDMARKER)
    if model is None:
        raise ModelError("the face model is needed to measure; run 'puppetcast models fetch'")
    return model


def _log_to_console() -> None:
    handler = RichHandler(console=console, show_path=False, markup=False)
    logging.basicConfig(level=logging.INFO, format="%(message)s", datefmt="[%X]", handlers=[handler], force=True)
    for noisy in ("aiortc", "aioice", "httpx", "uvicorn"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
