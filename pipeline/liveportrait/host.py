"""The host's side of a device's buffers: pinned where there is a device to copy to, with copies beside the computation."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext

import torch
from torch import Tensor

from ..frames import Image
from .columns import WIDTH, columns_of, columns_of_given, named, numbers
from .follow import Given, Sight
from .planes import BLACK, PLANES, planes_of


class Host:
    """Two of each buffer, so that the next batch is written while the last one travels. out: the device's pictures
    (B, …) uint8, of which the host has copies. nobody: the row of frames that are nobody's."""

    def __init__(self, batch: int, out: Tensor, nobody: int) -> None:
        height, width = PLANES
        device = out.device
        cuda = device.type == "cuda"
        self._turn = 0
        self._nobody = nobody
        pair = range(2)
        self._y = [torch.full((batch, 1, height, width), BLACK[0], dtype=torch.uint8, pin_memory=cuda) for _ in pair]
        self._uv = [torch.full((batch, 2, height // 2, width // 2), BLACK[1], dtype=torch.uint8, pin_memory=cuda) for _ in pair]
        self._numbers = [torch.zeros(batch, WIDTH, pin_memory=cuda) for _ in pair]
        self._out = [torch.zeros(out.shape, dtype=torch.uint8, pin_memory=cuda) for _ in pair]
        self._finite = [torch.zeros(batch, dtype=torch.bool, pin_memory=cuda) for _ in pair]
        self._sizes = [[(0, 0)] * batch for _ in pair]
        self._staging = [[t[k].to(device, copy=True) for t in (self._y, self._uv, self._numbers)] for k in pair]
        # One stream each way: the next batch must not wait on the way up for this one's results to come down.
        self._up, self._down = (torch.cuda.Stream(device) if cuda else None for _ in pair)  # type: ignore[no-untyped-call]

    def write(self, slot: int, sight: Sight | Given, anew: bool) -> None:
        """Put a stream's picture and numbers into a slot. anew: its filter starts again."""
        if isinstance(sight, Given):
            columns = columns_of_given(sight)
        else:
            crop = self._write_planes(slot, sight)
            columns = columns_of(sight.seen, sight.tuning, crop, sight.row, anew)
        self._numbers[self._turn][slot] = torch.tensor(numbers(columns))

    def _write_planes(self, slot: int, sight: Sight) -> list[float]:
        """The camera's picture; where the crop lies in it."""
        y, uv, to_picture = planes_of(sight.driving, sight.seen.box)
        height, width = y.shape
        if self._sizes[self._turn][slot] != y.shape:  # what a larger picture left must not be seen beside this one
            self._sizes[self._turn][slot] = y.shape
            self._y[self._turn][slot].fill_(BLACK[0])
            self._uv[self._turn][slot].fill_(BLACK[1])
        self._y[self._turn][slot, 0, :height, :width] = torch.from_numpy(y)
        self._uv[self._turn][slot, :, : height // 2, : width // 2] = torch.from_numpy(uv)
        crop: list[float] = to_picture[:2].flatten().tolist()
        return crop

    def idle(self, slot: int) -> None:
        """Nobody's frame: computed, because the batch size is captured, and thrown away."""
        self._numbers[self._turn][slot] = 0
        named(self._numbers[self._turn]).row[slot] = self._nobody

    def upload(self, batch: int, y: Tensor, uv: Tensor, numbers: Tensor) -> None:
        """Host -> staging on a stream of its own, beside the batch before; then staging -> the static buffers."""
        turn = self._turn
        pairs = zip((self._y, self._uv, self._numbers), self._staging[turn], strict=True)
        with self._copying():
            for host, staging in pairs:
                staging[:batch].copy_(host[turn][:batch], non_blocking=True)
        for to, staging in zip((y, uv, numbers), self._staging[turn], strict=True):
            to[:batch].copy_(staging[:batch])

    @contextmanager
    def _copying(self) -> Iterator[None]:
        if self._up is None:
            yield
            return
        with torch.cuda.stream(self._up):
            yield
        torch.cuda.current_stream().wait_stream(self._up)

    def download(self, count: int, out: Tensor, finite: Tensor) -> Callable[[], list[tuple[Image, bool]]]:
        """Results -> a copy of them -> host, the last on a stream of its own, beside the next batch."""
        turn, self._turn = self._turn, 1 - self._turn
        copies = out[:count].clone(), finite[:count].clone()
        done = None
        if self._down is not None:
            self._down.wait_stream(torch.cuda.current_stream())
        with nullcontext() if self._down is None else torch.cuda.stream(self._down):
            self._out[turn][:count].copy_(copies[0], non_blocking=True)
            self._finite[turn][:count].copy_(copies[1], non_blocking=True)
        if self._down is not None:
            for tensor in copies:
                tensor.record_stream(self._down)
            done = self._down.record_event()

        def wait() -> list[tuple[Image, bool]]:
            if done is not None:
                done.synchronize()
            return [(self._out[turn][k].numpy(), bool(self._finite[turn][k])) for k in range(count)]

        return wait
