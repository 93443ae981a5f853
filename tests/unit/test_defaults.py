"""Defaults stand once: the config's are those of the types that it configures."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import fields
from enum import StrEnum
from inspect import signature
from typing import Any

import pytest

from pipeline.budget import FrameBudget
from pipeline.follow.tuning import Region, Tuning
from pipeline.liveportrait.options import Build, Compile, MotionOptions, Precision, Settings
from streamer.config import Config, LivePortrait
from streamer.limits import Bitrates, Timeouts

from ..conftest import ROOT


def names(kind: type) -> set[str]:
    return {field.name for field in fields(kind)}


# A type, its parameter, and the config's key for it.
ROWS: list[tuple[Callable[..., Any], str, str]] = [
    *((FrameBudget, name, f"budget.{name}") for name in signature(FrameBudget).parameters if name != "clock"),
    *((Tuning, name, f"streams.live.puppet.{name}") for name in names(Tuning)),
    *(
        (kind, name, f"liveportrait.{name}")
        for kind in (Settings, Build, MotionOptions)
        for name in names(kind) & set(LivePortrait.model_fields)
    ),
    *((Timeouts, f"{what}_s", f"streams.live.{what}_timeout_s") for what in ("open", "read")),
    (Bitrates, "start", "webrtc.bitrate_kbps"),
    (Bitrates, "least", "webrtc.min_bitrate_kbps"),
    (Bitrates, "most", "webrtc.max_bitrate_kbps"),
]
UNSET = {"checkpoints": "elsewhere", "device": "cpu", "precision": Precision.BF16, "channels_last": True,
         "compile": Compile.AUTO, "graph": False}  # fmt: skip
# Gives types other defaults, then reads the config's as JSON.
PROGRAM = """
import importlib, inspect, json, sys
for module, name, parameter, value in json.loads(sys.argv[1]):
    kind = getattr(importlib.import_module(module), name)
    if hasattr(kind, parameter):
        setattr(kind, parameter, value)
    order, defaults = list(inspect.signature(kind).parameters), list(kind.__init__.__defaults__)
    defaults[order.index(parameter) - len(order)] = value
    kind.__init__.__defaults__ = tuple(defaults)
from streamer.config import Config
print(json.dumps(Config().model_dump(mode="json", warnings=False)))
"""


def other(parameter: str, default: Any) -> Any:
    if isinstance(default, StrEnum):
        return Region.POSE
    if default is None:
        return UNSET[parameter]
    return not default if isinstance(default, bool) else type(default)(default / 2)


def at(data: dict[str, Any], key: str) -> Any:
    return functools.reduce(lambda section, name: section[name], key.split("."), data)


@pytest.fixture(scope="module")
def followed() -> dict[str, Any]:
    """The config's defaults after those of all types have changed."""
    changes = [
        [kind.__module__, kind.__name__, parameter, other(parameter, signature(kind).parameters[parameter].default)]
        for kind, parameter, _ in ROWS
    ]
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PUPPETCAST_")}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, json.dumps(changes)],
        cwd=ROOT, env=environment | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    read: dict[str, Any] = json.loads(done.stdout)
    return read


@pytest.mark.parametrize(("kind", "parameter", "key"), ROWS, ids=lambda part: part if isinstance(part, str) else part.__name__)
def test_a_default_of_the_config_is_that_of_its_type(kind, parameter, key, followed, monkeypatch):
    for variable in [v for v in os.environ if v.startswith("PUPPETCAST_")]:
        monkeypatch.delenv(variable)
    own = signature(kind).parameters[parameter].default
    for data, value in ((Config().model_dump(mode="json"), own), (followed, other(parameter, own))):
        assert at(data, key) == (value // 1000 if kind is Bitrates else value)
