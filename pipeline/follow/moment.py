"""A moment of a motion template."""

from __future__ import annotations

from typing import Any, NamedTuple


class Moment(NamedTuple):
    """time_s: from the first one; seen: for `Puppeteer.render`; followed: whether a face was seen then."""

    time_s: float
    seen: Any
    followed: bool
