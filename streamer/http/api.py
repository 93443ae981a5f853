"""REST control of streams, and of puppets in the making."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import StreamingResponse

from pipeline.pictures.decode import MAX_BYTES
from pipeline.puppetfile import MAX_TEXT, About
from pipeline.terms import Terms, Whose

from ..control.commands import Change
from ..control.control import Control
from ..control.state import DeviceState, StreamState
from ..control.terms import said
from ..control.workshop import MAX_CLIP, MakingState
from .access import may, seen
from .rights import ANY, CONTROL, SERVER, STREAM, VIEW, Guarded, Right, needs
from .seats import Endless

EVENTS = "text/event-stream"
BYTES = {"type": "string", "format": "binary"}


def router(control: Control) -> APIRouter:
    """Endpoints under /api."""
    api = APIRouter(prefix="/api", route_class=Guarded)

    @api.get("/streams", tags=["streams"], summary="The states of all streams")
    @needs(VIEW, ANY)
    async def streams(request: Request) -> list[StreamState]:
        return [seen(state, request, control) for state in control.states() if may(request, Right.VIEW, state.name)]

    @api.get("/streams/{name}", tags=["streams"], summary="The state of a stream")
    @needs(VIEW, STREAM)
    async def stream(name: str, request: Request) -> StreamState:
        return seen(control.state(name), request, control)

    @api.patch("/streams/{name}", tags=["streams"], summary="Command a stream")
    @needs(CONTROL, STREAM)
    async def change(name: str, change: Change, request: Request) -> StreamState:  # type: ignore[valid-type]
        """Change what is named, between two frames; the state after it comes back."""
        return seen(await control.apply(name, change), request, control)

    @api.put("/streams/{name}/background", tags=["streams"], summary="Upload a background: a picture, whose bytes are the body")
    @needs(CONTROL, STREAM, MAX_BYTES, tells_length=True)
    async def put_background(name: str, request: Request) -> StreamState:
        """What the command background: picture shows behind the person, cut to cover the portrait; kept with the portraits."""
        return seen(await control.put_background(name, await request.body()), request, control)

    @api.get(
        "/events", tags=["streams"], summary="States as they change (server-sent events)", response_class=StreamingResponse,
        responses={200: {"content": {EVENTS: {}}}},
    )  # fmt: skip
    @needs(VIEW, ANY)
    async def events(request: Request) -> Endless:
        """Server-sent events: "state" where something has changed, "telemetry" else; each carries a stream's whole state.
        "gone" names a stream that was removed; of a fleet, "away" one whose worker has died, until its next state comes."""
        return Endless(request, _events(control, request), EVENTS)

    @api.get("/devices", tags=["streams"], summary="What animates, and how much more it could")
    @needs(VIEW, ANY)
    async def devices() -> list[DeviceState]:
        return control.devices()

    @api.post(
        "/puppets", status_code=202, tags=["puppets"], summary="Make a puppet of a clip, whose bytes are the body",
        openapi_extra={"requestBody": {"required": True, "content": {"application/octet-stream": {"schema": BYTES}}}},
    )  # fmt: skip
    @needs(CONTROL, SERVER, MAX_CLIP)
    async def make_puppet(
        request: Request,
        name: Annotated[str, Query(min_length=1, max_length=80)] = "puppet",
        consent: Annotated[str, Query(max_length=MAX_TEXT)] = "",
        label: Annotated[str, Query(max_length=MAX_TEXT)] = "",
        whose: Whose = Whose.NOT_SAID,
    ) -> MakingState:
        """Made beside the streams, one at a time; at most the clip's first minute is looked at, and nothing of it is kept but
        the key pictures. consent: what the person shown has agreed to; label: what viewers are to be told; whose: whose face it
        shows, which may have to be said."""
        terms = said(Terms(), whose, control.config.portraits)
        return await control.workshop.start(About(name, "a clip", consent, label, terms=terms), request.stream())

    @api.get("/puppets", tags=["puppets"], summary="Puppets being made, and the last that were")
    @needs(VIEW, ANY)
    async def puppets(request: Request) -> list[MakingState]:
        return [_made(state, request) for state in control.workshop.states()]

    @api.get("/puppets/{key}", tags=["puppets"], summary="How far a puppet is")
    @needs(VIEW, ANY)
    async def puppet(request: Request, key: str) -> MakingState:
        return _made(control.workshop.state(key), request)

    @api.delete("/puppets/{key}", status_code=204, tags=["puppets"], summary="End the making of a puppet, or forget it")
    @needs(CONTROL, SERVER)
    async def forget_puppet(key: str) -> None:
        await control.workshop.forget(key)

    return api


async def _events(control: Control, request: Request) -> AsyncIterator[str]:
    async for news in control.events.listen():
        if not may(request, Right.VIEW, news.state.name):
            continue
        if news.gone:
            yield f"event: gone\ndata: {json.dumps({'name': news.state.name})}\n\n"
            continue
        kind = "state" if news.changed else "telemetry"
        yield f"event: {kind}\ndata: {seen(news.state, request, control).model_dump_json()}\n\n"


def _made(state: MakingState, request: Request) -> MakingState:
    return state if may(request, Right.CONTROL) else state.for_viewers()
