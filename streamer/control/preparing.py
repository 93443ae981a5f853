"""Portraits prepared for engines: as large as a machine can animate them, and the last few kept."""

from __future__ import annotations

import asyncio
import logging
import math
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace

from pipeline.engine import Engine, Prepared
from pipeline.portrait import Portrait

from ..config import Engine as Limits
from ..stream.stream import Shown

log = logging.getLogger(__name__)

SIDES = (1080, 960, 840, 720, 640)  # of pictures, in pixels, where an engine's speed decides
FIXED = 0.4  # of a frame's time that does not grow with the picture
MAX_PREPARED = (
    8  # for each engine; one of the mesh engine's takes some 10 MB, a puppet up to 80 more, a clip 200: kept while shown
)


class Preparing:
    """All methods belong to the event loop's thread. in_use: ids that must not be forgotten."""

    def __init__(self, limits: Limits, in_use: Callable[[], set[str]], frame_s: float = math.inf) -> None:
        """frame_s: what a frame may take of an engine that is slower the larger the picture."""
        self._limits = limits
        self._frame_s = frame_s
        self._in_use = in_use
        self._sides: dict[int, int] = {}  # longest side by engine, where it was measured
        self._prepared: OrderedDict[tuple[int, str], Shown] = OrderedDict()  # by engine and portrait, used last at the end

    async def shown(self, engine: Engine, key: str, portrait: Portrait) -> Shown:
        """A portrait for an engine; prepared on a thread, and kept while it is among the last MAX_PREPARED."""
        place = (id(engine), key)
        if place not in self._prepared:
            self._prepared[place] = await asyncio.to_thread(self._shown, engine, key, portrait)
        self._prepared.move_to_end(place)
        shown = self._prepared[place]
        spare = [each for each in self._prepared if each[1] not in self._in_use()]
        clips = [each for each in spare if self._prepared[each].prepared.fps]
        for old in dict.fromkeys([*clips, *spare[: max(len(self._prepared) - MAX_PREPARED, 0)]]):
            self._prepared.pop(old)
        return replace(shown, terms=portrait.terms, lock=portrait.face_lock)

    def forget(self, key: str) -> None:
        """Let go of a portrait that has become another; what shows it goes on."""
        for place in [place for place in self._prepared if place[1] == key]:
            self._prepared.pop(place)

    def _shown(self, engine: Engine, key: str, portrait: Portrait) -> Shown:
        return Shown(key, self._prepare(engine, portrait), portrait.sha256)

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
