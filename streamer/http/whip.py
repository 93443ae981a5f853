"""WHIP (RFC 9725) and WHEP (draft-ietf-wish-whep): a camera in, the animated picture out.

A stream always has a picture, if only the still portrait, so WHEP never answers 409.
"""

from __future__ import annotations

from functools import partial
from typing import Annotated

from fastapi import APIRouter, Depends, HTTPException, Query, Request, Response
from fastapi.responses import RedirectResponse

from ..control.control import Control
from ..errors import BadOffer, TooLarge, UnknownSession, UnsupportedMedia
from ..webrtc.ice import IceServers
from ..webrtc.offer import MAX_BYTES, Kind
from ..webrtc.sessions import Caller, Sessions
from .access import Access, address_of, may, seen, token_of
from .description import gives
from .rights import CONTROL, PUBLISH, STREAM, VIEW, Guarded, Needs, free, needs

SDP = "application/sdp"
FRAGMENT = "application/trickle-ice-sdpfrag"
Pass = Annotated[str, Query(alias="pass", max_length=256)]
TEXT = {"schema": {"type": "string"}}
TAKES_OFFER = {"requestBody": {"required": True, "content": {SDP: TEXT}}}
TAKES_FRAGMENT = {"requestBody": {"required": True, "content": {FRAGMENT: TEXT}}}
OF_ENDPOINTS = {"Accept-Post": SDP, "Allow": "OPTIONS, GET, HEAD, POST"}
OF_SESSIONS = {"Accept-Patch": FRAGMENT, "Allow": "OPTIONS, GET, HEAD, PATCH, DELETE"}


