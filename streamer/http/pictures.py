"""The animated picture without WebRTC: a JPEG, and a stream of them."""

from __future__ import annotations

import asyncio

import cv2
from fastapi import APIRouter, HTTPException, Request, Response

from pipeline.frames import Image

from ..config import Kind
from ..control.control import Control
from ..sinks.jpeg import BOUNDARY
from ..stream.stream import Stream
from .description import gives
from .rights import STREAM, VIEW, Guarded, needs
from .seats import Endless

JPEG, PNG = "image/jpeg", "image/png"
PARTS = f"multipart/x-mixed-replace; boundary={BOUNDARY}"


def router(control: Control) -> APIRouter:
    """Endpoints beside WHIP and WHEP."""
    api = APIRouter(prefix="/live", route_class=Guarded, tags=["pictures"])

    def shown(name: str) -> Stream:
        stream = control.stream(name)
        if stream.latest is None:
            raise HTTPException(503, f"stream '{name}' has no picture yet", {"Retry-After": "1"})
        return stream

    @api.head("/{name}/snapshot.jpg", summary="Whether there is one", **gives(JPEG))
    @needs(VIEW, STREAM)
    async def look_snapshot(name: str) -> Response:
        shown(name)
        return Response(media_type=JPEG, headers={"Cache-Control": "no-store"})

    @api.head("/{name}/mjpeg", summary="Whether there are any", **gives(PARTS))
    @needs(VIEW, STREAM)
    async def look_mjpeg(name: str) -> Response:
        shown(name)
        return Response(media_type=PARTS)

    @api.get("/{name}/snapshot.jpg", summary="The newest picture", **gives(JPEG))
    @needs(VIEW, STREAM)
    async def snapshot(name: str) -> Response:
        stream = shown(name)
        data = await control.outputs.feed(stream).snapshot()
        data = await asyncio.to_thread(control.outputs.signed, stream, data, f"{name}.jpg")
        return Response(data, media_type=JPEG, headers={"Cache-Control": "no-store"})

    @api.get("/{name}/snapshot.png", summary="The newest picture, without loss", **gives(PNG))
    @needs(VIEW, STREAM)
    async def lossless(name: str) -> Response:
        stream = shown(name)
        frame = stream.labelled(Kind.SNAPSHOTS)
        assert frame is not None
        data = await asyncio.to_thread(lambda: control.outputs.signed(stream, _png(frame.yuv), f"{name}.png"))
        return Response(data, media_type=PNG, headers={"Cache-Control": "no-store"})

    @api.get("/{name}/mjpeg", summary="All pictures, as JPEG (for an <img>, or OBS's browser source)", **gives(PARTS))
    @needs(VIEW, STREAM)
    async def mjpeg(name: str, request: Request) -> Endless:
        return Endless(request, control.outputs.feed(shown(name)).parts(), PARTS)

    @api.get("/{name}/background.jpg", summary="The background that was uploaded", response_class=Response)
    @needs(VIEW, STREAM)
    async def background(name: str) -> Response:
        data = control.backgrounds.get(control.stream(name).name)
        return Response(data, media_type="image/jpeg", headers={"Cache-Control": "no-cache"})

    return api


def _png(yuv: Image) -> bytes:
    return cv2.imencode(".png", cv2.cvtColor(yuv, cv2.COLOR_YUV2BGR_I420))[1].tobytes()
