"""A portrait as the engine keeps it, and as a slot of the device holds it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

from torch import Tensor

from ..frames import Image, opaque
from ..label import Box
from .motion import Face, FaceMotion, Ratios
from .networks import PortraitFeatures
from .paste import PasteBack


class DevicePortrait(NamedTuple):
    """A portrait as the device needs it; each with a batch of one. resting: its keypoints at rest (1, K, 3). grid:
    (1, S, S, 2) where each pixel of the picture lies in the crop; mask: (1, S, S); behind: (1, 3, S, S)."""

    features: PortraitFeatures
    face: Face
    resting: Tensor
    grid: Tensor
    mask: Tensor
    behind: Tensor

    def tensors(self) -> list[Tensor]:
        return [*self.features, *self.face.motion, *self.face.ratios, self.resting, self.grid, self.mask, self.behind]

    @classmethod
    def of(cls, tensors: Sequence[Tensor]) -> DevicePortrait:
        """The reverse of `tensors`."""
        face = Face(FaceMotion(*tensors[4:9]), Ratios(*tensors[9:11]))
        return cls(PortraitFeatures(*tensors[:4]), face, *tensors[11:])


@dataclass(frozen=True, eq=False)
class LivePortraitPrepared:
    """See `pipeline.engine`. still: (h, w, 3) RGB, the whole picture or the crop alone; face_box: where in it the face is."""

    still: Image
    features: PortraitFeatures
    face: Face
    resting: Tensor
    paste: PasteBack
    face_box: Box
    has_doubtful_matte = False
    has_matte = False  # what is generated has the background in it, and moves it a little

    fps = 0.0

    def at(self, time_s: float) -> Self:
        return self

    def over(self, background: Image) -> Self:
        return self

    def cut_out(self, seen: Any, yuv: Image) -> Image:
        return opaque(yuv)

    def on_device(self, side: int) -> DevicePortrait:
        """For a slot, in a square of `side`."""
        return DevicePortrait(self.features, self.face, self.resting, *self.paste.on_canvas(side))
