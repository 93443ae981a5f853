"""Marks a stream's pictures, and seals them: nobody else can make an `AnimatedFrame`."""

from __future__ import annotations

from collections.abc import Callable

from ..frames import _SEAL, AnimatedFrame, Image, Marked
from .embed import Deltas, embed, embed_rgb, spread
from .pattern import tile
from .payload import Payload


class Marker:
    """says: the payload as it is now, asked for each picture; None for pictures without a mark. For any thread."""

    def __init__(self, says: Callable[[], Payload] | None) -> None:
        self._says = says
        self._made: tuple[Payload, int, int, Deltas] | None = None
        self._last: tuple[Image, Marked] | None = None

    @property
    def payload(self) -> Payload | None:
        """What its pictures say now; None without a mark."""
        return None if self._says is None else self._says()

    def frame(self, yuv: Image, captured_s: float, number: int, cut: Callable[[], Image]) -> AnimatedFrame:
        """A picture for sinks, see `AnimatedFrame`. The same picture again is not marked again."""
        last = self._last
        marked = last[1] if last is not None and last[0] is yuv else self.marked(yuv, len(yuv) * 2 // 3)
        self._last = yuv, marked
        return AnimatedFrame(marked, captured_s, number, _SEAL, lambda: self._cut_out(cut()))

    def marked(self, yuv: Image, height: int) -> Marked:
        """Planar YUV 4:2:0 with the mark in the upper `height` rows of its brightness."""
        payload = self.payload
        return Marked(yuv if payload is None else embed(yuv, self._pattern(payload, height, yuv.shape[1])))

    def marked_rgb(self, image: Image) -> Marked:
        """(h, w, 3) RGB or (h, w, 4) RGBA with the mark, for files."""
        payload = self.payload
        return Marked(image if payload is None else embed_rgb(image, self._pattern(payload, *image.shape[:2])))

    def _cut_out(self, stacked: Image) -> Marked:
        return self.marked(stacked, len(stacked) // 3)  # the coverage is below

    def _pattern(self, payload: Payload, height: int, width: int) -> Deltas:
        made = self._made
        if made is None or made[:3] != (payload, height, width):
            made = payload, height, width, spread(tile(payload), height, width)
            self._made = made
        return made[3]


UNMARKED = Marker(None)
