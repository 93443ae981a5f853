"""`make soak MIN=60 SEED=1`: rounds of visits by four at a time, and after each, when all are gone, a count of what is held.

`--cycles 1000` instead lets somebody publish, watch and go so many times, one after the other.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import subprocess
import sys
import time
from collections import Counter
from contextlib import AsyncExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx
import matplotlib
import numpy as np

from bench.machine import machine

from ..peers import connected, pictures, publishing, watching
from .visitors import Visitors

matplotlib.use("svg")
ROUND_S, AT_ONCE = 20.0, 4
HELD = ("objects", "tasks", "threads", "descriptors", "rss_mb")
WARM = 0.2  # of the counts, the first ones: pools and caches fill themselves


class Server:
    """One in a process of its own."""

    def __init__(self, folder: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.soak.server", folder], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdout is not None
        self.url = self.process.stdout.readline().strip()
        assert self.url, "the server did not start"

    def tell(self, word: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(word + "\n")
        self.process.stdin.flush()

    async def held(self) -> dict[str, float]:
        """What it holds, once everybody is gone."""
        for _ in range(60):
            self.tell("count")
            assert self.process.stdout is not None
            found: dict[str, float] = json.loads(await asyncio.to_thread(self.process.stdout.readline))
            if not found["sessions"]:
                return found
            await asyncio.sleep(0.5)
        return found

    def end(self) -> int:
        self.process.terminate()
        return self.process.wait(30)


async def rounds(server: Server, minutes: float, seed: int) -> tuple[list[dict[str, float]], Counter[str]]:
    """What is held after each round, with the minute; how many visits of each kind there were."""
    begin, counts, done = time.monotonic(), [], Counter[str]()
    limits = httpx.Limits(max_keepalive_connections=0)
    async with httpx.AsyncClient(base_url=server.url, timeout=60, limits=limits) as http:
        rngs = [random.Random(f"{seed} {k}") for k in range(AT_ONCE)]
        while time.monotonic() - begin < minutes * 60:
            end = time.monotonic() + ROUND_S

            async def visits(rng: random.Random, end: float = end) -> None:
                visitors = Visitors(http, rng, lambda: server.tell("fail"), server.process.pid)
                while time.monotonic() < end:
                    done[await visitors.come()] += 1

            await asyncio.gather(*map(visits, rngs))
            counts.append({"minute": (time.monotonic() - begin) / 60, **await server.held()})
            print(json.dumps(counts[-1]), flush=True)
    return counts, done


async def cycles(server: Server, number: int) -> tuple[list[dict[str, float]], Counter[str]]:
    """What is held after every fiftieth time that somebody has published, watched and gone."""
    begin, counts = time.monotonic(), []
    limits = httpx.Limits(max_keepalive_connections=0)
    async with httpx.AsyncClient(base_url=server.url, timeout=60, limits=limits) as http:
        for k in range(1, number + 1):
            async with AsyncExitStack() as stack:
                camera = await stack.enter_async_context(publishing(http))
                viewer, receiver = await stack.enter_async_context(watching(http, "H264" if k % 2 else "VP8"))
                await connected(camera, viewer)
                await pictures(receiver, 1)
            if k % 50 == 0 or k == number:
                minute = (time.monotonic() - begin) / 60
                counts.append({"minute": minute, "cycle": k, **await server.held()})
                print(json.dumps(counts[-1]), flush=True)
    return counts, Counter({"published, watched, gone": number})


def slopes(counts: list[dict[str, float]], over: str) -> dict[str, dict[str, float]]:
    """By how much each grows per unit of `over`, with the first and last of the counts, warming up left out."""
    kept = counts[int(len(counts) * WARM) :]
    at = [count[over] for count in kept]
    found = {}
    for key in HELD:
        values = [count[key] for count in kept]
        slope = float(np.polyfit(at, values, 1)[0]) if len(kept) > 2 else float("nan")
        found[key] = {"first": values[0], "last": values[-1], "most": max(values), "slope": round(slope, 4)}
    return found


def draw(counts: list[dict[str, float]], over: str, path: Path) -> None:
    import matplotlib.pyplot as plt

    plt.rcParams.update({"svg.hashsalt": "puppetcast", "font.size": 9, "axes.spines.top": False, "axes.spines.right": False})
    figure, axes = plt.subplots(1, len(HELD), figsize=(13, 2.6))
    for axis, key in zip(axes, HELD, strict=True):
        axis.plot([count[over] for count in counts], [count[key] for count in counts], "o-", ms=2, lw=1, color="#2a9d8f")
        axis.set(title=key.replace("rss_mb", "memory, MB"), xlabel=over, ylim=(0, 1.1 * max(count[key] for count in counts)))
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--cycles", type=int, help="of publishing, watching and going, instead of minutes")
    parser.add_argument("-o", "--output", type=Path, default=Path("out/soak.json"))
    asked = parser.parse_args()
    with TemporaryDirectory() as folder:
        server = Server(folder)
        work = cycles(server, asked.cycles) if asked.cycles else rounds(server, asked.minutes, asked.seed)
        counts, visits = asyncio.run(work)
        code = server.end()
    over = "cycle" if asked.cycles else "minute"
    report: dict[str, Any] = {
        **machine(), "seed": asked.seed, "exit_code": code, "visits": dict(sorted(visits.items())),
        f"held, per {over}": slopes(counts, over), "counts": counts,
    }  # fmt: skip
    asked.output.parent.mkdir(parents=True, exist_ok=True)
    asked.output.write_text(json.dumps(report, indent=1) + "\n")
    draw(counts, over, asked.output.with_suffix(".svg"))
    for key, found in report[f"held, per {over}"].items():
        print(f"{key:12} first {found['first']:10.0f}  last {found['last']:10.0f}  per {over} {found['slope']:+.3f}")
    return code


if __name__ == "__main__":
    sys.exit(main())
