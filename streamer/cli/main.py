"""The command line, put together."""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.metadata import version
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

UsageError: Any = typer.BadParameter.__bases__[0]  # click's, which newer versions of typer carry within themselves
BENCH = {"context_settings": {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}}
# Where each command is, and what it is registered with.
COMMANDS: dict[str, tuple[str, dict[str, Any]]] = {
    "serve": (".serve:serve", {}),
    "devices": (".serve:devices", {}),
    "token": (".token:token", {}),
    "drives": (".drives:drives", {}),
    "doctor": (".doctor:doctor", {}),
    "animate": (".animate:animate", {}),
    "pose": (".pose:pose", {}),
    "verify": (".models:verify", {}),
    "identify": (".identify:identify_command", {}),
    "bench": (".main:bench", BENCH),
    "models": (".models:models_app", {}),
    "template": (".template:template_app", {}),
    "puppet": (".puppet:puppet_app", {}),
    "fleet": (".fleet:fleet_app", {}),
}


class Commands(TyperGroup):
    """Those of COMMANDS, each loaded when it is asked for: all of them take a second, and a word is completed at each TAB."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        self.commands: dict[str, Any] = dict.fromkeys(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name in COMMANDS and self.commands[cmd_name] is None:
            self.commands[cmd_name] = _load(cmd_name)
        return self.commands.get(cmd_name)


def _load(name: str) -> Any:
    place, options = COMMANDS[name]
    module, _, attribute = place.partition(":")
    command, around = getattr(import_module(module, __package__), attribute), typer.Typer()
    if isinstance(command, typer.Typer):
        around.add_typer(command, name=name)
    else:
        around.command(name, **options)(command)
    return typer.main.get_group(around).commands[name]


app = typer.Typer(cls=Commands, no_args_is_help=True)

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
        from .console import fail

        path = wrong.ctx.command_path if wrong.ctx else _command(sys.argv[1:])
        said = " ".join(wrong.format_message().replace("Value error, ", "").split()).rstrip(".")
        for programmers, plain in PLAIN.items():
            said = said.replace(programmers, plain)
        said = said.replace(": Input", ": input")
        fail(f"{said[0].lower()}{said[1:]}; see '{path} --help'")


def _command(words: list[str]) -> str:
    """The command that a command line begins with, as one writes it."""
    found = ["puppetcast"]
    group: Any = typer.main.get_command(app)
    for word in words:
        group = group.get_command(typer.Context(group), word) if isinstance(group, TyperGroup) else None
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
    from pipeline.errors import PuppetError

    from .console import one_line_errors

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
