"""Streams that come and go while the server runs."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Body, Response

from ..control.control import Control
from ..control.roster import Roster
from ..control.spec import Spec
from ..control.state import StreamState
from .rights import CONTROL, SERVER, Guarded, needs


def router(control: Control, roster: Roster) -> APIRouter:
    """Endpoints under /api/streams."""
    api = APIRouter(prefix="/api/streams", route_class=Guarded, tags=["streams"])

    @api.put(
        "/{name}", summary="Begin a stream, by the settings that a config has for one", responses={201: {"model": StreamState}}
    )
    @needs(CONTROL, SERVER)
    async def put(
        name: str, settings: Annotated[dict[str, Any], Body()], response: Response, partly: bool = False
    ) -> StreamState:
        """A stream that is new is there, and has its picture, when the answer comes (201). One that runs goes by the settings
        from now on (200); its sinks stay. Portraits may be uploads, by their id. It lasts until it is deleted, or the server
        ends; reading the config anew leaves it alone. partly: what of a "spec" cannot be gone on with here is left out, which
        left_out in the state tells, and not refused."""
        response.status_code = 201 if await roster.put(name, settings, partly) else 200
        return control.state(name)

    @api.get("/{name}/spec", summary="What a stream does, as another server can go on with it")
    @needs(CONTROL, SERVER)
    async def spec(name: str) -> Spec:
        """Given as "spec" in the settings of PUT, here or elsewhere, it brings a stream there: portrait, engine, puppet, presets,
        a recording that runs, and, with the mesh engine, the neutral that its driver, who has half a minute to come again, is
        measured against. Sources and outputs are not in it, as their addresses may have passwords."""
        return control.spec(name)

    @api.delete("/{name}", status_code=204, summary="End a stream, and all that is of it")
    @needs(CONTROL, SERVER)
    async def delete(name: str, keep: bool = False) -> None:
        """Its sessions and outputs end, recordings are finished and stay; what was changed while live, and its background
        picture, are forgotten. keep: the picture stays, for the stream of that name on another server of the same folder."""
        await roster.delete(name, keep)

    return api
