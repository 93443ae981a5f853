"""What all sections of the configuration share."""

from __future__ import annotations

from collections.abc import Callable
from inspect import signature
from typing import Any

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """Some settings that belong together. Unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def default_of(kind: Callable[..., Any], parameter: str) -> Any:
    """The default that `kind` itself has for a parameter."""
    return signature(kind).parameters[parameter].default
