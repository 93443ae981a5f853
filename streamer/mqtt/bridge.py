"""Control and telemetry over MQTT.

Topics below the base topic: `availability`; for each stream `availability`, `state` (retained), `telemetry`, `picture` (JPEG),
`cmd/NAME` with the value of one setting or action, or `cmd/change` with several, and `cmd/NAME/result` with the answer.
A broker that is away is looked for again and again, and never holds anything up.
"""

from __future__ import annotations

import asyncio
import json
import logging
import ssl
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any, get_args
from urllib.parse import urlsplit

import aiomqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from pipeline.clock import steady

from ..backoff import Backoff
from ..config import Mqtt
from ..control.commands import BARE, Change
from ..control.control import Control
from ..control.state import TELEMETRY, StreamState
from ..errors import ConfigError
from ..jsontext import read_json
from ..redaction import Address, redacted
from ..timers import pause
from . import homeassistant

log = logging.getLogger(__name__)

PORTS = {"mqtt": 1883, "mqtts": 8883, "ws": 80, "wss": 443}
KEEPALIVE_S = 10  # a server that is gone without a word is offline after one and a half times that
TIMEOUT_S = 5.0
HEALTHY_S = 10.0  # a connection that lasted so long was a good one
COMMANDS_WAITING = 64
MAX_PAYLOAD = 16 * 1024
MAX_TOPIC = 500
SWITCH = {"on": True, "true": True, "yes": True, "1": True, "off": False, "false": False, "no": False, "0": False}
VERSION = version("puppetcast")


@dataclass(frozen=True)
class Command:
    """A message on a command topic. number: what the sender calls it; reply, correlation: where MQTT 5 wants the answer."""

    stream: str
    name: str
    value: Any
    number: Any = None
    reply: str | None = None
    correlation: bytes | None = None


class Bridge:
    """`run` until cancelled. ConfigError at once for what cannot be: an address, a certificate."""

    def __init__(self, config: Mqtt, control: Control) -> None:
        self._config = config
        self._control = control
        self._address = Address.of(config.url)
        try:
            self._host, self._port = _host_and_port(self._address)
        except ValueError as exc:
            expected = "mqtt://, mqtts://, ws:// or wss:// with a host"
            raise ConfigError(f"mqtt.url: '{redacted(config.url)}' is not {expected}") from exc
        self._tls = self._tls_context()
        self.connected = False

    def _tls_context(self) -> ssl.SSLContext | None:
        config = self._config
        if self._address.scheme not in ("mqtts", "wss"):
            return None
        try:
            context = ssl.create_default_context(cafile=config.ca_file)
            if config.cert_file is not None:
                context.load_cert_chain(config.cert_file, config.key_file)
        except (OSError, ssl.SSLError) as exc:
            files = ", ".join(str(f) for f in (config.ca_file, config.cert_file, config.key_file) if f)
            raise ConfigError(f"mqtt: {files}: not usable as certificates ({exc.strerror or exc})") from exc
        return context

    def _client(self) -> aiomqtt.Client:
        address, config = self._address, self._config
        websockets = address.scheme in ("ws", "wss")
        five = config.protocol == "5"
        user, password = address.login
        return aiomqtt.Client(
            self._host,
            self._port,
            username=config.username or user,
            password=config.password or password,
            protocol=aiomqtt.ProtocolVersion.V5 if five else aiomqtt.ProtocolVersion.V311,
            will=aiomqtt.Will(homeassistant.availability(config), "offline", qos=1, retain=True),
            transport="websockets" if websockets else "tcp",
            websocket_path=address.path or "/mqtt" if websockets else None,
            tls_context=self._tls,
            keepalive=KEEPALIVE_S,
            timeout=TIMEOUT_S,
            max_queued_incoming_messages=COMMANDS_WAITING,
        )

    def _topic(self, *parts: str) -> str:
        return "/".join((self._config.base_topic, *parts))

    async def run(self) -> None:
        """Connect, and again after every loss."""
        backoff, silent = Backoff(0.5, 1, 2, 5, 10), False
        while True:
            began = steady()
            try:
                await self._connected()
            except* (aiomqtt.MqttError, OSError) as group:
                if self.connected or not silent:  # once for each time that it is away
                    reason = group.exceptions[0]
                    log.warning("MQTT broker %s: %s; trying again until it is there", redacted(self._config.url), reason)
                silent = True
            except* Exception:  # whatever a message does, control by MQTT goes on
                log.exception("MQTT: a fault in a message or its answer; connecting anew")
            healthy, self.connected = self.connected and steady() - began > HEALTHY_S, False
            await pause(backoff.after(healthy))

    async def _connected(self) -> None:
        async with self._client() as client:
            log.info("MQTT broker %s: connected", redacted(self._config.url))
            self.connected = True
            await client.subscribe(self._topic("+", "cmd", "+"), qos=1)
            if self._config.discovery:
                await client.subscribe(f"{self._config.discovery_prefix}/status", qos=1)
            if self._config.server:
                await client.subscribe(self._topic("+", "availability"), qos=1)
            await client.publish(homeassistant.availability(self._config), "online", qos=1, retain=True)
            session = _Session(client, self._config, self._control)
            try:
                async with asyncio.TaskGroup() as group:
                    group.create_task(session.tell())
                    group.create_task(session.obey())
                    if self._config.picture_s:
                        group.create_task(session.show())
            except asyncio.CancelledError:  # the server ends, and says so itself: a will is for the others
                for topic in (*session.streams(), homeassistant.availability(self._config)):
                    await client.publish(topic, "offline", qos=1, retain=True)
                raise


