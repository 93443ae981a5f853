"""An event loop whose time jumps to its next timer: minutes pass in milliseconds, the same way each time.

Work for threads is done at once, on the loop's own thread. A loop that waits for something that can never come raises
instead of hanging.
"""

from __future__ import annotations

import asyncio
import functools
import selectors
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import Executor, Future
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


class Stuck(RuntimeError):
    """Nothing is ready, no timer is set: the test waits for ever."""


class AtOnce(Executor):
    """Does work when it is submitted."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        done: Future[Any] = Future()
        try:
            done.set_result(fn(*args, **kwargs))
        except BaseException as exc:
            done.set_exception(exc)
        return done


class _Jump(selectors.DefaultSelector):  # type: ignore[valid-type,misc]
    """Waits by moving the time."""

    loop: VirtualLoop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        alone = len(self.get_map()) == 1  # with the loop's own pipe, that nobody writes to
        ready: list[tuple[selectors.SelectorKey, int]] = [] if alone else super().select(0)
        if not ready and timeout is None:
            raise Stuck("nothing is ready and no timer is set")
        if not ready and timeout:
            self.loop.now += timeout
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """`time()` is virtual and begins at 0; it moves only when nothing is left to do."""

    def __init__(self) -> None:
        self.now = 0.0
        selector = _Jump()
        selector.loop = self
        super().__init__(selector)

    def time(self) -> float:
        return self.now

    def call_soon_threadsafe(self, callback: Callable[..., object], *args: Any, context: Any = None) -> asyncio.Handle:  # type: ignore[override]
        return self.call_soon(callback, *args, context=context)  # there is no other thread that would have to be woken

    def run_in_executor(self, executor: Executor | None, func: Callable[..., Any], *args: Any) -> asyncio.Future[Any]:  # type: ignore[override]
        return asyncio.wrap_future((executor if isinstance(executor, AtOnce) else AtOnce()).submit(func, *args), loop=self)


def run(main: Coroutine[Any, Any, R]) -> R:
    """`asyncio.run` in virtual time."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main)


def virtual(test: Callable[P, Awaitable[R]]) -> Callable[P, R]:
    """Let an async test run in virtual time."""

    @functools.wraps(test)
    def in_virtual_time(*args: P.args, **kwargs: P.kwargs) -> R:
        async def main() -> R:
            return await test(*args, **kwargs)

        return run(main())

    return in_virtual_time


def now() -> float:
    """The running loop's time: the clock to hand in."""
    return asyncio.get_running_loop().time()
