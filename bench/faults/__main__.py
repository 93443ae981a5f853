"""python -m bench.faults: see --help, or `make faults`."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path
from typing import Annotated

import typer

from bench.machine import machine, speed

from . import report
from .run import run
from .table import FAULTS

RESULT = Path(__file__).parents[1] / "results" / "faults-cpu-2cores.json"


def main(
    only: Annotated[
        str, typer.Option(help="Only faults in whose name or place this regular expression is found; nothing is written.")
    ] = "",
    quick: Annotated[bool, typer.Option("--quick", help="Once each; nothing is written.")] = False,
    times: Annotated[int, typer.Option(min=1, help="How often each is injected.")] = 5,
    out: Annotated[Path | None, typer.Option(help="The JSON file to write.")] = None,
    minutes: Annotated[float, typer.Option(help="Begin no more injections when so many are over.")] = 60,
    note: Annotated[str, typer.Option(help="What the figures are to be read with, for the page.")] = "",
) -> None:
    """Inject every fault into a real server; write docs/reliability.md and its picture."""
    chosen = [fault for fault in FAULTS if re.search(only, f"{fault.name} {fault.place}")]
    about = {**machine(), "speed": speed()}
    result = asyncio.run(run(chosen, 1 if quick else times, 60 * minutes, lambda line: typer.echo(line, err=True)))
    result = {**about, **result}
    path = out or (None if only or quick else RESULT)
    if path is not None:
        path.write_text(json.dumps(result, indent=1) + "\n", "utf-8")
    if path == RESULT:
        report.write(result, note)
    failed = [row["name"] for row in result["rows"] if row["broken"] or row["leaked"]]
    typer.echo(f"{len(result['rows'])} faults; promises broken: {', '.join(failed) or 'none'}; {result['ways']}")
    raise typer.Exit(bool(failed))


if __name__ == "__main__":
    typer.run(main)
