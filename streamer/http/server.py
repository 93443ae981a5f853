"""The web application: page, REST, WHIP and WHEP, health and metrics."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI, Response
from fastapi.responses import JSONResponse, PlainTextResponse

from ..config import Config
from ..control.control import Control
from ..control.roster import Roster
from ..stream.supervisor import unready
from ..webrtc.ice import IceServers
from ..webrtc.sessions import Sessions
from . import (
    api,
    drives,
    identify,
    last,
    load,
    me,
    metrics,
    pages,
    phone,
    pictures,
    portraits,
    presets,
    recordings,
    streams,
    whip,
)
from .access import Access
from .description import describe
from .front import before_all
from .refusals import answer_refusals
from .rights import ANY, SERVER, VIEW, Guarded, free, needs
from .seats import Seats

Responses = dict[int | str, dict[str, Any]]


def create_app(control: Control, sessions: Sessions, ice: IceServers, access: Access, config: Config, roster: Roster) -> FastAPI:
    """Everything that is served over HTTP."""
    # FastAPI's own pages of documentation load scripts from elsewhere, and its description of the interface asks for no token.
    app = FastAPI(title="puppetcast", description="A live portrait puppeteer.", docs_url=None, redoc_url=None, openapi_url=None)
    app.state.access, app.state.http, app.state.seats, app.state.uploads = access, config.http, Seats(config.http), 0
    app.router.route_class = Guarded

    async def known(stream: str) -> None:
        control.stream(stream)

    app.include_router(last.router(control))
    app.include_router(pictures.router(control))  # before the endpoints whose last part is a variable
    app.include_router(whip.router(control, sessions, ice, access))
    app.include_router(api.router(control))
    app.include_router(streams.router(control, roster))
    app.include_router(load.router(control, sessions))
    app.include_router(phone.router(known, config))
    app.include_router(portraits.router(control))
    app.include_router(presets.router(control))
    app.include_router(recordings.router(control.outputs.library))
    app.include_router(me.router(control))
    app.include_router(drives.router(control))
    app.include_router(identify.router(control))
    answer_refusals(app)
    stalled_too: Responses = {503: {"description": "It does not", "model": dict[str, str]}}
    unready_too: Responses = {503: {"description": "Not every stream has", "model": dict[str, bool | dict[str, str]]}}

    @app.get(
        "/healthz",
        tags=["health"],
        summary="Whether the server lives, and nothing in it has died or hangs",
        responses=stalled_too,
    )
    @free
    async def healthz(response: Response) -> dict[str, str]:
        stalled = control.supervisor.stalled()
        response.status_code = 503 if stalled else 200
        return {"status": "stalled" if stalled else "ok"}  # in words only for those who may view: /readyz

    @app.get(
        "/readyz",
        tags=["health"],
        summary="Whether it has started, and every stream has a picture and a device",
        responses=unready_too,
    )
    @needs(VIEW, ANY)
    async def readyz(response: Response) -> dict[str, bool | dict[str, str]]:
        problems = unready(control.streams)
        ready = control.started and not problems
        response.status_code = 200 if ready else 503
        return {"ready": ready} if ready else {"ready": ready, "problems": problems}

    @app.get("/metrics", tags=["health"], summary="For Prometheus", response_class=PlainTextResponse)
    @needs(VIEW, SERVER)
    async def prometheus() -> Response:
        return Response(metrics.exposition(control), media_type="text/plain; version=0.0.4")

    @app.get("/openapi.json", include_in_schema=False, summary="All of this, as OpenAPI describes it")
    @needs(VIEW, ANY)
    async def openapi() -> JSONResponse:
        return JSONResponse(app.openapi())

    app.include_router(pages.router())
    describe(app)
    app.mount("/", pages.files())
    before_all(app, config)
    return app
