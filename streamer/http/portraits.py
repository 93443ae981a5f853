"""REST of the gallery: portraits listed, uploaded, looked at, changed and deleted."""

from __future__ import annotations

import asyncio
import hashlib
import json
from typing import Annotated, Self
from urllib.parse import quote

import cv2
import numpy as np
from fastapi import APIRouter, HTTPException, Query, Request, Response
from pydantic import BaseModel, Field, model_validator
from starlette.datastructures import FormData, UploadFile

from pipeline.frames import Image
from pipeline.pictures.decode import MAX_SIDE
from pipeline.portrait import MOST_BYTES, Portrait, pack_puppet
from pipeline.puppetfile import SUFFIX, About
from pipeline.terms import Whose

from ..control.commands import Given
from ..control.control import Control
from ..control.gallery import MAX_NAME, PortraitInfo
from ..control.terms import CHOICES, DriversChange
from ..errors import BadCommand
from .description import gives
from .rights import ANY, CONTROL, SERVER, VIEW, Guarded, needs

JPEG, ZIP = "image/jpeg", "application/zip"
FORM_BYTES = 100_000  # of an upload beside the file
FORM = "multipart/form-data"
BYTES = {"schema": {"type": "string", "format": "binary"}}
IN_FORM = {"schema": {"type": "object", "required": ["file"], "properties": {"file": BYTES["schema"]}}}
TAKES_FILE = {"requestBody": {"required": True, "content": {"application/octet-stream": BYTES, FORM: IN_FORM}}}
PICTURE = "picture"  # a name for what has none
Name = Annotated[str, Query(min_length=1, max_length=255)]


Point = tuple[float, float]
Marks = tuple[Point, Point, Point, Point, Point]


class FaceChoice(Given):
    """Which face of a picture moves, counted from the left; or where it lies, placed by hand (see `FacePlace`)."""

    face: int | None = None
    marks: Marks | None = None

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if (self.face is None) == (self.marks is None):
            raise ValueError("either 'face' or 'marks' is expected")
        return self


class FacePlace(BaseModel):
    """Where the face that moves lies. marks: x and y, as shares of the picture's width and height, of the eye on the left, the
    eye on the right, the tip of the nose, the left and the right corner of the mouth."""

    marks: Marks


class PortraitChange(Given):
    """What is to be said otherwise of an upload; what is not named stays."""

    name: str | None = Field(None, min_length=1, max_length=MAX_NAME, description="What it is called.")
    whose: Whose | None = Field(None, description="Whose face it shows.")

    @model_validator(mode="after")
    def _something(self) -> Self:
        if self.name is None and self.whose is None:
            raise ValueError("'name' or 'whose' is expected")
        return self


class Restricted(BaseModel):
    """An upload, and the pass that was made for it, which is told this once and kept nowhere; null where none was made."""

    portrait: PortraitInfo
    made: str | None = Field(serialization_alias="pass")


