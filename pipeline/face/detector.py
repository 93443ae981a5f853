"""Faces in a picture by MediaPipe's two detectors: one for near faces, one for those up to five metres away.

Bazarevsky et al., "BlazeFace: Sub-millisecond Neural Face Detection on Mobile GPUs", 2019; the anchors are those of
MediaPipe's SSD options.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..frames import Image
from .networks import Network, Square

NEAR = ((16, 2), (8, 6))  # cells along each side, anchors in each cell
FAR = ((48, 1),)
SURE = 0.5  # score from which on something is a face
SAME = 0.3  # overlap (intersection over union) from which on two boxes are one face
ROOM = 1.5  # side of a face's square over that of its box


class Detector:
    """One of the two. Boxes are squares round a face, turned upright by its eyes."""

    def __init__(self, model: Path, anchors: Sequence[tuple[int, int]]) -> None:
        self._network = Network(model)
        cells = [np.stack(np.meshgrid(*[(np.arange(n) + 0.5) / n] * 2), axis=-1).reshape(-1, 2) for n, _ in anchors]
        self._anchors = np.concatenate([np.repeat(c, each, axis=0) for c, (_, each) in zip(cells, anchors, strict=True)])

    def find(self, image: Image) -> list[tuple[float, Square]]:
        """Scores and squares of the faces in a picture (h, w, 3), in its pixels."""
        height, width = image.shape[:2]
        view = Square(width / 2, height / 2, max(width, height))
        raw, score = self._network(view.cut(image, self._network.side) * 2 - 1)
        likely = score[:, 0] > 0  # of a logistic: half
        at = raw[likely].reshape(-1, 8, 2) / self._network.side  # middle, size, six points of the face
        at[:, [0, *range(2, 8)]] += self._anchors[likely][:, None]
        scores = 1 / (1 + np.exp(-np.clip(score[likely, 0], -100, 100)))
        found = []
        for sure, (middle, size, right, left, *_) in zip(scores.tolist(), at, strict=True):
            points = view.back(np.column_stack([[middle, right, left], np.zeros(3)]))[:, :2]
            along = points[2] - points[1]
            angle = float(np.arctan2(along[1], along[0]))
            x, y = points[0].tolist()
            found.append((sure, Square(x, y, float(size.max()) * view.side * ROOM, angle)))
        return found


class Detectors:
    """Both together."""

    def __init__(self, near: Path, far: Path) -> None:
        self._all = [Detector(near, NEAR), Detector(far, FAR)]

    def find(self, image: Image) -> list[Square]:
        """The faces of a picture (h, w, 3), the surest first."""
        return distinct([found for each in self._all for found in each.find(image)])

    def near(self, image: Image) -> list[Square]:
        """Those that are large in the picture."""
        return distinct(self._all[0].find(image))


def distinct(found: list[tuple[float, Square]]) -> list[Square]:
    """Each face once, the surest first."""
    kept: list[Square] = []
    for _, square in sorted(found, key=lambda f: -f[0]):
        if all(_overlap(square, other) < SAME for other in kept):
            kept.append(square)
    return kept


def _overlap(a: Square, b: Square) -> float:
    side = (a.side + b.side) / 2
    shared = max(min(side - abs(a.x - b.x), a.side, b.side), 0) * max(min(side - abs(a.y - b.y), a.side, b.side), 0)
    return shared / (a.side**2 + b.side**2 - shared)
