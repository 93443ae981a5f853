"""A server that counts itself: for each line on standard input, one line of JSON. `python -m tests.soak.server`."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import sys
import threading
from pathlib import Path

from pipeline import malloc
from pipeline.engine import open_engine
from pipeline.face.faces import faces_by
from streamer import app
from streamer.config import Config

from ..fakes import FakeEngine, WallTime

FAULTS = 5  # frames in a row that the engine fails on, when it is told to
SETTINGS = {
    "http": {"port": 0, "max_listeners_per_address": 64}, "downloads": {"fetch": False}, "portraits": {"max_count": 8},
    "auth": {"requests_per_minute": 100_000},
    "webrtc": {"bind_addresses": ["127.0.0.1"], "max_sessions_per_address": 32, "max_connecting_per_address": 16},
    "engine": {"max_side": 256}, "device": {"min_fps": 1},
    "streams": {"live": {}, "pattern": {"source": "pattern", "puppet": {"max_fps": 15}}},
}  # fmt: skip


def held(server: app.Server) -> dict[str, float]:
    """What there is, once all that can go has gone."""
    gc.collect()
    malloc.give_back()
    status = Path("/proc/self/status").read_text()
    return {
        "objects": len(gc.get_objects()),
        "tasks": len(asyncio.all_tasks()),
        "threads": threading.active_count(),
        "descriptors": len(os.listdir("/proc/self/fd")),
        "rss_mb": int(status.split("VmRSS:")[1].split()[0]) / 1024,
        "sessions": len(server.sessions),
        "frames": sum(state.animated for state in server.control.states()),
        "errors": sum(state.errors for state in server.control.states()),
    }


async def serve(folder: Path) -> int:
    kept = {"persistence": {"file": str(folder / "state.json")}, "recording": {"folder": str(folder), "max_total_mb": 20}}
    kept["portraits"] = {"folder": str(folder / "portraits"), "max_count": 8}
    engine = FakeEngine(WallTime(), open_engine("mesh", faces_by(None)))
    server = app.Server(Config.model_validate({**SETTINGS, **kept}), engine)
    failing = [0]

    def fault(work: object) -> None:
        if failing[0]:
            failing[0] -= 1
            raise RuntimeError("a fault of the soak test's")

    engine.fault = fault
    asked: asyncio.Queue[str] = asyncio.Queue()
    loop = asyncio.get_running_loop()
    threading.Thread(
        target=lambda: [loop.call_soon_threadsafe(asked.put_nowait, line) for line in sys.stdin], daemon=True
    ).start()

    async def answer() -> None:
        while True:
            line = await asked.get()
            if line.startswith("fail"):
                failing[0] = FAULTS
            else:
                print(json.dumps(held(server)), flush=True)

    answering = asyncio.create_task(answer())
    try:
        return await server.serve(lambda url: print(url, flush=True))
    finally:
        answering.cancel()


if __name__ == "__main__":
    app.run(serve(Path(sys.argv[1])))
