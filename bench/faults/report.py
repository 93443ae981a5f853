"""docs/reliability.md and its picture, of what `make faults` measured."""

from __future__ import annotations

from pathlib import Path
from typing import Any

DOCS = Path(__file__).parents[2] / "docs"
WIDEST_S = 20  # that the picture shows
TEXT = """# Reliability

What was promised for each fault, and what became of it: `make faults` injects each of them into a real server, with a camera by WHIP, a viewer by WHEP, a recording and a push by RTSP, and writes this page and its picture. In tests each of these has its own (`tests/unit/test_supervisor.py`, `test_stage.py`, `test_limits.py`, `test_broadcast.py`, `tests/live/`); here it is measured.

Measured {date} at commit {commit} on {cpu}, {cores} cores, with up to {times} injections of each; *n* says how many. {note}

- **Recovery**: the longest interruption, in seconds, less the time that the fault itself lasts; an interruption is a viewer who gets no new picture for {gap:g} s. 0 is none at all.
- **Lost**: pictures of the camera ({fps} a second) that the viewer never saw, from the injection until pictures went on; the first row has what a busy machine loses with nothing wrong.
- **Leaked**: pictures at the viewer with anything of the camera's in them, of those compared. The camera shows a pattern of colours that no portrait has, and {share:.0%} of it would be seen.

![Recovery by fault](images/reliability.svg)

| Fault | Promise | n | Recovery p50, p95 (s) | Lost p50, most | Leaked | |
|---|---|---|---|---|---|---|
{rows}

By the other ways out, over the whole run: {ways}.

## Who looks after what

Every thread and task that a stream depends on (follower, animation stage, encoder, sound, outputs, MQTT, events) has a heartbeat. What has died is begun anew at once, what has been at one piece of work for 5 s (an output: 30 s) is left behind and begun anew, and ever more slowly where that does not help. Meanwhile `/healthz` is 503, `/readyz` says which stream stands still and why, and so do `stalled` in states (REST, MQTT, page) and `puppetcast_stalled`; `puppetcast_restarts_total` counts. A stream whose frames have all failed for 5 s is not ready either. A device that is lost for good is done without ([device.on_loss](configuration.md)).

Under systemd (`docker/puppetcast.service`) the process says when it is ready, reloading or stopping, and feeds the watchdog as long as nothing stands still.
"""


def write(result: dict[str, Any]) -> None:
    """Both files."""
    (DOCS / "reliability.md").write_text(text(result), "utf-8")
    draw(result, DOCS / "images" / "reliability.svg")


def text(result: dict[str, Any]) -> str:
    """The page. Of a result, "note" is what its figures are to be read with."""
    from .house import FPS, GAP_S
    from .mark import LEAKED

    names = dict.fromkeys(key.partition(":")[0] for key in result["ways"])
    ways = "; ".join(
        f"{name} {result['ways'].get(f'{name}: leaked', 0)} of {result['ways'].get(f'{name}: compared', 0)}" for name in names
    )
    rows = "\n".join(_row(row) for row in result["rows"])
    later = (f"{', '.join(each['rows'])}: {each['date']}, at commit {each['commit']}." for each in result.get("later", []))
    note = " ".join([result.get("note", ""), *later]).strip()
    return TEXT.format(**result | {"rows": rows, "ways": ways, "note": note}, gap=GAP_S, fps=FPS, share=LEAKED)


def _row(row: dict[str, Any]) -> str:
    recovery = "–" if row["recovery_p50_s"] is None else f"{row['recovery_p50_s']:.1f}, {row['recovery_p95_s']:.1f}"
    lost = "–" if row["lost_p50"] is None else f"{row['lost_p50']}, {row['lost_most']}"
    told = "; ".join(row["told"])
    broken = (
        f"**{len(row['broken'])} of {row['times'] or len(row['broken'])} not kept**: {row['broken'][0]}" if row["broken"] else ""
    )
    words = "; ".join(part for part in (told, broken) if part).replace("|", "/").replace("\n", " ")
    return f"| {row['name']} | {row['promise']} | {row['times']} | {recovery} | {lost} | {row['leaked']} of {row['compared']} | {words} |"


def draw(result: dict[str, Any], path: Path) -> None:
    """A bar for each fault: p50, and a line to p95."""
    import matplotlib

    matplotlib.use("svg")
    import matplotlib.pyplot as plt

    plt.rcParams.update(
        {
            "svg.hashsalt": "puppetcast",
            "svg.fonttype": "none",
            "font.size": 8,
            "axes.spines.top": False,
            "axes.spines.right": False,
        }
    )
    rows = [row for row in result["rows"] if row["recovery_p50_s"] is not None][::-1]
    figure, axes = plt.subplots(figsize=(9, 0.19 * len(rows) + 1))
    names = [row["name"] for row in rows]
    p50, p95 = ([row[f"recovery_{p}_s"] for row in rows] for p in ("p50", "p95"))
    axes.barh(names, p95, color="#bfe3de", label="p95")
    axes.barh(names, p50, color="#2a9d8f", label="p50")
    axes.plot([0] * len(rows), names, "|", color="#264653")
    axes.set(title="Longest interruption by a fault, beyond its own time (s)", ylim=(-1, len(rows)), xlim=(0, WIDEST_S))
    for row in rows:
        if row["recovery_p95_s"] > WIDEST_S:
            axes.text(WIDEST_S, row["name"], f"{row['recovery_p95_s']:.0f} s", ha="right", va="center")
    axes.legend(frameon=False, loc="lower right")
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)
