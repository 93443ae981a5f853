"""Defaults stand once: the config's are those of what it configures."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
from dataclasses import fields
from inspect import signature
from types import ModuleType
from typing import Any

import pytest

from pipeline.budget import FrameBudget
from pipeline.follow.tuning import Region, Tuning
from pipeline.liveportrait.options import Build, Compile, MotionOptions, Precision, Settings
from pipeline.stage import AnimationStage
from streamer import limits
from streamer.config import Config, LivePortrait
from streamer.limits import Bitrates, Timeouts

from ..conftest import ROOT


def names(kind: type) -> set[str]:
    return {field.name for field in fields(kind)}


# Where a default stands, the config's key for it, and how many of the config's units one of its own is.
ROWS: list[tuple[Any, str, str, float]] = [
    *((FrameBudget, name, f"budget.{name}", 1) for name in signature(FrameBudget).parameters if name != "clock"),
    (AnimationStage, "gather_s", "device.gather_ms", 1000),
    *((Tuning, name, f"streams.live.puppet.{name}", 1) for name in sorted(names(Tuning))),
    *(
        (kind, name, f"liveportrait.{name}", 1)
        for kind in (Settings, Build, MotionOptions)
        for name in sorted(names(kind) & set(LivePortrait.model_fields))
    ),
    *((Timeouts, f"{what}_s", f"streams.live.{what}_timeout_s", 1) for what in ("open", "read")),
    (limits, "STALE_AFTER_S", "streams.live.stale_after_s", 1),
    (limits, "TRANSPORT", "streams.live.transport", 1),
    (Bitrates, "start", "webrtc.bitrate_kbps", 0.001),
    (Bitrates, "least", "webrtc.min_bitrate_kbps", 0.001),
    (Bitrates, "most", "webrtc.max_bitrate_kbps", 0.001),
]
OTHERS = {"checkpoints": "elsewhere", "device": "cpu", "precision": Precision.BF16, "channels_last": True,
          "compile": Compile.AUTO, "graph": False, "region": Region.POSE, "TRANSPORT": "udp"}  # fmt: skip
# Sets other defaults, then reads the config's as JSON.
PROGRAM = """
import importlib, inspect, json, sys
for module, name, parameter, value in json.loads(sys.argv[1]):
    where = importlib.import_module(module)
    kind = getattr(where, name) if name else where
    if hasattr(kind, parameter):
        setattr(kind, parameter, value)
    if name:
        order, defaults = list(inspect.signature(kind).parameters), list(kind.__init__.__defaults__)
        defaults[order.index(parameter) - len(order)] = value
        kind.__init__.__defaults__ = tuple(defaults)
from streamer.config import Config
print(json.dumps(Config().model_dump(mode="json", warnings=False)))
"""


def default(kind: Any, parameter: str) -> Any:
    return getattr(kind, parameter) if isinstance(kind, ModuleType) else signature(kind).parameters[parameter].default


def other(kind: Any, parameter: str) -> Any:
    value = default(kind, parameter)
    if parameter in OTHERS:
        return OTHERS[parameter]
    return not value if isinstance(value, bool) else type(value)(value / 2)


def at(data: dict[str, Any], key: str) -> Any:
    return functools.reduce(lambda section, name: section[name], key.split("."), data)


@pytest.fixture(scope="module")
def followed() -> dict[str, Any]:
    """The config's defaults after all others have changed."""
    changes = [
        [kind.__name__, "", parameter, other(kind, parameter)]
        if isinstance(kind, ModuleType)
        else [kind.__module__, kind.__name__, parameter, other(kind, parameter)]
        for kind, parameter, _, _ in ROWS
    ]
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PUPPETCAST_")}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, json.dumps(changes)],
        cwd=ROOT, env=environment | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    read: dict[str, Any] = json.loads(done.stdout)
    return read


@pytest.mark.parametrize(("kind", "parameter", "key", "unit"), ROWS, ids=[row[2] for row in ROWS])
def test_a_default_of_the_config_is_that_of_what_it_configures(kind, parameter, key, unit, followed, monkeypatch):
    for variable in [v for v in os.environ if v.startswith("PUPPETCAST_")]:
        monkeypatch.delenv(variable)
    for data, value in (
        (Config().model_dump(mode="json"), default(kind, parameter)),
        (followed, other(kind, parameter)),
    ):
        assert at(data, key) == (value if unit == 1 else value * unit)
