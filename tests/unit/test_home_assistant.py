"""docs/home_assistant.md names entities, topics and options that there are."""

from __future__ import annotations

import re
from typing import Any

import yaml

from pipeline.portrait import BUNDLED
from streamer.config import Config, Mqtt
from streamer.control.commands import Change
from streamer.mqtt.homeassistant import device

from ..conftest import ROOT

DOCUMENT = (ROOT / "docs" / "home_assistant.md").read_text()


class State:
    """What the discovery reads of a stream's state."""

    name, engine = "live", "mesh"


def announced() -> set[str]:
    """Names that Home Assistant gives our entities: platform, and device with entity as one word."""
    told: dict[str, Any] = device(Mqtt(), State(), [], "1")  # type: ignore[arg-type]
    slug = re.sub(r"\W+", "_", told["device"]["name"])
    parts = told["components"].values()
    return {f"{part['platform']}.{slug}_{re.sub(r'[^a-z0-9]+', '_', part['name'].lower())}" for part in parts}


def test_its_entities_are_announced() -> None:
    named = set(re.findall(r"\b(?:camera|binary_sensor|sensor|switch|number|select|button)\.puppetcast_\w+", DOCUMENT))
    assert len(named) > 7
    assert named <= announced()


def test_its_commands_and_settings_are_ours() -> None:
    keys = set(re.findall(r"puppetcast/live/cmd/(\w+)", DOCUMENT)) - {"change"}
    assert keys
    assert keys <= set(Change.model_fields)
    blocks = [yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", DOCUMENT, re.DOTALL)]
    assert len(blocks) == 4
    Config.model_validate(blocks[3])
    option = blocks[1][0]["actions"][0]["data"]["option"]
    assert (BUNDLED / f"{option}.json").is_file()
