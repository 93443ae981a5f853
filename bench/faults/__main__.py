"""python -m bench.faults: see --help, or `make faults`."""

from __future__ import annotations

import asyncio
import json
import re
from collections import Counter
from pathlib import Path
from typing import Annotated, Any

import typer

from bench.machine import machine, speed

from . import report
from .run import run
from .table import FAULTS

RESULT = Path(__file__).parents[1] / "results" / "faults-cpu-2cores.json"


def main(
    only: Annotated[
        str,
        typer.Option(
            help="Only faults in whose name or place this regular expression is found; without --rest nothing is written."
        ),
    ] = "",
    rest: Annotated[
        bool,
        typer.Option(
            "--rest", help="Only faults that the last run injected less often, or for another promise; added to its results."
        ),
    ] = False,
    quick: Annotated[bool, typer.Option("--quick", help="Once each; nothing is written.")] = False,
    times: Annotated[int, typer.Option(min=1, help="How often each is injected.")] = 5,
    out: Annotated[Path | None, typer.Option(help="The JSON file to write.")] = None,
    minutes: Annotated[float, typer.Option(help="Begin no more injections when so many are over.")] = 60,
    note: Annotated[str, typer.Option(help="What the figures are to be read with, for the page.")] = "",
) -> None:
    """Inject every fault into a real server; write docs/reliability.md and its picture."""
    before = json.loads(RESULT.read_text("utf-8")) if rest else None
    enough = {(row["name"], row["promise"]) for row in before["rows"] if row["times"] >= times} if before else set()
    named = [fault for fault in FAULTS if re.search(only, f"{fault.name} {fault.place}")]
    chosen = [fault for fault in named if (fault.name, fault.promise) not in enough]
    about = {**machine(), "speed": speed()}
    result = asyncio.run(run(chosen, 1 if quick else times, 60 * minutes, lambda line: typer.echo(line, err=True)))
    result = {**about, **result}
    if before is not None:
        result = merged(before, result, [fault.name for fault in FAULTS])
    result["note"] = note or result.get("note", "")
    path = out or (None if quick or (only and not rest) else RESULT)
    if path is not None:
        path.write_text(json.dumps(result, indent=1) + "\n", "utf-8")
    if path == RESULT:
        report.write(result)
    failed = [row["name"] for row in result["rows"] if row["broken"] or row["leaked"]]
    typer.echo(f"{len(result['rows'])} faults; promises broken: {', '.join(failed) or 'none'}; {result['ways']}")
    raise typer.Exit(bool(failed))


def merged(before: dict[str, Any], later: dict[str, Any], names: list[str]) -> dict[str, Any]:
    """The results of a run with those rows of a later one that were injected more often, or for another promise; "later" says
    which, and when."""
    rows, fresh = ({row["name"]: row for row in result["rows"]} for result in (before, later))
    older = {(row["name"], row["promise"]): row["times"] for row in before["rows"]}
    taken = [name for name, row in fresh.items() if row["times"] > older.get((name, row["promise"]), 0)]
    rows |= {name: fresh[name] for name in taken}
    ways = Counter(before["ways"]) + Counter(later["ways"])
    return {
        **before, "rows": [rows[name] for name in names if name in rows],
        "ways": {way: ways[way] for way in {**before["ways"], **later["ways"]}},
        "later": [*before.get("later", []), {"date": later["date"], "commit": later["commit"], "rows": taken}],
    }  # fmt: skip


if __name__ == "__main__":
    typer.run(main)
