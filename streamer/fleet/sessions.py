"""Offers (WHIP, WHEP) passed on to the worker that has the stream, and sessions, whose addresses name worker and process."""

from __future__ import annotations

import logging
from contextlib import suppress
from urllib.parse import quote

import httpx
from fastapi import Request, Response

from ..errors import UnknownSession, UnknownStream
from ..http.rights import STREAM, VIEW, Needs
from .base import At, Director, DirectorAway
from .known import Known
from .proxy import TRIES, Passed, Proxy, Unreachable

log = logging.getLogger(__name__)


class SessionWays:
    """What is asked of /live/NAME/whip, whep and sessions."""

    def __init__(self, director: Director, known: Known, proxy: Proxy) -> None:
        self._director, self._known, self._proxy = director, known, proxy

    async def watch(self, request: Request) -> Response:
        """POST of a viewer's offer."""
        return await self._offered(request, drives=False)

    async def publish(self, request: Request) -> Response:
        """POST of a driver's offer. Where its worker has no room for one, the stream is placed elsewhere."""
        return await self._offered(request, drives=True)

    async def _offered(self, request: Request, drives: bool) -> Response:
        stream, offer = request.path_params["name"], await request.body()
        problem: Unreachable | None = None
        refusals: dict[At, httpx.Response] = {}
        for _ in range(TRIES):
            at = await self._director.where(stream)
            if at in refusals:
                return Passed(refusals[at])
            try:
                reply = await self._proxy.send(request, at, content=offer)
            except Unreachable as exc:
                problem = exc
                continue
            if reply.status_code != 503 or not drives:
                return Passed(reply, _location(reply, stream, at))
            await reply.aread()
            refusals[at] = reply
            log.info("stream '%s': worker %s has no room for a driver", stream, at.worker)
            await self._director.refused(stream, at)
        if refusals:
            return Passed(list(refusals.values())[-1])
        assert problem is not None
        raise problem

    async def session(self, request: Request) -> Response:
        """Whatever is asked of one. Of a process that has ended, there is none: 404, and clients post again."""
        stream, parts = request.path_params["name"], request.path_params["session"].rsplit(".", 2)
        at = await self._known.find(parts[0], parts[1]) if len(parts) == 3 else None
        if at is not None:
            path = f"/live/{quote(stream, safe='')}/sessions/{quote(parts[2], safe='')}"
            try:
                return Passed(await self._proxy.send(request, at, path=path.encode()))
            except Unreachable:
                if at in await self._known.workers():
                    raise  # one connection that was not to be had ends no session
        request.app.state.access.check(request, Needs(VIEW, STREAM))  # whether there was one is not for everybody
        with suppress(DirectorAway):
            if stream not in await self._known.streams():
                raise UnknownStream(f"no stream '{stream[:40]}'")
        raise UnknownSession("no such session; it may have ended already")


def _location(reply: httpx.Response, stream: str, at: At) -> dict[str, str]:
    """The session's address as the front has it."""
    if (location := reply.headers.get("location")) is None:
        return {}
    session = location.rpartition("/")[2]
    return {"location": f"/live/{quote(stream, safe='')}/sessions/{quote(at.worker, safe='')}.{at.epoch}.{session}"}
