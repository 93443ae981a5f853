"""Whether a file carries the mark, and what it says."""

from __future__ import annotations

from functools import partial

from fastapi import APIRouter, Request
from pydantic import BaseModel

from pipeline import outfile
from pipeline.errors import PuppetError
from pipeline.mark.payload import stream_code
from pipeline.offline.identify import Verdict, identify
from pipeline.portrait import MOST_BYTES

from ..control.control import Control
from ..deployment import told
from ..signing.manifest import Statement
from ..signing.signed import read
from .rights import CONTROL, SERVER, Guarded, needs

MOST_S, MOST_PICTURES = 60, 3600  # of a clip: a small file may last for hours, or have very many in a second
BYTES = {"schema": {"type": "string", "format": "binary"}}
TAKES_FILE = {"requestBody": {"required": True, "content": {"application/octet-stream": BYTES}}}


class Identified(BaseModel):
    """marked: whether the mark was found; windows: of two seconds that were looked at, windows_marked: in which it was.

    log10_chance: the power of ten below which the chance is that no mark looks like this; scale: of the pictures against what
    was marked; payload: ten hexadecimal digits, of version, deployment, stream and day; ours: whether this server's deployment
    made it; stream: its code, 0 of a file; streams: of those that run here which have that code; day: UTC; signed: what a signed
    statement in the file says.
    """

    marked: bool
    windows: int
    windows_marked: int
    log10_chance: float | None = None
    scale: float | None = None
    payload: str | None = None
    version: int | None = None
    deployment: str | None = None
    ours: bool | None = None
    stream: int | None = None
    streams: list[str] = []
    day: str | None = None
    signed: Statement | None = None


def router(control: Control) -> APIRouter:
    """The endpoint /api/identify."""
    api = APIRouter(prefix="/api/identify", route_class=Guarded, tags=["identify"])

    @api.post(
        "", summary="Whether a picture or clip, whose bytes are the body, carries the invisible mark, what that says, "
        "and what a signed statement in it says; nothing is kept of it", openapi_extra=TAKES_FILE,
    )  # fmt: skip
    @needs(CONTROL, SERVER, MOST_BYTES, tells_length=True)  # a clip costs seconds of the processor that animates
    async def identified(request: Request) -> Identified:
        """Of a clip its first minute is looked at, of 60 pictures a second at most."""
        found, signed = await control.gallery.aside(partial(_look, await request.body()))
        said = told(found, control.deployment.id)
        names = [name for name in control.streams if said.get("ours") and stream_code(name) == said["stream"]]
        return Identified(**said, streams=names, signed=signed)

    return api


def _look(data: bytes) -> tuple[Verdict, Statement | None]:
    with outfile.scratch_folder() as folder:
        path = folder / "upload"
        path.write_bytes(data)
        try:
            return identify(path, most_s=MOST_S, most=MOST_PICTURES), read(path)
        except PuppetError as exc:
            raise type(exc)(str(exc).replace(str(path), "upload")) from exc
