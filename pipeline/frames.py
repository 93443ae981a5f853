"""What travels through the graph. A leaf: no torch, no asyncio.

An `AnimatedFrame` is the only thing that a sink accepts, and only `pipeline.mark.marker` makes one:
no picture leaves the process by mistake without its mark, and the operator's camera picture not at all.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import TYPE_CHECKING, NewType

import numpy as np
from numpy.typing import NDArray

from .label import Box, Label

if TYPE_CHECKING:
    import av  # and OpenCV where it is used: a machine that only measures its GPU has neither

Image = NDArray[np.uint8]
Marked = NewType("Marked", Image)  # a picture that has passed a marker
CLOCK = Fraction(1, 90_000)
DECLARE_RATE = {"x264-params": "force-cfr=1"}  # in H.264, instead of the clock: players would expect 90 000 frames a second
_SEAL = object()


@dataclass(frozen=True, slots=True)
class TimedFrame:
    """A driving frame. captured_s: monotonic seconds at capture; frame: any pixel format."""

    frame: av.VideoFrame
    captured_s: float


@dataclass(frozen=True, slots=True)
class Driving:
    """A driving picture to be followed. image: (h, w, 3) RGB, small enough for a tracker; time_s: capture, on any
    steady clock. frame: the camera's own picture where there is one; mirrored: `image` is its mirror image."""

    image: Image
    time_s: float
    frame: av.VideoFrame | None = None
    mirrored: bool = False


@dataclass(frozen=True, slots=True)
class AnimatedFrame:
    """A generated picture. yuv: (height · 3 / 2, width) planar YUV 4:2:0; captured_s: its driver's. _cut: makes what
    `cut_out` shows."""

    yuv: Marked
    captured_s: float
    number: int
    _seal: object
    _cut: Callable[[], Marked] | None = None

    def __post_init__(self) -> None:
        if self._seal is not _SEAL:
            raise TypeError("only a marker makes an AnimatedFrame")
        checked(self.yuv)

    def video_frame(self, pts: int) -> av.VideoFrame:
        """A fresh VideoFrame at `pts` (90 kHz): encoders write into the ones they are given."""
        import av

        frame = av.VideoFrame.from_ndarray(self.yuv, format="yuv420p")
        frame.pts = pts
        frame.time_base = CLOCK
        return frame

    def cut_out(self) -> AnimatedFrame:
        """The same without its background, see `stacked`; with it where nothing is known of that. Takes a while."""
        cut = Marked(opaque(self.yuv)) if self._cut is None else self._cut()
        return AnimatedFrame(cut, self.captured_s, self.number, _SEAL)

    def labelled(self, label: Label, face: Box | None) -> AnimatedFrame:
        """The same with `label` on it, where `face` is not; on its cut-out, too."""
        yuv = Marked(self.yuv.copy())  # other outputs show it otherwise
        label.lay_over(yuv_planes(yuv), face)
        return replace(self, yuv=yuv, _cut=lambda: _labelled_cut(self.cut_out().yuv, label, face))


def checked(yuv: Image) -> Image:
    """The same; TypeError or ValueError for what is no planar YUV 4:2:0."""
    if not isinstance(yuv, np.ndarray) or yuv.dtype != np.uint8 or yuv.ndim != 2:
        raise TypeError("a picture is planar YUV 4:2:0 in bytes")
    if yuv.shape[0] % 3 or yuv.shape[1] % 2 or not yuv.size:
        raise ValueError(f"a picture of {yuv.shape} is not planar YUV 4:2:0")
    return yuv


def planar(picture: Image) -> Image:
    """(h, w, 3) RGB -> (h · 3 / 2, w) planar YUV 4:2:0."""
    import cv2

    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_RGB2YUV_I420), np.uint8)


def stacked(yuv: Image, alpha: Image) -> Image:
    """A cut-out as one picture that any video carries: planar YUV 4:2:0 (3 · h, w), twice as high. Above, colours times
    coverage, (h · 3 / 2, w) on black; below, the coverage (h, w) as grey."""
    y, u, v = yuv_planes(yuv)
    grey = np.round(16 + alpha * np.float32(219 / 255)).astype(np.uint8)  # as `planar` has it
    plain = np.full_like(u, 128)
    return np.concatenate([part.reshape(-1) for part in (y, grey, u, plain, v, plain)]).reshape(2 * len(yuv), -1)


def _labelled_cut(cut: Marked, label: Label, face: Box | None) -> Marked:
    """`stacked`, with a label that is part of colours and coverage."""
    both, u, v = yuv_planes(cut)
    height = len(both) // 2
    label.lay_over([both[:height], u[: height // 2], v[: height // 2]], face)
    label.cover(both[height:], face)
    return cut


def opaque(yuv: Image) -> Image:
    """`stacked` of a picture that nothing is known of but itself."""
    return stacked(yuv, np.full_like(yuv_planes(yuv)[0], 255))


def letterboxed(yuv: Image, width: int, height: int) -> Image:
    """Planar YUV 4:2:0 (h · 3 / 2, w) made to fit (height · 3 / 2, width), all sides even, with black where the shapes
    differ."""
    import cv2

    rows, columns = yuv.shape[0] * 2 // 3, yuv.shape[1]
    if (columns, rows) == (width, height):
        return yuv
    scale = min(width / columns, height / rows)
    w, h = (max(round(n * scale / 2), 1) for n in (columns, rows))  # in pixels of colour, each of two by two
    x, y = (width // 2 - w) // 2, (height // 2 - h) // 2
    made = np.concatenate([np.full((height, width), 16, np.uint8), np.full((height // 2, width), 128, np.uint8)])
    for given, wanted, step in zip(yuv_planes(yuv), yuv_planes(made), (2, 1, 1), strict=True):
        part = wanted[step * y : step * (y + h), step * x : step * (x + w)]
        part[:] = cv2.resize(given, part.shape[::-1], interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
    return made


def yuv_planes(yuv: Image) -> list[Image]:
    """Views of brightness (h, w) and of both colours (h / 2, w / 2)."""
    height, width = yuv.shape[0] * 2 // 3, yuv.shape[1]
    return [yuv[:height], *yuv[height:].reshape(2, height // 2, width // 2)]
