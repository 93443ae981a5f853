"""A source at work: one object owns its task, its status, and when it is opened again."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Sequence

from ..backoff import Backoff, jittered
from ..errors import SourceError
from ..limits import STALE_AFTER_S
from ..stream.intake import Intake
from ..stream.status import SourceState, SourceStatus, Who
from ..timers import pause
from .base import Source

log = logging.getLogger(__name__)

PAUSES_S = (0.5, 1.0, 2.0, 3.0)  # between tries
SLOW_S = 30.0  # between tries that will hardly help, such as with a wrong password
HEALTHY_FRAMES = 30  # after so many the next failure counts as the first
LOOK_S = 0.25
END_TIMEOUT_S = 15.0  # longer than any time-out of a source

Reading = Callable[[Source, Intake, threading.Event], asyncio.Future[None]]


def in_thread(source: Source, out: Intake, stop: threading.Event) -> asyncio.Future[None]:
    """`source.read` on a thread of its own: the loop's own few would soon be taken by sources that read for ever."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[None] = loop.create_future()

    def finish(exc: BaseException | None) -> None:
        if done.done():
            return
        if exc is None:
            done.set_result(None)
        else:
            done.set_exception(exc)

    def read() -> None:
        failure: BaseException | None = None
        try:
            source.read(out, stop)
        except BaseException as exc:  # whatever it is, who waits for the thread is to hear of it
            failure = exc
        try:
            loop.call_soon_threadsafe(finish, failure)
        except RuntimeError:
            log.debug("%s ended after the loop", source.name)

    threading.Thread(target=read, name=f"source-{source.name}", daemon=True).start()
    return done


class Driver:
    """Reads a source into a stream's door from `start` to `end`, and opens it again, ever more slowly, where that can help.

    A live one that gives no frame for `stale_after_s` once it was live is stalled, and opened again. demo: it is the built-in
    one. reading: how it is read; passes: that it shows; all methods belong to the event loop's thread, and times are the loop's.
    """

    def __init__(
        self, source: Source, out: Intake, stale_after_s: float = STALE_AFTER_S, demo: bool = False, reading: Reading = in_thread,
        passes: Sequence[str] = (),
    ) -> None:  # fmt: skip
        self._source = source
        self._out = out
        self._stale_after_s = stale_after_s
        self._reading = reading
        self.demo = demo
        self._task: asyncio.Task[None] | None = None
        self.status = SourceStatus(source.name)
        self.passes = passes
        self.who = Who("demo" if demo else "source", source.name)

    def start(self) -> None:
        """Begin to read."""
        self._task = asyncio.create_task(self.run(), name=f"source-{self._source.name}")

    async def end(self) -> None:
        """Stop reading, and wait until the source has let go."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            log.info("%s drives no more", self._source.name)

    async def run(self) -> None:
        """Read again and again, until cancelled or until no try can help."""
        backoff = Backoff(*PAUSES_S)
        while True:
            received = self._out.received
            self.status.state = SourceState.STARTING
            failure = await self._once()
            if failure is not None and not failure.retry:
                self.status.state = SourceState.FAILED
                return
            self.status.lag_s = None
            again_s = backoff.after(self._out.received > received + HEALTHY_FRAMES)
            slow = failure is not None and failure.slow
            self.status.state = SourceState.FAILED if slow else SourceState.WAITING
            await pause(jittered(SLOW_S) if slow else again_s)
            self.status.restarts += 1

    async def _once(self) -> SourceError | None:
        """Read until it ends; what it failed with, if that is known."""
        status = self.status
        try:
            await self._read()
            status.detail = f"{self._source.name} has ended"
            log.info("%s", status.detail)
        except SourceError as exc:
            if str(exc) != status.detail:  # the same line again and again helps nobody
                log.log(logging.WARNING if exc.retry else logging.ERROR, "%s%s", exc, "; trying again" if exc.retry else "")
            status.detail = str(exc)
            return exc
        except Exception:  # a source that breaks must not take the stream with it
            log.exception("%s broke", self._source.name)
            status.detail = f"{self._source.name} broke; the log says how"
        return None

    async def _read(self) -> None:
        stop = threading.Event()
        self._out.waits_for, self._out.lag_s = "", None
        reading = self._reading(self._source, self._out, stop)
        try:
            await self._watched(reading)
            await reading
        finally:
            stop.set()
            if not reading.done():
                await asyncio.wait([reading], timeout=END_TIMEOUT_S)
                if not reading.done():
                    log.error("%s does not let go; its thread is left behind", self._source.name)
                elif not reading.cancelled():
                    reading.exception()  # it ended late, and nobody is to hear of it

    async def _watched(self, reading: asyncio.Future[None]) -> None:
        """Look at what comes until the reading is over; SourceError if nothing does any more."""
        loop, status = asyncio.get_running_loop(), self.status
        seen, last_s = self._out.received, loop.time()
        while not reading.done():
            await asyncio.wait([reading], timeout=LOOK_S)
            if self._out.received != seen:
                if status.state is not SourceState.LIVE:
                    log.info("%s is live", self._source.name)
                seen, last_s = self._out.received, loop.time()
                status.state, status.detail = SourceState.LIVE, ""
                status.lag_s = None if self._out.lag_s is None else round(self._out.lag_s, 2)
            elif status.state is SourceState.STARTING and self._out.waits_for not in ("", status.detail):
                status.detail = self._out.waits_for
                log.warning("%s", status.detail)
            elif self._source.live and status.state is SourceState.LIVE and loop.time() - last_s > self._stale_after_s:
                status.state = SourceState.STALLED
                raise SourceError(f"{self._source.name}: no frame for {self._stale_after_s:g} s", retry=True)
