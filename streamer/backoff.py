"""How long to wait before trying again."""

from __future__ import annotations

import random


class Backoff:
    """Waits that grow with each failure in a row, with jitter, up to the last of `steps_s`."""

    def __init__(self, *steps_s: float) -> None:
        self._steps_s = steps_s
        self._tries = 0

    def after(self, healthy: bool) -> float:
        """Seconds to wait after a failure; healthy: it had worked for a while, so this one counts as the first."""
        self._tries = 0 if healthy else self._tries + 1
        return jittered(self._steps_s[min(self._tries, len(self._steps_s) - 1)])


def jittered(seconds: float) -> float:
    """About so long: many clients of a server that comes back must not all come at once."""
    return seconds * random.uniform(0.8, 1.2)