def router(control: Control, sessions: Sessions, ice: IceServers, access: Access) -> APIRouter:
    """The endpoints of every stream."""
    api = APIRouter(prefix="/live", route_class=Guarded, tags=["webrtc"], dependencies=[Depends(access.count)])

    async def known(name: str, session: str, request: Request) -> None:
        """A session's address has 192 random bits: who knows it may do what it is for. Clients that give their token in the
        address of the endpoint have none for it (RFC 9725 §4.8 leaves it to the server)."""
        if not sessions.knows(session, name):
            access.check(request, Needs(VIEW, STREAM))
            control.stream(name)
            raise UnknownSession("no such session; it may have ended already")

    of_session = [Depends(known)]

    @api.post("/{name}/whip", status_code=201, summary="Publish a camera (WHIP)", openapi_extra=TAKES_OFFER, **gives(SDP, 201))
    @needs(PUBLISH, STREAM)
    async def whip(name: str, request: Request, take_over: bool = False, shown: Pass = "") -> Response:
        """take_over: end whoever drives the stream; without it, a stream that is driven answers 409. pass: a pass or a grant,
        where only who has it may drive the portrait on show; without it, 403."""
        return await _open(request, name, "whip", take_over, shown=shown)

    @api.post(
        "/{name}/whep", status_code=201, summary="Watch the animated picture (WHEP)", openapi_extra=TAKES_OFFER, **gives(SDP, 201)
    )
    @needs(VIEW, STREAM)
    async def whep(name: str, request: Request, cut_out: bool = False) -> Response:
        """cut_out: send the person without the background, as a picture twice as high: above, colours times coverage, below,
        the coverage as grey. The page /view/{stream} puts them together again."""
        return await _open(request, name, "whep", cut_out=cut_out)

    @api.options("/{name}/{kind}", summary="What the endpoint takes", **gives())
    @needs(VIEW, STREAM)
    async def options(name: str, kind: Kind) -> Response:
        control.stream(name)
        return Response(headers=OF_ENDPOINTS)

    @api.options("/{name}/sessions/{session}", dependencies=of_session, summary="What a session takes", **gives())
    @free
    async def session_options(name: str, session: str) -> Response:
        sessions.find(session)
        return Response(headers=OF_SESSIONS)

    # Of these, the mount of the page's files would answer with methods of its own.
    @api.api_route("/{name}/{kind}", methods=["PUT", "PATCH", "DELETE"], include_in_schema=False)
    @needs(VIEW, STREAM)
    async def not_of_endpoints(name: str, kind: Kind) -> Response:
        raise HTTPException(405, headers=OF_ENDPOINTS)

    @api.api_route("/{name}/sessions/{session}", dependencies=of_session, methods=["PUT", "POST"], include_in_schema=False)
    @free
    async def not_of_sessions(name: str, session: str) -> Response:
        raise HTTPException(405, headers=OF_SESSIONS)

    @api.api_route("/{name}/{kind}/", methods=["OPTIONS", "GET", "HEAD", "POST"], include_in_schema=False)
    @needs(VIEW, STREAM)
    async def slash(name: str, kind: Kind, request: Request) -> Response:
        """307 keeps the method (RFC 9725 §4.5)."""
        query = f"?{request.url.query}" if request.url.query else ""
        return RedirectResponse(f"/live/{name}/{kind}{query}", 307)

    @api.head("/{name}/{kind}", summary="Whether the endpoint is there", **gives(SDP))
    @api.get("/{name}/{kind}", status_code=204, summary="Whether the endpoint is there")
    @needs(VIEW, STREAM)
    async def look(name: str, kind: Kind, request: Request) -> Response:
        control.stream(name)
        response = Response(
            status_code=200 if request.method == "HEAD" else 204, headers={"Content-Type": SDP, "Accept-Post": SDP}
        )
        return _with_links(response)

    @api.patch(
        "/{name}/sessions/{session}", dependencies=of_session, status_code=204, summary="Add ICE candidates, or restart ICE",
        openapi_extra=TAKES_FRAGMENT, **gives(FRAGMENT),
    )  # fmt: skip
    @free
    async def patch(name: str, session: str, request: Request) -> Response:
        """If-Match: the session's ETag, or * for a restart, which is answered with 200, a fragment and a new ETag."""
        sessions.find(session)
        restarted = await sessions.patch(session, await _body(request, FRAGMENT), request.headers.get("if-match"))
        if restarted is None:
            return Response(status_code=204)
        fragment, tag = restarted
        return Response(fragment, media_type=FRAGMENT, headers={"ETag": tag})

    @api.delete("/{name}/sessions/{session}", dependencies=of_session, summary="End a session", **gives())
    @free
    async def end(name: str, session: str) -> Response:
        await sessions.close(session)
        return Response(status_code=200)

    @api.head("/{name}/sessions/{session}", dependencies=of_session, summary="Whether a session is there", **gives())
    @api.get("/{name}/sessions/{session}", dependencies=of_session, status_code=204, summary="Whether a session is there")
    @free
    async def look_session(name: str, session: str, request: Request) -> Response:
        sessions.find(session)
        return Response(status_code=200 if request.method == "HEAD" else 204)

    async def _open(
        request: Request, name: str, kind: Kind, take_over: bool = False, cut_out: bool = False, shown: str = ""
    ) -> Response:
        stream = control.stream(name)
        offer = await _body(request, SDP)
        host = request.client.host if request.client else ""
        token, wanted = token_of(request), access.tokens.wanted
        # Where no token is asked for it may be the pass itself: OBS and others have room for one alone.
        caller = Caller(address_of(request), host, token if wanted else "", (shown, "" if wanted else token))
        if kind == "whip":
            session, description = await sessions.publish(stream, offer, take_over, caller)
        else:
            told = partial(seen, request=request, control=control)
            commands = partial(control.answer_text, told=told) if may(request, CONTROL, name) else None
            session, description = await sessions.view(stream, offer, commands, caller, cut_out)
        response = Response(description, status_code=201, media_type=SDP)
        response.headers["Location"] = f"/live/{name}/sessions/{session.id}"
        response.headers["Accept-Patch"] = FRAGMENT
        response.headers["ETag"] = session.tag
        return _with_links(response)

    def _with_links(response: Response) -> Response:
        for link in ice.links():
            response.headers.append("Link", link)
        return response

    return api


async def _body(request: Request, wanted: str) -> str:
    kind = request.headers.get("content-type", "").split(";")[0].strip().lower()
    if kind != wanted:
        raise UnsupportedMedia(f"Content-Type is '{kind or 'missing'}'; {wanted} is expected")
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BYTES:
            raise TooLarge(f"the body is larger than {MAX_BYTES // 1024} KiB")
    try:
        return body.decode("utf-8")
    except UnicodeDecodeError as exc:
        raise BadOffer("the body is not UTF-8 text") from exc
