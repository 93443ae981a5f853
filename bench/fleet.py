"""A fleet's faults, and what it adds, measured: `python -m bench.fleet` (root, Redis, Ray, Chromium; some 25 minutes).

Two Ray nodes with a worker each, four streams of the mesh engine; the page in Chromium drives and watches one, publishers and
viewers of `streamer.client` in this process the others. Everything shares the machine's cores: what kills and freezes do to
others is said beside the same time without any. The file has what each step told as soon as it has ended; after one that has
failed the next begins with a fresh fleet.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from streamer.webrtc import aiortc_patches

from .cluster import HEAD, Cluster, enter, save
from .fleet_adds import Adds
from .fleet_clients import SIDE, Clients
from .fleet_faults import STREAMS, Faults
from .machine import machine

# Each worker plans with more cores than there are, so that it has room for all streams when the other is gone.
SECTIONS: dict[str, Any] = {
    "engine": {"max_side": SIDE}, "device": {"min_fps": 2, "cores": 4}, "fleet": {},
}  # fmt: skip
STEPS = ("quiet", "streams", "requests", "kills", "director", "freeze", "drain", "head")
RESULT = Path(__file__).parent / "results" / "fleet.json"


class Run:
    """All steps, or those that are asked for, on one cluster."""

    def __init__(self, cluster: Cluster, given: argparse.Namespace) -> None:
        self._cluster, self._given, self._adds = cluster, given, Adds(cluster)
        self.figures: dict[str, Any] = {"machine": machine(), "dead_after_ms": given.dead_after_ms, "fps": given.fps}

    async def all(self) -> None:
        left = [name for name in STEPS if name in (self._given.only or STEPS)]
        while left:
            async with self._driven() as faults:
                while left and await self._step(left.pop(0), faults):
                    pass

    @asynccontextmanager
    async def _driven(self):  # type: ignore[no-untyped-def]
        """A fleet that has just begun, with its clients."""
        await asyncio.to_thread(self._cluster.clear)
        up_s = await asyncio.to_thread(self._cluster.up)
        clients = Clients(self._cluster.url, STREAMS, self._cluster.folder, self._given.fps)
        faults = Faults(self._cluster, clients, self.figures)
        if "start_s" not in self.figures:
            self.figures |= {"start_s": round(up_s, 1), "at rest": await self._adds.at_rest()}
        await faults.placement()
        running = asyncio.create_task(clients.run())
        try:
            yield faults
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

    async def _step(self, name: str, faults: Faults) -> bool:
        """Whether it went to its end."""
        given = self._given
        steps: dict[str, Callable[[], Awaitable[None]]] = {
            "quiet": faults.quiet, "streams": self._streams, "requests": self._requests,
            "kills": lambda: faults.kills(given.kills), "director": faults.director, "freeze": faults.freeze,
            "drain": faults.drain, "head": lambda: faults.head(given.head_away),
        }  # fmt: skip
        try:
            await faults.settled()
            await steps[name]()
        except Exception as exc:
            self.figures[f"{name} failed"] = f"{type(exc).__name__}: {exc}"
        print(name, {key: value for key, value in self.figures.items() if key not in ("machine", "at rest")}, flush=True)
        save(self.figures, self._given.out)
        return f"{name} failed" not in self.figures

    async def _streams(self) -> None:
        self.figures["a stream"] = await self._adds.of_streams(len(STREAMS))

    async def _requests(self) -> None:
        self.figures["a request"] = await self._adds.of_requests(STREAMS[0])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--fps", type=int, default=10, help="pictures a second of each stream")
    parser.add_argument("--head-away", type=float, default=600.0, help="seconds")
    parser.add_argument("--only", nargs="*", help=f"some of: {' '.join(STEPS)}")
    parser.add_argument("--dead-after-ms", type=int, default=1500)
    parser.add_argument("-o", "--out", type=Path, default=RESULT)
    given = parser.parse_args()
    enter("bench.fleet", sys.argv[1:])
    sections = {**SECTIONS, "budget": {"max_frames": given.fps}, "fleet": {"dead_after_ms": given.dead_after_ms}}
    run = Run(Cluster(sections), given)
    aiortc_patches.install([HEAD])
    try:
        asyncio.run(run.all())
    finally:
        save(run.figures, given.out)


if __name__ == "__main__":
    main()
