"""The mesh engine: the portrait itself, warped by the driver's motion. No learned generator."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..clips import Progress
from ..clock import Clock, steady
from ..face.faces import Faces
from ..face.motion import rest
from ..frames import Image, planar
from ..portrait import Portrait
from ..shapes.names import UNSEEN
from .follow import MeshPuppeteer
from .followed import Followed
from .prepared import MeshPrepared

WARM_UP = 5


class MeshEngine:
    """See `pipeline.engine.Engine`."""

    name = "mesh"
    max_batch = 1
    overlaps = False
    on_cpu = True
    by_size = True
    lacks = frozenset({"eye_retargeting", "lip_retargeting"})  # lids and lips are relative to the portrait's own
    unseen = UNSEEN

    def __init__(self, faces: Faces, clock: Clock = steady) -> None:
        self.faces = faces
        self._clock = clock

    def prepare(self, portrait: Portrait, max_side: int, max_crop: int) -> MeshPrepared:
        return MeshPrepared.of(portrait, max_side, max_crop)

    def open(self) -> MeshPuppeteer:
        return MeshPuppeteer(self.faces.open_tracker)

    def warm_up(self, prepared: MeshPrepared, progress: Progress) -> float:
        start_s = self._clock()
        for done in range(WARM_UP):
            prepared.at(done).render(rest())
            progress(done + 1, WARM_UP)
        return (self._clock() - start_s) / WARM_UP

    def submit(self, work: Sequence[tuple[MeshPrepared, Followed]]) -> Callable[[], list[Image]]:
        pictures = [planar(seen.render(prepared)) for prepared, seen in work]
        return lambda: pictures
