"""The one place that asks the operating system for the time; everything else is told it."""

from __future__ import annotations

import time
from collections.abc import Callable

Clock = Callable[[], float]  # seconds on a steady clock, from any beginning
steady: Clock = time.monotonic
