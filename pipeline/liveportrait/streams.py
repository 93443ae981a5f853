"""Queues of a device's work and the order between them: CUDA's streams and events, or nothing where all is done at once."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol

import torch


class Event(Protocol):
    """A point in a queue."""

    def synchronize(self) -> None:
        """Wait until the device has come there."""


class Streams(Protocol):
    """What `Host` needs of a device. A queue is None for the one that computes, which is the current one."""

    def beside(self) -> Any:
        """Another queue."""

    def on(self, queue: Any) -> AbstractContextManager[Any]:
        """What is asked of the device inside goes into that queue."""

    def wait(self, later: Any, earlier: Any) -> None:
        """Let a queue go on only when another has done what it was asked up to now."""

    def record(self, queue: Any) -> Event:
        """Where a queue is now."""


class CudaStreams:
    """See `Streams`."""

    def __init__(self, device: torch.device) -> None:
        self._device = device

    def beside(self) -> torch.cuda.Stream:
        return torch.cuda.Stream(self._device)  # type: ignore[no-untyped-call,no-any-return]

    def on(self, queue: torch.cuda.Stream) -> AbstractContextManager[Any]:
        return torch.cuda.stream(queue)

    def wait(self, later: torch.cuda.Stream | None, earlier: torch.cuda.Stream | None) -> None:
        (later or self._current()).wait_stream(earlier or self._current())

    def record(self, queue: torch.cuda.Stream | None) -> Event:
        # Who waits must not spin: following and encoding need the cores.
        event = torch.cuda.Event(blocking=True)  # type: ignore[no-untyped-call]
        event.record(queue or self._current())
        return event

    def _current(self) -> torch.cuda.Stream:
        return torch.cuda.current_stream(self._device)


class AtOnce:
    """Of a device that has done what it was asked when it has been asked. See `Streams`."""

    def beside(self) -> None: ...

    def on(self, queue: None) -> AbstractContextManager[None]:
        return nullcontext()

    def wait(self, later: None, earlier: None) -> None: ...

    def record(self, queue: None) -> AtOnce:
        return self

    def synchronize(self) -> None: ...


class InTurn(AtOnce):
    """Of a device with one queue, which goes on beside the host: Apple's, Intel's. See `Streams`."""

    def __init__(self, device: torch.device) -> None:
        self._device = device

    def synchronize(self) -> None:
        synchronize(self._device)


class Fork:
    """Does two things at once that need nothing of each other, on the current queue and on one beside it, which are joined
    before and after. Used by one thread."""

    def __init__(self, streams: Streams) -> None:
        self._streams = streams
        self._beside = streams.beside()

    def __call__(self, one: Callable[[], Any], other: Callable[[], Any]) -> tuple[Any, Any]:
        """What they return. Memory of the second is not given out again before the next fork, which is after all that reads
        it."""
        self._streams.wait(self._beside, None)
        with self._streams.on(self._beside):
            second = other()
        first = one()
        self._streams.wait(None, self._beside)
        return first, second


def streams_of(device: torch.device) -> Streams:
    """Those of `device`."""
    match device.type:
        case "cuda":
            return CudaStreams(device)
        case "mps" | "xpu":
            return InTurn(device)
    return AtOnce()


def synchronize(device: torch.device) -> None:
    """Wait until the device has done everything."""
    match device.type:
        case "cuda":
            torch.cuda.synchronize(device)
        case "xpu":
            torch.xpu.synchronize(device)
        case "mps":
            torch.mps.synchronize()
