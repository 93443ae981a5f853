"""A clip as the mesh engine animates it: each picture is bent from where its own face is, as one portrait's would be."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np

from ..face import topology as topo
from ..frames import Image, planar
from ..loop import Loop
from .crop import Crop
from .geometry import Geometry
from .own import Own


@dataclass(frozen=True)
class PreparedLoop:
    """clip: in the size that is animated; crops, owns: of each of its pictures. All else they share with the prepared one."""

    clip: Loop
    crops: tuple[Crop, ...]
    owns: tuple[Own, ...]

    @classmethod
    def of(cls, clip: Loop, size: tuple[int, int], crop: Crop, geometry: Geometry) -> PreparedLoop:
        """size: width and height. crop: of the prepared picture."""
        clip = _scaled(clip, size)
        middle = geometry.landmarks[list(topo.RIGID), :2].mean(axis=0)
        crops, owns = [], []
        for landmarks in clip.landmarks:
            x, y = np.round(landmarks[list(topo.RIGID), :2].mean(axis=0) - middle).astype(int).tolist()
            crops.append(Crop(x, y, crop.side))
            owns.append(Own.of(landmarks - np.array([x, y, 0], np.float32), geometry))
        return cls(clip, tuple(crops), tuple(owns))

    def at(self, time_s: float) -> tuple[Image, Crop, Own]:
        """The whole picture (h, w, 3) that shows at a time, its crop, and what it does."""
        k = self.clip.at(time_s)
        return self.clip.picture(k), self.crops[k], self.owns[k]


def _scaled(clip: Loop, size: tuple[int, int]) -> Loop:
    first = clip.picture(0)
    if first.shape[1::-1] == size:
        return clip
    method = cv2.INTER_AREA if size[0] < first.shape[1] else cv2.INTER_CUBIC
    yuv = np.stack(
        [planar(np.asarray(cv2.resize(clip.picture(k), size, interpolation=method), np.uint8)) for k in range(len(clip))]
    )
    scale = np.array([size[0] / first.shape[1], size[1] / first.shape[0], size[0] / first.shape[1]], np.float32)
    return replace(clip, yuv=yuv, landmarks=clip.landmarks * scale)
