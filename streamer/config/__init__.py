"""The configuration: one tree of settings, from a YAML file, `PUPPETCAST_…` variables and the command line."""

from __future__ import annotations

import os
import re
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Self, TypeVar, get_args

from pydantic import BaseModel, Field, ValidationError, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from ..errors import ConfigError
from .animation import Budget, Device, Engine, LivePortrait
from .fleet import Fleet
from .label import Kind, Label
from .mark import Mark
from .section import Section, in_words, written
from .server import Auth, Downloads, Drives, Http, IceServer, Mqtt, Persistence, Portraits, WebRtc
from .signing import Signing
from .streams import ORIGINAL, PICTURE, STEP, Puppet, Recording, Sink, Stream
from .yamlfile import Key, Lines, line_of, read_yaml

__all__ = [
    "ORIGINAL", "PICTURE", "STEP", "Auth", "Budget", "Config", "Device", "Downloads", "Drives", "Engine", "Fleet", "Http",
    "IceServer", "Kind", "Label", "LivePortrait", "Mark", "Mqtt", "Persistence", "Portraits", "Puppet", "Recording", "Signing",
    "Sink", "Stream", "WebRtc", "changed", "check_name", "load_config", "with_stream",
]  # fmt: skip

Name = Annotated[
    str, written("[a-z0-9][a-z0-9_-]{0,39}", "a name has up to 40 small letters, digits, '-' and '_', such as live or camera-2")
]
SECRET = re.compile(r"token|password|secret|credential|url$|target$|path$|pass$")  # values of such keys are never shown
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
    mark: Mark = Mark()
    label: Label = Label()
    signing: Signing = Signing()
    mqtt: Mqtt = Mqtt()
    persistence: Persistence = Persistence()
    portraits: Portraits = Portraits()
    drives: Drives = Drives()
    downloads: Downloads = Downloads()
    fleet: Fleet = Fleet()
    streams: dict[Name, Stream] = Field(default_factory=lambda: {"live": Stream()})

    @model_validator(mode="after")
    def _streams_of_auth(self) -> Self:
        if unknown := self.auth.streams.keys() - self.streams.keys():
            raise ValueError(f"auth.streams: no stream '{min(unknown)}'; streams: {', '.join(self.streams)}")
        return self

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
    _check_variables()
    try:
        return Config(**data)
    except ValidationError as exc:
        raise ConfigError(_explain(exc, str(path or "environment"), lines)) from exc
    except ValueError as exc:  # a variable for a whole section that is not JSON
        section = re.search(r'field "(\w+)"', str(exc))
        name = f"PUPPETCAST_{section[1].upper()}" if section else "environment"
        raise ConfigError(f"variable {name}: not JSON; set its keys one by one, such as PUPPETCAST_HTTP__PORT=9000") from exc


def changed(section: _S, options: dict[str, Any]) -> _S:
    """`section` with `options` of the command line in it, checked as those of a file; ConfigError."""
    try:
        return type(section).model_validate(section.model_dump() | options)
    except ValidationError as exc:
        raise ConfigError(_explain(exc, "command line", {})) from exc


class _Streams(BaseModel):
    streams: dict[Name, Stream]


def with_stream(config: Config, name: str, settings: Any) -> Config:
    """`config` with one more stream, or with another in its place; its settings are checked as those of a file, ConfigError."""
    return config.model_copy(update={"streams": config.streams | _stream(name, settings)})


def check_name(name: str) -> None:
    """ConfigError where no stream can be called so."""
    _stream(name, {})


def _stream(name: str, settings: Any) -> dict[str, Stream]:
    try:
        return _Streams.model_validate({"streams": {name: settings}}).streams
    except ValidationError as exc:
        raise ConfigError(_explain(exc, "stream", {})) from exc


def _explain(exc: ValidationError, where: str, lines: Lines) -> str:
    problems = []
    for error in exc.errors():
        loc = tuple(part for part in error["loc"] if part != "[key]")
        key = ".".join(str(part) for part in loc)
        if error["type"] == "extra_forbidden":
            wrong, given = f"unknown key; {_instead(loc)}", ""
        else:
            wrong = in_words(error)
            hidden = error["type"] in ("value_error", "dict_type", "model_type") or SECRET.search(key)
            given = "" if hidden else f" (given: {error['input']!r})"
        problems.append(f"{_place(loc, lines)}{key and f'{key}: '}{wrong}{given}")
    return f"{where}: " + "; ".join(problems)


def _check_variables() -> None:
    """Those of sections that are none: pydantic passes over them."""
    for variable in os.environ:
        section, of_section, _ = variable.lower().removeprefix("puppetcast_").partition("__")
        if variable.upper().startswith("PUPPETCAST_") and of_section and section not in Config.model_fields:
            raise ConfigError(f"variable {variable}: {section}: unknown key; {_instead((section,))}")


def _instead(key: Key) -> str:
    """Which key may have been meant, or which there are."""
    known = list(_section(key[:-1]).model_fields)
    near = get_close_matches(str(key[-1]), known, 1)
    return f"did you mean '{near[0]}'?" if near else f"there are: {', '.join(known)}"


def _section(key: Key) -> type[BaseModel]:
    """What `key`, which is one, may hold."""
    kind: Any = Config
    for part in key:
        kind = kind.model_fields[part].annotation if hasattr(kind, "model_fields") else get_args(kind)[-1]
    return kind  # type: ignore[no-any-return]


def _place(key: Key, lines: Lines) -> str:
    """Where a wrong value is from: a variable, which wins over the file, or a line of it."""
    variables = {name.upper() for name in os.environ}
    names = ["PUPPETCAST_" + "__".join(map(str, key[:end])).upper() for end in range(len(key), 0, -1)]
    variable = next((name for name in names if name in variables), None)
    line = line_of(key, lines)
    return f"variable {variable}: " if variable else f"line {line}: " if line else ""
