"""The web application: page, REST, WHIP and WHEP, health and metrics."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any
from urllib.parse import quote

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, HTMLResponse, JSONResponse, PlainTextResponse, RedirectResponse
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from pipeline.errors import DeviceLost, LandmarksNeeded, PuppetError

from .. import errors
from ..config import Config
from ..control.commands import explain
from ..control.control import Control
from ..control.roster import Roster
from ..resources import folder
from ..stream.supervisor import unready
from ..webrtc.ice import IceServers
from ..webrtc.sessions import Sessions
from . import api, identify, last, load, me, metrics, phone, pictures, portraits, presets, recordings, streams, whip
from .access import Access, retry_after
from .description import describe
from .front import Front, Hosts, Proxies
from .rights import ANY, SERVER, VIEW, Guarded, free, needs
from .seats import Seats

STATUS: dict[type[Exception], int] = {
    errors.UnknownStream: 404,
    errors.UnknownSession: 404,
    errors.TakenOver: 410,
    errors.StreamBusy: 409,
    errors.UnknownPortrait: 404,
    errors.UnknownPuppet: 404,
    errors.UnknownBackground: 404,
    errors.UnknownPreset: 404,
    errors.BadPreset: 422,
    errors.PresetsFull: 409,
    errors.GalleryFull: 409,
    errors.CannotKeep: 507,
    errors.UnknownRecording: 404,
    errors.NothingKept: 409,
    errors.BadCommand: 422,
    errors.BadBackground: 422,
    errors.BadOffer: 400,
    errors.UnsupportedMedia: 415,
    errors.TooLarge: 413,
    errors.TooSlow: 408,
    errors.Unauthorized: 401,
    errors.Forbidden: 403,
    errors.TooManyRequests: 429,
    errors.NoRestart: 409,
    errors.PreconditionFailed: 412,
    errors.PreconditionRequired: 428,
    errors.Overloaded: 503,
    errors.TooManyStreams: 503,
    errors.ConfigError: 422,
    errors.SourceError: 422,
    errors.TooManySessions: 503,
    LandmarksNeeded: 422,
    DeviceLost: 503,
    PuppetError: 422,
}
RETRY_AFTER_S = 10
Responses = dict[int | str, dict[str, Any]]


def create_app(control: Control, sessions: Sessions, ice: IceServers, access: Access, config: Config, roster: Roster) -> FastAPI:
    """Everything that is served over HTTP."""
    # FastAPI's own pages of documentation load scripts from elsewhere, and its description of the interface asks for no token.
    app = FastAPI(title="puppetcast", description="A live portrait puppeteer.", docs_url=None, redoc_url=None, openapi_url=None)
    app.state.access, app.state.http, app.state.seats, app.state.uploads = access, config.http, Seats(config.http), 0
    app.router.route_class = Guarded
    app.include_router(last.router(control))
    app.include_router(pictures.router(control))  # before the endpoints whose last part is a variable
    app.include_router(whip.router(control, sessions, ice, access))
    app.include_router(api.router(control))
    app.include_router(streams.router(control, roster))
    app.include_router(load.router(control, sessions))
    app.include_router(phone.router(control, config))
    app.include_router(portraits.router(control.gallery))
    app.include_router(presets.router(control))
    app.include_router(recordings.router(control.outputs.library))
    app.include_router(me.router(control))
    app.include_router(identify.router(control))
    for kind, status in STATUS.items():
        app.add_exception_handler(kind, _handler(status))

    @app.exception_handler(RequestValidationError)
    async def _bad_request(request: Request, exc: RequestValidationError) -> JSONResponse:
        return JSONResponse({"detail": explain(exc.errors()), "code": errors.BadCommand.__name__}, 422)

    @app.exception_handler(ClientDisconnect)
    async def _gone(request: Request, exc: ClientDisconnect) -> Response:
        return Response(status_code=400)  # nobody reads it

    @app.exception_handler(HTTPException)
    async def _refused(request: Request, exc: HTTPException) -> JSONResponse:
        """What the framework itself refuses: a path or a method that there is not."""
        code = HTTPStatus(exc.status_code).phrase.replace(" ", "")
        return JSONResponse({"detail": exc.detail, "code": code}, exc.status_code, exc.headers)

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

    @app.get("/docs", include_in_schema=False, summary="All of this, as a page")
    @free
    async def docs() -> FileResponse:
        return FileResponse(folder("web") / "docs.html")

    @app.get(
        "/view/{name}",
        tags=["webrtc"],
        summary="The picture alone, as a page: for OBS, captured windows, displays",
        response_class=HTMLResponse,
    )
    @free
    async def view(name: str, background: str = "original") -> FileResponse:
        """With its sound and without controls; it connects again by itself. background: transparent, original, picture (the
        stream's, see /live/{name}/background.jpg) or a colour such as %2300ff00 (#00ff00); all but original need a matte of
        the portrait. A token goes into the address as for the main page, and opens what it has the right to."""
        return FileResponse(folder("web") / "clean.html")

    @app.get("/view", include_in_schema=False)
    @app.get("/view/", include_in_schema=False)
    @app.get("/view/{name}/", include_in_schema=False)
    @free
    async def view_slash(request: Request, name: str = "live") -> RedirectResponse:
        """To the page, of the stream that the main page shows unless another is named."""
        query = f"?{request.url.query}" if request.url.query else ""
        return RedirectResponse(f"/view/{quote(name, safe='')}{query}", 307)

    describe(app)
    app.mount("/", StaticFiles(directory=folder("web"), html=True))
    proxies = Proxies(config.http.trusted_proxies)
    app.add_middleware(Front, hosts=Hosts(config), proxies=proxies, origins=config.http.allowed_origins)
    return app


def _handler(status: int):  # type: ignore[no-untyped-def]
    def handle(request: Request, exc: Exception) -> JSONResponse:
        headers = {"Retry-After": str(RETRY_AFTER_S)} if status == 503 else {}
        if isinstance(exc, errors.Unauthorized):
            # RFC 6750 §3
            headers["WWW-Authenticate"] = 'Bearer error="invalid_token"' if isinstance(exc, errors.UnknownToken) else "Bearer"
        elif isinstance(exc, errors.Forbidden):
            headers["WWW-Authenticate"] = 'Bearer error="insufficient_scope"'
        elif isinstance(exc, errors.TooManyRequests):
            headers["Retry-After"] = retry_after(exc)
        more = {"goes": exc.goes} if isinstance(exc, errors.GalleryFull) else {}
        return JSONResponse({"detail": str(exc), "code": errors.code(exc), **more}, status, headers)

    return handle
