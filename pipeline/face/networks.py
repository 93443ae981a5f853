"""Small networks (TensorFlow Lite) that run on one core, and the squares of a picture that they look at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from ai_edge_litert.interpreter import Interpreter

from ..errors import ModelError
from ..frames import Image
from ..installation import command
from .motion import Array
from .quiet import errors_only

SHIFT = 0.05  # shares of a square's side, and
TURN = 0.1  # radians, by which one may be off


class Network:
    """One of them, or a part of it. side: of the square that it takes."""

    def __init__(self, path: Path, part: bytes | None = None) -> None:
        source = {"model_path": str(path)} if part is None else {"model_content": part}
        try:
            with errors_only():
                self._run = Interpreter(**source, num_threads=1)
                self._run.allocate_tensors()
        except (OSError, RuntimeError, ValueError) as exc:
            raise not_usable(path) from exc
        inputs = self._run.get_input_details()
        self._inputs, self.side = [given["index"] for given in inputs], int(inputs[0]["shape"][1])
        self._outputs = [out["index"] for out in self._run.get_output_details()]

    def __call__(self, *given: Array) -> list[Array]:
        """Its outputs for a picture (side, side, 3), or for whatever it takes, float32."""
        for number, each in zip(self._inputs, given, strict=True):
            self._run.set_tensor(number, np.ascontiguousarray(each[None]))
        self._run.invoke()
        return [self._run.get_tensor(out)[0] for out in self._outputs]


def not_usable(path: Path) -> ModelError:
    return ModelError(f"{path}: not a usable model; run '{command('models fetch')}'")


@dataclass(frozen=True)
class Square:
    """A square of a picture: centre and side in pixels (0 is the middle of the first), and by how many radians it is turned,
    clockwise as one sees it."""

    x: float
    y: float
    side: float
    angle: float = 0.0

    @property
    def axes(self) -> Array:
        """(2, 2) its own x and y axis, as rows."""
        cos, sin = np.cos(self.angle), np.sin(self.angle)
        return np.array([[cos, sin], [-sin, cos]], np.float32)

    def turned(self, angle: float) -> Square:
        """The same, so many radians further."""
        return replace(self, angle=self.angle + angle)

    def fits(self, other: Square) -> bool:
        """Whether another lies where this one does, as good as."""
        off = max(abs(self.x - other.x), abs(self.y - other.y), abs(self.side - other.side)) / other.side
        return off < SHIFT and abs(np.sin((self.angle - other.angle) / 2)) < TURN / 2

    def back(self, points: Array) -> Array:
        """Points (n, 3) in it, from 0 to 1, as pixels of the picture."""
        flat = (points[:, :2] - 0.5) @ self.axes * self.side + (self.x, self.y)
        return np.column_stack([flat, points[:, 2] * self.side]).astype(np.float32)

    def cut(self, image: Image, size: int) -> Array:
        """(size, size, 3) float32 from 0 to 1; beyond the picture its border goes on."""
        return self.cuts(image, size, [self])[0]

    def cuts(self, image: Image, size: int, squares: Sequence[Square]) -> list[Array]:
        """The same of squares round the same point, not larger, and turned: cheaper than one by one."""
        part, to_part = self._part(image, size)
        if not part.size:
            return [np.zeros((size, size, 3), np.float32) for _ in squares]
        grids = [to_part @ square._grid(size) for square in squares]
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        cuts = (cv2.warpAffine(part, g, (size, size), flags=flags, borderMode=cv2.BORDER_REPLICATE) for g in grids)
        return [np.asarray(cut, np.float32) / 255 for cut in cuts]

    def _grid(self, size: int) -> Array:
        """(3, 3) from the pixels of a cut to those of the picture."""
        step = self.axes * (self.side / size)
        start = np.array([self.x, self.y]) - (step[0] + step[1]) * (size / 2 - 0.5)
        return np.vstack([np.column_stack([step.T, start]), [0, 0, 1]])

    def _part(self, image: Image, size: int) -> tuple[Image, Array]:
        """What holds the square however it is turned, no larger than cuts of `size` need; (2, 3) from the picture to it."""
        shrink = self.side / size
        if shrink <= 1.5:
            return image, np.eye(2, 3)
        reach = self.side * 0.75
        left, top = max(int(self.x - reach), 0), max(int(self.y - reach), 0)
        part = image[top : max(int(self.y + reach), 0), left : max(int(self.x + reach), 0)]
        if not part.size:
            return part, np.eye(2, 3)
        height, width = (max(round(n / shrink), 1) for n in part.shape[:2])
        x, y = width / part.shape[1], height / part.shape[0]
        small = cv2.resize(part, (width, height), interpolation=cv2.INTER_AREA)  # sampled too sparsely it would flicker
        return np.asarray(small, np.uint8), np.array([[x, 0, (0.5 - left) * x - 0.5], [0, y, (0.5 - top) * y - 0.5]])
