"""The portraits: bundled, named by the config, uploaded; and prepared for engines."""

from __future__ import annotations

import asyncio
import logging
import math
from collections import OrderedDict
from collections.abc import Callable

import numpy as np
from pydantic import BaseModel

from pipeline.engine import Engine, Prepared
from pipeline.face.faces import Faces
from pipeline.portrait import Portrait, bundled, bundled_names, read_portrait

from ..config import Engine as Limits
from ..errors import UnknownPortrait
from ..stream.stream import Shown

log = logging.getLogger(__name__)

SIDES = (1080, 960, 840, 720, 640)  # of pictures, in pixels, where an engine's speed decides
FIXED = 0.4  # of a frame's time that does not grow with the picture
MAX_UPLOADS = 24
MAX_PREPARED = 8  # for each engine; one of the mesh engine's takes some 10 MB, a puppet up to 80 more

Box = tuple[float, float, float, float]


class PortraitInfo(BaseModel):
    """A portrait of the gallery. faces: x, y, width, height of each face in it as shares of the picture, from left to
    right; face: which of them moves; eyes_shut: in the picture, so that no driver opens them. pictures: 1, or how many
    pictures of one face a puppet has; label: what its maker wants viewers to be told."""

    id: str
    name: str
    bundled: bool
    faces: list[Box]
    face: int
    eyes_shut: bool
    pictures: int
    label: str


class Gallery:
    """All methods belong to the event loop's thread. in_use: ids that must not be forgotten."""

    def __init__(self, limits: Limits, faces: Faces, in_use: Callable[[], set[str]], frame_s: float = math.inf) -> None:
        """frame_s: what a frame may take of an engine that is slower the larger the picture."""
        self._limits = limits
        self._frame_s = frame_s
        self._sides: dict[int, int] = {}  # longest side by engine, where it was measured
        self._faces = faces
        self._in_use = in_use
        self._portraits: OrderedDict[str, Portrait] = OrderedDict()
        self._prepared: OrderedDict[tuple[int, str], Shown] = OrderedDict()  # by engine and portrait, used last at the end
        self._uploads = 0

    def infos(self) -> list[PortraitInfo]:
        """Bundled portraits first, then the others, newest last."""
        names = bundled_names()
        return [self.info(key) for key in (*names, *(k for k in self._portraits if k not in names))]

    def info(self, key: str) -> PortraitInfo:
        """UnknownPortrait if there is none."""
        portrait = self.get(key)
        own = key in bundled_names()
        label = "" if portrait.about is None else portrait.about.label
        return PortraitInfo(
            id=key, name=portrait.title or portrait.name, bundled=own, faces=portrait.boxes(), face=portrait.face,
            eyes_shut=portrait.eyes_shut, pictures=1 + len(portrait.more), label=label,
        )  # fmt: skip

    def get(self, key: str) -> Portrait:
        """UnknownPortrait if there is none."""
        if key not in self._portraits and key in bundled_names():
            self._portraits[key] = bundled(key)
        if key not in self._portraits:
            raise UnknownPortrait(f"no portrait '{key}'; GET /api/portraits lists them")
        return self._portraits[key]

    def put(self, key: str, portrait: Portrait) -> None:
        """A portrait that the config names."""
        self._portraits.setdefault(key, portrait)

    async def add(self, name: str, data: bytes, marks: list[list[float]] | None) -> PortraitInfo:
        """Take an uploaded picture or puppet; PortraitError if it cannot be used. The oldest of too many is forgotten."""
        points = None if marks is None else np.array(marks, np.float32)
        portrait = await asyncio.to_thread(lambda: read_portrait(name, data, self._faces, points))
        self._uploads += 1
        key = f"upload-{self._uploads}"
        self._portraits[key] = portrait
        uploads = [k for k in self._portraits if k.startswith("upload-") and k != key]
        for old in [k for k in uploads if k not in self._in_use()][: max(len(uploads) + 1 - MAX_UPLOADS, 0)]:
            self._portraits.pop(old)
            self._forget(lambda k, old=old: k == old)  # type: ignore[misc]
        return self.info(key)

    def choose_face(self, key: str, face: int) -> PortraitInfo:
        """Let another face of a picture move, when it is shown next; PortraitError if there is none."""
        self._portraits[key] = self.get(key).with_face(face)
        self._forget(lambda k: k == key)
        return self.info(key)

    async def prepared(self, engine: Engine, key: str) -> Shown:
        """A portrait for an engine; prepared on a thread, and kept while it is among the last MAX_PREPARED."""
        portrait = self.get(key)
        place = (id(engine), key)
        if place not in self._prepared:
            self._prepared[place] = Shown(key, await asyncio.to_thread(self._prepare, engine, portrait))
        self._prepared.move_to_end(place)
        self._forget(lambda k: False)
        return self._prepared[place]

    def _prepare(self, engine: Engine, portrait: Portrait) -> Prepared:
        """As large as the limits and the engine's speed allow; that is measured with its first portrait."""
        side = self._sides.get(id(engine), self._limits.max_side)
        prepared = self._scaled(engine, portrait, side)
        if id(engine) in self._sides:
            return prepared
        self._sides[id(engine)] = fitting = self._fitting(engine, prepared, side)
        if fitting >= max(prepared.still.shape[:2]):
            return prepared
        log.info("engine %s: pictures of at most %d pixels; larger ones are too slow here", engine.name, fitting)
        return self._scaled(engine, portrait, fitting)

    def _scaled(self, engine: Engine, portrait: Portrait, side: int) -> Prepared:
        return engine.prepare(portrait, side, self._limits.max_crop * side // self._limits.max_side)

    def _fitting(self, engine: Engine, prepared: Prepared, side: int) -> int:
        """The longest side up to `side` with which a frame may be expected to take no longer than it may."""
        if not engine.by_size or side <= SIDES[-1] or math.isinf(self._frame_s):
            return side
        shown = max(prepared.still.shape[:2])
        frame_s = engine.warm_up(prepared, lambda done, total: None)
        for tried in (side, *(s for s in SIDES if s < side)):
            if frame_s * (FIXED + (1 - FIXED) * (tried / shown) ** 2) <= self._frame_s:
                return tried
        return SIDES[-1]

    def _forget(self, wanted: Callable[[str], bool]) -> None:
        """Let go of those `wanted`, and of the ones used longest ago where there are too many."""
        spare = [place for place in self._prepared if place[1] not in self._in_use()]
        old = spare[: max(len(self._prepared) - MAX_PREPARED, 0)]
        for place in [p for p in self._prepared if wanted(p[1])] + old:
            self._prepared.pop(place, None)
