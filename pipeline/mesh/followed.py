"""A motion on its way from the puppeteer of a stream to the device."""

from __future__ import annotations

from dataclasses import dataclass

from ..face.motion import Motion
from ..frames import Image
from .mixing import Mixer
from .prepared import MeshPrepared


@dataclass(frozen=True, kw_only=True)
class Followed(Motion):
    """A motion of one stream at `time_s`. mixer: the stream's, which keeps its key pictures from changing at once."""

    time_s: float
    mixer: Mixer

    def render(self, prepared: MeshPrepared) -> Image:
        """`prepared` under this motion; a stream's motions in their order."""
        return prepared.render(self, lambda target: self.mixer(prepared, target, self.time_s))
