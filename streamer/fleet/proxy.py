"""Requests passed on to workers, and their answers passed back: as they come, nothing is kept of either."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterable
from typing import Any

import anyio
import httpx
from fastapi import Request
from fastapi.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from ..errors import StreamerError
from ..http.access import SAFE
from ..http.key import KEY
from .base import At
from .known import FRESH_S, Known

log = logging.getLogger(__name__)

TRIES = 3
CONNECT_S = 1.0
# Between two pieces of an answer. That of a worker which has died is not waited for: see `send`.
READ_S = 120.0
OF_HOPS = {
    "connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "proxy-connection", "te", "trailer",
    "transfer-encoding", "upgrade",
}  # fmt: skip
# The front has looked at these itself, or says them anew.
OF_FRONT = {
    "host", "origin", "forwarded", "expect", "access-control-request-method", "access-control-request-headers", KEY.lower(),
}  # fmt: skip
OF_SERVERS = {"date", "server"}


class Unreachable(StreamerError):
    """A worker does not answer. begun: it may have begun with what was asked."""

    retry_after_s = 1.0

    def __init__(self, at: At, begun: bool) -> None:
        super().__init__(f"worker '{at.worker}' does not answer; try again in a second")
        self.begun = begun


class NoWorker(StreamerError):
    """There is no worker at all."""

    retry_after_s = 1.0

    def __init__(self) -> None:
        super().__init__("no worker of the fleet answers; try again in a second")


class Proxy:
    """secret: the fleet's. `close` in the end."""

    def __init__(self, known: Known, secret: str) -> None:
        self._known = known
        self._secret = secret
        timeout = httpx.Timeout(READ_S, connect=CONNECT_S)
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=100, keepalive_expiry=2.0)
        self._http = httpx.AsyncClient(timeout=timeout, limits=limits, trust_env=False)

    async def close(self) -> None:
        await self._http.aclose()

    async def send(
        self, request: Request, at: At, *, method: str = "", path: bytes = b"", content: bytes | None = None
    ) -> httpx.Response:
        """The answer's head; its body is to be read, and it has to be closed. Unreachable, as soon as the director knows that the
        worker is gone. path: with the query, in place of the request's own; content: in place of its body."""
        asking = asyncio.create_task(self._http.send(self._asked(request, at, method, path, content), stream=True))
        try:
            while not (await asyncio.wait({asking}, timeout=FRESH_S))[0]:
                if at not in await self._known.workers():
                    raise Unreachable(at, begun=True)
            reply = asking.result()
        except (httpx.ConnectError, httpx.ConnectTimeout) as exc:
            await self._known.lost(at)
            raise Unreachable(at, begun=False) from exc
        except httpx.TransportError as exc:
            raise Unreachable(at, begun=True) from exc
        finally:
            asking.cancel()
        if KEY in reply.headers:  # another process has its port, or another fleet
            await reply.aclose()
            await self._known.lost(at)
            raise Unreachable(at, begun=False)
        return reply

    async def read(self, request: Request, at: At, **given: Any) -> httpx.Response:
        """As `send`, with all of the body."""
        reply = await self.send(request, at, **given)
        try:
            await reply.aread()
        except httpx.TransportError as exc:
            raise Unreachable(at, begun=True) from exc
        finally:
            await reply.aclose()
        return reply

    def _asked(self, request: Request, at: At, method: str, path: bytes, content: bytes | None) -> httpx.Request:
        query = request.scope["query_string"]
        own = request.scope["raw_path"] + (b"?" + query if query else b"")
        url = httpx.URL(at.url).copy_with(raw_path=path or own)
        headers = [(k, v) for k, v in request.headers.items() if k not in OF_HOPS | OF_FRONT and not k.startswith("x-forwarded-")]
        headers += [("X-Forwarded-For", request.client.host if request.client else ""), *at.headers(self._secret).items()]
        if method or content is not None:
            headers = [(k, v) for k, v in headers if k != "content-length"]
        body = content if method or content is not None else _body(request)
        return httpx.Request(method or request.method, url, headers=headers, content=body)


def _body(request: Request) -> AsyncIterable[bytes] | None:
    has_one = "content-length" in request.headers or "transfer-encoding" in request.headers
    return request.stream() if has_one else None


def again(problem: Unreachable, request: Request) -> bool:
    """Whether the request can be sent to another worker: nothing of it was done, and nothing of its body is gone."""
    return not problem.begun or request.method in SAFE


class Passed(StreamingResponse):
    """A worker's answer as it comes. headers: in place of its own."""

    def __init__(self, reply: httpx.Response, headers: dict[str, str] | None = None) -> None:
        body = _once(reply.content) if reply.is_stream_consumed else reply.aiter_raw()
        super().__init__(body, reply.status_code)
        self._reply = reply
        kept = [(k.lower(), v) for k, v in reply.headers.raw]
        self.raw_headers = [(k, v) for k, v in kept if k.decode("latin-1") not in OF_HOPS | OF_SERVERS]
        self.headers.update(headers or {})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        except httpx.TransportError as exc:
            # Without its end the client sees that this is not all of it.
            log.info("%s: the worker went while it answered (%s)", scope["path"], type(exc).__name__)
        finally:
            with anyio.CancelScope(shield=True):
                await self._reply.aclose()


async def _once(data: bytes) -> AsyncIterable[bytes]:
    yield data
