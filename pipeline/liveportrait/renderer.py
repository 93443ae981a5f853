"""Prepared portraits under followed motion: a device's way, of which another is built beside it where it no longer fits."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from ..errors import PuppetError
from ..frames import Image
from .build import is_out_of_memory
from .device import DevicePath, Encode
from .follow import Given, Sight
from .options import BATCHES, MotionOptions
from .prepared import DevicePortrait, LivePortraitPrepared
from .runtime import Runtime

if TYPE_CHECKING:
    from ..clips import Progress

log = logging.getLogger(__name__)

Beside = Callable[[Callable[[], None]], None]  # lets something run while frames go on


@dataclass
class _Way:
    path: DevicePath
    portraits: WeakKeyDictionary[LivePortraitPrepared, DevicePortrait] = field(default_factory=WeakKeyDictionary)

    def fits(self, prepared: LivePortraitPrepared) -> bool:
        return max(prepared.still.shape[:2]) <= self.path.side

    def on_device(self, prepared: LivePortraitPrepared) -> DevicePortrait:
        if prepared not in self.portraits:
            self.portraits[prepared] = prepared.on_device(self.path.side)
        return self.portraits[prepared]


class Renderer:
    """Used by one thread. encode: see `DevicePath`. beside: None builds at once whatever is needed, and frames wait.
    overflow: told of networks whose precision gives pictures that are not finite. still_px: see `still.Shown`."""

    def __init__(
        self,
        options: MotionOptions,
        max_batch: int,
        encode: Encode,
        beside: Beside | None = None,
        overflow: Callable[[Runtime], None] = lambda runtime: None,
        still_px: float = 0.0,
    ) -> None:
        self._still_px = still_px
        self._options, self._encode, self._beside, self._overflow = options, encode, beside, overflow
        self.max_batch = max_batch
        self._way: _Way | None = None
        self._next: _Way | None = None  # built, and not in use yet
        self._asked: tuple[Runtime, int, list[int]] | None = None  # what was last built beside: networks, side, sizes
        self._side = 0  # of the square that holds every picture

    @property
    def runtime(self) -> Runtime | None:
        """The networks of the way in use."""
        return None if self._way is None else self._way.path.runtime

    def grow(self, side: int) -> None:
        """Pictures may have sides of so many pixels."""
        self._side = max(self._side, side + side % 2)

    def warm_up(self, runtime: Runtime, prepared: LivePortraitPrepared, progress: Progress) -> float:
        """Run, and where the device can, capture the way anew; seconds that one frame takes alone. Where every batch size
        takes long, only the smallest and the largest: the others are built beside the frames, as is a way that is compiled
        where one that is not can begin."""
        sizes, first = self._sizes(), runtime.ready if self._beside else runtime
        path, frame_s = self._built(first, prepared, self._first(first), progress)
        self._go_over(_Way(path))
        left = [size for size in sizes if size in path.batches or size < sizes[-1]]  # that one was tried
        if first is not runtime:
            self._build_beside(runtime, prepared, self._first(runtime))
        elif left != path.batches:
            self._build_beside(runtime, prepared, left)
        return frame_s

    def submit(
        self, runtime: Runtime, work: Sequence[tuple[LivePortraitPrepared, Sight | Given]]
    ) -> Callable[[], list[tuple[Image | None, bool]]]:
        """See `DevicePath.submit`. runtime: the networks that should be used; those of before serve until the way through
        these is built."""
        if not work:
            return list
        way = self._fitting(runtime, work)
        collect = way.path.submit([(way.on_device(prepared), sight) for prepared, sight in work])

        def results() -> list[tuple[Image | None, bool]]:
            pictures = collect()
            if way.path.overflowed:
                self._overflow(way.path.runtime)
            return pictures

        return results

    def forget(self, row: int) -> None:
        """See `DevicePath.forget`."""
        if (way := self._way) is not None:
            way.path.forget(row)

    def _fitting(self, runtime: Runtime, work: Sequence[tuple[LivePortraitPrepared, Sight | Given]]) -> _Way:
        way, example = self._way, work[0][0]
        if way is None or way.path.side < self._side or way.path.runtime is not runtime:
            if way is None or self._beside is None or not all(way.fits(prepared) for prepared, _ in work):
                first = runtime.ready if self._beside and self.runtime is not runtime else runtime
                path, _ = self._built(first, example, self._sizes(), run=runtime.graphs)
                self._go_over(_Way(path))
            else:
                self._build_beside(runtime, example, self._first(runtime))
        elif way.path.batches != self._sizes():
            self._build_beside(runtime, example, self._sizes())
        if self._next is not None and all(self._next.fits(prepared) for prepared, _ in work):
            used = self._next.path.runtime
            log.info("another way is in use: %s, %scompiled", used.precision, "" if used.compiles else "not ")
            self._go_over(self._next)
        assert self._way is not None
        return self._way

    def _go_over(self, way: _Way) -> None:
        if self._way is not None:
            way.path.go_on_from(self._way.path)
        self._way, self._next = way, None
        self.max_batch = way.path.batches[-1]

    def _build_beside(self, runtime: Runtime, example: LivePortraitPrepared, sizes: list[int]) -> None:
        """Once for the same wish: what cannot be built is not tried again."""
        wish = runtime, self._side, sizes
        if self._beside is None or self._asked == wish:
            return
        self._asked = wish

        def build() -> None:
            try:
                path, _ = self._built(runtime, example, sizes)
            except PuppetError as exc:
                log.error("%s; going on with the way through the networks that is in use", exc)
                return
            except Exception:  # whatever a build does, streams go on with what they have
                log.exception("another way through the networks could not be built; going on with the one before")
                return
            before = self._way
            if before is None or before.path.runtime is not runtime or path.batches[-1] >= before.path.batches[-1]:
                self._next = _Way(path)

        self._beside(build)

    def _sizes(self) -> list[int]:
        return [batch for batch in BATCHES if batch <= self.max_batch]

    def _first(self, runtime: Runtime) -> list[int]:
        """The sizes to be ready first."""
        sizes = self._sizes()
        return [sizes[0], sizes[-1]] if runtime.compiles and self._beside and len(sizes) > 1 else sizes

    def _built(
        self,
        runtime: Runtime,
        example: LivePortraitPrepared,
        sizes: list[int],
        progress: Progress = lambda done, total: None,
        run: bool = True,
    ) -> tuple[DevicePath, float]:
        """A path for as many of the batch sizes as there is memory for, and seconds that a frame takes alone. run: so that
        the first frames are not slow."""
        while True:
            path = None
            try:
                with runtime.on_device():  # host memory is pinned for the current one
                    portrait = example.on_device(self._side)
                    made = runtime, self._options, self._side, portrait, sizes[-1], self._encode
                    path = DevicePath(*made, still_px=self._still_px)
                path.batches = sizes
                return path, path.capture(progress, sizes) if run else 0.0
            except RuntimeError as exc:
                if len(sizes) == 1 or not is_out_of_memory(exc):
                    raise
            log.warning("no memory for the buffers of %d streams: %d at most", sizes[-1], sizes[-2])
            sizes = sizes[:-1]
