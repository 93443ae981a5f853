"""Typed commands: their schema, and the envelope in which texts carry them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .control import Control

import json
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model

from pipeline.engine import AUTO, ENGINES
from pipeline.errors import PuppetError

from ..config import Puppet
from ..errors import BadCommand, StreamerError

MAX_COMMAND = 16 * 1024  # characters


class Actions(BaseModel):
    """A command: what is to be changed; what is not named stays. All of it is checked before any of it is done."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    portrait: str | None = Field(None, description="Show this portrait of the gallery.")
    previous_portrait: Literal[True] | None = Field(None, description="Show the portrait from before.")
    engine: str | None = Field(None, description=f"Animate with this engine: {', '.join((AUTO, *ENGINES))}.")
    calibrate: Literal[True] | None = Field(None, description="Take a new neutral face.")
    next_face: Literal[True] | None = Field(None, description="Follow the next face to the right.")
    recording: bool | None = Field(None, description="Record the animated picture.")
    demo: bool | None = Field(None, description="Drive with the built-in clip.")


def _optional(name: str) -> tuple[Any, Any]:
    field = Puppet.model_fields[name]
    kind: Any = Annotated[(field.annotation, *field.metadata)] if field.metadata else field.annotation
    return kind | None, Field(None, description=field.description)


# What of a stream's puppet can be set is what the config has of it, with the same limits.
Change: type[Actions] = create_model(
    "Change", __base__=Actions, __doc__=Actions.__doc__, **{name: _optional(name) for name in Puppet.model_fields}
)  # type: ignore[call-overload]


def read_change(data: Any) -> Actions:
    """A command from JSON data; BadCommand says which key is wrong, and how."""
    try:
        return Change.model_validate(data)
    except ValidationError as exc:
        raise BadCommand(explain(exc.errors())) from exc


def explain(errors: Sequence[Any]) -> str:
    """Pydantic's errors in one line that names each key, what is wrong with it, and what was given."""
    parts = []
    for error in errors:
        key = ".".join(str(p) for p in error["loc"] if p != "body") or "command"
        if error["type"] == "extra_forbidden":
            parts.append(f"{key}: unknown; known: {', '.join(Change.model_fields)}")
        else:
            parts.append(f"{key}: {error['msg'].lower()} (given: {str(error['input'])[:80]!r})")
    return "; ".join(parts)


async def answer(control: Control, name: str, text: str) -> str:
    """A command as JSON text {"id": …, "change": {…}} -> {"id": …, "state": {…}}, or "error" and "code" instead: for
    transports that carry texts."""
    number: Any = None
    try:
        data = json.loads(text) if len(text) <= MAX_COMMAND else None
        if not isinstance(data, dict) or "change" not in data:
            raise BadCommand('a command is JSON: {"id": 1, "change": {"pose_gain": 1.2}}')
        number = data.get("id")
        state = await control.apply(name, read_change(data["change"]))
        return json.dumps({"id": number, "state": state.model_dump(mode="json")})
    except ValueError:
        problem: Exception = BadCommand("the command is not JSON")
    except (StreamerError, PuppetError) as exc:
        problem = exc
    return json.dumps({"id": number, "error": str(problem), "code": type(problem).__name__})
