"""A frame's whole way on the device, for several streams at once: planes in, pictures out, nothing in between on the host.

YUV → RGB → crop → M → filter → composition, S → W → G → paste-back → bytes. All tensors are static buffers of `max_batch`
slots, so that the way can be captured as CUDA graphs for each batch size; on a processor the same code runs as it is. It has
two parts, on two queues: the faces of a batch are seen while the pictures of the batch before are painted.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..frames import Image
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
from .rows import STREAMS
from .runtime import Runtime
from .steps import Step, Steps
from .still import MOVED, Shown, moved, nowhere
from .streams import Streams, streams_of

if TYPE_CHECKING:
    from ..clips import Progress

Encode = Callable[[Tensor], Tensor]


class DevicePath:
    """See the module. Used by one thread. side: of the square that the pictures lie in. encode: whole pictures
    (B, 3, side, side) in 0..1 -> the bytes that come out (B, …) uint8. streams: None for the device's own. still_px: see
    `still.Shown`.

    batches: the sizes that are ready. overflowed: whether a picture was not finite although the keypoints were that it was
    made of: the precision's fault, not the driver's."""

    def __init__(
        self, runtime: Runtime, options: MotionOptions, side: int, example: DevicePortrait, max_batch: int, encode: Encode,
        streams: Streams | None = None, still_px: float = 0.0,
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
        self._seen = torch.zeros(max_batch, KEYPOINTS, 3, device=device)  # of the batch whose faces were seen last
        self._driven = torch.zeros_like(self._seen)  # of the one that is painted
        self._needed = torch.zeros(max_batch, dtype=torch.bool, device=device)
        self._order, self._chosen = (torch.zeros(max_batch, dtype=torch.long, device=device) for _ in range(2))
        self._pictured = nowhere(STREAMS + 1, device)  # keypoints of each row's last picture
        self._shown = Shown(still_px)
        self._streams = streams or streams_of(device)
        self._host = Host(self._out, self._finite, STREAMS, self._streams)
        self._ahead = self._streams.beside()
        self._cut, self._filtered, self._compose = (runtime.compiled(f) for f in (cut_planes, filtered, compose))
        self._finish = runtime.compiled(finishing(encode))
        self.steps = Steps(runtime, self._run)
        self._anew = set(range(STREAMS))  # rows whose filter has nothing, or nothing finite, to go on from
        self.batches = [b for b in BATCHES if b <= max_batch]

    def capture(self, progress: Progress, batches: Sequence[int] | None = None) -> float:
        """See `Steps.make`; None for all batch sizes. Those that are ready are in `batches`."""
        with torch.inference_mode(), self._runtime.on_device():
            self.batches, frame_s = self.steps.make(batches or self.batches, progress)
        return frame_s

    @torch.inference_mode()
    def go_on_from(self, before: DevicePath) -> None:
        """Streams are where they were on another path: with its filters, and without a leap."""
        with self._runtime.on_device():
            self._streams.wait(None, before._ahead)
            for state, its in zip(self._state(), before._state(), strict=True):
                state.copy_(its)
            self._streams.wait(self._ahead, None)
        self._held, self._anew = before._held, before._anew

    def _state(self) -> tuple[Tensor, ...]:
        return self._references, self._filter, self._blend

    @torch.inference_mode()
    def submit(self, work: Sequence[tuple[DevicePortrait, Sight | Given]]) -> Callable[[], list[tuple[Image | None, bool]]]:
        """Start on a batch; the result waits, once, for the bytes of each picture, good until the second batch after this
        one, or None for the same as the row's last one; and whether it was finite. Of two batches before, the results were
        collected, or this is an AssertionError. Where a picture may be the last one's, this waits for the faces to be seen."""
        with self._runtime.on_device():
            return self._submit(work)

    def _submit(self, work: Sequence[tuple[DevicePortrait, Sight | Given]]) -> Callable[[], list[tuple[Image | None, bool]]]:
        turn, slots = self._host.begin(), self._slots(work)
        rows = [sight.row for _, sight in work]
        try:
            collect, places = self._paint_pictures(turn, self._see_faces(turn, work, slots))
        except BaseException:  # whatever it is: the device may still read the turn's buffers
            self._runtime.synchronize()
            self._host.give_back(turn)
            self._begin_anew(rows)
            raise
        for slot, (portrait, sight) in zip(slots, work, strict=True):
            if slot in places:
                self._shown.painted(sight.row, portrait)

        def results() -> list[tuple[Image | None, bool]]:
            try:
                collected = collect()
            except BaseException:  # whatever it is, these pictures never came
                self._begin_anew(rows)
                raise
            pictures: list[tuple[Image | None, bool]] = []
            for slot, row in zip(slots, rows, strict=True):
                picture, (finite, driven) = collected[places[slot]] if slot in places else (None, (True, True))
                self.overflowed |= driven and not finite
                if not finite:
                    self._begin_anew([row])
                pictures.append((picture, finite))
            return pictures

        return results

    def _begin_anew(self, rows: list[int]) -> None:
        self._anew.update(rows)
        for row in rows:
            self.forget(row)

    def forget(self, row: int) -> None:
        """The row's next frame is painted in any case; from any thread."""
        self._shown.forget(row)

    def _slots(self, work: Sequence[tuple[DevicePortrait, Sight | Given]]) -> list[int]:
        """A slot for each: the one that holds its portrait already, as copying one there takes some 20 MB."""
        free = list(range(len(work)))
        slots: list[int | None] = []
        for portrait, _ in work:
            slots.append(next((slot for slot in free if self._holds[slot] is portrait), None))
            if slots[-1] is not None:
                free.remove(slots[-1])
        return [free.pop(0) if slot is None else slot for slot in slots]

    def _see_faces(self, turn: Turn, work: Sequence[tuple[DevicePortrait, Sight | Given]], slots: list[int]) -> list[bool]:
        """Bring a batch to the device and begin with it, ahead of what is painted there; for each slot, whether it needs a
        picture."""
        batch = self._batch_for(len(work))
        for slot, (portrait, _) in zip(slots, work, strict=True):
            self._hold(slot, portrait)
        stills = [self._shown.still(sight.row, portrait) for portrait, sight in work]
        with self._streams.on(self._ahead):
            for slot, (_, sight), still in zip(slots, work, stills, strict=True):
                self._set_row(sight)
                turn.write(slot, sight, sight.row in self._anew, still)
                self._anew.discard(sight.row)
            for slot in range(len(work), batch):
                turn.idle(slot)
            turn.upload(batch, self._y, self._uv, self._numbers)
            self.steps.play(Step.SEE, batch)
            return [True] * len(work) if set(stills) == {MOVED} else turn.look(len(work), self._needed)

    def _paint_pictures(self, turn: Turn, needed: list[bool]) -> tuple[Results, dict[int, int]]:
        """After those of the batch before; of slots that need one. Where among the results each of those is."""
        seen, chosen = len(needed), [slot for slot, need in enumerate(needed) if need]
        if not chosen:
            return turn.done, {}
        self._streams.wait(None, self._ahead)
        for to, given in ((self._driven, self._seen), (self._chosen, self._order)):
            to[:seen].copy_(given[:seen])
        self._streams.wait(self._ahead, None)  # and for no more: the next faces are seen while these pictures are painted
        batch = self._batch_for(len(chosen))
        fewer = batch < self._batch_for(seen)
        self.steps.play(Step.PAINT_CHOSEN if fewer else Step.PAINT, batch)
        collect = turn.download(len(chosen) if fewer else seen, self._out, self._finite)
        return collect, {slot: place if fewer else slot for place, slot in enumerate(chosen)}

    def _batch_for(self, count: int) -> int:
        return next(b for b in self.batches if b >= count)

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
            self._streams.wait(self._ahead, None)

    def _run(self, step: Step, batch: int) -> None:
        """From and to the static buffers, without a look at any value."""
        match step:
            case Step.SEE:
                self._see(batch)
            case Step.PAINT:
                self._paint([t[:batch] for t in self._portraits], self._driven[:batch])
            case Step.PAINT_CHOSEN:
                slots = self._chosen[:batch]
                self._paint([t.index_select(0, slots) for t in self._portraits], self._driven.index_select(0, slots))

    def _see(self, batch: int) -> None:
        portrait = DevicePortrait.of([t[:batch] for t in self._portraits])
        columns = named(self._numbers[:batch])
        rows = columns.row[:, 0].long()
        motion = self._runtime.motion(self._cut(self._y[:batch], self._uv[:batch], columns.crop, self._from_yuv))
        state = self._filtered(motion, columns, self._filter[:, rows])
        self._filter.index_copy_(1, rows, state)
        parts = self._references[rows], columns, self._blend[:, rows]
        keypoints, blend = self._compose(portrait, state[0], *parts, self._runtime.controllers, self._options)
        self._blend.index_copy_(1, rows, blend)
        needed, order, pictured = moved(keypoints, self._pictured[rows], columns.still)
        self._pictured.index_copy_(0, rows, pictured)
        for to, given in ((self._seen, keypoints), (self._needed, needed), (self._order, order)):
            to[:batch].copy_(given)

    def _paint(self, tensors: list[Tensor], keypoints: Tensor) -> None:
        portrait, batch = DevicePortrait.of(tensors), len(keypoints)
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
