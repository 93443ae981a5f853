"""A stand-in for a virtual camera's device, at the border of the library that writes to it (`pyvirtualcam.register_backend`):
for machines without v4l2loopback."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pyvirtualcam.camera

from pipeline.frames import Image


class Device:
    """Takes pictures while its node exists and no other program has it. sizes: of each time that it was opened; seen: called
    with each picture, (h · 3 / 2, w) planar YUV 4:2:0."""

    def __init__(self, node: Path) -> None:
        self.node = node
        self.is_taken = False
        self.sizes: list[tuple[int, int]] = []
        self.open = 0
        self.seen: Callable[[Image], object] = lambda picture: None

    def install(self, patch: pytest.MonkeyPatch) -> Device:
        """In place of the library's own ways."""
        patch.setattr(pyvirtualcam.camera, "BACKENDS", {"stand-in": lambda **asked: _Backend(self, **asked)})
        return self


class _Backend:
    def __init__(self, on: Device, /, *, width: int, height: int, **asked: Any) -> None:
        if not on.node.exists():
            raise RuntimeError(f"No device found at {on.node}. Did you load one?")
        if on.is_taken:
            raise RuntimeError(f"Virtual camera device {on.node} could not be configured: Device or resource busy")
        self._on, self._shape = on, (height * 3 // 2, width)
        on.sizes.append((width, height))
        on.open += 1

    def send(self, frame: np.ndarray) -> None:
        self._on.seen(frame.reshape(self._shape).copy())

    def close(self) -> None:
        self._on.open -= 1

    def device(self) -> str:
        return str(self._on.node)

    def native_fourcc(self) -> None:
        return None
