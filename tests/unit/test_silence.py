"""When a server that we publish to is asked whether it still has the session."""

from __future__ import annotations

from streamer.webrtc.silence import lost

from ..virtual_time import now, virtual


async def asked(answers: list[bool], reports: list[float]) -> list[float]:
    """When it is asked, until it says that the session is gone, while packets come at the times of `reports`."""
    times: list[float] = []

    async def ask() -> bool:
        times.append(now() - began)
        return answers[len(times) - 1]

    began = now()
    await lost(lambda: sum(now() - began >= each for each in reports), ask)
    return times


@virtual
async def test_after_a_silent_second_it_is_asked_and_may_be_gone_at_once():
    assert await asked([True], [0.5, 1.0, 1.5]) == [2.5]


@virtual
async def test_one_that_is_only_quiet_is_asked_less_and_less_often():
    assert await asked([False] * 4 + [True], []) == [1.0, 3.0, 7.0, 11.0, 15.0]


@virtual
async def test_whoever_reports_is_not_asked():
    assert await asked([True], [0.75 * k for k in range(101)]) == [76.0]
