"""The one thread that asks a device for anything: frames first, and what can wait between them."""

from __future__ import annotations

import threading
import weakref
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

from ..clock import Clock, steady

T = TypeVar("T")
PATIENCE_S = 0.5  # what has waited so long goes before the next frames, or a full device would never prepare a portrait


class Queue:
    """What a device is to do. Told the time, knows no thread. Jobs that can wait must be short: frames wait for one of them
    at most."""

    def __init__(self, clock: Clock = steady) -> None:
        self._clock = clock
        self._frames: deque[Callable[[], None]] = deque()
        self._others: deque[tuple[float, Callable[[], None]]] = deque()
        self._let_in = False  # whether the last one that was taken went before frames

    def put(self, job: Callable[[], None], frames: bool) -> None:
        """frames: it animates, and goes before all that does not."""
        if frames:
            self._frames.append(job)
        else:
            self._others.append((self._clock(), job))

    def take(self) -> Callable[[], None] | None:
        """What is to be done next; None if nothing is."""
        impatient = bool(self._others) and self._clock() - self._others[0][0] > PATIENCE_S
        if self._frames and not (impatient and not self._let_in):
            self._let_in = False
            return self._frames.popleft()
        if not self._others:
            return None
        self._let_in = bool(self._frames)
        return self._others.popleft()[1]


class Worker:
    """Runs what it is given on a thread of its own, one after the other; the thread ends when nobody has the worker."""

    def __init__(self) -> None:
        self._line = _Line()
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()

    def frames(self, job: Callable[[], T]) -> T:
        """Do it before all that can wait; what it returns, or raises."""
        return self._do(job, frames=True)

    def between(self, job: Callable[[], T]) -> T:
        """Do it when no frames are to be animated; it must be short. What it returns, or raises."""
        return self._do(job, frames=False)

    def _do(self, job: Callable[[], T], frames: bool) -> T:
        with self._starting:
            if self._thread is None:
                self._thread = threading.Thread(target=self._line.run, name="device", daemon=True)
                self._thread.start()
                weakref.finalize(self, self._line.close)
        if threading.current_thread() is self._thread:
            return job()
        return self._line.ask(job, frames).result()


class _Line:
    """What the thread has of its worker."""

    def __init__(self) -> None:
        self._queue = Queue()
        self._changed = threading.Condition()
        self._closed = False

    def ask(self, job: Callable[[], T], frames: bool) -> Future[T]:
        done: Future[T] = Future()
        with self._changed:
            self._queue.put(lambda: _settle(done, job), frames)
            self._changed.notify()
        return done

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify()

    def run(self) -> None:
        while (job := self._next()) is not None:
            job()
            del job  # it holds what it was asked for

    def _next(self) -> Callable[[], None] | None:
        with self._changed:
            while (job := self._queue.take()) is None and not self._closed:
                self._changed.wait()
            return job


def _settle(done: Future[Any], job: Callable[[], Any]) -> None:
    try:
        done.set_result(job())
    except BaseException as exc:  # whatever it is, who asked gets it
        done.set_exception(exc)


def start(job: Callable[[], None], name: str = "builder") -> None:
    """Do it on a thread of its own, which nobody waits for."""
    threading.Thread(target=job, name=name, daemon=True).start()
