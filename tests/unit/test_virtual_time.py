"""The tests' own clock."""

from __future__ import annotations

import asyncio
import time

import pytest

from ..virtual_time import Stuck, now, run, virtual


@virtual
async def test_hours_pass_at_once() -> None:
    began = time.process_time()
    await asyncio.sleep(36_000)
    assert now() == pytest.approx(36_000)
    assert time.process_time() - began < 5  # of ten hours


@virtual
async def test_timers_fire_in_their_order() -> None:
    order: list[tuple[str, float]] = []

    async def after(seconds: float, name: str) -> None:
        await asyncio.sleep(seconds)
        order.append((name, round(now(), 3)))

    async with asyncio.TaskGroup() as group:
        for seconds, name in ((0.3, "c"), (0.1, "a"), (0.2, "b")):
            group.create_task(after(seconds, name))
    assert order == [("a", 0.1), ("b", 0.2), ("c", 0.3)]


@virtual
async def test_work_for_threads_takes_no_time() -> None:
    assert await asyncio.to_thread(lambda: 7) == 7
    assert now() == 0


def test_waiting_for_what_never_comes_is_said() -> None:
    async def wait() -> None:
        await asyncio.Event().wait()

    with pytest.raises(Stuck):
        run(wait())
