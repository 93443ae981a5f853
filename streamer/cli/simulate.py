"""`puppetcast fleet simulate`: how many machines a fleet needs, before there are any."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from pipeline import outfile
from pipeline.errors import PuppetError

from ..fleet.plan import Plan
from ..fleet.simulate import Simulation
from .console import bar, console, one_line_errors

ENDINGS = (".svg", ".png")
PLAN = Plan()


def _percent(most: float, text: str) -> Any:
    return typer.Option(min=0, max=most, help=text)


def simulate(
    streams: Annotated[int, typer.Option(min=1, max=100_000, help="How many streams there are at a time.")] = PLAN.streams,
    minutes: Annotated[float, typer.Option(min=1, max=1440, help="How long it goes on.")] = PLAN.minutes,
    arrivals: Annotated[float, typer.Option(min=0.01, max=100, help="New streams a minute, percent.")] = PLAN.arrivals,
    spare: Annotated[float, _percent(100, "Streams for which there is to be room at any time, percent.")] = PLAN.spare,
    burst: Annotated[float, _percent(100, "Streams that come beside within the minute in the middle, percent.")] = PLAN.burst,
    error: Annotated[float, _percent(100, "By how much a new stream's cost is guessed wrong, percent.")] = PLAN.error * 100,
    median_share: Annotated[
        float, typer.Option(min=0.01, max=0.9, help="Share of a worker that half of the streams exceed.")
    ] = PLAN.median_share,
    limit: Annotated[float, typer.Option(min=0.1, max=1, help="fleet.limit: share up to which workers are filled.")] = PLAN.limit,
    mttf_hours: Annotated[float, typer.Option(min=0, help="Hours after which a worker dies, on average; 0: none does.")] = 0,
    boot_s: Annotated[float, typer.Option(min=0, help="Seconds until a further worker takes streams.")] = PLAN.boot_s,
    report_late_s: Annotated[float, typer.Option(min=0, max=60, help="Seconds by which workers' reports are late.")] = 0,
    spread: Annotated[bool, typer.Option("--spread", help="Streams go to the emptiest worker instead of the fullest.")] = False,
    seed: Annotated[int, typer.Option(help="Another one makes up another run.")] = PLAN.seed,
    as_json: Annotated[bool, typer.Option("--json", help="Everything as JSON, with one row for every ten seconds.")] = False,
    plot: Annotated[Path | None, typer.Option(help="Draw the run: a file that ends in .svg or .png.")] = None,
) -> None:
    """Try a fleet of any size: the code that places streams, with streams and workers that are made up. Needs no Ray."""
    plan = replace(
        PLAN, streams=streams, minutes=minutes, arrivals=arrivals, spare=spare, burst=burst, error=error / 100,
        median_share=median_share, limit=limit, mttf_hours=mttf_hours, boot_s=boot_s, report_late_s=report_late_s,
        spread=spread, seed=seed,
    )  # fmt: skip
    with one_line_errors():
        if plot is not None:
            outfile.check(plot, ENDINGS)
        if median_share > limit:
            raise PuppetError(f"--median-share: {median_share:g} is above --limit, {limit:g}: such a stream fits nowhere")
        began_s = time.process_time()
        with bar("minutes simulated") as progress:
            figures = Simulation(plan).run(progress)
        figures["processor_s"] = round(time.process_time() - began_s, 1)
        if plot is not None:
            _draw(figures, plot)
    typer.echo(json.dumps(figures)) if as_json else _tell(figures)


def _tell(figures: dict[str, Any]) -> None:
    table = Table("", "p50", "p99", "most", "of", box=None)
    for name, each in {"share of a worker": figures["share"], **_waits(figures)}.items():
        table.add_row(name, *(f"{each[key]:g}" for key in ("p50", "p99", "max", "n")))
    console.print(table)
    console.print(
        f"{figures['workers']} workers for {figures['streams']} streams, {figures['unused_percent']:g} % of their room unused; "
        f"{figures['deaths']} died, {figures['workers_begun']} were begun, {figures['workers_ended']} were done without; "
        f"{figures['moved']} streams moved; {figures['processor_s']:g} s of processor time"
    )


def _waits(figures: dict[str, Any]) -> dict[str, dict[str, float]]:
    names = {"new": "a new stream waited, s", "moved": "a moved stream waited, s"}
    return {names[kind]: each for kind, each in figures["waited_s"].items()}


PANELS: dict[str, tuple[str, ...]] = {
    "workers": ("workers",),
    "share of a worker": ("share_max", "share_p99", "share_mean"),
    "streams that wait": ("waiting",),
    "places for streams of p95 cost": ("places",),
}


def _draw(figures: dict[str, Any], path: Path) -> None:
    """A panel for each of PANELS, by minutes."""
    import matplotlib

    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    plt.rcParams.update({"svg.hashsalt": "puppetcast", "font.size": 9, "axes.spines.top": False, "axes.spines.right": False})
    rows = figures["series"]
    figure, panels = plt.subplots(1, len(PANELS), figsize=(14, 3.2))
    for panel, (title, lines) in zip(panels, PANELS.items(), strict=True):
        for line in lines:
            panel.plot(
                [row["s"] / 60 for row in rows], [row[line] for row in rows], label=line.replace("share_", ""), linewidth=1.2
            )
        panel.set(title=title, xlabel="minutes", ylim=(0, max([1.0, *(row[line] * 1.1 for row in rows for line in lines)])))
    panels[1].axhline(figures["plan"]["limit"], color="#999", linewidth=0.8, linestyle="--", label="limit")
    panels[1].legend(frameon=False, loc="lower right")
    figure.tight_layout()
    with outfile.finished(path) as part:
        figure.savefig(part, format=path.suffix[1:], metadata={"Date": None} if path.suffix == ".svg" else None)
    plt.close(figure)
