"""A frame's whole way on the device, for several streams at once: planes in, pictures out, nothing in between on the host.

YUV → RGB → crop → M → filter → composition, S → W → G → paste-back → bytes. All tensors are static buffers of `max_batch`
slots, so that the way can be captured as one CUDA graph for each batch size; on a processor the same code runs as it is.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..clock import steady
from ..errors import PuppetError
from ..frames import Image
from .build import Captured, graph_memory, is_out_of_memory, reserved, searching
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

log = logging.getLogger(__name__)

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
    (B, 3, side, side) in 0..1 -> the bytes that come out (B, …) uint8. streams: None for the device's own.

    batches: the sizes that are ready. overflowed: whether a picture was not finite although the keypoints were that it was
    made of: the precision's fault, not the driver's."""

    def __init__(
        self, runtime: Runtime, options: MotionOptions, side: int, example: DevicePortrait, max_batch: int, encode: Encode,
        streams: Streams | None = None,
    ) -> None:  # fmt: skip
        self._runtime = self.runtime = runtime  # kept, as what is captured points into its weights
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
        self._finite = torch.zeros(max_batch, 2, dtype=torch.bool, device=device)  # the picture, and its keypoints
        self.overflowed = False
        self._host = Host(self._out, self._finite, STREAMS, streams)
        self._cut, self._filtered, self._compose = (runtime.compiled(f) for f in (cut_planes, filtered, compose))
        self._finish = runtime.compiled(finishing(encode))
        self._graphs: dict[int, Captured] = {}
        self._anew = set(range(STREAMS))  # rows whose filter has nothing, or nothing finite, to go on from
        self.batches = [b for b in BATCHES if b <= max_batch]

    def capture(self, progress: Progress, batches: Sequence[int] | None = None) -> float:
        """Run, and where the device can, capture batch sizes from the smallest on; None for all. Seconds that one frame takes
        alone. Where memory ends, the sizes up to there are what there is; what `is_out_of_memory` if that is none."""
        ready: list[int] = []
        frame_s = 0.0
        with torch.inference_mode(), self._runtime.on_device():
            make = self._capturing()
            for batch in batches or self.batches:
                before = reserved(self._runtime.device)
                try:
                    seconds = make(batch)
                except RuntimeError as exc:
                    if not ready or not is_out_of_memory(exc):
                        raise
                    log.warning("no memory for %d streams in one go: at most %d", batch, ready[-1])
                    break
                log.info("batch of %d: %.0f MB", batch, (reserved(self._runtime.device) - before) / 1e6)
                frame_s = frame_s or seconds
                ready.append(batch)
                progress(len(ready), len(batches or self.batches))
        self.batches = ready
        return frame_s

    def _capturing(self) -> Callable[[int], float]:
        """What makes one batch size ready; seconds that a batch then takes."""
        device = self._runtime.device
        # One batch runs at a time, so that all share memory and the libraries' workspace.
        shared = graph_memory(device) if self._runtime.graphs else ()

        def make(batch: int) -> float:
            if self._runtime.graphs:
                self._graphs[batch] = Captured(partial(self._run, batch), device, *shared)
            else:
                with searching():
                    self._run(batch)
            start = steady()
            self._launch(batch)
            self._runtime.synchronize()
            return steady() - start

        return make

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
    def submit(self, work: Sequence[tuple[DevicePortrait, Sight | Given]]) -> Callable[[], list[tuple[Image, bool]]]:
        """Start on a batch; the result waits, once, for the bytes of each picture, good until the second batch after this
        one, and whether it was finite. Of two batches before, the results were collected, or this is an AssertionError."""
        with self._runtime.on_device():
            return self._submit(work)

    def _submit(self, work: Sequence[tuple[DevicePortrait, Sight | Given]]) -> Callable[[], list[tuple[Image, bool]]]:
        turn, slots = self._host.begin(), self._slots(work)
        try:
            collect = self._start(turn, work, slots)
        except BaseException:  # whatever it is: the device may still read the turn's buffers
            self._runtime.synchronize()
            self._host.give_back(turn)
            self._anew.update(sight.row for _, sight in work)
            raise

        def results() -> list[tuple[Image, bool]]:
            collected = collect()
            pictures = [collected[slot] for slot in slots]
            for (_, sight), (_, (finite, driven)) in zip(work, pictures, strict=True):
                self.overflowed |= driven and not finite
                if not finite:
                    self._anew.add(sight.row)
            return [(picture, finite) for picture, (finite, _) in pictures]

        return results

    def _slots(self, work: Sequence[tuple[DevicePortrait, Sight | Given]]) -> list[int]:
        """A slot for each: the one that holds its portrait already, as copying one there takes some 20 MB."""
        free = list(range(len(work)))
        slots: list[int | None] = []
        for portrait, _ in work:
            slots.append(next((slot for slot in free if self._holds[slot] is portrait), None))
            if slots[-1] is not None:
                free.remove(slots[-1])
        return [free.pop(0) if slot is None else slot for slot in slots]

    def _start(self, turn: Turn, work: Sequence[tuple[DevicePortrait, Sight | Given]], slots: list[int]) -> Results:
        batch = next(b for b in self.batches if b >= len(work))
        for slot, (portrait, sight) in zip(slots, work, strict=True):
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
        self._finite[:batch, 0].copy_(finite)
        self._finite[:batch, 1].copy_(keypoints.isfinite().flatten(1).all(dim=1))


def finishing(encode: Encode) -> Callable[[Tensor, DevicePortrait], tuple[Tensor, Tensor]]:
    """From G's pictures (B, 3, 512, 512) to the bytes of the whole ones, and whether each was finite."""

    def finish(picture: Tensor, portrait: DevicePortrait) -> tuple[Tensor, Tensor]:
        whole = pasted(picture, portrait.grid, portrait.mask, portrait.behind)
        return encode(whole), picture.isfinite().flatten(1).all(dim=1)

    return finish
