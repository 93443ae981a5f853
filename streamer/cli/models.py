"""`puppetcast models` and `verify`: model files, and whether they compute what they should."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipeline import models as model_files
from pipeline.errors import ModelError
from pipeline.liveportrait.options import PLAIN, Build, Precision

from .console import (
    LP,
    ChannelsLast,
    CompileOption,
    Device,
    bar,
    console,
    one_line_errors,
)

models_app = typer.Typer(help="Download and check model files.", no_args_is_help=True)
_Models = Annotated[list[str] | None, typer.Argument(help="face_landmarker or liveportrait; the first by default.")]


def verify(
    checkpoints: Annotated[Path, typer.Option(help="Folder of LivePortrait checkpoints, in the official layout.")],
    golden: Annotated[list[Path], typer.Option(help="Golden file (.npz): networks, motion or crop. May be given again.")],
    plain: Annotated[bool, typer.Option("--plain", help="The networks as they are: every step below off.")] = False,
    fold: Annotated[bool, typer.Option(help="Norms folded into convolutions.")] = True,
    channels_last: ChannelsLast = None,
    compile_: CompileOption = None,
    graph: Annotated[bool, typer.Option("--graph", help="Each network replayed as a CUDA graph.")] = False,
    device: Device = None,
    precision: Annotated[Precision, typer.Option(help="Rows are compared more coarsely below fp32.")] = Precision.FP32,
) -> None:
    """Compare this machine's LivePortrait with published results, row by row; exit code 1 on any miss."""
    from pipeline.liveportrait.conformance import load_golden, open_networks
    from pipeline.liveportrait.conformance import verify as compare

    missed = rows = 0
    with one_line_errors():
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


def _asked(names: list[str] | None) -> list[str]:
    known = (*model_files.MODELS, LP)
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
    with one_line_errors():
        for name in _asked(names):
            if name == LP:
                from pipeline.liveportrait.download import fetch

                for path in fetch(model_files.folder()):
                    console.print(f"{name}: {path}", highlight=False)
                continue
            with bar(f"{name} (kB)", 1000) as progress:
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
    console.print(f"{LP}  520 MB  MIT  {here}  {model_files.folder() / 'liveportrait'}", highlight=False)


@models_app.command("verify")
def models_verify(names: _Models = None) -> None:
    """Check the models that are here; exit code 2 if one is missing or damaged.

    face_landmarker by size and SHA-256, liveportrait by loading it strictly.
    """
    with one_line_errors():
        for name in _asked(names):
            if name == LP:
                from pipeline.liveportrait.weights import load_networks

                load_networks(model_files.folder())
            else:
                model = model_files.MODELS[name]
                path = model_files.path_of(model)
                if not model_files.is_good(model, path):
                    state = "damaged" if path.exists() else "missing"
                    raise ModelError(f"{path}: {state}; run 'puppetcast models fetch'")
            console.print(f"{name}: good", highlight=False)
