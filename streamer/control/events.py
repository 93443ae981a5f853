"""News of the streams for whoever listens: pages, MQTT. A slow listener gets the newest state, not all of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import dataclass

from .state import PASSING, StreamState

LOOK_S = 0.25  # how often streams are looked at: much happens to them that nobody commands


@dataclass(frozen=True)
class News:
    """A stream's state. changed: more of it is new than telemetry; gone: the stream has been removed, and this was its last."""

    state: StreamState
    changed: bool
    gone: bool = False


class Events:
    """Looks at the states while somebody listens. All methods belong to the event loop's thread."""

    def __init__(self, states: Callable[[], list[StreamState]]) -> None:
        self._states = states
        self._known: dict[str, object] = {}
        self._listeners: set[_Listener] = set()
        self._something = asyncio.Event()
        self._closed = False

    @property
    def listeners(self) -> int:
        """How many listen."""
        return len(self._listeners)

    def happened(self) -> None:
        """Something was commanded: do not wait for the next look."""
        self._something.set()

    async def run(self) -> None:
        """Look again and again, until cancelled."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_S):
                    await self._something.wait()
            self._something.clear()
            if self._listeners:
                for state in self._states():
                    self._tell(state)

    def gone(self, state: StreamState) -> None:
        """A stream has been removed; its last state."""
        self._known.pop(state.name, None)
        for listener in self._listeners:
            listener.tell(News(state, True, gone=True))

    def _tell(self, state: StreamState) -> None:
        steady = state.model_dump(exclude=PASSING)
        changed = self._known.get(state.name) != steady
        self._known[state.name] = steady
        for listener in self._listeners:
            listener.tell(News(state, changed))

    async def listen(self) -> AsyncIterator[News]:
        """News of all streams: their present states first, then at every look; ends when the server does."""
        listener = _Listener()
        for state in self._states():
            listener.tell(News(state, True))
        self._listeners.add(listener)
        try:
            while not self._closed:
                for news in await listener.next():
                    yield news
        finally:
            self._listeners.discard(listener)

    def close(self) -> None:
        """End all listening."""
        self._closed = True
        for listener in self._listeners:
            listener.ready.set()


class _Listener:
    def __init__(self) -> None:
        self._waiting: dict[str, News] = {}
        self.ready = asyncio.Event()

    def tell(self, news: News) -> None:
        before = self._waiting.get(news.state.name)
        changed = news.changed or (before is not None and before.changed)
        self._waiting[news.state.name] = News(news.state, changed, news.gone)
        self.ready.set()

    async def next(self) -> list[News]:
        await self.ready.wait()
        self.ready.clear()
        waiting, self._waiting = list(self._waiting.values()), {}
        return waiting
