"""JSON that others send."""

from __future__ import annotations

import json
import re
from typing import Any, NoReturn

MAX_DEPTH = 16
_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"?', re.DOTALL)


def read_json(text: str) -> Any:
    """What a text says; ValueError if it is not JSON (RFC 8259: no NaN, no lone surrogates), or nested deeper than
    MAX_DEPTH: what Python's parser takes, its other parts may not."""
    depth = 0
    for sign in re.findall(r"[\[{\]}]", _QUOTED.sub("", text)):
        depth += 1 if sign in "[{" else -1
        if depth > MAX_DEPTH:
            raise ValueError(f"nested deeper than {MAX_DEPTH} levels")
    value = json.loads(text, parse_constant=_no_number)
    if "\\u" in text:
        json.dumps(value, ensure_ascii=False).encode()  # UnicodeEncodeError, a ValueError, for half a character
    return value


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number")
