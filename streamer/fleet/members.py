"""Asking a worker, by its HTTP interface, and what its answers mean."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import httpx

from pipeline.errors import PuppetError

from .. import errors
from ..errors import Overloaded, StreamerError
from .base import At

KEEP_S = 2.0
ASK_S = 10.0  # for what a worker has to work on: a stream opens its portrait


class Away(StreamerError):
    """The worker does not answer, or is another process than the one that was meant."""


class Full(Overloaded):
    """The worker has no room for what it was to take."""


class Members:
    """secret: the fleet's. token: one that is good for everything, if tokens are asked for."""

    def __init__(self, secret: str, token: str = "") -> None:
        self._secret = secret
        authorization = {"Authorization": f"Bearer {token}"} if token else {}
        # A connection that the worker is about to close for being idle (http.keep_alive_s) would look like its death.
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=None, keepalive_expiry=KEEP_S)
        self._http = httpx.AsyncClient(headers=authorization, timeout=ASK_S, limits=limits, trust_env=False)

    async def close(self) -> None:
        await self._http.aclose()

    async def ask(self, at: At, method: str, path: str, timeout_s: float = ASK_S, **request: Any) -> httpx.Response:
        """The answer, whatever it is but one that says that this is not the worker: Away."""
        request["headers"] = {**request.get("headers", {}), **at.headers(self._secret)}
        try:
            reply = await self._http.request(method, at.url + path, timeout=timeout_s, **request)
        except httpx.HTTPError as exc:
            raise Away(f"worker {at.worker} at {at.url}: {str(exc) or type(exc).__name__}") from exc
        if reply.status_code == 403 and _said(reply)[0] == "WrongKey":
            raise Away(f"worker {at.worker} at {at.url} does not take the fleet's key: it is another process, or another fleet's")
        return reply

    async def load(self, at: At, timeout_s: float) -> dict[str, Any]:
        """GET /api/load; Away."""
        return dict(checked(await self.ask(at, "GET", "/api/load", timeout_s)).json())

    async def spec(self, at: At, stream: str, timeout_s: float = ASK_S) -> dict[str, Any]:
        """What a stream does there; Away, UnknownStream."""
        return dict(checked(await self.ask(at, "GET", f"{_path(stream)}/spec", timeout_s)).json())

    async def put(self, at: At, stream: str, settings: dict[str, Any], partly: bool = False) -> list[str]:
        """Begin it there, or change it; what of its spec was left out, where it may be begun partly. Away, Full; or what PUT
        raises."""
        reply = await self.ask(at, "PUT", _path(stream), json=settings, params={"partly": partly})
        if reply.status_code == 503:
            raise Full(f"worker {at.worker}: {_said(reply)[1]}")
        return list(checked(reply).json()["left_out"])

    async def delete(self, at: At, stream: str, keep: bool) -> None:
        """End it there, and keep its files for where it goes on; nothing where there is none. Away."""
        reply = await self.ask(at, "DELETE", _path(stream), params={"keep": keep})
        if reply.status_code != 404:
            checked(reply)


def _path(stream: str) -> str:
    return f"/api/streams/{quote(stream, safe='')}"


def checked(reply: httpx.Response) -> httpx.Response:
    """An answer that is none of an error; else the error that the worker has told, by the class that it names."""
    if reply.is_success:
        return reply
    raise error_of(*_said(reply))


def error_of(code: str, detail: str) -> Exception:
    """The error that a program has told of by its code."""
    kind = getattr(errors, code, None)
    try:
        return kind(detail) if isinstance(kind, type) and issubclass(kind, StreamerError) else PuppetError(detail)
    except TypeError:  # it wants more than words
        return StreamerError(detail)


def _said(reply: httpx.Response) -> tuple[str, str]:
    try:
        body = reply.json()
        return str(body["code"]), str(body["detail"])
    except (ValueError, KeyError, TypeError):
        return "", f"status {reply.status_code} for {reply.request.method} {reply.request.url.path}"
