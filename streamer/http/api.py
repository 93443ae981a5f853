"""REST control of streams and portraits."""

from __future__ import annotations

import json
from typing import Annotated

import cv2
from fastapi import APIRouter, File, Form, HTTPException, Response, UploadFile
from pydantic import BaseModel

from pipeline.portrait import MAX_BYTES

from ..control import Control, DeviceState, PortraitInfo, StreamState

THUMBNAIL = 512


class PortraitChoice(BaseModel):
    """Which portrait to show."""

    portrait: str


class MuteChoice(BaseModel):
    """Whether the driver is not to be heard."""

    muted: bool


class MirrorChoice(BaseModel):
    """Whether left and right of the driver are swapped."""

    mirror: bool


def router(control: Control) -> APIRouter:
    """Endpoints under /api."""
    api = APIRouter(prefix="/api")

    @api.get("/streams", tags=["streams"])
    async def streams() -> list[StreamState]:
        return [control.state(name) for name in control.streams]

    @api.get("/streams/{name}", tags=["streams"])
    async def stream(name: str) -> StreamState:
        return control.state(name)

    @api.put("/streams/{name}/portrait", tags=["streams"])
    async def show(name: str, choice: PortraitChoice) -> StreamState:
        try:
            await control.show(name, choice.portrait)
        except KeyError as exc:
            raise HTTPException(404, f"no portrait '{choice.portrait}'") from exc
        return control.state(name)

    @api.put("/streams/{name}/mirror", tags=["streams"])
    async def mirror(name: str, choice: MirrorChoice) -> StreamState:
        lane = control.stream(name).lane
        if lane.mirror != choice.mirror:
            lane.mirror = choice.mirror
            lane.recalibrate()
        return control.state(name)

    @api.put("/streams/{name}/mute", tags=["streams"])
    async def mute(name: str, choice: MuteChoice) -> StreamState:
        control.stream(name).audio.muted = choice.muted
        return control.state(name)

    @api.post("/streams/{name}/calibrate", tags=["streams"])
    async def calibrate(name: str) -> StreamState:
        control.stream(name).lane.recalibrate()
        return control.state(name)

    @api.post("/streams/{name}/demo", tags=["streams"])
    async def start_demo(name: str) -> StreamState:
        await control.start_demo(name)
        return control.state(name)

    @api.delete("/streams/{name}/demo", tags=["streams"])
    async def stop_demo(name: str) -> StreamState:
        await control.stop_demo(name)
        return control.state(name)

    @api.post("/streams/{name}/recording", tags=["streams"])
    async def record(name: str) -> StreamState:
        control.outputs.record(control.stream(name))
        return control.state(name)

    @api.delete("/streams/{name}/recording", tags=["streams"])
    async def stop_recording(name: str) -> StreamState:
        await control.outputs.stop_recording(control.stream(name))
        return control.state(name)

    @api.get("/devices", tags=["streams"])
    async def devices() -> list[DeviceState]:
        return control.devices()

    @api.get("/portraits", tags=["portraits"])
    async def portraits() -> list[PortraitInfo]:
        return control.portraits()

    @api.get("/portraits/{key}/image", tags=["portraits"])
    async def image(key: str) -> Response:
        try:
            picture = control.portrait(key).image
        except KeyError as exc:
            raise HTTPException(404, f"no portrait '{key}'") from exc
        factor = min(1.0, THUMBNAIL / max(picture.shape[:2]))
        small = cv2.resize(picture, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
        data = cv2.imencode(".jpg", small[..., ::-1])[1].tobytes()
        return Response(data, media_type="image/jpeg", headers={"Cache-Control": "max-age=3600"})

    @api.post("/portraits", status_code=201, tags=["portraits"])
    async def upload(file: Annotated[UploadFile, File()], marks: Annotated[str | None, Form()] = None) -> PortraitInfo:
        """marks: where there is no face model, JSON of five [x, y]: eye centres, nose tip, mouth corners."""
        data = await file.read(MAX_BYTES + 1)
        return await control.add_portrait((file.filename or "picture")[:80], data, _marks(marks))

    return api


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
