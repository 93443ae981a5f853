"""FrameBudget and Intake for any arrivals that hypothesis thinks of; the same ones each time."""

from __future__ import annotations

import threading

import pytest

from pipeline.budget import FrameBudget
from pipeline.frames import TimedFrame
from streamer.stream.intake import Intake

from ..fakes import ManualTime

pytest.importorskip("hypothesis", reason="hypothesis is not here; 'make test' installs it")

from hypothesis import given, settings
from hypothesis import strategies as st

SETTINGS = settings(database=None, derandomize=True, deadline=None, max_examples=100)
SECONDS = st.floats(0, 3)
# Time until a frame comes, its age by then (a camera's clock may run ahead, too), and what it takes if it is admitted.
ARRIVALS = st.lists(st.tuples(SECONDS | st.just(0.0), st.floats(-5, 1), SECONDS), max_size=60)
LIMITS = st.tuples(st.integers(1, 60), st.floats(0.1, 1), st.floats(1, 500), st.floats(0.1, 5))


def picture(number: float) -> TimedFrame:
    return TimedFrame(None, float(number))  # type: ignore[arg-type]


def in_window(times: list[tuple[float, float]], end: float, window_s: float) -> list[float]:
    """The second number of each that is in the window that ends then."""
    return [value for time, value in times if end - window_s < time <= end]


@SETTINGS
@given(ARRIVALS, LIMITS)
def test_no_arrivals_bring_a_budget_above_its_limits(arrivals, limits) -> None:
    """In every window: so many frames, so much time spent before another is begun; and none that is too old."""
    max_frames, max_busy, max_age_ms, window_s = limits
    clock = ManualTime(100.0)
    budget = FrameBudget(window_s, max_frames, max_busy, max_age_ms, clock)
    admitted: list[tuple[float, float]] = []
    spent: list[tuple[float, float]] = []
    for wait, age, cost in arrivals:
        clock.now += wait
        if budget.admit(clock.now - age) is None:
            assert age * 1000 <= max_age_ms + 1e-6
            assert sum(in_window(spent, clock.now, window_s)) < max_busy * window_s
            admitted.append((clock.now, 1))
            clock.now += cost
            budget.spent(cost)
            spent.append((clock.now, cost))
    for time, _ in admitted:
        assert len(in_window(admitted, time, window_s)) <= max_frames


@SETTINGS
@given(ARRIVALS, LIMITS)
def test_after_any_arrivals_frames_are_admitted_again(arrivals, limits) -> None:
    """Nothing that has come, be its time in the future, keeps later frames away for longer than windows and steps say."""
    max_frames, max_busy, max_age_ms, window_s = limits
    clock = ManualTime(100.0)
    budget = FrameBudget(window_s, max_frames, max_busy, max_age_ms, clock)
    for wait, age, cost in arrivals:
        clock.now += wait
        if budget.admit(clock.now - age) is None:
            clock.now += cost
            budget.spent(cost)
    clock.now += window_s + 2 / budget.rate + 0.001
    assert budget.admit(clock.now) is None


@SETTINGS
@given(st.lists(st.sampled_from(["put", "take", "clear", "wake"]), max_size=40))
def test_an_intake_loses_no_picture_without_counting_it(steps) -> None:
    intake, put, taken = Intake(), 0, 0
    for step in steps:
        if step == "put":
            put += 1
            intake.put(picture(put))
        elif step == "take":
            found = intake.take(0)
            assert found is None or found.captured_s == put, "the newest"
            taken += found is not None
        else:
            getattr(intake, step)()
    waiting = intake.take(0) is not None
    assert (intake.received, intake.dropped) == (put, put - taken - waiting)


@pytest.mark.parametrize("takers", [1, 2])
def test_threads_that_put_and_take_lose_and_double_nothing(takers: int) -> None:
    intake, taken = Intake(), list[float]()

    def put(first: int) -> None:
        for k in range(300):
            intake.put(picture(first + k))

    def take() -> None:
        while (found := intake.take(5)) is not None:
            taken.append(found.captured_s)

    takes = [threading.Thread(target=take) for _ in range(takers)]
    puts = [threading.Thread(target=put, args=(1000 * k,)) for k in range(3)]
    for thread in (*takes, *puts):
        thread.start()
    for thread in puts:
        thread.join()
    intake.close()
    for thread in takes:
        thread.join()
    left = intake.take(0)
    taken += [] if left is None else [left.captured_s]
    assert intake.received == 900
    assert len(set(taken)) == len(taken) == 900 - intake.dropped