def _host_and_port(address: Address) -> tuple[str, int]:
    """ValueError where they are none, or the scheme is no broker's."""
    host = urlsplit(f"//{address.host}")
    if address.scheme not in PORTS or not host.hostname:
        raise ValueError(address.scheme)
    return host.hostname, host.port or PORTS[address.scheme]


@dataclass
class _Session:
    """While the broker is there."""

    client: aiomqtt.Client
    config: Mqtt
    control: Control
    described: dict[str, str] = field(default_factory=dict)
    there: set[str] = field(default_factory=set)  # streams that were said to be

    def topic(self, *parts: str) -> str:
        return "/".join((self.config.base_topic, *parts))

    def streams(self) -> list[str]:
        """Where streams were said to be there."""
        return [self.topic(stream, "availability") for stream in self.there]

    async def tell(self) -> None:
        """States as they change, telemetry at a bounded rate."""
        due: dict[str, float] = {}
        async for news in self.control.events.listen():
            state = news.state
            if news.gone:
                await self._forget(state.name)
                due.pop(state.name, None)
                continue
            if news.changed or state.name not in self.there:
                await self._say(state)
            if steady() >= due.get(state.name, 0.0):
                due[state.name] = steady() + self.config.telemetry_s
                telemetry = state.model_dump_json(include=set(TELEMETRY))
                await self.client.publish(self.topic(state.name, "telemetry"), telemetry, qos=0)

    async def _say(self, state: StreamState) -> None:
        """What lasts."""
        if state.name not in self.there:
            self.there.add(state.name)
            await self.client.publish(self.topic(state.name, "availability"), "online", qos=1, retain=True)
        await self._describe(state)
        lasting = state.model_dump_json(exclude=set(TELEMETRY))
        await self.client.publish(self.topic(state.name, "state"), lasting, qos=1, retain=True)

    async def _contradict(self, stream: str) -> None:
        """Another server that had a stream says that it is no more, or offline, though it is here by now: say all of it anew."""
        self.there.discard(stream)
        self.described.pop(stream, None)
        await self._say(self.control.state(stream))

    async def _describe(self, state: StreamState) -> None:
        """Tell Home Assistant, if it is to know and there is something new."""
        if not self.config.discovery:
            return
        portraits = self.control.gallery.keys()
        payload = json.dumps(homeassistant.device(self.config, state, portraits, VERSION))
        if self.described.get(state.name) != payload:
            self.described[state.name] = payload
            await self.client.publish(homeassistant.topic(self.config, state.name), payload, qos=1, retain=True)

    async def _forget(self, stream: str) -> None:
        """An empty retained message lets the broker, and Home Assistant, forget a stream that was removed."""
        self.described.pop(stream, None)
        self.there.discard(stream)
        topics = [homeassistant.topic(self.config, stream)] if self.config.discovery else []
        # The last one is what another server hears of it by, which may have the stream by now.
        for topic in (*topics, self.topic(stream, "state"), self.topic(stream, "availability")):
            await self.client.publish(topic, b"", qos=1, retain=True)

    async def show(self) -> None:
        """The picture of each stream, now and then."""
        while True:
            for name, stream in tuple(self.control.streams.items()):
                if stream.latest is not None:
                    data = await self.control.outputs.feed(stream).snapshot()
                    data = await asyncio.to_thread(self.control.outputs.signed, stream, data, f"{stream.name}.jpg")
                    await self.client.publish(self.topic(name, "picture"), data, qos=0)
            await pause(self.config.picture_s)

    async def obey(self) -> None:
        """Commands, one after the other; those that the broker has kept from before are not for now."""
        async for message in self.client.messages:
            if str(message.topic) == f"{self.config.discovery_prefix}/status":
                if message.payload == b"online":  # Home Assistant has started: it may have forgotten us
                    self.described.clear()
                    for state in self.control.states():
                        await self._describe(state)
            elif message.topic.matches(self.topic("+", "availability")):
                stream = str(message.topic).split("/")[-2]
                if message.payload != b"online" and stream in self.there and stream in self.control.streams:
                    await self._contradict(stream)
            elif not message.retain:
                await self._do(message)

    def _may_answer(self, topic: str) -> bool:
        """Whether an answer may go where the asker wants it: below our own topics, and where those of results are, or where
        the config says; else anybody could let us write to whatever the broker lets us."""
        config = self.config
        ours = topic.startswith(f"{config.base_topic}/") and topic.endswith("/result") and len(topic) < MAX_TOPIC
        return ours or any(topic.startswith(f"{prefix}/") for prefix in config.response_topics)

    async def _do(self, message: aiomqtt.Message) -> None:
        command = read(str(message.topic).split("/")[-3:], bytes(message.payload or b""), message.properties)
        if self.config.server and command.stream not in self.control.streams:
            return  # another server may have it, and answers
        change = command.value if command.name == "change" else {command.name: _value(command)}
        answer = await self.control.answer(command.stream, change, command.number)
        properties = None
        if command.correlation is not None:
            properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
            properties.CorrelationData = command.correlation
        result = self.topic(command.stream, "cmd", command.name, "result")
        if command.reply is not None and self._may_answer(command.reply):
            result = command.reply
        await self.client.publish(result, json.dumps(answer), qos=1, properties=properties)


def read(path: list[str], payload: bytes, properties: Properties | None = None) -> Command:
    """A message to STREAM/cmd/NAME: JSON, {"value": …, "id": …}, or plain text."""
    stream, _, name = path
    text = payload[:MAX_PAYLOAD].decode("utf-8", "replace").strip()
    try:
        value = read_json(text)
    except ValueError:
        value = text
    number = None
    if isinstance(value, dict) and "value" in value:
        value, number = value["value"], value.get("id")
    reply, correlation = getattr(properties, "ResponseTopic", None), getattr(properties, "CorrelationData", None)
    if reply is not None and (not reply or set(reply) & set("+#")):
        reply = None
    return Command(stream, name, value, number, reply, correlation)


def _value(command: Command) -> Any:
    """What a payload stands for: an action needs none, and a switch may be a word, as home automation sends it."""
    if command.name in BARE and not isinstance(command.value, bool):
        return True
    field = Change.model_fields.get(command.name)
    if field is not None and bool in get_args(field.annotation) and not isinstance(command.value, bool):
        return SWITCH.get(str(command.value).lower(), command.value)
    return command.value
