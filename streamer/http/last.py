"""The last seconds of a stream, to be saved."""

from __future__ import annotations

import asyncio
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Literal

from fastapi import APIRouter, Query, Response

from ..control.control import Control
from ..errors import NothingKept, Overloaded
from ..sinks.recent import Recent
from .rights import CONTROL, STREAM, Guarded, needs

TYPES = {"gif": "image/gif", "webm": "video/webm", "mp4": "video/mp4"}
GIF_FPS, GIF_SIDE = 15, 480  # where nothing else is asked for: a larger one is too large to send


def router(control: Control) -> APIRouter:
    """One endpoint beside the other pictures. It needs the right to control, as recordings do."""
    api = APIRouter(prefix="/live", route_class=Guarded, tags=["pictures"])
    turn = asyncio.Lock()

    @api.get(
        "/{name}/last.{kind}", summary="The last seconds, as a file to save (needs `recording.last_s`)", response_class=Response
    )
    @needs(CONTROL, STREAM)
    async def last(
        name: str,
        kind: Literal["gif", "webm", "mp4"],
        seconds: Annotated[float | None, Query(gt=0, le=60)] = None,
        fps: Annotated[int | None, Query(ge=1, le=50)] = None,
        size: Annotated[int | None, Query(ge=64, le=1280)] = None,
    ) -> Response:
        """seconds: all that are kept, if not said. fps: at most so many pictures a second; size: the longer side, at most.
        A GIF has 15 and 480 if nothing else is said."""
        stream = control.stream(name)
        recent = control.outputs.recent(stream.name)
        if recent is None:
            raise NothingKept(f"the last seconds of '{name}' are not kept; set recording.last_s, such as to 20, and start anew")
        if turn.locked():
            raise Overloaded("other last seconds are being saved; try again when they are")
        if kind == "gif":
            fps, size = fps or GIF_FPS, size or GIF_SIDE
        async with turn:
            data = await asyncio.to_thread(_made, recent, kind, min(seconds or recent.seconds, recent.seconds), fps, size)
            file = f"{name}-{datetime.now():%Y-%m-%dT%H-%M-%S}.{kind}"
            if kind != "webm":  # has no place for a statement
                data = await asyncio.to_thread(control.outputs.signed, stream, data, file)
        headers = {"Content-Disposition": f'attachment; filename="{file}"', "Cache-Control": "no-store"}
        return Response(data, media_type=TYPES[kind], headers=headers)

    return api


def _made(recent: Recent, kind: str, seconds: float, fps: int | None, side: int | None) -> bytes:
    from pipeline.offline.cut import Cut, write_cut

    with TemporaryDirectory() as folder:
        kept, out = Path(folder, "kept.mp4"), Path(folder, f"last.{kind}")
        kept.write_bytes(recent.clip(seconds))
        write_cut(kept, out, Cut(seconds, fps, side))
        return out.read_bytes()
