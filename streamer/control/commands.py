"""Typed commands: their schema, and the envelope in which texts carry them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Annotated, Any, Literal, get_args

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictFloat,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WithJsonSchema,
    create_model,
    field_validator,
)
from pydantic_core import PydanticKnownError

from pipeline.engine import AUTO, ENGINES

from ..config import Puppet
from ..config.section import in_words, no_switch_for_a_number
from ..errors import BadCommand, code
from ..jsontext import read_json

MAX_COMMAND = 16 * 1024  # characters
# Checked by who knows the stream; the schema tells the choices.
EngineName = Annotated[str, WithJsonSchema({"type": "string", "enum": [AUTO, *ENGINES]})]


def _of_its_kind(value: Any, check: ValidatorFunctionWrapHandler) -> Any:
    taken = no_switch_for_a_number(value, check)
    _compare(value, taken)
    return taken


def _compare(given: Any, taken: Any) -> None:
    if isinstance(taken, tuple | list):
        for pair in zip(given, taken, strict=True):
            _compare(*pair)
    elif isinstance(taken, bool) and not isinstance(given, bool):
        raise PydanticKnownError("bool_type")
    elif isinstance(taken, int | float) and not isinstance(given, int | float):
        raise PydanticKnownError("int_type" if isinstance(taken, int) else "float_type")


class Given(BaseModel):
    """What is sent as JSON. What Pydantic would take for something else is refused: "yes" is not true, and "1" no number."""

    _kinds = field_validator("*", mode="wrap")(_of_its_kind)


class PresetSwitch(Given):
    """A preset to switch on or off; without `on` it is switched over."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    on: bool | None = None


def _by_name(preset: Any) -> Any:
    return {"name": preset} if isinstance(preset, str) else preset


class Actions(Given):
    """A command: what is to be changed; what is not named stays. All of it is checked before any of it is done."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    portrait: str | None = Field(None, description="Id of the portrait to show; GET /api/portraits lists them.")
    previous_portrait: Literal[True] | None = Field(None, description="Shows the portrait that was shown before this one.")
    engine: EngineName | None = Field(None, description="Engine to animate with; auto takes the best one of this machine.")
    calibrate: Literal[True] | None = Field(
        None, description="Takes a new neutral face, against which the driver's motion is measured."
    )
    next_face: Literal[True] | None = Field(
        None, description="Follows the next face to the right, if the driver's picture shows several."
    )
    recording: bool | None = Field(None, description="true begins to record the animated picture, false ends the recording.")
    virtual_camera: bool | None = Field(
        None, description="true shows the animated picture as a camera of the server's machine, for calls; false ends that."
    )
    virtual_microphone: bool | None = Field(
        None, description="true gives the delayed sound as a microphone of the server's machine, for calls; false ends that."
    )
    preset: Annotated[PresetSwitch, BeforeValidator(_by_name)] | None = Field(
        None,
        description='Toggles a preset by its name; {"name": "Smile", "on": true} switches it on. GET /api/presets lists them.',
    )
    shapes: dict[str, StrictFloat] | None = Field(
        None,
        description='Holds these shapes instead of the driver\'s motion in their regions, such as {"smile": 0.6, "headYaw": 10}; '
        "0 names a region that rests, {} lets go. GET /api/shapes lists them.",
    )
    clear_shapes: Literal[True] | None = Field(None, description="Switches all presets off and lets go of held shapes.")
    demo: bool | None = Field(None, description="true drives the puppet with the built-in clip, false ends that.")


# Those that take no value: to name them is to ask for them.
BARE = tuple(name for name, field in Actions.model_fields.items() if Literal[True] in get_args(field.annotation))


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
        if error["type"] == "json_invalid":
            parts.append(f"the body is not JSON ({error['ctx']['error']})")
        elif error["type"] == "extra_forbidden":
            parts.append(f"{key}: unknown; known: {', '.join(Change.model_fields)}")
        else:
            own = error["type"] in ("value_error", "missing")  # says itself what was given, or nothing was
            parts.append(f"{key}: {_as_json(error)}" + ("" if own else f" (given: {_spelled(error['input'])})"))
    return "; ".join(parts)


def _as_json(error: Any) -> str:
    """What is wrong, with choices as they are to be sent."""
    if error["type"] in ("literal_error", "enum"):
        choices = error["ctx"]["expected"].replace("'", '"').replace("True", "true")
        return f"{choices} is expected"
    return in_words(error)


def _spelled(value: Any) -> str:
    """As JSON has it, at most 80 characters of it."""
    text = value.decode("utf-8", "replace") if isinstance(value, bytes) else value  # a body that is not JSON
    return json.dumps(text, ensure_ascii=False, default=str)[:80]


def read_envelope(text: str) -> tuple[Any, Any]:
    """JSON text {"id": …, "change": {…}} -> id and change; BadCommand if it is none."""
    try:
        data = read_json(text) if len(text) <= MAX_COMMAND else None
    except ValueError as exc:
        raise BadCommand(f"the command is not JSON ({exc})") from exc
    if not isinstance(data, dict) or "change" not in data:
        raise BadCommand('a command is JSON: {"id": 1, "change": {"pose_gain": 1.2}}')
    return data.get("id"), data["change"]


def refusal(number: Any, problem: Exception) -> dict[str, Any]:
    """The answer to a command that was not done."""
    return {"id": number, "error": str(problem), "code": code(problem)}
