"""MQTT against a real broker: what is retained, what Home Assistant is told, and a broker that goes and comes."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess

import aiomqtt
import httpx
import pytest
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from pipeline.portraits import DEFAULT
from streamer.config import Mqtt, Puppet
from streamer.control.commands import Change
from streamer.errors import ConfigError
from streamer.mqtt import homeassistant
from streamer.mqtt.bridge import Bridge, read

from ..broker import Broker, broker, mosquitto
from ..conftest import run_server
from ..programs import free_port
from ..waiting import LIMIT_S, until

# Keys that Home Assistant 2025.4 takes, by platform, from homeassistant/components/mqtt (schemas.py, config.py and the
# platforms' own modules): what is required, and what is allowed besides.
BASE = {"platform", "unique_id", "name", "icon", "qos", "encoding", "entity_category", "enabled_by_default", "object_id"}
STATEFUL, COMMANDED = {"state_topic", "value_template"}, {"command_topic", "command_template", "optimistic", "retain"}
PLATFORMS: dict[str, tuple[set[str], set[str]]] = {
    "sensor": ({"state_topic"}, {*STATEFUL, "device_class", "state_class", "unit_of_measurement", "options", "expire_after"}),
    "binary_sensor": ({"state_topic"}, {*STATEFUL, "device_class", "payload_on", "payload_off", "off_delay"}),
    "select": ({"command_topic", "options"}, {*STATEFUL, *COMMANDED}),
    "number": ({"command_topic"}, {*STATEFUL, *COMMANDED, "min", "max", "step", "mode", "unit_of_measurement"}),
    "switch": ({"command_topic"}, {*STATEFUL, *COMMANDED, "payload_on", "payload_off", "state_on", "state_off"}),
    "button": ({"command_topic"}, {*COMMANDED, "payload_press", "device_class"}),
    "camera": ({"topic"}, {"image_encoding"}),
}
DEVICE = {"identifiers", "name", "manufacturer", "model", "sw_version", "configuration_url", "suggested_area"}


@pytest.fixture
def running(tmp_path):
    with broker(tmp_path) as started:
        yield started


async def test_state_telemetry_picture_and_discovery(model, running):
    with run_server(mqtt={"url": running.url, "picture_s": 1, "telemetry_s": 0.5}, streams={"live": {}, "b": {}}) as server:
        async with running.client() as client:
            assert await client.wait("puppetcast/availability") == b"online"
            state = json.loads(await client.wait("puppetcast/live/state"))
            assert state["portrait"] == DEFAULT
            assert "animated" not in state, "what changes all the time is telemetry"
            assert json.loads(await client.wait("puppetcast/b/state"))["name"] == "b"
            assert (await client.wait("puppetcast/live/picture"))[:2] == b"\xff\xd8"
            assert (await client.command("live", "demo", "on"))["state"]["demo"]
            await client.wait("puppetcast/live/telemetry", lambda payload: json.loads(payload)["animated"] > 5)
            sent = [json.loads(m.payload)["animated"] for m in client.log if m.topic == "puppetcast/live/telemetry"]
            assert sent == sorted(sent)
            assert all(m.topic.count("/") < 4 or "/cmd/" in m.topic for m in client.log)
            check_discovery(json.loads(client.seen["homeassistant/device/puppetcast_live/config"]), server)
            assert "homeassistant/device/puppetcast_b/config" in client.seen
            # Home Assistant was started again.
            client.seen.pop("homeassistant/device/puppetcast_live/config")
            await client.mqtt.publish("homeassistant/status", "online", qos=1)
            await client.wait("homeassistant/device/puppetcast_live/config")
    async with running.client() as late:
        assert await late.wait("puppetcast/availability") == b"offline", "the server has ended and said so"
        assert json.loads(await late.wait("puppetcast/live/state"))["demo"], "retained"


def check_discovery(payload: dict, server) -> None:
    """Against what Home Assistant takes: an unknown or missing key would make it refuse the whole device."""
    assert payload.keys() == {"device", "origin", "availability_topic", "components"}
    assert payload["device"].keys() <= DEVICE
    assert payload["device"]["identifiers"]
    assert payload["origin"]["name"]
    assert len({c["unique_id"] for c in payload["components"].values()}) == len(payload["components"])
    state = server.control.state("live").model_dump(mode="json")
    for name, component in payload["components"].items():
        required, allowed = PLATFORMS[component["platform"]]
        assert required <= component.keys() <= BASE | required | allowed, name
        if "command_topic" in component:
            assert component["command_topic"] == f"puppetcast/live/cmd/{name}"
            assert name in Change.model_fields
        if component["platform"] == "select":
            assert component["options"]
        if "options" in component and component["platform"] == "sensor":
            assert component["device_class"] == "enum"
            assert not {"state_class", "unit_of_measurement"} & component.keys()
        for value in [part.split(" ")[0] for part in component.get("value_template", "").split("value_json.")[1:]]:
            found = state
            for key in value.split("."):
                assert found is None or key.rstrip("()") in (*found, "values"), f"{name}: the state has no {value}"
                found = None if found is None or key == "values()" else found[key]
    platforms = {c["platform"] for c in payload["components"].values()}
    assert platforms == set(PLATFORMS)


async def test_every_command_changes_the_state(model, running, tmp_path):
    values = {
        "mirror": ("ON", True), "paused": ("true", True), "muted": ("1", True), "pose_gain": ("0.5", 0.5),
        "expression_gain": ('{"value": 1.25, "id": "x"}', 1.25), "mouth_gain": ("2", 2.0), "eyes_gain": ("0", 0.0),
        "brows_gain": ("1.5", 1.5), "region": ("lip", "lip"), "smoothing": ("0.75", 0.75), "scale_lock": ("on", True),
        "eye_retargeting": ("false", False), "lip_retargeting": ("OFF", False), "recalibrate_after_s": ("0", 0.0),
        "recentre_s": ("30", 30.0), "idle": ("ON", True), "wrinkles_gain": ("0", 0.0), "background": ("#204060", "#204060"),
        "max_fps": ("15", 15), "max_age_ms": ("200", 200.0),
    }  # fmt: skip
    assert values.keys() == Puppet.model_fields.keys()
    actions = {
        "portrait": ("drawing", lambda s: s["portrait"] == "drawing"), "engine": ("mesh", lambda s: s["engine"] == "mesh"),
        "demo": ("ON", lambda s: s["demo"]), "calibrate": ("PRESS", lambda s: True), "next_face": ("", lambda s: True),
        "recording": ("ON", lambda s: s["recording"]["running"]),
        "virtual_camera": ("OFF", lambda s: not s["outputs"]), "virtual_microphone": ("OFF", lambda s: not s["outputs"]),
        "previous_portrait": ("PRESS", lambda s: s["portrait"] == DEFAULT),
        "preset": ("Smile", lambda s: s["presets"] == ["Smile"]), "shapes": ('{"jawOpen": 0.5}', lambda s: s["shapes"]),
        "clear_shapes": ("PRESS", lambda s: not s["shapes"] and not s["presets"]),
    }  # fmt: skip
    assert values.keys() | actions.keys() == Change.model_fields.keys()
    with run_server(mqtt={"url": running.url}, recording={"folder": str(tmp_path / "r")}):
        async with running.client() as client:
            await client.wait("puppetcast/live/state")
            for name, (payload, value) in values.items():
                answer = await client.command("live", name, payload)
                assert answer["state"]["puppet"][name] == value, answer
            assert answer["id"] is None
            for name, (payload, holds) in actions.items():
                answer = await client.command("live", name, payload)
                assert "error" not in answer, answer
                assert holds(answer["state"]), name
            answer = await client.command("live", "recording", "OFF")
            assert not answer["state"]["recording"]["running"]
            puppet = answer["state"]["puppet"]
            await client.wait("puppetcast/live/state", lambda told: json.loads(told)["puppet"] == puppet)
            for topic, payload, text in (
                ("pose_gain", "much", "pose_gain"),
                ("nonsense", "1", "nonsense: unknown"),
                ("portrait", "/etc/passwd", "no portrait"),
            ):
                assert text in (await client.command("live", topic, payload))["error"]
            await client.mqtt.publish("puppetcast/nobody/cmd/mirror", "on", qos=1)
            assert "no stream 'nobody'" in json.loads(await client.wait("puppetcast/nobody/cmd/mirror/result"))["error"]
            properties = Properties(PacketTypes.PUBLISH)
            properties.ResponseTopic, properties.CorrelationData = "puppetcast/answers/result", b"17"
            await client.mqtt.publish("puppetcast/live/cmd/mirror", "off", qos=1, properties=properties)
            assert not json.loads(await client.wait("puppetcast/answers/result"))["state"]["puppet"]["mirror"]
            client.seen.clear()
            await client.mqtt.publish("puppetcast/live/cmd/mirror", "on", qos=1, retain=True)
            assert json.loads(await client.wait("puppetcast/live/cmd/mirror/result"))["state"]["puppet"]["mirror"]
    with run_server(mqtt={"url": running.url, "protocol": "3.1.1"}) as server:
        async with running.client() as client:
            await client.wait(
                "puppetcast/availability", lambda payload: payload == b"online"
            )  # "offline" of the one before is kept
            assert (await client.command("live", "smoothing", "0.25"))["state"]["puppet"]["smoothing"] == 0.25
            assert not server.control.state("live").puppet.mirror, "a command that the broker has kept is an old one"


async def test_a_broker_that_goes_and_comes_disturbs_nothing(model, running, caplog):
    with run_server(mqtt={"url": running.url}) as server:
        async with httpx.AsyncClient(base_url=server.url, timeout=LIMIT_S) as http:
            await http.patch("/api/streams/live", json={"demo": True})
            async with running.client() as client:
                await client.wait("puppetcast/live/state", lambda state: json.loads(state)["demo"])
            running.kill()
            await until(lambda: "MQTT broker" in caplog.text)
            before = server.control.state("live").animated
            await until(lambda: server.control.state("live").animated > before + 20)
            await http.patch("/api/streams/live", json={"smoothing": 0.75})
            running.start()
            async with running.client() as client:
                state = json.loads(await client.wait("puppetcast/live/state"))
                assert state["puppet"]["smoothing"] == 0.75, "what changed meanwhile is told"
                assert await client.wait("puppetcast/availability") == b"online"
                assert (await client.command("live", "smoothing", "0.5"))["state"]["puppet"]["smoothing"] == 0.5
        assert server.control.state("live").errors == 0


async def test_the_will_is_seen_when_the_server_is_killed(model, running, tmp_path, shell):
    config = tmp_path / "config.yaml"
    config.write_text(f"http: {{port: 0}}\ndownloads: {{fetch: false}}\nmqtt: {{url: '{running.url}'}}\n")
    process = shell.start(["serve", "--config", config])
    try:
        async with running.client() as client:
            await client.wait("puppetcast/availability", lambda payload: payload == b"online")
            os.kill(process, signal.SIGKILL)
            await client.wait("puppetcast/availability", lambda payload: payload == b"offline")
    finally:
        os.kill(process, signal.SIGKILL)
        shell.ended(process)


@pytest.fixture
def secured(tmp_path):
    """A folder with a certificate and a password file."""
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost",
         "-addext", "subjectAltName=DNS:localhost", "-keyout", tmp_path / "key.pem", "-out", tmp_path / "cert.pem"],
        check=True, capture_output=True,
    )  # fmt: skip
    passwd = mosquitto().replace("sbin", "bin") + "_passwd"
    subprocess.run([passwd, "-c", "-b", tmp_path / "passwords", "cast", "secret"], check=True, capture_output=True)
    return tmp_path


@pytest.mark.parametrize("scheme", ["mqtts", "ws"])
async def test_passwords_tls_and_websockets(model, secured, scheme):
    """A broker for each: one for both keeps what the first server said last, "offline", and tells it the second's client."""
    started, ports = Broker(secured), {"mqtts": free_port(), "ws": free_port()}
    listeners = f"""per_listener_settings false
password_file {secured}/passwords
listener {started.port} 127.0.0.1
listener {ports["mqtts"]} 127.0.0.1
cafile {secured}/cert.pem
certfile {secured}/cert.pem
keyfile {secured}/key.pem
require_certificate true
listener {ports["ws"]} 127.0.0.1
protocol websockets
user root
"""
    (secured / "mosquitto.conf").write_text(listeners)
    own = {"username": "cast", "password": "secret"}
    files = {"ca_file": "cert.pem", "cert_file": "cert.pem", "key_file": "key.pem"} if scheme == "mqtts" else {}
    certificates = {name: str(secured / file) for name, file in files.items()}
    started.start()
    try:
        with run_server(mqtt={"url": f"{scheme}://localhost:{ports[scheme]}", **own, **certificates}):
            async with started.client(**own) as client:
                await client.wait("puppetcast/availability", lambda payload: payload == b"online")
    finally:
        started.kill()


