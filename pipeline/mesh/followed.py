"""A motion on its way from the puppeteer of a stream to the device."""

from __future__ import annotations

from dataclasses import dataclass

from ..face.motion import Motion
from ..frames import Image
from .mixing import Mixer
from .prepared import MeshPrepared


@dataclass(frozen=True)
class Followed(Motion):
    """A motion of one stream at `time_s`. mixer: the stream's, which keeps its key pictures from changing at once."""

    time_s: float
    mixer: Mixer

    def render(self, prepared: MeshPrepared) -> Image:
        """`prepared` under this motion; a stream's motions in their order."""
        if not prepared.keys.pictures:
            return prepared.render(self)
        return prepared.render(self, self.mixer(prepared, prepared.weights(self), self.time_s))
