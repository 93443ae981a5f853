"""What of the fleet's interface is the director's: streams that come and go, workers, and whether the front itself lives."""

from __future__ import annotations

from typing import Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, Body, Request, Response

from ..config import check_name
from ..http.rights import CONTROL, SERVER, VIEW, Guarded, free, needs
from .base import Director
from .proxy import Passed, Proxy


def router(director: Director, proxy: Proxy) -> APIRouter:
    """The endpoints."""
    api = APIRouter(route_class=Guarded)

    @api.put("/api/streams/{name}", summary="Begin a stream somewhere in the fleet, or change its settings")
    @needs(CONTROL, SERVER)
    async def put(request: Request, name: str, settings: Annotated[dict[str, Any], Body()]) -> Response:
        """As of one server. It is there until it is deleted, whatever becomes of the worker that has it; also when the fleet has
        been ended and started again."""
        check_name(name)  # before it is kept for good, and asked of every worker
        new = await director.put(name, settings)
        path = f"/api/streams/{quote(name, safe='')}".encode()
        reply = Passed(await proxy.send(request, await director.where(name), method="GET", path=path))
        if new and reply.status_code == 200:
            reply.status_code = 201
        return reply

    @api.delete("/api/streams/{name}", status_code=204, summary="End a stream, and all that is of it")
    @needs(CONTROL, SERVER)
    async def delete(name: str) -> None:
        await director.delete(name)

    @api.get("/api/fleet", tags=["fleet"], summary="Workers and what they have")
    @needs(VIEW, SERVER)
    async def fleet() -> dict[str, Any]:
        """Workers with their load and streams; `waiting`: why streams have none; and how often streams were placed, moved and
        refused."""
        return await director.state()

    @api.post("/api/fleet/{worker}/drain", status_code=204, tags=["fleet"], summary="Empty a worker")
    @needs(CONTROL, SERVER)
    async def drain(worker: str) -> None:
        """It gets no more streams. Those that it has leave it: at once where no browser drives them, else when the driver's
        session has ended, or fleet.drain_s is over."""
        await director.drain(worker)

    @api.delete("/api/fleet/{worker}/drain", status_code=204, tags=["fleet"], summary="Do not empty a worker after all")
    @needs(CONTROL, SERVER)
    async def keep(worker: str) -> None:
        """It keeps the streams that it still has, and gets others again."""
        await director.keep(worker)

    @api.get("/healthz", summary="Whether this front lives")
    @free
    async def healthz() -> dict[str, str]:
        return {"status": "ok"}

    return api
