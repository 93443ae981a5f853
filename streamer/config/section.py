"""What all sections of the configuration share."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from inspect import signature
from typing import Any

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    field_validator,
)
from pydantic_core import PydanticCustomError

# What Pydantic says in a programmer's words, by type of error.
WORDS = {
    "missing": "is missing",
    "bool_parsing": "true or false is expected",
    "bool_type": "true or false is expected",
    "int_parsing": "a whole number is expected",
    "int_type": "a whole number is expected",
    "int_from_float": "a whole number is expected",
    "float_parsing": "a number is expected",
    "float_type": "a number is expected",
    "string_type": "a text is expected; put it in quotes",
    "path_type": "a path is expected",
    "list_type": "a list is expected: put it in [ ]",
    "tuple_type": "a list is expected: put it in [ ]",
    "dict_type": "a mapping of keys is expected",
    "model_type": "a mapping of keys is expected",
    "model_attributes_type": "an object is expected, as JSON with 'Content-Type: application/json'",
}


def in_words(error: Mapping[str, Any]) -> str:
    """What is wrong, by an error of Pydantic's; without what was given."""
    own = error["msg"].removeprefix("Value error, ")
    return WORDS.get(error["type"], own if error["type"] == "value_error" else own[0].lower() + own[1:])


def no_switch_for_a_number(value: Any, check: ValidatorFunctionWrapHandler) -> Any:
    """For a wrapping validator: `true` is no 1.0, and `false` no 0, though Pydantic takes them for it; ValueError."""
    checked = check(value)
    pairs = zip(value, checked, strict=True) if isinstance(checked, tuple) else [(value, checked)]
    if any(isinstance(given, bool) and not isinstance(taken, bool) for given, taken in pairs):
        raise ValueError(f"a number is expected, such as 1, not true or false (given: {str(value).lower()})")
    return checked


def written(pattern: str, wanted: str) -> AfterValidator:
    """For an annotation: a text that `pattern` matches as a whole; the error says in words what is `wanted`."""

    def check(text: str) -> str:
        if not re.fullmatch(pattern, text):
            raise PydanticCustomError("written", "{wanted}", {"wanted": wanted})
        return text

    return AfterValidator(check)


def either(wanted: str) -> WrapValidator:
    """For an annotation with several kinds: the error says in words what is `wanted`, not what is wrong with each of them."""

    def check(value: Any, take: ValidatorFunctionWrapHandler) -> Any:
        try:
            return take(value)
        except ValidationError as exc:
            raise PydanticCustomError("either", "{wanted}", {"wanted": wanted}) from exc

    return WrapValidator(check)


class Section(BaseModel):
    """Some settings that belong together. Unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    _numbers = field_validator("*", mode="wrap")(no_switch_for_a_number)


def default_of(kind: Callable[..., Any], parameter: str) -> Any:
    """The default that `kind` itself has for a parameter."""
    return signature(kind).parameters[parameter].default
