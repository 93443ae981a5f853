"""A frame's whole way on the device, for several streams at once: planes in, pictures out, nothing in between on the host.

YUV → RGB → crop → M → filter → composition, S → W → G → paste-back → bytes. All tensors are static buffers of `max_batch`
slots, so that the way can be captured as one CUDA graph for each batch size; on a processor the same code runs as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..clock import steady
from ..errors import PuppetError
from ..frames import Image
from .build import Captured
from .columns import WIDTH, named
from .compose import STATE, compose, filtered, flat
from .follow import Given, Sight
from .host import Host, Results, Turn
from .motion import Face
from .networks import KEYPOINTS
from .options import BATCHES, MotionOptions
from .paste import pasted
from .planes import BLACK, FROM_YUV, PLANES, cut_planes
from .prepared import DevicePortrait
from .runtime import Runtime
from .streams import Streams

if TYPE_CHECKING:
    from ..clips import Progress

STREAMS = 64
Encode = Callable[[Tensor], Tensor]


class RowPool:
    """Places of streams on the device."""

    def __init__(self) -> None:
        self._free = list(range(STREAMS))[::-1]

    def take(self) -> int:
        if not self._free:
            raise PuppetError(f"the device has no place for more than {STREAMS} streams")
        return self._free.pop()

    def give_back(self, row: int) -> None:
        self._free.append(row)


class DevicePath:
    """See the module. Used by one thread. side: of the square that the pictures lie in. encode: whole pictures
    (B, 3, side, side) in 0..1 -> the bytes that come out (B, …) uint8. streams: None for the device's own."""

    def __init__(
        self, runtime: Runtime, options: MotionOptions, side: int, example: DevicePortrait, max_batch: int, encode: Encode,
        streams: Streams | None = None,
    ) -> None:  # fmt: skip
        self._runtime = runtime
        self._options = options
        self.side = side
        device = runtime.device
        height, width = PLANES
        self._y = torch.full((max_batch, 1, height, width), BLACK[0], dtype=torch.uint8, device=device)
        self._uv = torch.full((max_batch, 2, height // 2, width // 2), BLACK[1], dtype=torch.uint8, device=device)
        self._numbers = torch.zeros(max_batch, WIDTH, device=device)
        named(self._numbers).row[:] = STREAMS  # until a stream is there: its row must not be touched by a warm-up
        self._portraits = [torch.zeros(max_batch, *t.shape[1:], dtype=t.dtype, device=device) for t in example.tensors()]
        self._holds: list[DevicePortrait | None] = [None] * max_batch
        self._references = torch.zeros(STREAMS + 1, STATE, device=device)  # the last row is nobody's
        self._held: list[Face | None] = [None] * STREAMS
        self._filter = torch.zeros(2, STREAMS + 1, STATE, device=device)
        self._blend = torch.zeros(2, STREAMS + 1, 3 * KEYPOINTS, device=device)
        self._from_yuv = torch.tensor(FROM_YUV, device=device)
        self._out = encode(torch.zeros(max_batch, 3, side, side, device=device))
        self._finite = torch.zeros(max_batch, dtype=torch.bool, device=device)
        self._host = Host(max_batch, self._out, STREAMS, streams)
        self._cut, self._filtered, self._compose = (runtime.compiled(f) for f in (cut_planes, filtered, compose))
        self._finish = runtime.compiled(finishing(encode))
        self._graphs: dict[int, Captured] = {}
        self._pool = torch.cuda.graph_pool_handle() if runtime.graphs else None  # one batch runs at a time
        self._anew = set(range(STREAMS))  # rows whose filter has nothing, or nothing finite, to go on from
        self.batches = [b for b in BATCHES if b <= max_batch]

    def capture(self, progress: Progress) -> float:
        """Run, and where the device can, capture every batch size; seconds that one frame takes alone."""
        seconds = []
        with torch.inference_mode(), self._runtime.on_device():
            for done, batch in enumerate(self.batches, 1):
                if self._runtime.graphs:
                    self._graphs[batch] = Captured(partial(self._run, batch), self._runtime.device, self._pool)
                else:
                    self._run(batch)
                start = steady()
                self._launch(batch)
                self._runtime.synchronize()
                seconds.append(steady() - start)
                progress(done, len(self.batches))
        return seconds[0]

    @torch.inference_mode()
    def go_on_from(self, before: DevicePath) -> None:
        """Streams are where they were on another path: with its filters, and without a leap."""
        with self._runtime.on_device():
            for state, its in zip(self._state(), before._state(), strict=True):
                state.copy_(its)
        self._held, self._anew = before._held, before._anew

    def _state(self) -> tuple[Tensor, ...]:
        return self._references, self._filter, self._blend

    @torch.inference_mode()
    def submit(self, work: Sequence[tuple[DevicePortrait, Sight | Given]]) -> Results:
        """Start on a batch; the result waits, once, for the bytes of each picture, good until the second batch after this
        one, and whether it was finite. Of two batches before, the results were collected, or this is an AssertionError."""
        with self._runtime.on_device():
            return self._submit(work)

    def _submit(self, work: Sequence[tuple[DevicePortrait, Sight | Given]]) -> Results:
        turn = self._host.begin()
        try:
            collect = self._start(turn, work)
        except BaseException:  # whatever it is: the device may still read the turn's buffers
            self._runtime.synchronize()
            self._host.give_back(turn)
            self._anew.update(sight.row for _, sight in work)
            raise

        def results() -> list[tuple[Image, bool]]:
            pictures = collect()
            self._anew.update(sight.row for (_, sight), (_, finite) in zip(work, pictures, strict=True) if not finite)
            return pictures

        return results

    def _start(self, turn: Turn, work: Sequence[tuple[DevicePortrait, Sight | Given]]) -> Results:
        batch = next(b for b in self.batches if b >= len(work))
        for slot, (portrait, sight) in enumerate(work):
            self._hold(slot, portrait)
            self._set_row(sight)
            turn.write(slot, sight, sight.row in self._anew)
            self._anew.discard(sight.row)
        for slot in range(len(work), batch):
            turn.idle(slot)
        turn.upload(batch, self._y, self._uv, self._numbers)
        self._launch(batch)
        return turn.download(len(work), self._out, self._finite)

    def _set_row(self, sight: Sight | Given) -> None:
        if self._held[sight.row] is not sight.reference:
            self._references[sight.row].copy_(flat(sight.reference)[0])
            self._held[sight.row] = sight.reference
        if isinstance(sight, Given):  # the filter then holds it, as it holds the motion of a face that is lost
            self._filter[0, sight.row].copy_(flat(sight.face)[0])

    def _hold(self, slot: int, portrait: DevicePortrait) -> None:
        if self._holds[slot] is not portrait:
            for buffer, tensor in zip(self._portraits, portrait.tensors(), strict=True):
                buffer[slot].copy_(tensor[0], non_blocking=True)
            self._holds[slot] = portrait

    def _launch(self, batch: int) -> None:
        if batch in self._graphs:
            self._graphs[batch].replay()
        else:
            self._run(batch)

    def _run(self, batch: int) -> None:
        """From and to the static buffers, without a look at any value."""
        portrait = DevicePortrait.of([t[:batch] for t in self._portraits])
        columns = named(self._numbers[:batch])
        rows = columns.row[:, 0].long()
        motion = self._runtime.motion(self._cut(self._y[:batch], self._uv[:batch], columns.crop, self._from_yuv))
        state = self._filtered(motion, columns, self._filter[:, rows])
        self._filter.index_copy_(1, rows, state)
        parts = self._references[rows], columns, self._blend[:, rows]
        keypoints, blend = self._compose(portrait, state[0], *parts, self._runtime.controllers, self._options)
        self._blend.index_copy_(1, rows, blend)
        picture = self._runtime.render(portrait.features, keypoints)
        out, finite = self._finish(picture, portrait)
        self._out[:batch].copy_(out)
        self._finite[:batch].copy_(finite)


def finishing(encode: Encode) -> Callable[[Tensor, DevicePortrait], tuple[Tensor, Tensor]]:
    """From G's pictures (B, 3, 512, 512) to the bytes of the whole ones, and whether each was finite."""

    def finish(picture: Tensor, portrait: DevicePortrait) -> tuple[Tensor, Tensor]:
        whole = pasted(picture, portrait.grid, portrait.mask, portrait.behind)
        return encode(whole), picture.isfinite().flatten(1).all(dim=1)

    return finish
