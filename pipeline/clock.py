"""The one place that asks the operating system for the time; everything else is told it."""

from __future__ import annotations

import time
from collections.abc import Callable

Clock = Callable[[], float]  # seconds on a steady clock, from any beginning
steady: Clock = time.monotonic

_BEGAN_S = time.time() - time.monotonic()


def date_s() -> float:
    """Seconds since 1970, that never go back while the process runs."""
    return _BEGAN_S + time.monotonic()
