"""Several servers on one broker: each speaks for its own streams, and for no other's."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import aiomqtt

from streamer.config import Mqtt
from streamer.control.events import News
from streamer.mqtt.bridge import Bridge, _Session
from streamer.mqtt.homeassistant import availability, device


class Broker:
    """Keeps what is published."""

    def __init__(self) -> None:
        self.log: list[tuple[str, Any]] = []

    async def publish(self, topic: str, payload: Any, **options: Any) -> None:
        self.log.append((topic, payload))


def server(broker: Broker, name: str, *streams: str, news: tuple[News, ...] = ()) -> _Session:
    async def answer(stream: str, change: Any, number: Any) -> dict[str, Any]:
        return {"id": number, "state": {"by": name}}

    async def listen() -> AsyncIterator[News]:
        for each in news:
            yield each

    control: Any = SimpleNamespace(
        streams=dict.fromkeys(streams), answer=answer, events=SimpleNamespace(listen=listen), gallery=SimpleNamespace(keys=list)
    )
    return _Session(broker, Mqtt(server=name, discovery=False), control)  # type: ignore[arg-type]


async def test_a_command_is_answered_once_by_whoever_has_the_stream():
    broker = Broker()
    servers = server(broker, "one", "live"), server(broker, "two", "hall")
    for stream in ("live", "hall", "nobody"):
        message = aiomqtt.Message(f"puppetcast/{stream}/cmd/mirror", b'{"value": true, "id": 7}', 1, False, 1, None)
        await asyncio.gather(*(each._do(message) for each in servers))
    answers = [(topic, json.loads(payload)["state"]["by"]) for topic, payload in broker.log]
    assert answers == [("puppetcast/live/cmd/mirror/result", "one"), ("puppetcast/hall/cmd/mirror/result", "two")]


async def test_each_says_for_itself_and_its_streams_whether_they_are_there():
    wills = [Bridge(Mqtt(url="mqtt://h", server=name), None)._client()._client._will_topic for name in ("one", "two", "")]  # type: ignore[arg-type]
    assert wills == [b"puppetcast/servers/one/availability", b"puppetcast/servers/two/availability", b"puppetcast/availability"]
    state: Any = SimpleNamespace(name="live", engine="mesh", model_dump_json=lambda **options: "{}")
    broker, news = Broker(), [News(state, True), News(state, True), News(state, True, gone=True)]
    session = server(broker, "one", "live", news=(*news[:2],))
    await session.tell()
    assert [payload for topic, payload in broker.log if topic.endswith("/availability")] == ["online"], "said once"
    assert session.streams() == ["puppetcast/live/availability"], "what is offline when the server ends"
    broker.log.clear()
    gone = server(broker, "one", news=(*news[2:],))
    await gone.tell()
    assert broker.log == [("puppetcast/live/state", b""), ("puppetcast/live/availability", b"")]
    told = device(Mqtt(server="one"), state, [], "1")
    assert [each["topic"] for each in told["availability"]] == [availability(Mqtt(server="one")), "puppetcast/live/availability"]
    assert (told["availability_mode"], "availability_topic" in told) == ("all", False)
