"""Servers for the faults: an ordinary one, and some with little of something."""

from __future__ import annotations

import asyncio
import os
import resource
import shutil
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, ExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

from streamer.webrtc import aiortc_patches
from tests.lossy_link import FAR, FAR_ADDRESS, NEAR, NEAR_ADDRESS, being_on, lossy_link

from .house import House, housed
from .server import LOOPBACK, process, sections

ROOT = Path(__file__).parents[2]


class NotHere(Exception):
    """What a place needs is not on this machine."""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Broker:
    """mosquitto, again and again on the same port. now: the one that runs."""

    def __init__(self) -> None:
        self.port = free_port()
        self.start()

    def start(self) -> None:
        command = ["mosquitto", "-p", str(self.port)]
        self.now = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for _ in range(100):  # until it takes connections
            with socket.socket() as probe:
                if not probe.connect_ex(("127.0.0.1", self.port)):
                    break
            time.sleep(0.1)

    def end(self) -> None:
        self.now.kill()
        self.now.wait()


@contextmanager
def recorder(port: int, file: Path) -> Iterator[None]:
    """GStreamer's RTSP server, which writes what is pushed to it."""
    command = ["/usr/bin/python3", str(ROOT / "tests" / "rtsp_recorder.py"), str(port), str(file)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as running:
        try:
            yield
        finally:
            running.terminate()


@asynccontextmanager
async def main(folder: Path) -> AsyncIterator[House]:
    """An ordinary server, which records, pushes by RTSP and has a broker; a stream 'side', and 'net' of a camera that is away."""
    with ExitStack() as stack:
        sinks: list[dict[str, Any]] = [{"kind": "recording"}]
        if shutil.which("gst-inspect-1.0") or Path("/usr/lib/python3/dist-packages/gi").exists():
            port = free_port()
            stack.enter_context(recorder(port, folder / "pushed.mkv"))
            sinks.append({"kind": "push", "target": f"rtsp://127.0.0.1:{port}/in"})
        rtsp, broker = free_port(), Broker()
        stack.callback(broker.end)
        config = sections(
            recording={"folder": str(folder / "recordings")}, mqtt={"url": f"mqtt://127.0.0.1:{broker.port}"},
            streams={"live": {"sinks": sinks}, "side": {}, "net": {"source": "network", "path": f"rtsp://127.0.0.1:{rtsp}/x"}},
        )  # fmt: skip
        async with housed(stack.enter_context(process(config))) as house:
            house.broker, house.camera_port = broker, rtsp  # type: ignore[attr-defined]
            await house.watch_jpeg()
            yield house


@asynccontextmanager
async def disk(folder: Path) -> AsyncIterator[House]:
    """One whose recordings have 1 MB."""
    full = folder / "small"
    full.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(full)], capture_output=True, check=False).returncode:
        raise NotHere("a small disk cannot be mounted here")
    try:
        with process(sections(recording={"folder": str(full)}, streams={"live": {}})) as server:
            async with housed(server) as house:
                house.folder = full  # type: ignore[attr-defined]
                yield house
    finally:
        subprocess.run(["umount", str(full)], check=False)


def limited(which: int, value: int) -> Callable[[Path], AbstractAsyncContextManager[House]]:
    """One with a limit of the operating system's."""

    @asynccontextmanager
    async def place(folder: Path) -> AsyncIterator[House]:
        with process(sections(streams={"live": {}}), {which: value}) as server:
            async with housed(server) as house:
                yield house

    return place


@asynccontextmanager
async def again(folder: Path) -> AsyncIterator[House]:
    """One that records, and that can be ended and started again at the same address: `restart`, with a signal."""
    config = sections(
        http={"port": free_port()}, recording={"folder": str(folder)}, streams={"live": {"sinks": [{"kind": "recording"}]}}
    )
    with ExitStack() as stack:
        running = stack.enter_context(process(config))
        async with housed(running) as house:

            async def restart(number: int) -> None:
                os.kill(house.server.process.pid or 0, number)
                await asyncio.to_thread(house.server.process.join)
                house.server = await asyncio.to_thread(lambda: stack.enter_context(process(config)))
                await house.publish()
                await house.watch()

            house.restart = restart  # type: ignore[attr-defined]
            yield house


def lossy(loss: float) -> Callable[[Path], AbstractAsyncContextManager[House]]:
    """One on another host, behind a line that takes 100 ms each way and loses so many packets of all kinds."""

    @asynccontextmanager
    async def place(folder: Path) -> AsyncIterator[House]:
        with ExitStack() as stack:
            try:
                stack.enter_context(lossy_link(0.1, loss))
            except (OSError, subprocess.CalledProcessError) as exc:
                raise NotHere(f"network namespaces are not permitted ({exc})") from exc
            config = sections(http={"host": NEAR_ADDRESS}, webrtc={"bind_addresses": [NEAR_ADDRESS]}, streams={"live": {}})
            server = stack.enter_context(process(config, host=NEAR))
            aiortc_patches.uninstall()
            aiortc_patches.install([FAR_ADDRESS])
            try:
                with being_on(FAR):
                    async with housed(server) as house:
                        yield house
            finally:
                aiortc_patches.uninstall()
                aiortc_patches.install(LOOPBACK)

    return place


PLACES: dict[str, Callable[[Path], AbstractAsyncContextManager[House]]] = {
    "main": main,
    "disk": disk,
    "descriptors": limited(resource.RLIMIT_NOFILE, 96),
    "memory": limited(resource.RLIMIT_AS, 4_000_000_000),
    "again": again,
    "1 % lost": lossy(0.01),
    "5 % lost": lossy(0.05),
    "10 % lost": lossy(0.1),
}
