"""What whoever asks may do, so that a page need not offer the rest."""

from __future__ import annotations

from fastapi import APIRouter, Request
from pydantic import BaseModel

from ..control.control import Control
from .access import may
from .rights import ANY, VIEW, Guarded, Right, needs

NONE = "none"


class Me(BaseModel):
    """What a token is good for. streams: the greatest right to each stream that may be watched: view, publish or control; server:
    that to the whole server, or none. asks_whose: whoever uploads a portrait is to be asked whose face it shows."""

    server: str
    streams: dict[str, str]
    asks_whose: bool


def router(control: Control) -> APIRouter:
    """Its endpoint."""
    api = APIRouter(prefix="/api", route_class=Guarded, tags=["streams"])

    @api.get("/me", summary="What whoever asks may do")
    @needs(VIEW, ANY)
    async def me(request: Request) -> Me:
        """Each right includes those before it: view, publish, control."""
        streams = {name: _greatest(request, name) for name in control.streams}
        greatest = {name: right for name, right in streams.items() if right != NONE}
        return Me(server=_greatest(request), streams=greatest, asks_whose=control.config.portraits.ask_whose != "never")

    return api


def _greatest(request: Request, stream: str | None = None) -> str:
    return next((right.name.lower() for right in reversed(Right) if may(request, right, stream)), NONE)
