"""One thread asks a device for anything: in which order, and whose results come back."""

from __future__ import annotations

import gc
import threading
from functools import partial

import pytest

from pipeline.liveportrait.worker import PATIENCE_S, Queue, Worker

from ..fakes import ManualTime


def ran(queue: Queue) -> str | None:
    """What a recording device does next, by name."""
    job = queue.take()
    return None if job is None else job()  # type: ignore[func-returns-value]


def queued(time: ManualTime, frames: str = "", others: str = "") -> Queue:
    queue = Queue(time)
    for name in others:
        queue.put(lambda name=name: name, frames=False)  # type: ignore[misc]
    for name in frames:
        queue.put(lambda name=name: name, frames=True)  # type: ignore[misc]
    return queue


def test_frames_go_first() -> None:
    queue = queued(ManualTime(), frames="AB", others="xy")
    assert [ran(queue) for _ in range(5)] == ["A", "B", "x", "y", None]


def test_a_preparation_stalls_a_frame_by_one_step_at_most() -> None:
    """Frames come while each step of it is done."""
    queue = queued(ManualTime(), others="uvwxyz")
    done = []
    for frame in "ABCDEF":
        done.append(ran(queue))
        queue.put(lambda frame=frame: frame, frames=True)  # type: ignore[misc]
        done.append(ran(queue))
    assert "".join(filter(None, done)) == "uAvBwCxDyEzF"


def test_a_device_that_is_full_prepares_too_but_never_twice_between_frames() -> None:
    time = ManualTime()
    queue = queued(time, frames="ABCDE", others="xyz")
    time.sleep(PATIENCE_S + 0.01)
    assert "".join(str(ran(queue)) for _ in range(8)) == "xAyBzCDE"


def test_all_of_it_is_done_by_one_thread_and_comes_back() -> None:
    worker = Worker()
    threads = {worker.frames(threading.current_thread), worker.between(threading.current_thread)}
    nested = worker.frames(partial(worker.between, threading.current_thread))
    assert threads == {nested}
    assert nested is not threading.current_thread()
    with pytest.raises(ZeroDivisionError):
        worker.between(lambda: 1 / 0)
    assert worker.frames(lambda: 7) == 7
    del worker
    gc.collect()
    nested.join(30)
    assert not nested.is_alive(), "with its worker the thread is gone"
