"""`puppetcast template make`: motion without pictures."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Annotated

import typer

from pipeline import outfile
from pipeline.liveportrait.files import need_extra
from pipeline.liveportrait.options import Settings

from ..config import load_config
from .console import Checkpoints, Device, PrecisionOption, bar, console, log_to_console, one_line_errors, tidy_end

template_app = typer.Typer(help="Motion templates: the motion of a clip, stored without its pictures.", no_args_is_help=True)


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
