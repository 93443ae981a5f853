"""REST control of streams and portraits."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Annotated
from urllib.parse import quote

import cv2
from fastapi import APIRouter, File, Form, HTTPException, Query, Request, Response, UploadFile
from fastapi.responses import StreamingResponse
from pydantic import BaseModel

from pipeline.portrait import MOST_BYTES, pack_puppet
from pipeline.puppetfile import MAX_TEXT, SUFFIX, About

from ..control.commands import Change
from ..control.control import Control
from ..control.gallery import PortraitInfo
from ..control.state import DeviceState, StreamState
from ..control.workshop import MakingState

THUMBNAIL = 512
EVENTS = "text/event-stream"


class FaceChoice(BaseModel):
    """Which face of a picture moves, counted from the left."""

    face: int


def router(control: Control) -> APIRouter:
    """Endpoints under /api."""
    api = APIRouter(prefix="/api")

    @api.get("/streams", tags=["streams"], summary="The states of all streams")
    async def streams() -> list[StreamState]:
        return control.states()

    @api.get("/streams/{name}", tags=["streams"], summary="The state of a stream")
    async def stream(name: str) -> StreamState:
        return control.state(name)

    @api.patch("/streams/{name}", tags=["streams"], summary="Command a stream")
    async def change(name: str, change: Change) -> StreamState:  # type: ignore[valid-type]
        """Change what is named, between two frames; the state after it comes back."""
        return await control.apply(name, change)

    @api.get(
        "/events", tags=["streams"], summary="States as they change (server-sent events)", response_class=StreamingResponse,
        responses={200: {"content": {EVENTS: {}}}},
    )  # fmt: skip
    async def events() -> StreamingResponse:
        """Server-sent events: "state" where something has changed, "telemetry" else; each carries a stream's whole state."""
        return StreamingResponse(_events(control), media_type=EVENTS, headers={"Cache-Control": "no-store"})

    @api.get("/devices", tags=["streams"], summary="What animates, and how much more it could")
    async def devices() -> list[DeviceState]:
        return control.devices()

    @api.get("/portraits", tags=["portraits"], summary="The gallery")
    async def portraits() -> list[PortraitInfo]:
        return control.gallery.infos()

    @api.get("/portraits/{key}/image", tags=["portraits"], summary="A portrait, small, as JPEG")
    async def image(key: str) -> Response:
        picture = control.gallery.get(key).image
        factor = min(1.0, THUMBNAIL / max(picture.shape[:2]))
        small = cv2.resize(picture, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
        data = cv2.imencode(".jpg", small[..., ::-1])[1].tobytes()
        return Response(data, media_type="image/jpeg", headers={"Cache-Control": "max-age=3600"})

    @api.post("/portraits", status_code=201, tags=["portraits"], summary="Upload a portrait: a picture, or a .puppet file")
    async def upload(file: Annotated[UploadFile, File()], marks: Annotated[str | None, Form()] = None) -> PortraitInfo:
        """marks: where there is no face model, JSON of five [x, y]: eye centres, nose tip, mouth corners."""
        data = await file.read(MOST_BYTES + 1)
        return await control.gallery.add((file.filename or "picture")[:80], data, _marks(marks))

    @api.put("/portraits/{key}/face", tags=["portraits"], summary="Choose which face of a picture moves")
    async def choose_face(key: str, choice: FaceChoice) -> PortraitInfo:
        """Let another face of the picture move, from when it is shown next."""
        return control.gallery.choose_face(key, choice.face)

    @api.get("/portraits/{key}/puppet", tags=["puppets"], summary="A portrait with all its pictures, as a .puppet file")
    async def puppet_file(key: str) -> Response:
        portrait = control.gallery.get(key)
        data = await asyncio.to_thread(pack_puppet, portrait, portrait.about or About(portrait.name, "one picture"))
        name = quote(portrait.name.removesuffix(SUFFIX) + SUFFIX, safe="")
        headers = {"Content-Disposition": f"attachment; filename*=UTF-8''{name}", "Cache-Control": "no-store"}
        return Response(data, media_type="application/zip", headers=headers)

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


async def _events(control: Control) -> AsyncIterator[str]:
    async for news in control.events.listen():
        kind = "state" if news.changed else "telemetry"
        yield f"event: {kind}\ndata: {news.state.model_dump_json()}\n\n"


def _marks(text: str | None) -> list[list[float]] | None:
    if text is None:
        return None
    try:
        marks = [[float(x), float(y)] for x, y in json.loads(text)]
    except (ValueError, TypeError) as exc:
        raise HTTPException(422, "marks: JSON of five [x, y] pairs is expected") from exc
    if len(marks) != 5:
        raise HTTPException(422, f"marks: five points are expected, {len(marks)} were given")
    return marks