def router(control: Control) -> APIRouter:
    """Endpoints under /api/portraits."""
    gallery = control.gallery
    api = APIRouter(prefix="/api/portraits", route_class=Guarded, tags=["portraits"])

    @api.get("", summary="The gallery")
    @needs(VIEW, ANY)
    async def portraits() -> list[PortraitInfo]:
        return await gallery.infos()

    @api.post(
        "", status_code=201, openapi_extra=TAKES_FILE,
        summary="Upload a portrait: a picture, a .puppet file, or a clip that goes on moving, whose bytes are the body",
    )  # fmt: skip
    @needs(CONTROL, SERVER, MOST_BYTES + FORM_BYTES, tells_length=True)
    async def upload(
        request: Request,
        name: Name = PICTURE,
        marks: str | None = None,
        going: Annotated[list[str] | None, Query()] = None,
        whose: str | None = None,
    ) -> PortraitInfo:
        """Or as a form (multipart/form-data): the file as its field "file", and the other parameters as fields of their names.
        name: what it is called. marks: places the face by hand, and wins over what is found: JSON of five [x, y] in pixels of
        the picture, as it is shown upright: the eye on the left, the eye on the right, the tip of the nose, the left and the
        right corner of the mouth. whose: whose face it shows: mine, consent (of whoever it is), public_domain or drawn (nobody's:
        a drawing, an animal, a figure); it may have to be said (portraits.ask_whose: always). going: where the gallery is full,
        the answer 409 says in "goes" which uploads would go for this one; given here, their ids let them."""
        if not _is_form(request):
            return await gallery.add(name, await request.body(), _marks(marks), going or (), _whose(whose))
        async with request.form() as form:
            file = _file(form)
            given = [str(key) for key in form.getlist("going")]
            points, said = _marks(form.get("marks", marks)), _whose(form.get("whose", whose))
            return await gallery.add(file.filename or name, await file.read(), points, given, said)

    @api.post(
        "/preview", summary="A picture, whose bytes are the body, as it is read, as JPEG; nothing is kept of it",
        openapi_extra=TAKES_FILE, **gives(JPEG),
    )  # fmt: skip
    @needs(CONTROL, SERVER, MOST_BYTES + FORM_BYTES, tells_length=True)
    async def preview(request: Request, name: Name = PICTURE) -> Response:
        """To mark a face in: the header X-Scale tells how many pixels of the JPEG one of the picture is. Takes a form, too."""
        if _is_form(request):
            async with request.form() as form:
                file = _file(form)
                name, data = file.filename or name, await file.read()
        else:
            data = await request.body()
        decoded = await gallery.preview(name, data)
        return Response(
            _jpeg(decoded.image), media_type=JPEG, headers={"X-Scale": str(decoded.scale), "Cache-Control": "no-store"}
        )

    @api.get("/{key:path}/image", summary="A portrait as JPEG", **gives(JPEG))
    @needs(VIEW, ANY)
    async def image(key: str, request: Request, side: Annotated[int, Query(ge=64, le=MAX_SIDE)] = 512) -> Response:
        """side: its longer one is at most so many pixels."""
        return _cached(await asyncio.to_thread(_small, await gallery.get(key), side), request)

    @api.get("/{key:path}/thumbnail", summary="The square around the face that moves, as JPEG", **gives(JPEG))
    @needs(VIEW, ANY)
    async def thumbnail(key: str, request: Request) -> Response:
        return _cached(await gallery.thumbnail(key), request)

    @api.get("/{key:path}/face", summary="Where the face that moves lies")
    @needs(VIEW, ANY)
    async def face(key: str) -> FacePlace:
        return FacePlace.model_validate({"marks": await gallery.marks(key)})

    @api.put("/{key:path}/face", summary="Choose which face of a picture moves, or place it by hand")
    @needs(CONTROL, SERVER)
    async def choose_face(key: str, choice: FaceChoice) -> PortraitInfo:
        """Let another face of the picture move, or the same at another place, from when it is shown next."""
        if choice.marks is not None:
            return await gallery.place_face(key, choice.marks)
        assert choice.face is not None
        return await gallery.choose_face(key, choice.face)

    @api.patch("/{key:path}/drivers", summary="Say who may drive an upload")
    @needs(CONTROL, SERVER)
    async def restrict(key: str, change: DriversChange) -> Restricted:
        """At once, also where it is on show: who may not drive it any more is still there, and moves nothing."""
        info, made = await control.restrict(key, change)
        return Restricted(portrait=info, made=made or None)

    @api.patch("/{key:path}", summary="Rename an upload, or say whose face it shows")
    @needs(CONTROL, SERVER)
    async def change(key: str, change: PortraitChange) -> PortraitInfo:
        if change.name is not None:
            await gallery.rename(key, change.name)
        return gallery.info(key) if change.whose is None else await gallery.say_whose(key, change.whose)

    @api.delete("/{key:path}", status_code=204, summary="Delete an upload")
    @needs(CONTROL, SERVER)
    async def delete(key: str) -> None:
        """A stream that shows it goes on with it."""
        await gallery.delete(key)

    @api.get("/{key:path}/puppet", tags=["puppets"], summary="A portrait with all its pictures, as a .puppet file", **gives(ZIP))
    @needs(VIEW, SERVER)
    async def puppet_file(key: str) -> Response:
        portrait = await gallery.get(key)
        data = await asyncio.to_thread(pack_puppet, portrait, portrait.about or About(portrait.name, "one picture"))
        name = quote(portrait.name.removesuffix(SUFFIX) + SUFFIX, safe="")
        headers = {"Content-Disposition": f"attachment; filename*=UTF-8''{name}", "Cache-Control": "no-store"}
        return Response(data, media_type=ZIP, headers=headers)

    return api


def _jpeg(image: Image) -> bytes:
    return cv2.imencode(".jpg", image[..., ::-1])[1].tobytes()


def _small(portrait: Portrait, side: int) -> bytes:
    factor = min(1.0, side / max(portrait.image.shape[:2]))
    return _jpeg(np.asarray(cv2.resize(portrait.image, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA), np.uint8))


def _cached(jpeg: bytes, request: Request) -> Response:
    """A browser keeps it, and asks each time whether it is still the same: another face may have been chosen."""
    headers = {"Cache-Control": "no-cache", "ETag": f'"{hashlib.sha256(jpeg).hexdigest()[:16]}"'}
    if request.headers.get("if-none-match") == headers["ETag"]:
        return Response(status_code=304, headers=headers)
    return Response(jpeg, media_type=JPEG, headers=headers)


def _is_form(request: Request) -> bool:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower() == FORM


def _file(form: FormData) -> UploadFile:
    file = form.get("file")
    if not isinstance(file, UploadFile):
        raise BadCommand(f"file: a file is expected, with a name ({FORM})")
    return file


def _whose(text: UploadFile | str | None) -> Whose | None:
    try:
        return None if text is None else Whose(text)  # type: ignore[arg-type]
    except ValueError as exc:
        raise BadCommand(f"whose: one of {CHOICES} is expected") from exc


def _marks(text: UploadFile | str | None) -> list[list[float]] | None:
    if text is None:
        return None
    try:
        if not isinstance(text, str):
            raise TypeError
        marks = [[float(x), float(y)] for x, y in json.loads(text)]
    except (ValueError, TypeError, RecursionError) as exc:
        raise HTTPException(422, "marks: JSON of five [x, y] pairs is expected") from exc
    if len(marks) != 5:
        raise HTTPException(422, f"marks: five points are expected, {len(marks)} were given")
    return marks
