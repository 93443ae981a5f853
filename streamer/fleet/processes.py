"""Processes that a program has begun by others, found again by what lies in their environment, and those that end with the one
that began them (Linux)."""

from __future__ import annotations

import os
import signal
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

LOOK_S = 0.1


@dataclass(frozen=True)
class Process:
    """begun: by the kernel's clock, as another process may get its number; command: the words of its command line."""

    pid: int
    parent: int
    begun: str
    command: tuple[str, ...]

    def send(self, number: signal.Signals) -> None:
        """Nothing where it has ended."""
        if self.lives():
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def lives(self) -> bool:
        state = _state(self.pid)
        return state is not None and state[0] != "Z" and state[19] == self.begun


def marked(variable: str, value: str) -> list[Process]:
    """Those that have it in their environment, and all that they have begun: some lose theirs when they change their title."""
    every = {pid: found for pid in _pids() if (found := _process(pid))}
    own = {pid for pid in every if _has(pid, variable, value)}

    def is_own(pid: int) -> bool:
        while pid in every and pid not in own:
            pid = every[pid].parent
        return pid in own

    return [process for pid, process in every.items() if is_own(pid)]


def end(processes: list[Process], grace_s: float) -> None:
    """All of them: those that are still there after a while by force."""
    for each in processes:
        each.send(signal.SIGTERM if grace_s else signal.SIGKILL)
    end_s = time.monotonic() + grace_s
    while time.monotonic() < end_s and any(each.lives() for each in processes):
        time.sleep(LOOK_S)
    for each in processes:
        each.send(signal.SIGKILL)


def end_with_parent(look_s: float = 1.0) -> None:
    """End this process when the one that began it has ended, even if nobody has asked how that one ended: it has its number then,
    and whoever looks whether a process of that number is there takes it for alive, for ever."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(look_s)
        os._exit(1)

    threading.Thread(target=watch, name="parent", daemon=True).start()


def _pids() -> list[int]:
    return [int(each.name) for each in Path("/proc").glob("[0-9]*")]


def _process(pid: int) -> Process | None:
    state = _state(pid)
    if state is None:
        return None
    with suppress(OSError):
        words = Path(f"/proc/{pid}/cmdline").read_bytes().rstrip(b"\0").split(b"\0")
        return Process(pid, int(state[1]), state[19], tuple(word.decode("utf-8", "replace") for word in words))
    return None


def _state(pid: int) -> list[str] | None:
    """The fields of its state from the third on (proc(5)); None where it has ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None


def _has(pid: int, variable: str, value: str) -> bool:
    try:
        return f"{variable}={value}".encode() in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return False  # it has ended, or is another user's
