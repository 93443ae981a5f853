"""Signals: the first asks the server to end, a second ends it at once, a hang-up lets it read its config anew."""

from __future__ import annotations

import asyncio
import faulthandler
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import NoReturn

log = logging.getLogger(__name__)

ENDING = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGBREAK") if hasattr(signal, name)]
HANGUP = getattr(signal, "SIGHUP", None)
STUCK_S = 8.0  # an end that takes so long has not kept its own deadline: something holds Python itself
STDERR = 2


def ending_signals() -> list[signal.Signals]:
    """Those that end a command: a hang-up too, unless it is ignored as nohup wants it."""
    if HANGUP is None or signal.getsignal(HANGUP) is signal.SIG_IGN:
        return list(ENDING)
    return [*ENDING, HANGUP]


@contextmanager
def handled(stop: Callable[[], None], reload: Callable[[], None] | None = None) -> Iterator[None]:
    """Inside, in a running loop: SIGINT, SIGTERM and SIGBREAK call `stop`, a second one ends the process with exit code
    128 + its number; SIGHUP lets the loop call `reload`, or stays ignored as nohup wants it. Only the main thread can have
    signals: nothing is done in another."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = ending_signals()
    handle = _Handler(asyncio.get_running_loop(), stop, reload)
    before = {number: signal.signal(number, handle) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler or signal.SIG_DFL)
        if handle.ending:
            faulthandler.cancel_dump_traceback_later()


class _Handler:
    """Runs between any two steps of the main thread, so it logs by the loop: the thread may be writing to the log now."""

    def __init__(self, loop: asyncio.AbstractEventLoop, stop: Callable[[], None], reload: Callable[[], None] | None) -> None:
        self._loop = loop
        self._stop, self._reload = stop, reload
        self.ending = False

    def __call__(self, number: int, frame: FrameType | None) -> None:
        name = signal.Signals(number).name
        if number == HANGUP:
            if self._reload is not None:
                self._loop.call_soon_threadsafe(self._reload)
        elif self.ending:
            os.write(STDERR, f"{name}: ended at once\n".encode())
            os._exit(128 + number)
        else:
            self.ending = True
            faulthandler.dump_traceback_later(STUCK_S, exit=True, file=STDERR)
            self._log("%s: ending; a second signal ends it at once", name)
            self._stop()

    def _log(self, text: str, name: str) -> None:
        self._loop.call_soon_threadsafe(log.info, text, name)


def leave(code: int = 0) -> NoReturn:
    """End the process without the interpreter's own tear-down, which hangs or aborts when a thread in native code logs,
    or comes back to Python, in the middle of it."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):  # the terminal may be gone
            stream.flush()
    os._exit(code)
