"""Whether a thread or task goes on: it says when a piece of its work begins and ends, and others look."""

from __future__ import annotations

from collections.abc import Callable

from .clock import Clock, steady


class Heartbeat:
    """Of one thread or task, which does each piece of its work `with` it; between them it waits, as long as it likes.

    alive: whether it runs at all.
    """

    def __init__(self, alive: Callable[[], bool], clock: Clock = steady) -> None:
        self._alive = alive
        self._clock = clock
        self._since_s: float | None = None

    def __enter__(self) -> None:
        self._since_s = self._clock()

    def __exit__(self, *_: object) -> None:
        self._since_s = None

    def trouble(self, limit_s: float, awake_s: float = float("-inf")) -> str:
        """Why it does not go on, in words; nothing where it does. limit_s: how long a piece of work may take; awake_s: when
        this process last began to run again, after a halt that was nobody's fault."""
        if not self._alive():
            return "has died"
        since_s = self._since_s
        if since_s is not None and self._clock() - max(since_s, awake_s) > limit_s:
            return f"has been at one piece of work for more than {limit_s:g} s"
        return ""
