"""configs/default.yaml, made from the code: every key with its meaning and its default."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from typing import Any

import yaml
from pydantic import BaseModel

from streamer.config import Config

WIDTH = 100
HEAD = """\
# puppetcast's configuration. Every key has its default here; unknown keys are refused. Made from the code by 'make docs'.
# A variable wins over this file: PUPPETCAST_HTTP__PORT=9000 sets http.port.
"""


def text() -> str:
    """The whole file."""
    config, parts = Config.model_construct(), [HEAD]  # constructed: variables of this process do not count
    for name in Config.model_fields:
        section = getattr(config, name)
        if isinstance(section, dict):
            lines = ["# The streams, by name.", f"{name}:"]
            for key, stream in section.items():
                lines += [f"  {key}:", *_keys(stream, "    ")]
        else:
            lines = _section(name, section, "")
        parts.append("\n".join(lines) + "\n")
    return "\n".join(parts)


def _section(name: str, section: BaseModel, indent: str) -> list[str]:
    return [*_comment(section.__doc__, indent), f"{indent}{name}:", *_keys(section, indent + "  ")]


def _keys(section: BaseModel, indent: str) -> Iterator[str]:
    plain = section.model_dump(mode="json")
    for key, field in type(section).model_fields.items():
        value = getattr(section, key)
        if isinstance(value, BaseModel):
            yield from _section(key, value, indent)
        else:
            yield from _comment(field.description, indent)
            yield f"{indent}{key}: {_written(plain[key])}"


def _comment(text: str | None, indent: str) -> list[str]:
    return textwrap.wrap(" ".join((text or "").split()), WIDTH, initial_indent=f"{indent}# ", subsequent_indent=f"{indent}# ")


def _written(value: Any) -> str:
    return str(yaml.safe_dump(value, default_flow_style=True)).splitlines()[0]
