"""Which way each request goes: the table of all that a server answers, and who of a fleet answers it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus

from fastapi import Request, Response

from pipeline.pictures.decode import MAX_BYTES
from pipeline.portrait import MOST_BYTES

from ..control.workshop import MAX_CLIP
from ..http.access import SAFE
from ..http.portraits import FORM_BYTES
from ..http.rights import ANY, CONTROL, PUBLISH, RECORDING, SERVER, STREAM, VIEW, Needs
from . import merged
from .base import Director, DirectorAway
from .events import Events
from .known import Known
from .proxy import TRIES, Passed, Proxy, Unreachable, again
from .sessions import SessionWays

To = Callable[[Request], Awaitable[Response]]
WATCHES, COMMANDS = Needs(VIEW, STREAM), Needs(CONTROL, STREAM)
SEES, OWNS = Needs(VIEW, ANY), Needs(CONTROL, SERVER)
UPLOADS = Needs(CONTROL, SERVER, MOST_BYTES + FORM_BYTES, tells_length=True)
BACKGROUND = Needs(CONTROL, STREAM, MAX_BYTES, tells_length=True)


@dataclass(frozen=True)
class Way:
    """needs: as at the server's route, which asks again. to: whom it is passed on to."""

    methods: str
    path: str
    needs: Needs
    to: To


def ways(director: Director, known: Known, proxy: Proxy) -> list[Way]:
    """All but what the front answers itself: the first that fits is taken. `home` is the worker that has the stream."""
    sessions, every = SessionWays(director, known, proxy), merged.Merged(known, proxy)
    home = partial(of_stream, director, known, proxy)

    def joined(join: Callable[[merged.Answers], object], of_none: bool = False) -> To:
        return lambda request: every.joined(request, join, of_none)

    async def events(request: Request) -> Response:
        return Events(request, known, proxy)

    async def metrics(request: Request) -> Response:
        fleet = {}
        with suppress(DirectorAway):
            fleet = await director.state()
        return await every.joined(request, lambda answers: merged.metrics(answers, fleet), of_none=True)

    return [
        Way("GET", "/live/{name}/last.{kind}", COMMANDS, home),
        Way("GET HEAD", "/live/{name}/snapshot.jpg", WATCHES, home),
        Way("GET", "/live/{name}/snapshot.png", WATCHES, home),
        Way("GET HEAD", "/live/{name}/mjpeg", WATCHES, home),
        Way("GET", "/live/{name}/background.jpg", WATCHES, home),
        Way("POST", "/live/{name}/whip", Needs(PUBLISH, STREAM), sessions.publish),
        Way("POST", "/live/{name}/whep", WATCHES, sessions.watch),
        Way("OPTIONS GET HEAD PUT PATCH DELETE", "/live/{name}/{kind}", WATCHES, home),
        Way("OPTIONS GET HEAD PATCH DELETE PUT POST", "/live/{name}/sessions/{session}", Needs(None), sessions.session),
        Way("OPTIONS GET HEAD POST", "/live/{name}/{kind}/", WATCHES, home),
        Way("GET", "/api/streams", SEES, joined(merged.streams)),
        Way("GET", "/api/streams/{name}", WATCHES, home),
        Way("PATCH", "/api/streams/{name}", COMMANDS, home),
        Way("PUT", "/api/streams/{name}/background", BACKGROUND, home),
        Way("GET", "/api/streams/{name}/spec", OWNS, home),
        Way("GET", "/api/events", SEES, events),
        Way("GET", "/api/devices", SEES, joined(merged.of_workers)),
        Way("GET", "/api/load", Needs(VIEW, SERVER), joined(merged.load, of_none=True)),
        Way("GET", "/api/me", SEES, joined(merged.rights)),
        Way("POST", "/api/identify", Needs(CONTROL, SERVER, MOST_BYTES, tells_length=True), every.identified),
        Way("GET", "/api/portraits", SEES, joined(merged.by("id"))),
        Way("POST", "/api/portraits", UPLOADS, every.all),
        Way("POST", "/api/portraits/preview", UPLOADS, every.one),
        Way("GET", "/api/portraits/{key:path}/image", SEES, every.any),
        Way("GET", "/api/portraits/{key:path}/thumbnail", SEES, every.any),
        Way("GET", "/api/portraits/{key:path}/face", SEES, every.any),
        Way("PUT", "/api/portraits/{key:path}/face", OWNS, every.all),
        Way("GET", "/api/portraits/{key:path}/puppet", Needs(VIEW, SERVER), every.any),
        Way("PATCH", "/api/portraits/{key:path}/drivers", OWNS, lambda request: every.restricted(request, director)),
        Way("PATCH DELETE", "/api/portraits/{key:path}", OWNS, every.all),
        Way("GET", "/api/drives", OWNS, joined(merged.drives)),
        Way("DELETE", "/api/drives", OWNS, every.all),
        Way("GET", "/api/puppets", SEES, joined(merged.of_workers)),
        Way("POST", "/api/puppets", Needs(CONTROL, SERVER, MAX_CLIP), every.one),
        Way("GET", "/api/puppets/{key}", SEES, every.any),
        Way("DELETE", "/api/puppets/{key}", OWNS, every.any),
        Way("GET", "/api/shapes", SEES, every.any),
        Way("GET", "/api/presets", SEES, joined(merged.by("name"))),
        Way("GET", "/api/presets/{name:path}", SEES, every.any),
        Way("PUT DELETE", "/api/presets/{name:path}", OWNS, every.all),
        Way("GET", "/api/recordings", Needs(CONTROL, ANY), joined(merged.newest)),
        Way("GET DELETE", "/api/recordings/{name}", Needs(CONTROL, RECORDING), every.any),
        Way("GET", "/readyz", SEES, joined(merged.ready, of_none=True)),
        Way("GET", "/metrics", Needs(VIEW, SERVER), metrics),
        Way("GET", "/openapi.json", SEES, every.any),
    ]


async def of_stream(director: Director, known: Known, proxy: Proxy, request: Request) -> Response:
    """The worker that has it: while the director is away, whichever says that it does."""
    problem: Unreachable | None = None
    for _ in range(TRIES):
        try:
            return Passed(await proxy.send(request, await director.where(request.path_params["name"])))
        except DirectorAway:
            if request.method in SAFE and (answer := await _asked_of_all(known, proxy, request)):
                return answer
            raise
        except Unreachable as exc:
            problem = exc
            if not again(exc, request):
                break
    assert problem is not None
    raise problem


async def _asked_of_all(known: Known, proxy: Proxy, request: Request) -> Response | None:
    """What the first worker answers that has the stream; None where none has it."""
    for at in await known.workers():
        with suppress(Unreachable):
            answer = Passed(reply := await proxy.send(request, at))
            if reply.status_code != HTTPStatus.NOT_FOUND:
                return answer
            await reply.aclose()
    return None
