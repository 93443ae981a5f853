"""How many streams a core holds when those who watch have a core of their own: `python -m bench.capacity -o FILE.json`.

Wants two cores and nothing else at work. A clip drives each stream; server and viewers are pinned to one core each, as if they
were two machines. What the model of docs/scaling.md says is beside what was held.
"""

from __future__ import annotations

import os
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Annotated, Any

import httpx
import typer

from bench.cli import _report
from bench.live import AGE_LIMIT_MS, SETTLE_S, _spectate, process, serve
from pipeline.errors import PuppetError
from pipeline.portrait import DEMO_CLIP
from streamer.cli.console import bar, one_line_errors

SERVER, VIEWERS = 0, 1  # which of the cores that we may use
MANY = 5  # viewers, for what one more costs


def _pinned_server(pipe: Connection, core: int, sections: dict[str, Any]) -> None:
    os.sched_setaffinity(0, {core})
    serve(pipe, 0.0, sections)


def _pinned_viewers(pipe: Connection, core: int, url: str, streams: list[str]) -> None:
    os.sched_setaffinity(0, {core})
    _spectate(pipe, url, streams)


def _row(cores: list[int], fps: int, count: int, viewers: int, seconds: float) -> dict[str, Any]:
    """`count` streams with `viewers` each. cores_used: by the server, of its one."""
    names = [f"s{k}" for k in range(count)]
    sections = {
        "streams": {name: {"source": "file", "path": str(DEMO_CLIP)} for name in names}, "budget": {"max_frames": fps},
    }  # fmt: skip
    with (
        process(_pinned_server, cores[SERVER], sections) as (url, usage),
        process(_pinned_viewers, cores[VIEWERS], url, names * viewers),
        httpx.Client(base_url=url, timeout=30) as http,
    ):
        time.sleep(SETTLE_S)
        before, cpu_s, began_s = _animated(http), usage()[0], time.monotonic()
        time.sleep(seconds)
        after, took_s = _animated(http), time.monotonic() - began_s
        ages = [state["age_p95_ms"] for state in http.get("/api/streams").json()]
        return {
            "streams": count, "viewers": viewers, "cores_used": round((usage()[0] - cpu_s) / took_s, 3),
            "fps_least": round(min((after[name] - before[name]) / took_s for name in names), 1),
            "age_p95_ms": max(float("inf") if age is None else age for age in ages),
        }  # fmt: skip


def _animated(http: httpx.Client) -> dict[str, int]:
    return {state["name"]: state["animated"] for state in http.get("/api/streams").json()}


def capacity(fps: int, most: int, seconds: float) -> dict[str, Any]:
    """One stream more at a time until one of them gets less than nine tenths of `fps`, or pictures are too old."""
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        raise PuppetError("bench.capacity: two cores are needed, one for the server and one for those who watch")
    with bar("streams") as progress:
        rows: list[dict[str, Any]] = []
        for count in range(1, most + 1):
            rows.append(_row(cores, fps, count, 1, seconds))
            progress(count, most)
            if rows[-1]["fps_least"] < 0.9 * fps or rows[-1]["age_p95_ms"] > AGE_LIMIT_MS:
                break
        held = [row for row in rows if row["fps_least"] >= 0.9 * fps and row["age_p95_ms"] <= AGE_LIMIT_MS]
        many = _row(cores, fps, 1, MANY, seconds)
    per_viewer = max((many["cores_used"] - rows[0]["cores_used"]) / (MANY - 1), 0.0)
    with_viewer = held[-1]["cores_used"] / len(held) if held else rows[0]["cores_used"]
    return {
        "clip": DEMO_CLIP.name, "fps": fps, "seconds": seconds, "held": len(held), "rows": rows, "many_viewers": many,
        "cores_per_stream": round(with_viewer - per_viewer, 4), "cores_per_viewer": round(per_viewer, 4),
        "share_held": held[-1]["cores_used"] if held else 0.0, "model_at_limit_0.9": int(0.9 / with_viewer),
    }  # fmt: skip


def main(
    fps: Annotated[int, typer.Option(min=1, max=60, help="Pictures a second of each stream.")] = 15,
    most: Annotated[int, typer.Option(min=1, help="Try no more streams.")] = 16,
    seconds: Annotated[float, typer.Option(min=1, help="How long to measure each number of streams.")] = 15,
    out: Annotated[Path | None, typer.Option("-o", "--output", help="The JSON file to write, instead of stdout.")] = None,
) -> None:
    """How many streams one core holds, and what one more viewer takes."""
    with one_line_errors():
        figures = capacity(fps, most, seconds)
    _report(figures, out)


if __name__ == "__main__":
    typer.run(main)
