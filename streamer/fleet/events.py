"""Events of all workers as one stream, which goes on when workers come and go."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import suppress

import httpx
from fastapi import Request
from starlette.types import Receive, Scope, Send

from ..http.seats import Endless
from ..timers import pause
from .base import At, DirectorAway
from .known import Known
from .proxy import Proxy, Unreachable

LOOK_S = 0.5
EVENTS = "text/event-stream"


class Events(Endless):
    """The answer to GET /api/events. A stream is gone when the director has none of that name: workers say so of those that only
    leave them, and those that die say nothing. One is away when its worker has died, until another one tells of it."""

    def __init__(self, request: Request, known: Known, proxy: Proxy) -> None:
        self._request, self._known, self._proxy = request, known, proxy
        # Nothing lies here: a reader that is slow makes the workers wait, who then tell it the newest.
        self._news: asyncio.Queue[str] = asyncio.Queue(1)
        self._told: set[str] = set()
        self._from: dict[str, At] = {}  # streams, and who spoke last of each
        self._missed: set[str] = set()  # at the last look: a stream that is new may be told of before it is listed
        super().__init__(request, self._read(), EVENTS)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        keeping = asyncio.create_task(self._keep(), name="events")
        try:
            await super().__call__(scope, receive, send)
        finally:
            keeping.cancel()

    async def _read(self) -> AsyncIterator[str]:
        while True:
            yield await self._news.get()

    async def _keep(self) -> None:
        """Follow every worker that there is."""
        followed: dict[At, asyncio.Task[None]] = {}
        try:
            while True:
                with suppress(DirectorAway):
                    workers = await self._known.workers()
                    for at in followed.keys() - set(workers):
                        followed.pop(at).cancel()
                        await self._say_away(at)
                    for at in set(workers) - followed.keys():
                        followed[at] = asyncio.create_task(self._follow(at), name=f"events of {at.worker}")
                    await self._say_goodbye(set(await self._known.streams()))
                await pause(LOOK_S)
        finally:
            for task in followed.values():
                task.cancel()

    async def _say_away(self, at: At) -> None:
        """What was told of its streams holds no more, and who has them next will tell."""
        for name in [name for name, last in self._from.items() if last == at]:
            del self._from[name]
            await self._news.put(f"event: away\ndata: {json.dumps({'name': name})}\n\n")

    async def _say_goodbye(self, streams: set[str]) -> None:
        missing = self._told - streams
        for name in missing & self._missed:
            self._told.discard(name)
            await self._news.put(f"event: gone\ndata: {json.dumps({'name': name})}\n\n")
        self._missed = missing

    async def _follow(self, at: At) -> None:
        while True:
            with suppress(Unreachable, httpx.TransportError):
                reply = await self._proxy.send(self._request, at)
                try:
                    if reply.is_success:
                        await self._tell(reply, at)
                finally:
                    await reply.aclose()
            await pause(LOOK_S)

    async def _tell(self, reply: httpx.Response, at: At) -> None:
        kind = ""
        async for line in reply.aiter_lines():
            key, _, value = line.partition(": ")
            if key == "event":
                kind = value
            elif key == "data" and kind != "gone":
                name = json.loads(value)["name"]
                self._told.add(name)
                self._from[name] = at
                await self._news.put(f"event: {kind}\ndata: {value}\n\n")
