"""What the director said a moment ago, so that it need not be asked for every request."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from .base import At, Director, DirectorAway

FRESH_S = 0.25
T = TypeVar("T")


class Lately(Generic[T]):
    """An answer, asked for again when it is older than FRESH_S; while the director is away, the last one holds."""

    def __init__(self, ask: Callable[[], Awaitable[list[T]]]) -> None:
        self._ask = ask
        self._last: list[T] | None = None
        self._until_s = 0.0
        self._turn = asyncio.Lock()

    async def get(self) -> list[T]:
        """DirectorAway if there never was an answer."""
        async with self._turn:
            now = asyncio.get_running_loop().time()
            if now >= self._until_s:
                try:
                    self._last = await self._ask()
                except DirectorAway:
                    if self._last is None:
                        raise
                self._until_s = now + FRESH_S
            assert self._last is not None
            return self._last

    def forget(self) -> None:
        """Ask anew next time."""
        self._until_s = 0.0


class Known:
    """The workers that answer, and the streams that there are."""

    def __init__(self, director: Director) -> None:
        self._director = director
        self._workers, self._streams = Lately(director.workers), Lately(director.streams)

    async def workers(self) -> list[At]:
        """In the order of their names. DirectorAway."""
        return sorted(await self._workers.get(), key=lambda at: at.worker)

    async def streams(self) -> list[str]:
        """DirectorAway."""
        return await self._streams.get()

    async def find(self, worker: str, epoch: str) -> At | None:
        """That worker, as long as it is the same process. DirectorAway."""
        return next((at for at in await self.workers() if (at.worker, at.epoch) == (worker, epoch)), None)

    async def lost(self, at: At) -> None:
        """A worker could not be reached: let the director look."""
        try:
            await self._director.gone(at)
        except DirectorAway:
            return
        self._workers.forget()
