"""Prepared portraits under followed motion: a device's way that is made anew where it no longer fits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from ..frames import Image
from .device import DevicePath, Encode
from .follow import Given, Sight
from .options import MotionOptions
from .prepared import DevicePortrait, LivePortraitPrepared
from .runtime import Runtime

if TYPE_CHECKING:
    from ..clips import Progress


class Renderer:
    """Used by one thread. encode: see `DevicePath`."""

    def __init__(self, runtime: Runtime, options: MotionOptions, max_batch: int, encode: Encode) -> None:
        self._runtime, self._options, self._max_batch, self._encode = runtime, options, max_batch, encode
        self._path: DevicePath | None = None
        self._loads = 0  # of the networks, when the path was made
        self._side = 0  # of the square that holds every picture
        self._portraits: WeakKeyDictionary[LivePortraitPrepared, DevicePortrait] = WeakKeyDictionary()

    def grow(self, side: int) -> None:
        """Pictures may have sides of so many pixels."""
        self._side = max(self._side, side + side % 2)

    def warm_up(self, prepared: LivePortraitPrepared, progress: Progress) -> float:
        """Run, and where the device can, capture the way anew; seconds that one frame takes alone."""
        return self._new_path(prepared).capture(progress)

    def submit(self, work: Sequence[tuple[LivePortraitPrepared, Sight | Given]]) -> Callable[[], list[tuple[Image, bool]]]:
        """See `DevicePath.submit`."""
        if not work:
            return list
        path = self._path
        if path is None or path.side < self._side or self._loads != self._runtime.loads:
            path = self._new_path(work[0][0])
            if self._runtime.graphs:
                path.capture(lambda done, total: None)
        return path.submit([(self._on_device(prepared, path.side), sight) for prepared, sight in work])

    def _new_path(self, example: LivePortraitPrepared) -> DevicePath:
        self._portraits.clear()
        portrait = self._on_device(example, self._side)
        self._path = DevicePath(self._runtime, self._options, self._side, portrait, self._max_batch, self._encode)
        self._loads = self._runtime.loads
        return self._path

    def _on_device(self, prepared: LivePortraitPrepared, side: int) -> DevicePortrait:
        if prepared not in self._portraits:
            self._portraits[prepared] = prepared.on_device(side)
        return self._portraits[prepared]
