"""The pages, whose files lie in web/."""

from __future__ import annotations

from urllib.parse import quote

from fastapi import APIRouter, Request
from fastapi.responses import FileResponse, HTMLResponse, RedirectResponse
from fastapi.staticfiles import StaticFiles

from ..resources import folder
from .rights import Guarded, free


def files() -> StaticFiles:
    """All of them, by their names; to be mounted after everything else."""
    return StaticFiles(directory=folder("web"), html=True)


def router() -> APIRouter:
    """Pages that have addresses of their own."""
    api = APIRouter(route_class=Guarded)

    @api.get("/docs", include_in_schema=False, summary="All of this, as a page")
    @free
    async def docs() -> FileResponse:
        return FileResponse(folder("web") / "docs.html")

    @api.get(
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

    @api.get("/view", include_in_schema=False)
    @api.get("/view/", include_in_schema=False)
    @api.get("/view/{name}/", include_in_schema=False)
    @free
    async def view_slash(request: Request, name: str = "live") -> RedirectResponse:
        """To the page, of the stream that the main page shows unless another is named."""
        query = f"?{request.url.query}" if request.url.query else ""
        return RedirectResponse(f"/view/{quote(name, safe='')}{query}", 307)

    return api
