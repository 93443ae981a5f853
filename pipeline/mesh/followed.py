"""A motion on its way from the puppeteer of a stream to the device."""

from __future__ import annotations

from dataclasses import dataclass, field

from ..face.motion import Motion
from ..frames import Image
from .mixing import Mixer
from .prepared import MeshPrepared


@dataclass(frozen=True, kw_only=True)
class Followed(Motion):
    """A motion of one stream at `time_s`. mixer: the stream's, which keeps its key pictures from changing at once; moved: the
    person as she was rendered, for whoever cuts her out."""

    time_s: float
    mixer: Mixer
    moved: list[Image] = field(default_factory=list)

    def render(self, prepared: MeshPrepared) -> Image:
        """`prepared` under this motion; a stream's motions in their order."""
        return prepared.at(self.time_s).render(self, lambda target: self.mixer(prepared, target, self.time_s), self.moved.append)

    def coverage(self) -> Image:
        """(side, side) the person's, once she has been rendered: see `MeshPrepared.cut_out`."""
        return self.moved[-1][..., 3]
