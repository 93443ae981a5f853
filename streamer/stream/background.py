"""A task that is to run as long as the server."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any

from pipeline.clock import Clock, steady
from pipeline.heartbeat import Heartbeat

from .status import Part

log = logging.getLogger(__name__)


def heart_of(task: asyncio.Task[None], clock: Clock = steady) -> Heartbeat:
    """That of a task, which is to run until it is cancelled; the log has what it died of."""

    def ended(task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (exc := task.exception()) is not None:
            log.error("%s has died", task.get_name(), exc_info=exc)

    task.add_done_callback(ended)
    return Heartbeat(lambda: not task.done(), clock)


class Background:
    """Begins at once. run: what it does, until it is cancelled."""

    def __init__(self, name: str, run: Callable[[], Coroutine[Any, Any, None]]) -> None:
        self.name = name
        self._run = run
        self._begin()

    def _begin(self) -> None:
        self._task = asyncio.create_task(self._run(), name=self.name)
        self._heart = heart_of(self._task)

    def part(self) -> Part:
        """Its task."""
        return Part(self.name, self._heart, self._restart)

    async def _restart(self) -> None:
        await self.stop()
        self._begin()

    async def stop(self) -> None:
        """End it."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
