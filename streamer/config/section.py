"""What all sections of the configuration share."""

from __future__ import annotations

from collections.abc import Callable
from inspect import signature
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidatorFunctionWrapHandler, field_validator


def no_switch_for_a_number(value: Any, check: ValidatorFunctionWrapHandler) -> Any:
    """For a wrapping validator: `true` is no 1.0, and `false` no 0, though Pydantic takes them for it; ValueError."""
    checked = check(value)
    pairs = zip(value, checked, strict=True) if isinstance(checked, tuple) else [(value, checked)]
    if any(isinstance(given, bool) and not isinstance(taken, bool) for given, taken in pairs):
        raise ValueError(f"a number is expected, such as 1, not true or false (given: {str(value).lower()})")
    return checked


class Section(BaseModel):
    """Some settings that belong together. Unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    _numbers = field_validator("*", mode="wrap")(no_switch_for_a_number)


def default_of(kind: Callable[..., Any], parameter: str) -> Any:
    """The default that `kind` itself has for a parameter."""
    return signature(kind).parameters[parameter].default
