"""Streams that have no worker: why, and from when on each is tried again. No clock; times are seconds of any one."""

from __future__ import annotations

from dataclasses import dataclass, field

from ..backoff import Backoff
from .base import FleetFull

AGAIN_S = 1.0  # where a worker is missing, as there may be room at any time
PAUSES_S = (1.0, 2.0, 4.0, 8.0, 15.0, 30.0)  # where it is the stream's own fault, such as a portrait that is not there


@dataclass
class _Wait:
    problem: Exception
    due: float
    backoff: Backoff = field(default_factory=lambda: Backoff(*PAUSES_S))


class Waiting:
    """By stream."""

    def __init__(self) -> None:
        self._each: dict[str, _Wait] = {}

    def note(self, stream: str, problem: Exception, now: float) -> bool:
        """It could not begin. Whether that is for another reason than at the last try: figures in what is said of the fleet's
        room change all the time."""
        before = self._each.get(stream)
        wait = self._each[stream] = before or _Wait(problem, now)
        full = isinstance(problem, FleetFull)
        wait.due = now + (AGAIN_S if full else wait.backoff.after(False))
        last, wait.problem = wait.problem, problem
        return before is None or type(last) is not type(problem) or (not full and str(last) != str(problem))

    def is_due(self, stream: str, now: float) -> bool:
        """Whether it is to be tried now."""
        return stream not in self._each or now >= self._each[stream].due

    def why(self) -> dict[str, str]:
        """In words, by stream."""
        return {stream: str(wait.problem) for stream, wait in self._each.items()}

    def over(self, stream: str) -> None:
        """It has a worker, or is wanted no more."""
        self._each.pop(stream, None)

    def room(self) -> None:
        """One more worker is there: what is known of missing room is old."""
        self._each = {stream: wait for stream, wait in self._each.items() if not isinstance(wait.problem, FleetFull)}
