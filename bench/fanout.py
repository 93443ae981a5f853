"""What a viewer costs where many watch: on puppetcast itself, or on an SFU (Debian's Janus) to which it pushes the stream.

`python -m bench.fanout -o bench/results/fanout-NAME.json` wants Janus ('make peers'), and an address beside the loopback ones,
which Janus leaves out. Figures are processor time per second: what else the machine does lengthens nothing.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack, ExitStack
from itertools import product
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Annotated, Any

import aiortc.rtcrtpreceiver
import httpx
import typer
from aioice.ice import get_host_addresses
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription

from bench.cli import _report
from bench.live import LOOPBACK, SEATS, SETTLE_S, _answer_pipe, _NoDecoder, negotiate, process, serve
from pipeline.portrait import DEMO_CLIP
from streamer.app import run
from streamer.cli.console import bar
from streamer.webrtc import aiortc_patches
from tests.janus import Endpoint, Janus, running
from tests.waiting import wait_until

COUNTS = (0, 2, 8)


def _watch(pipe: Connection, addresses: list[str], url: str, viewers: int, janus: str, feed: int) -> None:
    """So many viewers in a process of their own, of the server or of Janus, if that has an address; they decode nothing."""
    aiortc_patches.install(addresses) if addresses else None
    aiortc.rtcrtpreceiver.get_decoder = lambda codec: _NoDecoder()  # type: ignore[attr-defined]

    async def watch() -> None:
        end = threading.Event()
        _answer_pipe(pipe, end.set)
        async with AsyncExitStack() as stack:
            http = await stack.enter_async_context(httpx.AsyncClient(base_url=url))
            sfu = Janus(stack.enter_context(httpx.Client(base_url=janus, timeout=30))) if janus else None
            for _ in range(viewers):
                connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
                stack.push_async_callback(connection.close)
                if sfu is None:
                    connection.addTransceiver("video", direction="recvonly")
                    await negotiate(http, connection, "/live/live/whep")
                else:
                    await _from_janus(sfu, connection, feed)
            pipe.send("watching")
            await asyncio.to_thread(end.wait)

    run(watch())


async def _from_janus(janus: Janus, connection: RTCPeerConnection, feed: int) -> None:
    handle, offer = await asyncio.to_thread(janus.watch, feed)
    await connection.setRemoteDescription(RTCSessionDescription(offer, "offer"))
    await connection.setLocalDescription(await connection.createAnswer())
    await asyncio.to_thread(janus.start, handle, connection.localDescription.sdp)


def _processor_s(pid: int) -> float:
    """User and system time of a process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _row(seconds: float, server: Callable[[], float], sfu: Callable[[], float]) -> dict[str, float]:
    """Percent of a core that both take."""
    time.sleep(SETTLE_S)
    before, began_s = (server(), sfu()), time.monotonic()
    time.sleep(seconds)
    took_s = time.monotonic() - began_s
    return {
        "server_percent": round(100 * (server() - before[0]) / took_s, 2),
        "janus_percent": round(100 * (sfu() - before[1]) / took_s, 2),
    }


def fanout(counts: Sequence[int], seconds: float) -> dict[str, Any]:
    """A row for each number of viewers, on the server itself and on Janus; what each viewer adds, percent of a core."""
    addresses = [each for each in get_host_addresses(use_ipv4=True, use_ipv6=False) if not each.startswith("127.")]
    own: dict[int, dict[str, float]] = {}
    pushed: dict[int, dict[str, float]] = {}
    with bar("rows") as progress:
        for done, (n, rows) in enumerate(product(counts, (own, pushed)), 1):
            rows[n] = _measured(addresses, n, seconds, rows is pushed)
            progress(done, 2 * len(counts))
    first, last = counts[0], counts[-1]

    def each(rows: dict[int, dict[str, float]], key: str) -> float:
        return round((rows[last][key] - rows[first][key]) / (last - first), 2)

    return {
        "clip": DEMO_CLIP.name, "seconds": seconds, "on_the_server": own, "on_janus": pushed,
        "percent_of_a_core_per_viewer": {"server": each(own, "server_percent"), "janus": each(pushed, "janus_percent")},
        "server_percent_per_viewer_on_janus": each(pushed, "server_percent"),
    }  # fmt: skip


def _measured(addresses: list[str], viewers: int, seconds: float, with_janus: bool) -> dict[str, float]:
    with ExitStack() as stack:
        live: dict[str, Any] = {"source": "file", "path": str(DEMO_CLIP)}
        webrtc = {"bind_addresses": addresses if with_janus else LOOPBACK, **dict.fromkeys(SEATS, 200)}
        endpoint: Endpoint | None = None
        if with_janus:
            endpoint = stack.enter_context(running(Path(stack.enter_context(tempfile.TemporaryDirectory()))))
            live["sinks"] = [{"kind": "whip", "target": endpoint.url}]
        url, usage = stack.enter_context(process(serve, 0.0, {"streams": {"live": live}, "webrtc": webrtc}))
        feed = 0
        if endpoint:
            wait_until(lambda: httpx.get(f"{url}/api/streams/live").json()["outputs"][0]["state"] == "live")
            feed = endpoint.feeds[-1]
        if viewers:
            own = [] if with_janus else LOOPBACK
            stack.enter_context(process(_watch, own, url, viewers, endpoint.address if endpoint else "", feed))
        return _row(seconds, lambda: usage()[0], lambda: _processor_s(endpoint.pid) if endpoint else 0.0)


def main(
    seconds: Annotated[float, typer.Option(min=1, help="How long to measure each row.")] = 15,
    out: Annotated[Path | None, typer.Option("-o", "--output", help="The JSON file to write, instead of stdout.")] = None,
) -> None:
    """What a viewer costs on puppetcast itself, and on Janus to which it pushes."""
    _report(fanout(COUNTS, seconds), out)


if __name__ == "__main__":
    typer.run(main)
