"""The command line, put together."""

from __future__ import annotations

import sys
from importlib.metadata import version
from typing import Annotated, Any

import typer
from rich.text import Text

from pipeline.errors import PuppetError

from .animate import animate
from .console import console, one_line_errors
from .doctor import doctor
from .drives import drives
from .fleet import fleet_app
from .identify import identify_command
from .models import models_app, verify
from .pose import pose
from .puppet import puppet_app
from .serve import devices, serve
from .simulate import simulate
from .template import template_app
from .token import token

UsageError: Any = typer.BadParameter.__bases__[0]  # click's, which newer versions of typer carry within themselves
app = typer.Typer(no_args_is_help=True)


# What is said of a number in a programmer's words.
PLAIN = {
    "Input should be a valid integer, unable to parse string as an integer": "a whole number is expected",
    "Input should be a valid number, unable to parse string as a number": "a number is expected",
}


def run() -> None:
    """Run the command line and leave the process. What cannot be understood is told in one line, as every other mistake is."""
    try:
        sys.exit(app(prog_name="puppetcast", standalone_mode=False) or 0)
    except UsageError as exc:
        _tell(exc)
        sys.exit(2)
    except typer.Abort:
        sys.exit(1)


def _tell(wrong: Any) -> None:
    if type(wrong).__name__ != "NoArgsIsHelpError":  # the help has been shown then
        path = wrong.ctx.command_path if wrong.ctx else _command(sys.argv[1:])
        said = " ".join(wrong.format_message().replace("Value error, ", "").split()).rstrip(".")
        for programmers, plain in PLAIN.items():
            said = said.replace(programmers, plain)
        said = said.replace(": Input", ": input")
        console.print(Text.assemble(("error:", "red"), f" {said[0].lower()}{said[1:]}; see '{path} --help'"))


def _command(words: list[str]) -> str:
    """The command that a command line begins with, as one writes it."""
    found = ["puppetcast"]
    group: Any = typer.main.get_command(app)
    for word in words:
        group = getattr(group, "commands", {}).get(word)
        if group is None:
            break
        found.append(word)
    return " ".join(found)


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
    raise typer.Exit(measure(context.args, prog_name="puppetcast bench", standalone_mode=False) or 0)


for command in (serve, devices, token, drives, doctor, animate, pose, verify):
    app.command()(command)
app.command("identify")(identify_command)
app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []})(bench)
app.add_typer(models_app, name="models")
app.add_typer(template_app, name="template")
app.add_typer(puppet_app, name="puppet")
fleet_app.command()(simulate)
app.add_typer(fleet_app, name="fleet")
