"""mosquitto, started for a test, and a client that is none of ours."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import aiomqtt
import pytest

from .conftest import ROOT


@dataclass
class Client:
    """Keeps the newest payload of every topic."""

    mqtt: aiomqtt.Client
    seen: dict[str, bytes] = field(default_factory=dict)
    log: list[tuple[float, str, bytes, bool]] = field(default_factory=list)
    news: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def read(self) -> None:
        async for message in self.mqtt.messages:
            self.seen[str(message.topic)] = bytes(message.payload)
            self.log.append((time.monotonic(), str(message.topic), bytes(message.payload), message.retain))
            async with self.news:
                self.news.notify_all()

    async def command(self, stream: str, name: str, payload: str) -> dict:
        topic = f"puppetcast/{stream}/cmd/{name}"
        self.seen.pop(f"{topic}/result", None)
        await self.mqtt.publish(topic, payload, qos=1)
        return json.loads(await self.wait(f"{topic}/result"))

    async def wait(self, topic: str, seconds: float = 10, payload: bytes | None = None) -> bytes:
        """The newest payload of `topic`, as soon as there is one; as soon as it is `payload`, if that is given: the broker
        first tells what it has kept of a server before."""
        async with asyncio.timeout(seconds), self.news:
            await self.news.wait_for(lambda: topic in self.seen and payload in (None, self.seen[topic]))
        return self.seen[topic]


class Broker:
    def __init__(self, folder: Path, config: str = "") -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self._config = folder / "mosquitto.conf"
        # The file of the containers, moved to a free port of the loopback address.
        given = (ROOT / "docker" / "mosquitto.conf").read_text()
        assert "listener 1883\n" in given
        self._config.write_text(config or given.replace("listener 1883\n", f"listener {self.port} 127.0.0.1\n"))
        self.url = f"mqtt://127.0.0.1:{self.port}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [mosquitto(), "-c", str(self._config)]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        end = time.monotonic() + 10
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            except OSError:
                assert time.monotonic() < end, "mosquitto did not start"
                time.sleep(0.05)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    @asynccontextmanager
    async def client(self, **options) -> AsyncIterator[Client]:
        async with aiomqtt.Client("127.0.0.1", self.port, protocol=aiomqtt.ProtocolVersion.V5, **options) as mqtt:
            client = Client(mqtt)
            await mqtt.subscribe("#", qos=1)
            reading = asyncio.create_task(client.read())
            try:
                yield client
            finally:
                reading.cancel()
                await asyncio.gather(reading, return_exceptions=True)


def mosquitto() -> str:
    path = shutil.which("mosquitto", path=os.environ["PATH"] + ":/usr/sbin")
    if path is None:
        if os.environ.get("CI"):
            pytest.fail("mosquitto is absent; in CI that is a failure")
        pytest.skip("mosquitto is absent ('make peers' installs it): MQTT was not tested")
    return path


@contextmanager
def broker(folder: Path, config: str = "") -> Iterator[Broker]:
    running = Broker(folder, config)
    running.start()
    try:
        yield running
    finally:
        running.kill()
