"""Draws docs/images/performance.svg from bench/results/: python bench/plot.py"""

from __future__ import annotations

import json
from pathlib import Path

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt

ROOT = Path(__file__).parent
RESULTS = ROOT / "results"


def read(name: str) -> dict:
    return json.loads((RESULTS / f"{name}.json").read_text("utf-8"))


def main(device: str = "cpu-2cores") -> None:
    plt.rcParams.update({"svg.hashsalt": "puppetcast", "font.size": 9, "axes.spines.top": False, "axes.spines.right": False})
    figure, (steps, viewers, streams) = plt.subplots(1, 3, figsize=(12, 3.4), width_ratios=(1.5, 1, 1))
    rows = read(f"device-{device}")["rows"][::-1]
    steps.barh([r["name"] for r in rows], [r["networks"]["M+W+G+S"]["p50"] for r in rows], color="#2a9d8f")
    steps.set_title("LivePortrait, one frame (ms)")
    seen = read(f"viewers-{device}")["viewers"]
    viewers.plot([int(n) for n in seen], [v["server_cpu_percent"] for v in seen.values()], "o-", color="#e9a23b")
    viewers.set(title="viewers of one stream", xlabel="viewers", ylabel="server, % of a core", ylim=(0, None))
    for fps, colour in ((30, "#e76f51"), (15, "#457b9d")):
        rows = read(f"sessions-{device}" if fps == 30 else f"sessions-15fps-{device}")["rows"]
        streams.plot([r["streams"] for r in rows], [r["age_p95_ms"] for r in rows], "o-", color=colour, label=f"{fps} fps asked")
    streams.set(title="streams at one time", xlabel="streams", ylabel="age at send, p95 (ms)", ylim=(0, None))
    streams.legend(frameon=False)
    figure.tight_layout()
    figure.savefig(ROOT.parent / "docs" / "images" / "performance.svg", metadata={"Date": None})


if __name__ == "__main__":
    main()
