"""The configuration: one tree of settings, from a YAML file, `PUPPETCAST_…` variables and the command line."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from ..errors import ConfigError
from .animation import Budget, Device, Engine, LivePortrait
from .section import Section
from .server import Auth, Downloads, Http, IceServer, Mqtt, Persistence, Portraits, WebRtc
from .streams import STEP, Puppet, Recording, Sink, Stream
from .yamlfile import Key, Lines, line_of, read_yaml

__all__ = [
    "STEP", "Auth", "Budget", "Config", "Device", "Downloads", "Engine", "Http", "IceServer", "LivePortrait", "Mqtt",
    "Persistence", "Portraits", "Puppet", "Recording", "Sink", "Stream", "WebRtc", "changed", "load_config",
]  # fmt: skip

Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,39}$")]
SECRET = re.compile(r"token|password|secret|credential|url$|target$|path$")  # values of such keys are never shown
_S = TypeVar("_S", bound=Section)


class Config(BaseSettings):
    """Everything that can be configured. Unknown keys are refused."""

    model_config = SettingsConfigDict(
        env_prefix="PUPPETCAST_", env_nested_delimiter="__", extra="forbid", frozen=True, nested_model_default_partial_update=True
    )

    http: Http = Http()
    auth: Auth = Auth()
    engine: Engine = Engine()
    liveportrait: LivePortrait = LivePortrait()
    budget: Budget = Budget()
    device: Device = Device()
    webrtc: WebRtc = WebRtc()
    recording: Recording = Recording()
    mqtt: Mqtt = Mqtt()
    persistence: Persistence = Persistence()
    portraits: Portraits = Portraits()
    downloads: Downloads = Downloads()
    streams: dict[Name, Stream] = Field(default_factory=lambda: {"live": Stream()})

    @classmethod
    def settings_customise_sources(
        cls, settings_cls: type[BaseSettings], init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource, dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:  # fmt: skip
        return env_settings, init_settings  # a variable wins over the file


def load_config(path: Path | None = None) -> Config:
    """Read `path`, or take the defaults; ConfigError names the key, its line, and what is wrong with it."""
    data, lines = ({}, {}) if path is None else read_yaml(path)
    try:
        return Config(**data)
    except ValidationError as exc:
        raise ConfigError(_explain(exc, str(path or "environment"), lines)) from exc
    except ValueError as exc:  # a variable that is not JSON
        raise ConfigError(f"environment: {exc}") from exc


def changed(section: _S, options: dict[str, Any]) -> _S:
    """`section` with `options` of the command line in it, checked as those of a file; ConfigError."""
    try:
        return type(section).model_validate(section.model_dump() | options)
    except ValidationError as exc:
        raise ConfigError(_explain(exc, "command line", {})) from exc


def _explain(exc: ValidationError, where: str, lines: Lines) -> str:
    problems = []
    for error in exc.errors():
        loc = tuple(part for part in error["loc"] if part != "[key]")
        key = ".".join(str(part) for part in loc)
        if error["type"] == "extra_forbidden":
            wrong, given = "unknown key", ""
        else:
            wrong = error["msg"].removeprefix("Value error, ")
            wrong = wrong if error["type"] == "value_error" else wrong.lower()
            wrong, hidden = ("a mapping of keys is expected", True) if "dictionary" in wrong else (wrong, SECRET.search(key))
            given = "" if hidden or error["type"] == "value_error" else f" (given: {error['input']!r})"
        problems.append(f"{_place(loc, lines)}{key}: {wrong}{given}")
    return f"{where}: " + "; ".join(problems)


def _place(key: Key, lines: Lines) -> str:
    """Where a wrong value is from: a variable, which wins over the file, or a line of it."""
    variables = {name.upper() for name in os.environ}
    names = ["PUPPETCAST_" + "__".join(map(str, key[:end])).upper() for end in range(len(key), 0, -1)]
    variable = next((name for name in names if name in variables), None)
    line = line_of(key, lines)
    return f"variable {variable}: " if variable else f"line {line}: " if line else ""
