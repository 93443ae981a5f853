"""`puppetcast animate` and `template make`: offline, into files."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from pipeline import outfile
from pipeline.engine import Engine
from pipeline.errors import LandmarksNeeded, NoFaceError, PuppetError
from pipeline.face.faces import Faces
from pipeline.follow.tuning import Region, Tuning
from pipeline.liveportrait.files import need_extra
from pipeline.liveportrait.options import MotionOptions, Settings
from pipeline.offline.mux import Sound
from pipeline.pictures.colours import Colour, parse_colour
from pipeline.portrait import Portrait, find_portrait, load_portrait

from ..config import Config, Portraits, Puppet, load_config
from .console import (
    ENGINE_HELP,
    LP,
    Checkpoints,
    Device,
    Face,
    Marks,
    PrecisionOption,
    bar,
    console,
    log_to_console,
    one_line_errors,
    points_of,
    tidy_end,
    warn,
)


def _gain(key: str) -> Any:
    return typer.Option(min=0, max=3, help=Puppet.model_fields[key].description)


DEFAULT_BACKGROUND = f"Default: that of the configuration, {Portraits().background}."
MOSTLY = 0.5  # share of the frames in which a face should be followed
# Options that are given by their opposite.
_OFF = {"relative": "--absolute"} | {n: f"--no-{n.replace('_', '-')}" for n in ("paste_back", "stitching", "close_lips")}
template_app = typer.Typer(help="Motion templates: the motion of a clip, stored without its pictures.", no_args_is_help=True)


def animate(
    portrait: Annotated[
        str, typer.Argument(help="Name of a bundled portrait, a picture, a .puppet file, or a clip whose face is animated.")
    ],
    driver: Annotated[Path, typer.Argument(help="What the portrait follows: a clip, a picture, or a motion template.")],
    out: Annotated[
        Path,
        typer.Option(
            "-o",
            "--output",
            help="File to write: .mp4, or a picture (.png, .jpg, .webp) if portrait and driver are both pictures. "
            "An existing file is replaced once the new one is complete.",
        ),
    ] = Path("out.mp4"),
    engine: Annotated[str, typer.Option(help=ENGINE_HELP)] = "auto",
    max_frames: Annotated[int | None, typer.Option(min=1, help="Stop after this many frames.")] = None,
    side_by_side: Annotated[bool, typer.Option("--side-by-side", help="Show driver, portrait and result side by side.")] = False,
    audio: Annotated[
        Sound, typer.Option(help="Sound of the result: the driver's (the source's if it has none), the source's, or none.")
    ] = Sound.DRIVER,
    mirror: Annotated[bool, typer.Option("--mirror", help="Swap the driver's left and right.")] = False,
    region: Annotated[Region, typer.Option(help="Part of the driver's motion that is used.")] = Tuning.region,
    pose_gain: Annotated[float, _gain("pose_gain")] = Tuning.pose_gain,
    expression_gain: Annotated[float, _gain("expression_gain")] = Tuning.expression_gain,
    mouth_gain: Annotated[float, _gain("mouth_gain")] = Tuning.mouth_gain,
    eyes_gain: Annotated[float, _gain("eyes_gain")] = Tuning.eyes_gain,
    brows_gain: Annotated[float, _gain("brows_gain")] = Tuning.brows_gain,
    marks: Marks = None,
    face: Face = None,
    background: Annotated[
        str | None, typer.Option(help="What shows where the portrait is transparent. " + DEFAULT_BACKGROUND)
    ] = None,
    smoothing: Annotated[float, typer.Option(min=0, max=1, help=Puppet.model_fields["smoothing"].description)] = Tuning.smoothing,
    scale_lock: Annotated[
        bool, typer.Option("--scale-lock", help="Keep the head's size when the driver moves closer or away.")
    ] = Tuning.scale_lock,
    paste_back: Annotated[
        bool, typer.Option(help="Write the whole picture, or only the square of 512 pixels around the face.", rich_help_panel=LP)
    ] = True,
    relative: Annotated[
        bool,
        typer.Option(
            "--relative/--absolute",
            help="Add the driver's motion to the portrait's pose and expression, or replace them by it.",
            rich_help_panel=LP,
        ),
    ] = MotionOptions.relative,
    multiplier: Annotated[
        float, typer.Option(min=0, max=3, help="Strength of all motion; 1 is as strong as the driver's.", rich_help_panel=LP)
    ] = MotionOptions.multiplier,
    stitching: Annotated[
        bool, typer.Option(help="Keep shoulders and background in place while the head moves.", rich_help_panel=LP)
    ] = MotionOptions.stitching,
    eye_retargeting: Annotated[bool, typer.Option(help="Open the eyes as far as the driver's.", rich_help_panel=LP)] = False,
    lip_retargeting: Annotated[bool, typer.Option(help="Open the lips as far as the driver's.", rich_help_panel=LP)] = False,
    close_lips: Annotated[
        bool, typer.Option(help="Close a mouth that is open in the portrait before animating it.", rich_help_panel=LP)
    ] = True,
    checkpoints: Checkpoints = None,
    device: Device = None,
    precision: PrecisionOption = None,
) -> None:
    """Animate a portrait, or the face in a clip, and write the result to a file. Frame times are those of the driver.

    The driver should look straight ahead with a closed mouth at some time in its first three seconds: its motion
    is measured against that. The mesh engine takes a picture as portrait and a clip as driver; a clip as portrait,
    or a picture or a motion template as driver, needs --engine liveportrait.
    """
    from pipeline.engine import open_engine
    from pipeline.offline.animate import animate as animate_file
    from pipeline.offline.animate import check_paths
    from pipeline.offline.mux import Output

    log_to_console()
    with one_line_errors(), tidy_end():
        where = find_portrait(portrait)
        check_paths(where, driver, out)  # again in animate_file, but a user should not wait for models to hear of it
        from ..app import find_faces

        config = load_config()
        faces = find_faces(config)
        source = _source(portrait, where, faces, marks, face, _ground(background, config))
        motion = MotionOptions(relative, multiplier, stitching, close_lips, keep_place=isinstance(source, Path))
        tuning = Tuning(
            pose_gain, expression_gain, mouth_gain, eyes_gain, brows_gain, region, smoothing, scale_lock, eye_retargeting,
            lip_retargeting,
        )  # fmt: skip
        settings = Settings(checkpoints, device, precision, paste_back, motion)
        opened = open_engine(engine, faces, settings)
        _refuse_foreign_options(opened, settings, tuning)
        output = Output(out, max_frames, side_by_side, audio)
        with bar(driver.name) as progress:
            result = animate_file(opened, source, driver, output, progress, tuning, mirror)
    if isinstance(source, Portrait) and source.eyes_shut:
        warn(f"the eyes of {source.name} are shut in the picture; they stay shut")
    if not result.tracked:
        warn(f"no face was followed in {driver}; the portrait rests throughout")
    elif result.tracked < MOSTLY * result.frames:
        warn(f"{driver}: no face was followed in most of its frames; the portrait rests in them")
    for note in result.notes:
        warn(note)
    followed = f"followed in {result.tracked} of {result.frames} frames"
    console.print(f"{out}: {followed}, engine {opened.name}, tracker {result.tracker}")


def _source(
    portrait: str, where: Path | None, faces: Faces, marks: Sequence[str] | None, face: int | None, ground: Colour
) -> Portrait | Path:
    """A portrait, or the path of a clip; PuppetError."""
    from pipeline.offline.animate import is_clip

    if where is not None and is_clip(where):
        if marks is not None or face is not None:
            raise PuppetError(f"{where}: a clip; '--marks' and '--face' are for pictures")
        return where
    points = points_of(marks)
    try:
        source = load_portrait(portrait, faces, None if points is None else np.array(points, np.float32), ground)
    except (NoFaceError, LandmarksNeeded) as exc:
        raise type(exc)(f"{exc}; or place it by hand with '--marks'") from exc
    return source if face is None else source.with_face(face)


def _ground(background: str | None, config: Config) -> Colour:
    try:
        return parse_colour(background or config.portraits.background)
    except ValueError as exc:
        raise PuppetError(f"--background: {exc}") from exc


def _refuse_foreign_options(engine: Engine, settings: Settings, tuning: Tuning) -> None:
    """PuppetError for what is given but has no effect in the engine."""
    given = [name for name in engine.lacks if getattr(tuning, name) != getattr(Tuning, name)]
    if engine.name != LP:
        own = ("checkpoints", "device", "precision", "paste_back")
        given += [name for name in own if getattr(settings, name) != getattr(Settings, name)]
        motion = ("relative", "multiplier", "stitching", "close_lips")
        given += [name for name in motion if getattr(settings.motion, name) != getattr(MotionOptions, name)]
    if given:
        options = ", ".join(sorted(_OFF.get(name, f"--{name.replace('_', '-')}") for name in given))
        raise PuppetError(f"{options}: the engine {engine.name} has no such option; add '--engine {LP}' or leave it out")


@template_app.command("make")
def template_make(
    clip: Annotated[
        Path, typer.Argument(help="Clip whose motion is stored, or a template in the format of LivePortrait (.pkl).")
    ],
    out: Annotated[Path, typer.Option("-o", "--output", help="File to write, ending in .safetensors.")] = Path(
        "motion.safetensors"
    ),
    checkpoints: Checkpoints = None,
    device: Device = None,
    precision: PrecisionOption = None,
) -> None:
    """Store a clip's motion without its pictures; 'puppetcast animate PORTRAIT motion.safetensors' uses it.

    Of a .pkl file only the arrays of numbers are read; no code in it is run.
    """
    log_to_console()
    with one_line_errors(), tidy_end():
        outfile.check(out, (".safetensors",), [clip])
        need_extra()
        from pipeline.liveportrait import template  # brings torch, which takes seconds

        if clip.suffix == ".pkl":
            made = template.load(clip)
        else:
            from pipeline.liveportrait.engine import LivePortraitEngine

            from ..app import find_faces

            engine = LivePortraitEngine(find_faces(load_config()), Settings(checkpoints, device, precision))
            with closing(engine.open()) as puppeteer, bar(clip.name) as progress:
                made = template.make(puppeteer, clip, progress)
        template.save(made, out, clip.name)
    console.print(f"{out}: {len(made)} frames")
