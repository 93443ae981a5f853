"""Who touches what before whom: every access to a buffer has its place in the order that queues and events make.

Vector clocks, one for the host and one for each queue of a stub device whose work is really done at once, on the processor.
An access that is not ordered after the ones that it meets is a race, whatever the timing of a real device would make of it;
so is a result that the next one overwrites before the host has taken it.
Tensors of the device are those made on `DEVICE`, and whatever is computed of them.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

DEVICE = torch.device("cpu", 0)  # the host's own tensors have no index
HOST, COMPUTE = "host", "compute"
VIEWS = (torch.ops.aten.slice.Tensor, torch.ops.aten.select.int)  # of the host's tensors: made to be read or written


@dataclass
class Buffer:
    """A storage. alive: so that its key is nobody else's. Accesses: who, and the time of that one's own clock. taken:
    whether the host has looked at what a queue last wrote into it, where it is the host's."""

    alive: StorageWeakRef
    on_device: bool
    written: tuple[str, int] = (HOST, 0)
    read: dict[str, int] = field(default_factory=dict)
    taken: bool = True


class HappensBefore(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """While it is active, `races` names accesses that no order holds apart. Also the `Streams` of its device; forgets: an
    order that is asked for and not kept, as (later, earlier), or (queue, "event") for one that nobody waits for."""

    def __init__(self, forgets: tuple[str, str] | None = None) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.races: list[str] = []
        self._forgets = forgets
        self._clocks: dict[str, Counter[str]] = defaultdict(Counter)
        self._buffers: dict[int, Buffer] = {}
        self._now = COMPUTE
        self._names = iter(("up", "down", "ahead"))

    # As `pipeline.liveportrait.streams.Streams`

    def beside(self) -> str:
        return next(self._names)

    @contextmanager
    def on(self, queue: str) -> Iterator[None]:
        before, self._now = self._now, queue
        yield
        self._now = before

    def wait(self, later: str | None, earlier: str | None) -> None:
        later, earlier = later or self._now, earlier or self._now
        if (later, earlier) != self._forgets:
            self._clocks[later] |= self._clocks[earlier]

    def record(self, queue: str | None) -> Recorded:
        queue = queue or self._now
        return Recorded(self, Counter() if self._forgets == (queue, "event") else Counter(self._clocks[queue]))

    def waited(self, clock: Counter[str]) -> None:
        """The host has seen that the device came so far."""
        self._clocks[HOST] |= clock

    def time(self, queue: str) -> int:
        """How much the queue has done."""
        return self._clocks[queue][queue]

    def seen_by(self, later: str, queue: str) -> int:
        """How much of it another has waited for."""
        return self._clocks[later][queue]

    # What is done

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        given = [self._buffer(t) for t in tree_leaves((args, kwargs)) if isinstance(t, Tensor)]
        out = func(*args, **kwargs)
        on_device = any(buffer.on_device for buffer in given) or _goes_there(func, kwargs.get("device"))
        made = [self._buffer(t, on_device) for t in tree_leaves(out) if isinstance(t, Tensor)]
        if on_device and not any(buffer.on_device for buffer in given):
            return out  # allocated before there is any work
        who = self._now if on_device else HOST
        if on_device:
            self._clocks[who] |= self._clocks[HOST]  # it is asked for now
        self._clocks[who][who] += 1
        mutable = func._schema.is_mutable
        writes = [self._buffer(args[0])] if mutable else [m for m in made if not any(m is g for g in given)]
        if on_device and not writes:
            return out  # a view of the device's: nothing is done; one of the host's is made to be used
        for buffer in given:
            if not any(buffer is written for written in writes):
                self._access(func, who, buffer, write=False)
        for buffer in writes:
            self._access(func, who, buffer, write=True)
        return out

    def _buffer(self, tensor: Tensor, on_device: bool = False) -> Buffer:
        alive = StorageWeakRef(tensor.untyped_storage())  # type: ignore[no-untyped-call]
        return self._buffers.setdefault(alive.cdata, Buffer(alive, on_device))

    def _access(self, func: Any, who: str, buffer: Buffer, write: bool) -> None:
        clock = self._clocks[who]
        before = [buffer.written, *(buffer.read.items() if write else [])]
        for other, time in before:
            if other != who and clock[other] < time:
                self.races.append(f"{func} by {who}: not after {other}")
        if write and not buffer.taken:
            self.races.append(f"{func} by {who}: what was there was never taken")
        if write:
            buffer.written, buffer.read = (who, clock[who]), {}
            buffer.taken = who == HOST or buffer.on_device
        else:
            buffer.read[who] = clock[who]
            buffer.taken |= who == HOST and func not in VIEWS


def _goes_there(func: Any, device: torch.device | None) -> bool:
    """Whether a tensor is made on the device, or copied to where another one lies, whose index a processor does not keep."""
    return device is not None and (device.index is not None or func is torch.ops.aten._to_copy.default)


@dataclass
class Recorded:
    """See `pipeline.liveportrait.streams.Event`."""

    by: HappensBefore
    clock: Counter[str]

    def synchronize(self) -> None:
        self.by.waited(self.clock)
