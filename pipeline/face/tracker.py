"""What a face tracker is."""

from __future__ import annotations

from typing import Protocol

from ..frames import Image
from .motion import Array


class Tracker(Protocol):
    """Follows one face through a stream, where several are seen the one it has begun with. Not shared between streams:
    it keeps state."""

    name: str

    @property
    def lopsided(self) -> bool:
        """Whether it sees the two sides of a face differ by more than they do: `pair.level` mends that."""

    @property
    def faces(self) -> int:
        """How many are seen."""

    @property
    def blink(self) -> Array | None:
        """(2,) how sure the model is that the right and left eye of the face last seen are shut, 0 to 1; None where it
        cannot say."""

    def track(self, image: Image, time_s: float) -> Array | None:
        """(478, 3) landmarks in `image` (h, w, 3) RGB, in the unit of `units`; None where no face is found. Pictures may be of
        another size each time."""

    def next_face(self) -> bool:
        """Follow another face from the next picture on, the next one to the right; whether there is one."""

    def close(self) -> None:
        """Free what the tracker holds."""
