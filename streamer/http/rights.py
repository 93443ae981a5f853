"""What each route asks of whoever calls it: said at the route, asked before anything of the request's body is read."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from enum import Enum, IntEnum
from typing import Any, TypeVar

from fastapi import Request, Response
from fastapi.routing import APIRoute

from ..errors import Overloaded, TooManyRequests
from ..timers import pause
from .bodies import Body

DELAY_S = 0.5  # before a guess that is not looked at is refused: the next one comes after it, and viewers have the processor
_F = TypeVar("_F", bound=Callable[..., Any])


class Right(IntEnum):
    """What somebody may do; each includes those before it."""

    VIEW = 1
    PUBLISH = 2
    CONTROL = 3


class Of(Enum):
    """What the right must be one to: the stream that the path names, or whose recording it names, any, or the whole server."""

    STREAM = "the stream"
    RECORDING = "the recording's stream"
    ANY = "any stream"
    SERVER = "the server"


VIEW, PUBLISH, CONTROL = Right
STREAM, RECORDING, ANY, SERVER = Of


@dataclass(frozen=True)
class Needs:
    """What a route asks for. right: None for a route that is open to everybody. max_bytes: of a body, where the config's limit
    is not for it: an upload; tells_length: of a body that is put on disk whole, so it has to say beforehand how long it is."""

    right: Right | None
    of: Of = Of.SERVER
    max_bytes: int | None = None
    tells_length: bool = False

    def in_words(self, stream: str | None) -> str:
        """Such as "the right to control stream 'live'"."""
        assert self.right is not None
        named = stream is not None and self.of in (Of.STREAM, Of.RECORDING)
        return f"the right to {self.right.name.lower()} " + (f"stream '{stream:.80}'" if named else self.of.value)


def needs(right: Right, of: Of, max_bytes: int | None = None, tells_length: bool = False) -> Callable[[_F], _F]:
    """Say what a route asks for; below the line that makes it a route."""
    return _says(Needs(right, of, max_bytes, tells_length))


def free(endpoint: _F) -> _F:
    """Say that a route is open to everybody."""
    return _says(Needs(None))(endpoint)


def _says(what: Needs) -> Callable[[_F], _F]:
    def mark(endpoint: _F) -> _F:
        endpoint.needs = what  # type: ignore[attr-defined]
        return endpoint

    return mark


class Guarded(APIRoute):
    """A route that says what it needs; one that does not cannot be made (AttributeError)."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()
        asked: Needs = self.endpoint.needs  # type: ignore[attr-defined]

        async def guarded(request: Request) -> Response:
            app = request.app.state
            try:
                app.access.check(request, asked)
            except TooManyRequests:
                await pause(DELAY_S)
                raise
            most = asked.max_bytes or app.http.max_body_kb * 1024
            body = Body(request, most, app.http.body_timeout_s, tells_length=asked.tells_length)
            if asked.max_bytes and app.uploads >= app.http.max_uploads:
                raise Overloaded(f"the server is busy with {app.uploads} other uploads; try again in a moment")
            app.uploads += bool(asked.max_bytes)
            try:
                return await handle(body.request)
            except Exception:  # whatever it is, what is wrong with the body is what it comes from
                if body.problem is not None:  # FastAPI makes a 400 of whatever comes up while it reads
                    raise body.problem from None
                raise
            finally:
                app.uploads -= bool(asked.max_bytes)

        return guarded
