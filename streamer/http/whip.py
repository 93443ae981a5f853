"""WHIP (RFC 9725) and WHEP (draft-ietf-wish-whep): a camera in, the animated picture out."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from ..control import Control
from ..errors import BadOffer
from ..webrtc.sdp import MAX_BYTES, Kind
from ..webrtc.sessions import Sessions

SDP = "application/sdp"


def router(control: Control, sessions: Sessions) -> APIRouter:
    """The endpoints of every stream."""
    api = APIRouter(prefix="/live", tags=["webrtc"])

    @api.post("/{name}/whip", status_code=201, summary="Publish a camera (WHIP)")
    async def whip(name: str, request: Request) -> Response:
        return await _open(request, name, "whip")

    @api.post("/{name}/whep", status_code=201, summary="Watch the animated picture (WHEP)")
    async def whep(name: str, request: Request) -> Response:
        return await _open(request, name, "whep")

    @api.delete("/{name}/sessions/{session}", summary="End a session")
    async def end(name: str, session: str) -> Response:
        control.stream(name)
        await sessions.close(session)
        return Response(status_code=200)

    async def _open(request: Request, name: str, kind: Kind) -> Response:
        stream = control.stream(name)
        offer = await _offer(request)
        session, answer = await (sessions.publish if kind == "whip" else sessions.view)(stream, offer)
        location = f"/live/{name}/sessions/{session.id}"
        return Response(answer, status_code=201, media_type=SDP, headers={"Location": location})

    return api


async def _offer(request: Request) -> str:
    kind = request.headers.get("content-type", "").split(";")[0].strip().lower()
    if kind != SDP:
        raise BadOffer(f"Content-Type is '{kind or 'missing'}'; {SDP} is expected")
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BYTES:
            raise BadOffer(f"the offer is larger than {MAX_BYTES // 1024} KiB")
    try:
        return body.decode("utf-8")
    except UnicodeDecodeError as exc:
        raise BadOffer("the offer is not UTF-8 text") from exc
