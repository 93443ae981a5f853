"""`puppetcast template make`: motion without pictures."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Annotated, Any

import typer

from pipeline import outfile
from pipeline.engine import Engine, open_engine
from pipeline.errors import PuppetError
from pipeline.liveportrait.files import need_extra
from pipeline.liveportrait.options import Settings

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

template_app = typer.Typer(help="Motion templates: the motion of a clip, stored without its pictures.", no_args_is_help=True)


@template_app.command("make")
def template_make(
    clip: Annotated[
        Path, typer.Argument(help="Clip whose motion is stored, or a template in the format of LivePortrait (.pkl).")
    ],
    out: Annotated[Path, typer.Option("-o", "--output", help="File to write, ending in .safetensors.")] = Path(
        "motion.safetensors"
    ),
    force: Annotated[
        bool, typer.Option("--force", "-f", help="Replace what is there already, once the new file is whole.")
    ] = False,
    engine: Annotated[str, typer.Option(help=f"{ENGINE_HELP} Each engine reads its own templates.")] = "auto",
    checkpoints: Checkpoints = None,
    device: Device = None,
    precision: PrecisionOption = None,
) -> None:
    """Store a clip's motion without its pictures; 'puppetcast animate PORTRAIT motion.safetensors' uses it.

    Of a .pkl file only the arrays of numbers are read; no code in it is run.
    """
    log_to_console()
    with one_line_errors(), tidy_end():
        outfile.check(out, (".safetensors",), [clip], force)
        if clip.suffix == ".pkl":
            frames = _converted(clip, out)
        else:
            frames = _made(clip, out, engine, Settings(checkpoints, device, precision))
    console.print(f"{out}: {frames} frames")


def _converted(published: Path, out: Path) -> int:
    need_extra()
    from pipeline.liveportrait import template  # brings torch, which takes seconds

    made = template.load(published)
    template.save(made, out, published.name)
    return len(made)


def _made(clip: Path, out: Path, engine: str, settings: Settings) -> int:
    from ..app import find_faces

    opened = open_engine(engine, find_faces(load_config()), settings)
    if opened.name != LP and settings != Settings():
        raise PuppetError(f"--checkpoints, --device, --precision: the engine {opened.name} has no such options; leave them out")
    template = _templates_of(opened)
    with closing(opened.open()) as puppeteer, bar(clip.name) as progress:
        made = template.make(puppeteer, clip, progress)
    template.save(made, out, clip.name)
    return len(made)


def _templates_of(engine: Engine) -> Any:
    """The module of the engine's own."""
    if engine.name == LP:
        from pipeline.liveportrait import template

        return template
    from pipeline.mesh import template as mesh_template

    return mesh_template
