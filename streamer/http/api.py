"""REST control of streams, and of puppets in the making."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import StreamingResponse

from pipeline.puppetfile import MAX_TEXT, About

from ..control.commands import Change
from ..control.control import Control
from ..control.state import DeviceState, StreamState
from ..control.workshop import MakingState
from .access import Access

EVENTS = "text/event-stream"


def router(control: Control, access: Access) -> APIRouter:
    """Endpoints under /api."""
    api = APIRouter(prefix="/api")

    def seen(state: StreamState, request: Request) -> StreamState:
        return state if access.may_control(request) else state.for_viewers()

    @api.get("/streams", tags=["streams"], summary="The states of all streams")
    async def streams(request: Request) -> list[StreamState]:
        return [seen(state, request) for state in control.states()]

    @api.get("/streams/{name}", tags=["streams"], summary="The state of a stream")
    async def stream(name: str, request: Request) -> StreamState:
        return seen(control.state(name), request)

    @api.patch("/streams/{name}", tags=["streams"], summary="Command a stream")
    async def change(name: str, change: Change) -> StreamState:  # type: ignore[valid-type]
        """Change what is named, between two frames; the state after it comes back."""
        return await control.apply(name, change)

    @api.get(
        "/events", tags=["streams"], summary="States as they change (server-sent events)", response_class=StreamingResponse,
        responses={200: {"content": {EVENTS: {}}}},
    )  # fmt: skip
    async def events(request: Request) -> StreamingResponse:
        """Server-sent events: "state" where something has changed, "telemetry" else; each carries a stream's whole state."""
        told = _events(control, lambda state: seen(state, request))
        return StreamingResponse(told, media_type=EVENTS, headers={"Cache-Control": "no-store"})

    @api.get("/devices", tags=["streams"], summary="What animates, and how much more it could")
    async def devices() -> list[DeviceState]:
        return control.devices()

    @api.post("/puppets", status_code=202, tags=["puppets"], summary="Make a puppet of a clip, whose bytes are the body")
    async def make_puppet(
        request: Request,
        name: Annotated[str, Query(min_length=1, max_length=80)] = "puppet",
        consent: Annotated[str, Query(max_length=MAX_TEXT)] = "",
        label: Annotated[str, Query(max_length=MAX_TEXT)] = "",
    ) -> MakingState:
        """Made beside the streams, one at a time; at most the clip's first minute is looked at, and nothing of it is kept but
        the key pictures. consent: what the person shown has agreed to; label: what viewers are to be told."""
        return await control.workshop.start(About(name, "a clip", consent, label), request.stream())

    @api.get("/puppets", tags=["puppets"], summary="Puppets being made, and the last that were")
    async def puppets() -> list[MakingState]:
        return control.workshop.states()

    @api.get("/puppets/{key}", tags=["puppets"], summary="How far a puppet is")
    async def puppet(key: str) -> MakingState:
        return control.workshop.state(key)

    @api.delete("/puppets/{key}", status_code=204, tags=["puppets"], summary="End the making of a puppet, or forget it")
    async def forget_puppet(key: str) -> None:
        await control.workshop.forget(key)

    return api


async def _events(control: Control, seen: Callable[[StreamState], StreamState]) -> AsyncIterator[str]:
    async for news in control.events.listen():
        kind = "state" if news.changed else "telemetry"
        yield f"event: {kind}\ndata: {seen(news.state).model_dump_json()}\n\n"
