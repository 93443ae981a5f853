"""The host's side of a device's buffers: pinned where there is a device to copy to, with copies beside the computation."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import torch
from torch import Tensor

from ..frames import Image
from .columns import WIDTH, columns_of, columns_of_given, named, numbers
from .follow import Given, Sight
from .planes import BLACK, PLANES, planes_of
from .streams import Streams, streams_of

Results = Callable[[], list[tuple[Image, list[bool]]]]


class Host:
    """Two turns, so that the next batch is written while the last one travels. out, finite: the device's pictures (B, …)
    uint8, and what is finite of each (B, n), of which the host has copies. nobody: the row of frames that are nobody's."""

    TURNS = 2

    def __init__(self, out: Tensor, finite: Tensor, nobody: int, streams: Streams | None = None) -> None:
        streams = streams or streams_of(out.device)
        # One queue each way: the next batch must not wait on the way up for this one's results to come down.
        up, down = streams.beside(), streams.beside()
        self._free = deque(Turn(self, out, finite, nobody, streams, (up, down)) for _ in range(self.TURNS))

    def begin(self) -> Turn:
        """The buffers of the next batch, which are its own until its results were collected."""
        assert self._free, "a batch began before the results of one of the two before it were collected"
        return self._free.popleft()

    def give_back(self, turn: Turn) -> None:
        """Nothing reads or writes its buffers any more."""
        assert turn not in self._free, "given back already"
        self._free.append(turn)


class Turn:
    """The buffers of one batch on its way to the device and back. queues: for the way up and the way down."""

    def __init__(
        self, host: Host, out: Tensor, finite: Tensor, nobody: int, streams: Streams, queues: tuple[object, object]
    ) -> None:
        batch, (height, width) = len(out), PLANES
        device, pinned = out.device, out.device.type == "cuda"
        self._host, self._nobody, self._streams = host, nobody, streams
        self._up, self._down = queues
        self._y = torch.full((batch, 1, height, width), BLACK[0], dtype=torch.uint8, pin_memory=pinned)
        self._uv = torch.full((batch, 2, height // 2, width // 2), BLACK[1], dtype=torch.uint8, pin_memory=pinned)
        self._numbers = torch.zeros(batch, WIDTH, pin_memory=pinned)
        self._sizes = [(0, 0)] * batch
        self._staging = [t.to(device, copy=True) for t in (self._y, self._uv, self._numbers)]
        self._out = torch.zeros(out.shape, dtype=torch.uint8, pin_memory=pinned)
        self._finite = torch.zeros(finite.shape, dtype=torch.bool, pin_memory=pinned)
        self._needed = torch.zeros(batch, dtype=torch.bool, pin_memory=pinned)
        self._leaving = [t.to(device, copy=True) for t in (self._out, self._finite)]

    def write(self, slot: int, sight: Sight | Given, anew: bool, still: float) -> None:
        """Put a stream's picture and numbers into a slot. anew: its filter starts again; still: see `still.moved`."""
        if isinstance(sight, Given):
            columns = columns_of_given(sight, still)
        else:
            crop = self._write_planes(slot, sight)
            columns = columns_of(sight.seen, sight.tuning, crop, sight.row, anew, still, sight.held)
        self._numbers[slot] = torch.tensor(numbers(columns))

    def _write_planes(self, slot: int, sight: Sight) -> list[float]:
        """The camera's picture; where the crop lies in it."""
        y, uv, to_picture = planes_of(sight.driving, sight.seen.box)
        height, width = y.shape
        if self._sizes[slot] != y.shape:  # what a larger picture left must not be seen beside this one
            self._sizes[slot] = y.shape
            self._y[slot].fill_(BLACK[0])
            self._uv[slot].fill_(BLACK[1])
        self._y[slot, 0, :height, :width] = torch.from_numpy(y)
        self._uv[slot, :, : height // 2, : width // 2] = torch.from_numpy(uv)
        crop: list[float] = to_picture[:2].flatten().tolist()
        return crop

    def idle(self, slot: int) -> None:
        """Nobody's frame: computed, because the batch size is captured, and thrown away."""
        self._numbers[slot] = 0
        named(self._numbers).row[slot] = self._nobody

    def upload(self, batch: int, y: Tensor, uv: Tensor, numbers: Tensor) -> None:
        """Host -> staging on a queue of its own, beside the batch before; then staging -> the static buffers."""
        with self._streams.on(self._up):
            for staging, given in zip(self._staging, (self._y, self._uv, self._numbers), strict=True):
                staging[:batch].copy_(given[:batch], non_blocking=True)
        self._streams.wait(None, self._up)
        for to, staging in zip((y, uv, numbers), self._staging, strict=True):
            to[:batch].copy_(staging[:batch])

    def look(self, count: int, needed: Tensor) -> list[bool]:
        """Wait for what the current queue was asked: which frames need a picture."""
        self._needed[:count].copy_(needed[:count], non_blocking=True)
        self._streams.record(None).synchronize()
        return [bool(need) for need in self._needed[:count]]

    def done(self) -> list[tuple[Image, list[bool]]]:
        """The results of a batch that needs no picture."""
        self._host.give_back(self)
        return []

    def download(self, count: int, out: Tensor, finite: Tensor) -> Results:
        """Results -> a copy of them -> host, the last on a queue of its own, beside the next batch. What is returned waits
        for them, once, and gives the turn back."""
        for leaving, given in zip(self._leaving, (out, finite), strict=True):
            leaving[:count].copy_(given[:count])
        self._streams.wait(self._down, None)
        with self._streams.on(self._down):
            for to, leaving in zip((self._out, self._finite), self._leaving, strict=True):
                to[:count].copy_(leaving[:count], non_blocking=True)
        done = self._streams.record(self._down)

        def collect() -> list[tuple[Image, list[bool]]]:
            done.synchronize()
            self._host.give_back(self)
            return [(self._out[k].numpy(), [bool(f) for f in self._finite[k]]) for k in range(count)]

        return collect
