"""Recordings over HTTP: list, play, download, delete."""

from __future__ import annotations

import asyncio
from datetime import datetime

from fastapi import APIRouter, Request
from fastapi.responses import FileResponse
from pydantic import BaseModel

from ..sinks.library import Library, recorded_stream
from .access import may
from .rights import ANY, CONTROL, RECORDING, Guarded, needs


class RecordingInfo(BaseModel):
    """A finished recording. size: in bytes; ended: when it was last written to; path: on the server's machine, for those who may
    control all of it, else empty."""

    name: str
    size: int
    ended: datetime
    path: str


def router(library: Library) -> APIRouter:
    """Endpoints under /api/recordings. They need the right to control the stream that was recorded, reading too: what somebody
    else's hour of pictures shows is not for whoever may watch now."""
    api = APIRouter(prefix="/api/recordings", route_class=Guarded, tags=["recordings"])

    @api.get("", summary="Finished recordings, the newest first")
    @needs(CONTROL, ANY)
    async def recordings(request: Request) -> list[RecordingInfo]:
        """Of the streams that may be controlled; files of other names are for those who may control the server."""
        await asyncio.to_thread(library.finish_left_over)
        files = await asyncio.to_thread(library.files)
        owner = may(request, CONTROL)
        return [
            RecordingInfo(**vars(file), path=str(library.folder / file.name) if owner else "")
            for file in files
            if owner or may(request, CONTROL, recorded_stream(file.name))
        ]

    @api.get("/{name}", summary="A recording, whole or in ranges", response_class=FileResponse)
    @needs(CONTROL, RECORDING)
    async def recording(name: str, download: bool = False) -> FileResponse:
        """download: to be saved under its name instead of played."""
        path = await asyncio.to_thread(library.path, name)
        kind = "attachment" if download else "inline"
        return FileResponse(path, media_type="video/mp4", filename=name, content_disposition_type=kind)

    @api.delete("/{name}", status_code=204, summary="Delete a recording")
    @needs(CONTROL, RECORDING)
    async def delete(name: str) -> None:
        await asyncio.to_thread(library.delete, name)

    return api