async def test_a_broker_that_refuses_is_said_once_and_the_password_never(model, caplog):
    tries = 0

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal tries
        await reader.read(1024)
        writer.write(b"\x20\x03\x00\x86\x00")  # CONNACK of MQTT 5: bad user name or password
        tries += 1
        writer.close()
        await writer.wait_closed()

    async with await asyncio.start_server(refuse, "127.0.0.1") as listener:
        port = listener.sockets[0].getsockname()[1]
        with run_server(mqtt={"url": f"mqtt://cast:hidden@127.0.0.1:{port}"}) as server:
            await until(lambda: tries >= 3)
            assert server.control.state("live").portrait == DEFAULT
    lines = [r.getMessage() for r in caplog.records if "MQTT broker" in r.getMessage()]
    assert len(lines) == 1, "said once, tried again and again"
    assert "hidden" not in lines[0]


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"url": "http://h"}, r"mqtt.url: 'http://h' is not mqtt://"),
        ({"url": "mqtts://h", "ca_file": "/none.pem"}, r"mqtt: /none.pem: not usable as certificates"),
    ],
)
def test_bad_config(section, message):
    with pytest.raises(ConfigError, match=message):
        Bridge(Mqtt(**section), None)  # type: ignore[arg-type]


def test_plain_and_json_payloads():
    assert read(["live", "cmd", "portrait"], b"drawing").value == "drawing"
    assert read(["live", "cmd", "smoothing"], b" 0.5 ").value == 0.5
    command = read(["live", "cmd", "mirror"], b'{"value": true, "id": 3}')
    assert (command.value, command.number) == (True, 3)
    assert read(["live", "cmd", "change"], b'{"mirror": true}').value == {"mirror": True}
    assert read(["live", "cmd", "portrait"], b"\xff\xfe").value


def test_ids_are_safe():
    assert homeassistant.topic(Mqtt(base_topic="home/cam"), "live-2") == "homeassistant/device/home_cam_live_2/config"
    assert aiomqtt.Topic(homeassistant.topic(Mqtt(), "live"))
