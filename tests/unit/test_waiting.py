"""Streams of a fleet that wait for a worker: when they are tried again, and what is said of them."""

from __future__ import annotations

from pipeline.errors import PortraitError
from streamer.fleet.base import FleetFull
from streamer.fleet.waiting import Waiting


def tries(waiting: Waiting, problem: Exception, seconds: int) -> int:
    """How often a stream is tried in that time, which a director looks at four times a second."""
    count = 0
    for now in (k / 4 for k in range(4 * seconds)):
        if waiting.is_due("live", now):
            count += 1
            waiting.note("live", problem, now)
    return count


def test_who_waits_for_room_is_tried_each_second_and_what_is_wrong_with_a_stream_ever_more_slowly():
    assert tries(Waiting(), FleetFull("full"), 600) == 600
    assert 15 <= tries(Waiting(), PortraitError("nobody: no such file"), 600) <= 35


def test_a_reason_is_news_where_it_is_another_one():
    waiting = Waiting()
    problems: list[Exception] = [FleetFull("7.5 pictures"), FleetFull("7.4 pictures"), PortraitError("a"), PortraitError("a"),
                PortraitError("b"), FleetFull("7.5 pictures")]  # fmt: skip
    assert [waiting.note("live", problem, 0) for problem in problems] == [True, False, True, False, True, True]
    assert waiting.why() == {"live": "7.5 pictures"}
    waiting.room()
    assert waiting.is_due("live", 0)
    assert waiting.why() == {}


def test_another_worker_s_room_does_not_cure_what_is_wrong_with_a_stream():
    waiting = Waiting()
    waiting.note("live", PortraitError("a"), 0)
    waiting.room()
    assert not waiting.is_due("live", 0)
    waiting.over("live")
    assert waiting.is_due("live", 0)
