"""What Home Assistant is told of a stream so that it appears there by itself.

Device discovery by MQTT, as https://www.home-assistant.io/integrations/mqtt/#mqtt-discovery describes it.
"""

from __future__ import annotations

from typing import Any

from annotated_types import Ge, Le

from pipeline.engine import AUTO, ENGINES
from pipeline.follow.neutral import FaceState
from pipeline.follow.tuning import Region

from ..config import STEP, Mqtt, Puppet
from ..control.state import StreamState

SWITCHES = {
    "paused": ("Pause", "mdi:pause"), "mirror": ("Mirror", "mdi:flip-horizontal"), "muted": ("Mute", "mdi:microphone-off"),
    "scale_lock": ("Scale lock", "mdi:lock"), "recording": ("Record", "mdi:record"),
}  # fmt: skip
NUMBERS = {
    "pose_gain": "Head", "expression_gain": "Expression", "mouth_gain": "Mouth", "eyes_gain": "Eyes", "brows_gain": "Brows",
    "smoothing": "Smoothing",
}  # fmt: skip
BUTTONS = {"calibrate": ("Calibrate", "mdi:crosshairs"), "next_face": ("Next face", "mdi:account-switch")}
SENSORS: dict[str, tuple[str, str, dict[str, str]]] = {
    "fps": ("Frame rate", "{{ value_json.fps }}", {"unit_of_measurement": "fps", "state_class": "measurement"}),
    "age": ("Age at send", "{{ value_json.age_p95_ms }}",
            {"unit_of_measurement": "ms", "device_class": "duration", "state_class": "measurement"}),
    "drops": ("Frames skipped", "{{ value_json.skipped.values() | sum }}", {"state_class": "total_increasing"}),
}  # fmt: skip


def availability(config: Mqtt) -> str:
    """Where this server says whether it is there."""
    return f"{config.base_topic}/{f'servers/{config.server}/' if config.server else ''}availability"


def topic(config: Mqtt, stream: str) -> str:
    """Where the discovery of a stream goes."""
    return f"{config.discovery_prefix}/device/{_id(config, stream)}/config"


def _id(config: Mqtt, stream: str) -> str:
    return "".join(c if c.isalnum() else "_" for c in f"{config.base_topic}_{stream}")


def device(config: Mqtt, state: StreamState, portraits: list[str], version: str) -> dict[str, Any]:
    """The payload. portraits: ids that can be chosen."""
    base, own = f"{config.base_topic}/{state.name}", _id(config, state.name)
    parts: dict[str, dict[str, Any]] = {
        "live": _part("binary_sensor", "Driven", value_template="{{ 'ON' if value_json.publisher else 'OFF' }}"),
        "face": _part("sensor", "Face", value_template="{{ value_json.face }}", device_class="enum", options=list(FaceState)),
        "trouble": _part(
            "sensor",
            "Trouble",
            value_template="{{ (value_json.stalled or value_json.problem or value_json.refused or 'none')[:255] }}",
        ),
        "viewers": _part("sensor", "Viewers", value_template="{{ value_json.viewers }}", state_class="measurement"),
        "portrait": _choice("portrait", "Portrait", portraits),
        "engine": _choice("engine", "Engine", [name for name in ENGINES if name != AUTO]),
        "region": _choice("region", "What moves", list(Region), "puppet."),
    }
    for name, (title, template, more) in SENSORS.items():
        parts[name] = _part("sensor", title, state_topic=f"{base}/telemetry", value_template=template, **more)
    for name, (title, icon) in SWITCHES.items():
        value = "recording.running" if name == "recording" else f"puppet.{name}"
        guard = "value_json.recording and " if name == "recording" else ""
        parts[name] = _part("switch", title, icon=icon, value_template=f"{{{{ 'ON' if {guard}value_json.{value} else 'OFF' }}}}")
    for name, title in NUMBERS.items():
        parts[name] = _part("number", title, value_template=f"{{{{ value_json.puppet.{name} }}}}", **_range(name))
    for name, (title, icon) in BUTTONS.items():
        parts[name] = _part("button", title, icon=icon)
    if config.picture_s:
        parts["picture"] = _part("camera", "Picture", topic=f"{base}/picture")
    for name, part in parts.items():
        part["unique_id"] = f"{own}_{name}"
        if part["platform"] in ("switch", "number", "select", "button"):
            part["command_topic"] = f"{base}/cmd/{name}"
        if part["platform"] not in ("button", "camera"):
            part.setdefault("state_topic", f"{base}/state")
    return {
        "device": {"identifiers": [own], "name": f"puppetcast {state.name}", "manufacturer": "puppetcast",
                   "model": state.engine, "sw_version": version},
        "origin": {"name": "puppetcast", "sw_version": version},
        **_available(config, state.name),
        "components": parts,
    }  # fmt: skip


def _available(config: Mqtt, stream: str) -> dict[str, Any]:
    """Of several servers, the one that has the stream has to be there, and to have it still."""
    if not config.server:
        return {"availability_topic": availability(config)}
    topics = availability(config), f"{config.base_topic}/{stream}/availability"
    return {"availability": [{"topic": each} for each in topics], "availability_mode": "all"}


def _part(platform: str, name: str, **more: Any) -> dict[str, Any]:
    return {"platform": platform, "name": name, **more}


def _choice(name: str, title: str, options: list[str], where: str = "") -> dict[str, Any]:
    return _part("select", title, options=options, value_template=f"{{{{ value_json.{where}{name} }}}}")


def _range(name: str) -> dict[str, float]:
    field = Puppet.model_fields[name]
    limits, schema = field.metadata, field.json_schema_extra
    low = next(m.ge for m in limits if isinstance(m, Ge))
    high = next(m.le for m in limits if isinstance(m, Le))
    return {"min": low, "max": high, "step": schema[STEP]}  # type: ignore[dict-item, index]
