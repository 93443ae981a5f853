"""The command line, put together."""

from __future__ import annotations

from importlib.metadata import version
from typing import Annotated

import typer

from pipeline.errors import PuppetError

from .animate import animate, template_app
from .console import one_line_errors
from .doctor import doctor
from .models import models_app, verify
from .puppet import puppet_app
from .serve import devices, serve

app = typer.Typer(no_args_is_help=True)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"puppetcast {version('puppetcast')}")
        raise typer.Exit


@app.callback()
def main(
    show_version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """puppetcast: one portrait, driven live by a face."""


def bench(context: typer.Context) -> None:
    """Measure speed and fidelity on this machine; 'puppetcast bench --help' lists the benchmarks. Needs the source tree."""
    with one_line_errors():
        try:
            from bench.cli import app as measure
        except ModuleNotFoundError as exc:
            if exc.name not in ("bench", "bench.cli"):
                raise
            raise PuppetError(
                "bench: the benchmarks are not part of the installed package; "
                "get the source and run 'python -m streamer bench' in its folder"
            ) from exc
    measure(context.args, prog_name="puppetcast bench")


for command in (serve, devices, doctor, animate, verify):
    app.command()(command)
app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []})(bench)
app.add_typer(models_app, name="models")
app.add_typer(template_app, name="template")
app.add_typer(puppet_app, name="puppet")
