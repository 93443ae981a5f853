"""REST of the log of drives."""

from __future__ import annotations

import asyncio
from typing import Annotated

from fastapi import APIRouter, Query

from ..control.control import Control
from ..control.drives import Drive
from .rights import CONTROL, SERVER, Guarded, needs

StreamName = Annotated[str | None, Query(max_length=80)]


def router(control: Control) -> APIRouter:
    """Its endpoints."""
    api = APIRouter(prefix="/api/drives", route_class=Guarded, tags=["portraits"])

    @api.get("", summary="Who drove which portrait when, the oldest first")
    @needs(CONTROL, SERVER)
    async def drives(stream: StreamName = None) -> list[Drive]:
        """Each says what is so from then on, until its stream's next. stream: those of one alone."""
        return await asyncio.to_thread(control.drives.drives, stream)

    @api.delete("", status_code=204, summary="Delete what is kept of who drove")
    @needs(CONTROL, SERVER)
    async def delete(stream: StreamName = None) -> None:
        """stream: of one alone."""
        control.drives.delete(stream)

    return api
