"""When an output that failed is tried again, and what is said about it."""

from __future__ import annotations

import logging

from pipeline.clock import Clock, steady

from ..backoff import Backoff
from ..errors import SinkError
from .base import OutputState, OutputStatus

log = logging.getLogger(__name__)

PAUSES_S = (0.5, 1.0, 2.0, 5.0)  # between tries
HEALTHY_S = 10.0  # after so long the next failure counts as the first


class Retry:
    """Keeps an output's status through its tries."""

    def __init__(self, status: OutputStatus, clock: Clock = steady) -> None:
        self._status = status
        self._clock = clock
        self._backoff = Backoff(*PAUSES_S)
        self._began_s = clock()

    def begin(self) -> None:
        """A try begins."""
        self._status.state, self._began_s = OutputState.STARTING, self._clock()

    def live(self) -> None:
        """It has succeeded."""
        self._status.state, self._status.detail = OutputState.LIVE, ""

    def failed(self, exc: SinkError) -> float | None:
        """It has failed: how many seconds to wait before the next one; None if there is to be none."""
        if str(exc) != self._status.detail:  # the same line again and again helps nobody
            log.warning("%s%s", exc, "; trying again" if exc.retry else "")
        self._status.detail = str(exc)
        self._status.state = OutputState.WAITING if exc.retry else OutputState.FAILED
        return self._backoff.after(self._clock() - self._began_s > HEALTHY_S) if exc.retry else None
