"""mosquitto, started for a test, and a client that is none of ours."""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiomqtt

from .conftest import ROOT
from .programs import accepts, free_port, program
from .waiting import LIMIT_S, wait_until


@dataclass
class Message:
    topic: str
    payload: bytes
    retained: bool


@dataclass
class Client:
    """Keeps all messages, and the newest payload of every topic."""

    mqtt: aiomqtt.Client
    seen: dict[str, bytes] = field(default_factory=dict)
    log: list[Message] = field(default_factory=list)
    _more: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def read(self) -> None:
        async for message in self.mqtt.messages:
            got = Message(str(message.topic), bytes(message.payload), message.retain)
            async with self._more:
                self.seen[got.topic] = got.payload
                self.log.append(got)
                self._more.notify_all()

    async def command(self, stream: str, name: str, payload: str) -> dict[str, Any]:
        topic = f"puppetcast/{stream}/cmd/{name}"
        self.seen.pop(f"{topic}/result", None)
        await self.mqtt.publish(topic, payload, qos=1)
        answer: dict[str, Any] = json.loads(await self.wait(f"{topic}/result"))
        return answer

    async def wait(self, topic: str, holds: Callable[[bytes], object] = lambda payload: True) -> bytes:
        """The newest payload of a topic, once there is one for which `holds` is true."""
        await self.until(lambda: topic in self.seen and holds(self.seen[topic]), topic)
        return self.seen[topic]

    async def until(self, holds: Callable[[], object], what: str) -> None:
        """Look at each message that comes."""
        async with self._more:
            try:
                await asyncio.wait_for(self._more.wait_for(holds), LIMIT_S)
            except TimeoutError:
                raise AssertionError(f"not within {LIMIT_S:g} s: {what}; last: {self.seen.get(what)!r}") from None


class Broker:
    def __init__(self, folder: Path, config: str = "") -> None:
        self.port = free_port()
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
        wait_until(self._accepts)

    def _accepts(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, f"mosquitto ended with {self._process.returncode}"
        return accepts(self.port)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    @asynccontextmanager
    async def client(self, **options: Any) -> AsyncIterator[Client]:
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
    """Its path."""
    return program("mosquitto")


@contextmanager
def broker(folder: Path, config: str = "") -> Iterator[Broker]:
    running = Broker(folder, config)
    running.start()
    try:
        yield running
    finally:
        running.kill()
