"""Recordings over HTTP: list, play, download, delete."""

from __future__ import annotations

import asyncio
from datetime import datetime

from fastapi import APIRouter
from fastapi.responses import FileResponse
from pydantic import BaseModel

from ..sinks.library import Library
from .rights import CONTROL, SERVER, Guarded, needs


class RecordingInfo(BaseModel):
    """A finished recording. size: in bytes; ended: when it was last written to; path: on the server's machine."""

    name: str
    size: int
    ended: datetime
    path: str


def router(library: Library) -> APIRouter:
    """Endpoints under /api/recordings. They need the right to control, reading too: what somebody else's hour of pictures shows
    is not for whoever may watch now."""
    api = APIRouter(prefix="/api/recordings", route_class=Guarded, tags=["recordings"])

    @api.get("", summary="Finished recordings, the newest first")
    @needs(CONTROL, SERVER)
    async def recordings() -> list[RecordingInfo]:
        await asyncio.to_thread(library.finish_left_over)
        files = await asyncio.to_thread(library.files)
        return [RecordingInfo(**vars(file), path=str(library.folder / file.name)) for file in files]

    @api.get("/{name}", summary="A recording, whole or in ranges", response_class=FileResponse)
    @needs(CONTROL, SERVER)
    async def recording(name: str, download: bool = False) -> FileResponse:
        """download: to be saved under its name instead of played."""
        path = await asyncio.to_thread(library.path, name)
        kind = "attachment" if download else "inline"
        return FileResponse(path, media_type="video/mp4", filename=name, content_disposition_type=kind)

    @api.delete("/{name}", status_code=204, summary="Delete a recording")
    @needs(CONTROL, SERVER)
    async def delete(name: str) -> None:
        await asyncio.to_thread(library.delete, name)

    return api
