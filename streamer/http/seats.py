"""Answers that have no end: events, and pictures one after the other. Whoever asks for them keeps a place."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

from fastapi import Request
from fastapi.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from ..config import Http
from ..errors import TooManySessions
from .access import address_of


class Seats:
    """How many there are, in all and of each address."""

    def __init__(self, config: Http) -> None:
        self._config = config
        self._taken: Counter[str] = Counter()

    def take(self, address: str) -> None:
        """TooManySessions if there is none."""
        all_taken, own = self._taken.total(), self._taken[address]
        for taken, most, key in (
            (all_taken, self._config.max_listeners, "max_listeners"),
            (own, self._config.max_listeners_per_address, "max_listeners_per_address"),
        ):
            if taken >= most:
                raise TooManySessions(f"{taken} listen or watch already, the limit (http.{key})")
        self._taken[address] += 1

    def leave(self, address: str) -> None:
        """Let another have it."""
        self._taken[address] -= 1
        if not self._taken[address]:
            del self._taken[address]


class Endless(StreamingResponse):
    """A streaming answer that needs a seat."""

    def __init__(self, request: Request, content: AsyncIterator[Any], media_type: str) -> None:
        super().__init__(content, media_type=media_type, headers={"Cache-Control": "no-store"})
        self._seats: Seats = request.app.state.seats
        self._address = address_of(request)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._seats.take(self._address)
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._seats.leave(self._address)
