"""Injects faults, several times each, and measures what becomes of a camera and its viewer."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import av
import httpx
import numpy as np

from streamer.webrtc import aiortc_patches

from . import mark, places
from .house import House
from .server import LOOPBACK
from .table import Fault

Say = Callable[[str], None]


@dataclass
class Row:
    """What was measured of a fault. told: in words, by the injections; broken: promises that were."""

    name: str
    promise: str
    recovery_s: list[float] = field(default_factory=list)
    lost: list[int] = field(default_factory=list)
    compared: int = 0
    leaked: int = 0
    told: Counter[str] = field(default_factory=Counter)
    broken: list[str] = field(default_factory=list)

    def figures(self) -> dict[str, Any]:
        p50, p95 = np.percentile(self.recovery_s, [50, 95]) if self.recovery_s else (None, None)
        return {
            "name": self.name, "promise": self.promise, "times": len(self.recovery_s),
            "recovery_p50_s": None if p50 is None else round(float(p50), 2),
            "recovery_p95_s": None if p95 is None else round(float(p95), 2),
            "lost_p50": int(np.median(self.lost)) if self.lost else None, "lost_most": max(self.lost, default=None),
            "compared": self.compared, "leaked": self.leaked, "told": dict(self.told), "broken": self.broken,
        }  # fmt: skip


async def inject(house: House, fault: Fault, row: Row) -> None:
    """Once, and wait until pictures go on."""
    began_s, looked_at, leaked = time.monotonic(), house.seen.looked_at, house.seen.leaked
    try:
        async with asyncio.timeout(90):
            told = await fault.inject(house)
        if isinstance(told, str):
            row.told[told] += 1
    except Exception as exc:  # one fault that goes wrong must not cost the table of all
        row.broken.append(f"{type(exc).__name__}: {exc}"[:200])
    await house.snapshot()
    if not await house.steady(began_s + fault.lasts_s):
        row.broken.append("no pictures any more")
        await house.publish()
        await house.watch()
        await house.steady(time.monotonic())
        return
    row.recovery_s.append(house.recovery_s(began_s, fault.lasts_s))
    row.lost.append(house.lost(began_s))
    row.compared += house.seen.looked_at - looked_at
    row.leaked += house.seen.leaked - leaked


async def run(faults: list[Fault], times: int, seconds: float, say: Say) -> dict[str, Any]:
    """All of them, each so many times, or as often as there is time; what was seen by each way out of the server."""
    aiortc_patches.install(LOOPBACK)
    rows: dict[str, Row] = {fault.name: Row(fault.name, fault.promise) for fault in faults}
    ways: Counter[str] = Counter()
    left = len(faults)
    for place in dict.fromkeys(fault.place for fault in faults):
        with TemporaryDirectory() as folder:
            here = [fault for fault in faults if fault.place == place]
            begin_s = time.monotonic()
            try:
                async with opened(place, Path(folder)) as house:
                    begin_s = time.monotonic()
                    end_s = begin_s + seconds * len(here) / left  # what one place does not take, the next ones have
                    for time_ in range(times):  # so that a moment at which the machine is busy does not meet one of them alone
                        for fault in here:
                            if time.monotonic() > end_s:
                                break
                            await inject(house, fault, rows[fault.name])
                            say(f"{time_ + 1}. {rows[fault.name].figures()}")
                    count(ways, house)
                    say(f"{place}: {await house.server.do('state')}")
            except (places.NotHere, OSError, EOFError, RuntimeError, httpx.HTTPError) as exc:  # the other places are there still
                say(f"{place}: {type(exc).__name__}: {exc}")
                for fault in here:
                    if len(rows[fault.name].recovery_s) < times:
                        rows[fault.name].broken.append(f"not tried: {exc}")
            seconds, left = seconds - (time.monotonic() - begin_s), left - len(here)
            for way, file in (("recording", "*.mp4"), ("push by RTSP", "*.mkv")):
                for path in sorted(Path(folder).rglob(file)):
                    ways.update(of_file(path, way))
    return {"times": times, "rows": [row.figures() for row in rows.values()], "ways": dict(ways)}


@asynccontextmanager
async def opened(place: str, folder: Path) -> AsyncIterator[House]:
    """A place of `places.PLACES`."""
    async with AsyncExitStack() as stack:
        yield await stack.enter_async_context(places.PLACES[place](folder))


def count(ways: Counter[str], house: House) -> None:
    for way, seen in (("view", house.seen), ("snapshot.jpg", house.snapshots), ("mjpeg", house.mjpeg)):
        ways[f"{way}: compared"] += seen.looked_at
        ways[f"{way}: leaked"] += seen.leaked


def of_file(path: Path, way: str) -> Counter[str]:
    """What is in a file that the server wrote, or sent to somebody who did; one that was cut off has an end."""
    found: Counter[str] = Counter()
    try:
        with av.open(str(path)) as opened:
            for frame in opened.decode(video=0):
                found[f"{way}: compared"] += 1
                found[f"{way}: leaked"] += mark.of_frame(frame) > mark.LEAKED
    except av.FFmpegError:
        found[f"{way}: files cut off"] += 1
    return found
