"""`puppetcast animate`: offline, into files."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from pipeline.clips import Progress
from pipeline.engine import Engine
from pipeline.errors import LandmarksNeeded, NoFaceError, PuppetError
from pipeline.face.faces import Faces
from pipeline.follow.tuning import Region, Tuning
from pipeline.liveportrait.options import MotionOptions, Settings
from pipeline.offline.animate import check_paths, is_clip
from pipeline.offline.batch import Job, are_several
from pipeline.offline.formats import FASTEST, parse_size
from pipeline.offline.mux import Result, Sound
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
from .files import STANDARD, Kind, plan, read_standard_input, run_all, standard_streams, write_standard_output


def _gain(key: str) -> Any:
    return typer.Option(min=0, max=3, help=Puppet.model_fields[key].description)


def _seconds(key: str) -> Any:
    return typer.Option(
        f"--{key.removesuffix('_s').replace('_', '-')}", min=0, max=3600, help=Puppet.model_fields[key].description
    )


DEFAULT_BACKGROUND = f"Default: that of the configuration, {Portraits().background}."
MOSTLY = 0.5  # share of the frames in which a face should be followed
# Options that are given by their opposite.
_OFF = {"relative": "--absolute"} | {n: f"--no-{n.replace('_', '-')}" for n in ("paste_back", "stitching", "close_lips")}


def animate(
    portrait: Annotated[
        str, typer.Argument(help="Name of a bundled portrait, a picture, a .puppet file, or a clip whose face is animated.")
    ],
    drivers: Annotated[
        list[Path],
        typer.Argument(
            metavar="DRIVER…",
            help="What the portrait follows: a clip, a picture, or a motion template; several of them, or folders, for a file "
            "each; - for a clip by standard input.",
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            help="File to write: .mp4, .mov, .webm, .gif, .webp, or .png for a file each frame (out-%05d.png says where the "
            "number goes); a picture (.png, .jpg, .webp) if portrait and driver are both pictures. For several drivers a folder, "
            "which is made. - for standard output. Default: out.mp4, or the folder out.",
            show_default=False,
        ),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", "-f", help="Replace what is there already, once the new file is whole.")
    ] = False,
    kind: Annotated[
        Kind | None,
        typer.Option("--format", help="What to write into a folder, or to standard output. Default: mp4.", show_default=False),
    ] = None,
    fps: Annotated[
        float | None,
        typer.Option(min=1, max=FASTEST, help="Even frames a second. Default: the driver's own times.", show_default=False),
    ] = None,
    size: Annotated[
        str | None,
        typer.Option(
            metavar="WxH or N",
            help="Size of the result: width and height, such as 1280x720, with bars where the shape is another; or its longer "
            "side, such as 480. Default: the portrait's, up to 1280.",
            show_default=False,
        ),
    ] = None,
    engine: Annotated[str, typer.Option(help=ENGINE_HELP)] = "auto",
    max_frames: Annotated[int | None, typer.Option(min=1, help="Stop after this many frames.", show_default=False)] = None,
    side_by_side: Annotated[bool, typer.Option("--side-by-side", help="Show driver, portrait and result side by side.")] = False,
    transparent: Annotated[
        bool,
        typer.Option(
            "--transparent", help="Leave the background out: .webm, .gif, .webp and .png, of a portrait that stands out from it."
        ),
    ] = False,
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
    wrinkles_gain: Annotated[float, _gain("wrinkles_gain")] = Tuning.wrinkles_gain,
    calibrate_at: Annotated[
        float,
        typer.Option(min=0, help="From when on, in seconds, the driver looks straight ahead for a moment with a closed mouth."),
    ] = 0.0,
    recalibrate_after_s: Annotated[float, _seconds("recalibrate_after_s")] = Tuning.recalibrate_after_s,
    recentre_s: Annotated[float, _seconds("recentre_s")] = Tuning.recentre_s,
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

    The driver should look straight ahead with a closed mouth at some time in its first three seconds, or after
    --calibrate-at: its motion is measured against that. A file that exists is not replaced without --force. GIF, WebP and
    PNG have no sound. Of several drivers, those that fail are told at the end, and the exit code is 1.

        puppetcast animate face.jpg talk.mp4 -o talk.gif --fps 15 --size 480

        puppetcast animate face.jpg clips/ -o puppets/ --format webm

        cat talk.mp4 | puppetcast animate face.jpg - -o - | ffplay -

    A clip as portrait needs --engine liveportrait.
    """
    from pipeline.engine import open_engine
    from pipeline.offline.animate import animate as animate_file
    from pipeline.offline.mux import Output

    log_to_console()
    with one_line_errors(), tidy_end(), standard_streams() as folder:
        named, *drivers = read_standard_input([Path(portrait), *drivers], folder)
        portrait = str(named) if portrait == str(STANDARD) else portrait
        where = find_portrait(portrait)
        jobs = plan(drivers, out, kind, where is None or not is_clip(where), folder)
        check = partial(check_paths, where, replace=force)
        if not are_several(drivers):
            check(jobs[0].driver, jobs[0].out)  # a user should not wait for models to hear of it
        from ..app import find_faces

        config = load_config()
        faces = find_faces(config)
        source = source_of(portrait, where, faces, marks, face, ground_of(background, config))
        motion = MotionOptions(relative, multiplier, stitching, close_lips, keep_place=isinstance(source, Path))
        tuning = Tuning(
            pose_gain, expression_gain, mouth_gain, eyes_gain, brows_gain, region, smoothing, scale_lock, eye_retargeting,
            lip_retargeting, recalibrate_after_s=recalibrate_after_s, recentre_s=recentre_s, wrinkles_gain=wrinkles_gain,
        )  # fmt: skip
        settings = Settings(checkpoints, device, precision, paste_back, motion)
        opened = open_engine(engine, faces, settings)
        _refuse_foreign_options(opened, settings, tuning)
        if isinstance(source, Portrait) and source.eyes_shut:
            warn(f"the eyes of {source.name} are shut in the picture; they stay shut")
        rate = None if fps is None else Fraction(fps).limit_denominator(1001)
        output = Output(STANDARD, max_frames, side_by_side, audio, rate, size_of(size), transparent)

        def run(job: Job, progress: Progress) -> Result:
            made = replace(output, path=job.out)
            return animate_file(opened, source, job.driver, made, progress, tuning, mirror, calibrate_at)

        tell = partial(_tell, engine=opened, folder=folder)
        if are_several(drivers):
            run_all(jobs, check, run, tell, folder)
            return
        with bar(drivers[0].name) as progress:
            result = run(jobs[0], progress)
        if out == STANDARD:
            write_standard_output(jobs[0].out)
        tell(jobs[0], result)


def _tell(job: Job, result: Result, engine: Engine, folder: Path) -> None:
    """What became of a driver."""
    driver = job.driver.name if job.driver.parent == folder else job.driver
    if not result.tracked:
        warn(f"no face was followed in {driver}; the portrait rests throughout")
    elif result.tracked < MOSTLY * result.frames:
        warn(f"{driver}: no face was followed in most of its frames; the portrait rests in them")
    for note in result.notes:
        warn(note.replace(f"{folder}{os.sep}", ""))
    followed = f"followed in {result.tracked} of {result.frames} frames"
    out = job.out.name if job.out.parent == folder else job.out
    console.print(f"{out}: {followed}, engine {engine.name}, tracker {result.tracker}")


def size_of(text: str | None) -> tuple[int, int] | None:
    try:
        return None if text is None else parse_size(text)
    except ValueError as exc:
        raise PuppetError(f"--size: {exc}") from exc


def source_of(
    portrait: str, where: Path | None, faces: Faces, marks: Sequence[str] | None, face: int | None, ground: Colour
) -> Portrait | Path:
    """A portrait, or the path of a clip; PuppetError."""
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


def ground_of(background: str | None, config: Config) -> Colour:
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
