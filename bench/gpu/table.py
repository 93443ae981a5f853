"""The results for people: a line as each step ends, and one screen at the end. Needs nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

WIDTH = 118


def progress(line: dict[str, Any]) -> str:
    """What became of a step."""
    outcome = "ok" if line["ok"] else f"skipped: {line['skipped']}" if line["ok"] is None else f"FAILED: {line['error']}"
    return f"{line['step']:10} {line['seconds']:6.1f} s  {outcome}"[:WIDTH]


def screen(path: Path) -> str:
    """Of the last line of each step in a results file."""
    lines = {line["step"]: line for line in map(json.loads, path.read_text("utf-8").splitlines())}
    text = [progress(line) for line in lines.values()]
    figures = {name: line["figures"] for name, line in lines.items() if line.get("figures")}
    for name, rows in ROWS.items():
        if name in figures:
            text += ["", *(row[:WIDTH] for row in rows(figures[name]))]
    return "\n".join(text)


def _flat(figures: dict[str, Any]) -> str:
    return ", ".join(f"{key} {value}" for key, value in figures.items() if not isinstance(value, dict) and value is not None)


def _machine(figures: dict[str, Any]) -> Iterator[str]:
    yield _flat(figures)


def _whole(title: str) -> Any:
    def rows(figures: dict[str, Any]) -> Iterator[str]:
        yield f"{title}: {_flat(figures)}"
        for name, part in figures.items():
            if "launch" in part if isinstance(part, dict) else False:
                launch, collected = part["launch"], part["submit_to_collect"]
                yield (
                    f"  {name:8} replay p50 {launch['p50']} p99 {launch['p99']} ms, submit to collect p50 {collected['p50']} "
                    f"p99 {collected['p99']} ms, overlapped {part['overlapped_fps']} frames/s"
                )
            elif name == "networks":
                yield "  p50 ms  " + ", ".join(f"{key} {ms['p50']}" for key, ms in part.items())
            elif name.startswith("kernels"):
                first = next(iter(part["top"]), "none")
                yield f"  {name}: {part['a_batch']}, most time in {first}"

    return rows


def _pairs(figures: dict[str, Any]) -> Iterator[str]:
    for name, part in figures.items():
        if "other_ms" in part:
            forms = f"{part['ms']:9.3f} -> {part['other_ms']:9.3f} ms, {part['ratio']:.2f} x"
            yield f"  {name:40} {forms}, error {part.get('error', 0):g}"
        elif "ms" in part:
            yield f"  {name:40} {part['ms']:9.3f} ms"


def _prototype(figures: dict[str, Any]) -> Iterator[str]:
    for row in figures["rows"]:
        yield (
            f"  {row['name']:36} {row['inference_s']:8.2f} s {row['ms_per_frame']:8.1f} ms a frame {row['speed_up']:6.2f} x "
            f"{row['frames']:>10} {row['psnr_db'] or 'identical'}"
        )


def _each(figures: dict[str, Any]) -> Iterator[str]:
    for name, part in figures.items():
        yield f"  {name:26} {_flat(part) if isinstance(part, dict) else part}"


def _golden(figures: dict[str, Any]) -> Iterator[str]:
    for name, rows in figures.items():
        if {"skipped", "psnr_db"} & set(rows):
            yield f"  {name:22} {_flat(rows)}"
            continue
        worst, key = max((error / limit, key) for key, (error, limit) in rows.items())
        yield f"  {name:22} {len(rows)} rows, worst {worst:.2f} of its tolerance: {key}"


ROWS = {
    "machine": _machine,
    "ceilings": _machine,
    "golden": _golden,
    "checks": _each,
    "graphs": _whole("graphs, not compiled"),
    "product": _whole("product default"),
    "restart": _whole("the same, started again"),
    "micro": _pairs,
    "prototype": _prototype,
    "noise": _each,
    "faults": _each,
}
