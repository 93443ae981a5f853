"""`puppetcast animate` and `template make`: offline, into files."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from pipeline import outfile
from pipeline.errors import PuppetError
from pipeline.follow.tuning import Region
from pipeline.liveportrait.options import MotionOptions, Settings
from pipeline.offline.mux import Sound
from pipeline.portrait import find_portrait, load_portrait

from ..config import load_config
from .console import (
    ENGINE_HELP,
    LP,
    Checkpoints,
    Device,
    PrecisionOption,
    bar,
    console,
    log_to_console,
    one_line_errors,
    tidy_end,
)

template_app = typer.Typer(help="Motion templates: a driver's motion without its picture.", no_args_is_help=True)


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
        bool, typer.Option(help="liveportrait: the whole picture, or its 512² crop.", rich_help_panel=LP)
    ] = True,
    relative: Annotated[
        bool,
        typer.Option("--relative/--absolute", help="Add the driver's motion, or take it as it is.", rich_help_panel=LP),
    ] = MotionOptions.relative,
    region: Annotated[Region, typer.Option(help="What moves.", rich_help_panel=LP)] = MotionOptions.region,
    multiplier: Annotated[float, typer.Option(min=0, max=3, help="Strength of all motion.", rich_help_panel=LP)] = 1.0,
    pose_gain: Annotated[float, typer.Option(min=0, max=3, help="Strength of head motion.", rich_help_panel=LP)] = 1.0,
    expression_gain: Annotated[float, typer.Option(min=0, max=3, help="Strength of expression.", rich_help_panel=LP)] = 1.0,
    stitching: Annotated[bool, typer.Option(help="Keep shoulders and background in place.", rich_help_panel=LP)] = True,
    eye_retargeting: Annotated[bool, typer.Option(help="Open the eyes as far as the driver's.", rich_help_panel=LP)] = False,
    lip_retargeting: Annotated[bool, typer.Option(help="Open the lips as far as the driver's.", rich_help_panel=LP)] = False,
    close_lips: Annotated[bool, typer.Option(help="Close an open mouth before moving it.", rich_help_panel=LP)] = True,
    checkpoints: Checkpoints = None,
    device: Device = None,
    precision: PrecisionOption = None,
) -> None:
    """Animate a portrait, or the face in a clip, into a file. The driver's frame times are kept.

    The driver should look straight ahead with a closed mouth at some time in its first three seconds: that
    is what its motion is measured against. Without --engine liveportrait only portraits and clips as drivers are taken.
    """
    from pipeline.engine import open_engine
    from pipeline.offline.animate import animate as animate_file
    from pipeline.offline.animate import check_paths, is_clip
    from pipeline.offline.mux import Output

    log_to_console()
    with one_line_errors(), tidy_end():
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
        if opened.name != LP and replace(settings, motion=replace(motion, keep_place=False)) != Settings():
            raise PuppetError(
                f"options of the liveportrait engine are given, but the engine is {opened.name}; add '--engine {LP}'"
            )
        output = Output(out, max_frames, side_by_side, audio)
        with bar(driver.name) as progress:
            result = animate_file(opened, source, driver, output, model, progress)
    if not result.tracked:
        console.print(f"[yellow]warning:[/] no face was followed in {driver}; the portrait rests throughout")
    console.print(f"{out}: {result.frames} frames, engine {opened.name}, tracker {result.tracker}", highlight=False)


@template_app.command("make")
def template_make(
    clip: Annotated[Path, typer.Argument(help="The clip whose motion is kept, or a published template (.pkl).")],
    out: Annotated[Path, typer.Option("-o", "--output", help="The file to write: .safetensors.")] = Path("motion.safetensors"),
    checkpoints: Checkpoints = None,
    device: Device = None,
    precision: PrecisionOption = None,
) -> None:
    """Keep a driver's motion without its picture; 'puppetcast animate PORTRAIT motion.safetensors' uses it.

    Of a published template nothing but its arrays is read.
    """
    log_to_console()
    with one_line_errors(), tidy_end():
        outfile.check(out, (".safetensors",), [clip])
        from pipeline.liveportrait import template  # brings torch, which takes seconds

        if clip.suffix == ".pkl":
            made = template.load(clip)
        else:
            from pipeline.liveportrait.engine import LivePortraitEngine

            from ..app import face_model

            engine = LivePortraitEngine(face_model(load_config()), Settings(checkpoints, device, precision))
            with closing(engine.open()) as puppeteer, bar(clip.name) as progress:
                made = template.make(puppeteer.follower, clip, progress)
        template.save(made, out, clip.name)
    console.print(f"{out}: {len(made)} frames", highlight=False)
