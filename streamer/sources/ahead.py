"""Packets that are read ahead of where they are used, each with the time at which it came."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from typing import Self

import av

from pipeline.clock import Clock

MOST = 3000  # packets that may wait: half a minute of picture and sound
LOOK_S = 0.1


class Ahead:
    """Reads on a thread of its own between `with` and its end: what comes is then timed by itself, and not by when it is used."""

    def __init__(self, packets: Iterator[av.Packet], clock: Clock) -> None:
        self._packets = packets
        self._clock = clock
        self._read: queue.Queue[tuple[av.Packet, float] | Exception | None] = queue.Queue(MOST)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="read-ahead", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._over.set()
        self._thread.join()  # it may wait for the line, as long as its time-out says

    def __iter__(self) -> Iterator[tuple[av.Packet, float]]:
        """Packets, and when they came; raises what reading them raised."""
        while (item := self._read.get()) is not None:
            if isinstance(item, Exception):
                raise item
            yield item

    def _run(self) -> None:
        try:
            for packet in self._packets:
                self._give((packet, self._clock()))
                if self._over.is_set():
                    return
            self._give(None)
        except Exception as exc:  # whatever it is, who iterates is to hear of it
            self._give(exc)

    def _give(self, item: tuple[av.Packet, float] | Exception | None) -> None:
        while not self._over.is_set():
            try:
                self._read.put(item, timeout=LOOK_S)
                return
            except queue.Full:
                continue
