"""Streams that come and go while the server runs."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Body, Response

from ..config import Stream
from ..control.control import Control
from ..control.roster import Roster
from ..control.state import StreamState
from .rights import CONTROL, SERVER, Guarded, needs

SETTINGS = Stream.model_json_schema()


def router(control: Control, roster: Roster) -> APIRouter:
    """Endpoints under /api/streams."""
    api = APIRouter(prefix="/api/streams", route_class=Guarded, tags=["streams"])

    @api.put(
        "/{name}", summary="Begin a stream, by the settings that a config has for one", responses={201: {"model": StreamState}}
    )
    @needs(CONTROL, SERVER)
    async def put(name: str, settings: Annotated[dict[str, Any], Body()], response: Response) -> StreamState:
        """A stream that is new is there, and has its picture, when the answer comes (201). One that runs goes by the settings
        from now on (200); its sinks stay. Portraits may be uploads, by their id. It lasts until it is deleted, or the server
        ends; reading the config anew leaves it alone."""
        response.status_code = 201 if await roster.put(name, settings) else 200
        return control.state(name)

    @api.delete("/{name}", status_code=204, summary="End a stream, and all that is of it")
    @needs(CONTROL, SERVER)
    async def delete(name: str) -> None:
        """Its sessions and outputs end, recordings are finished and stay; what was changed while live, and its background
        picture, are forgotten."""
        await roster.delete(name)

    return api
