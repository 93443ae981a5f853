"""What every source is: something that opens, and then puts frames into a queue from a thread; and who looks after it."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from typing import Protocol

from ..backoff import Backoff, jittered
from ..errors import SourceError
from ..stream.intake import Intake
from ..stream.status import SourceState, SourceStatus

log = logging.getLogger(__name__)

SLOW_S = 30.0  # between tries that will hardly help, such as with a wrong password
HEALTHY_FRAMES = 30  # after so many the next failure counts as the first
LOOK_S = 0.25
END_TIMEOUT_S = 15.0  # longer than any time-out of a source


class Source(Protocol):
    """A driving source."""

    name: str

    def check(self) -> None:
        """Raise SourceError if the source cannot be opened now, and that is a mistake."""

    def read(self, out: Intake, stop: threading.Event) -> None:
        """Put frames until `stop` is set or the source ends; blocks. SourceError on failure."""


async def run(source: Source, out: Intake, status: SourceStatus, stale_after_s: float = 5.0) -> None:
    """Read the source until cancelled; starts it again, ever more slowly, where that can help.

    One that gives no frame for `stale_after_s` once it was live is stalled, and opened again.
    """
    backoff = Backoff(0.5, 1.0, 2.0, 3.0)
    while True:
        received = out.received
        status.state = SourceState.STARTING
        wait_s = 0.0
        try:
            await _read(source, out, status, stale_after_s)
            status.detail = f"{source.name} has ended"
        except SourceError as exc:
            if str(exc) != status.detail:  # the same line again and again helps nobody
                log.log(logging.WARNING if exc.retry else logging.ERROR, "%s%s", exc, "; trying again" if exc.retry else "")
            status.detail = str(exc)
            if not exc.retry:
                status.state = SourceState.FAILED
                return
            wait_s = SLOW_S if exc.slow else 0.0
        except Exception:  # a source that breaks must not take the stream with it
            log.exception("%s broke", source.name)
            status.detail = f"{source.name} broke; the log says how"
        again_s = backoff.after(out.received > received + HEALTHY_FRAMES)
        status.state = SourceState.FAILED if wait_s else SourceState.WAITING
        await asyncio.sleep(jittered(wait_s) if wait_s else again_s)
        status.restarts += 1


async def _read(source: Source, out: Intake, status: SourceStatus, stale_after_s: float) -> None:
    stop = threading.Event()
    reading = _in_thread(source, out, stop)
    seen, last_s = out.received, time.monotonic()
    try:
        while not reading.done():
            await asyncio.wait([reading], timeout=LOOK_S)
            if out.received != seen:
                if status.state is not SourceState.LIVE:
                    log.info("%s is live", source.name)
                seen, last_s = out.received, time.monotonic()
                status.state, status.detail = SourceState.LIVE, ""
            elif status.state is SourceState.LIVE and time.monotonic() - last_s > stale_after_s:
                status.state = SourceState.STALLED
                raise SourceError(f"{source.name}: no frame for {stale_after_s:g} s", retry=True)
        await reading
    finally:
        stop.set()
        if not reading.done():
            await asyncio.wait([reading], timeout=END_TIMEOUT_S)
            if not reading.done():
                log.error("%s does not let go; its thread is left behind", source.name)
            elif not reading.cancelled():
                reading.exception()  # it ended late, and nobody is to hear of it


def _in_thread(source: Source, out: Intake, stop: threading.Event) -> asyncio.Future[None]:
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
