"""How refusals are answered: each error has a status, and one shape in JSON."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from pipeline.errors import DeviceLost, LandmarksNeeded, PuppetError

from .. import errors
from ..control.commands import explain
from .access import retry_after

STATUS: dict[type[Exception], int] = {
    errors.UnknownStream: 404,
    errors.UnknownSession: 404,
    errors.TakenOver: 410,
    errors.StreamBusy: 409,
    errors.DriverRefused: 403,
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


def answer_refusals(app: FastAPI, more: Mapping[type[Exception], int] | None = None) -> None:
    """Let an application answer them so. more: statuses of errors that it alone has."""
    for kind, status in {**STATUS, **(more or {})}.items():
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


def _handler(status: int):  # type: ignore[no-untyped-def]
    def handle(request: Request, exc: Exception) -> JSONResponse:
        headers = {"Retry-After": f"{getattr(exc, 'retry_after_s', RETRY_AFTER_S):g}"} if status == 503 else {}
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
