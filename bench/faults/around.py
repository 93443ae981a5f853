"""What the server leans on: brokers, cameras by RTSP, disks, and the process itself."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import aiomqtt

from .house import House


async def broker_gone(house: House) -> None:
    """The MQTT broker is killed, and comes back after a second."""
    house.broker.now.kill()  # type: ignore[attr-defined]
    await asyncio.sleep(1)
    await asyncio.to_thread(house.broker.start)  # type: ignore[attr-defined]


async def mqtt_garbage(house: House) -> str:
    """What cannot be read comes as commands, and answers are asked for where none may go; the next command is done."""
    port = house.broker.port  # type: ignore[attr-defined]
    async with aiomqtt.Client("127.0.0.1", port, protocol=aiomqtt.ProtocolVersion.V5) as client:
        await client.subscribe("puppetcast/live/cmd/mirror/result")
        for payload in ("[" * 12_000, bytes(2_000_000), b"\xff\xfe"):
            await client.publish("puppetcast/live/cmd/change", payload, qos=1)
        for _ in range(200):
            await client.publish("puppetcast/live/cmd/smoothing", "0.5")
        async with asyncio.timeout(20):
            while True:  # some of those that come too fast are dropped
                await client.publish("puppetcast/live/cmd/mirror", "false", qos=1)
                with suppress(TimeoutError):
                    async with asyncio.timeout(2):
                        await anext(aiter(client.messages))
                        return "the next command is done"


async def rtsp_garbage(house: House) -> str:
    """The other stream's camera answers with noise."""
    rng, asked = random.Random(1), 0

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal asked
        asked += 1
        with suppress(OSError):
            writer.write(b"RTSP/1.0 200 OK\r\nCSeq: 1\r\n" * (asked % 2) + rng.randbytes(20_000))
            await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", house.camera_port):  # type: ignore[attr-defined]
        async with asyncio.timeout(15):
            while asked < 1:
                await asyncio.sleep(0.1)
        await asyncio.sleep(1)
    state = (await house.http.get("/api/streams/net")).json()["source"]
    assert state["state"] != "live", state
    return "not live, and says why" if state["detail"] else "not live"


async def recorded_until(house: House, holds: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
    """The state of a recording that is begun now, once that holds."""
    (await house.http.patch("/api/streams/live", json={"recording": True})).raise_for_status()
    async with asyncio.timeout(30):
        while True:
            recording: dict[str, Any] = (await house.http.get("/api/streams/live")).json()["recording"]
            if holds(recording):
                return recording
            await asyncio.sleep(0.1)


async def disk_full(house: House) -> str:
    """A recording comes to the end of its disk."""
    folder = house.folder  # type: ignore[attr-defined]
    filled = folder / "filled"
    await asyncio.to_thread(filled.write_bytes, bytes(900_000))
    state = await recorded_until(house, lambda recording: not recording["running"])
    await asyncio.to_thread(lambda: [path.unlink() for path in folder.iterdir()])
    assert "No space left" in state["detail"], state
    return "it says that the disk is full"


async def folder_gone(house: House) -> str:
    """The folder's file is deleted under a recording."""
    folder = house.folder  # type: ignore[attr-defined]
    await recorded_until(house, lambda recording: recording["frames"] > 5)
    await asyncio.to_thread(lambda: [path.unlink() for path in folder.iterdir()])
    state = await recorded_until(house, lambda recording: not recording["running"] or recording["frames"] < 5)
    (await house.http.patch("/api/streams/live", json={"recording": False})).raise_for_status()
    await asyncio.to_thread(lambda: [path.unlink() for path in folder.iterdir()])
    return "it says so" if state["detail"] else "a new one has begun"


def ended(number: int) -> Callable[[House], Any]:
    """The process gets a signal, and is started again."""
    return lambda house: house.restart(number)  # type: ignore[attr-defined]
