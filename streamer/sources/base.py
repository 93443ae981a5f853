"""What every source is: something that opens, and then puts frames into a queue from a thread."""

from __future__ import annotations

import asyncio
import logging
import random
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Protocol

from ..errors import SourceError
from ..framequeue import FrameQueue

log = logging.getLogger(__name__)

BACKOFF_S = (0.5, 1.0, 2.0, 5.0, 10.0)


class Source(Protocol):
    """A driving source."""

    name: str

    def check(self) -> None:
        """Raise SourceError if the source cannot be opened now."""

    def read(self, out: FrameQueue, stop: threading.Event) -> None:
        """Put frames until `stop` is set or the source ends; blocks. SourceError on failure."""


async def run(source: Source, out: FrameQueue) -> None:
    """Read the source until cancelled; starts it again, ever more slowly, where that can help."""
    tries = 0
    while True:
        received = out.received
        try:
            await _read(source, out)
            log.warning("%s has ended", source.name)
        except SourceError as exc:
            if not exc.retry:
                log.error("%s", exc)
                return
            log.warning("%s; trying again", exc)
        tries = 0 if out.received > received + 30 else tries + 1
        await asyncio.sleep(BACKOFF_S[min(tries, len(BACKOFF_S) - 1)] * random.uniform(0.8, 1.2))


async def _read(source: Source, out: FrameQueue) -> None:
    stop = threading.Event()
    # A thread of its own: the loop's own few would soon be taken by sources that read for ever.
    with _ended_later(ThreadPoolExecutor(1, f"source-{source.name}")) as thread:
        reading = asyncio.get_running_loop().run_in_executor(thread, source.read, out, stop)
        try:
            await asyncio.shield(reading)
        finally:
            stop.set()
            if not reading.done():
                await asyncio.wait([reading], timeout=5)


@contextmanager
def _ended_later(pool: ThreadPoolExecutor) -> Iterator[ThreadPoolExecutor]:
    try:
        yield pool
    finally:
        pool.shutdown(wait=False)
