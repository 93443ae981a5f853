"""FrameBudget and Intake on a clock of their own."""

from __future__ import annotations

import threading
from collections.abc import Callable
from itertools import pairwise

import pytest

from pipeline.budget import FrameBudget, Skip
from pipeline.frames import TimedFrame
from streamer.stream.intake import Intake

from ..fakes import ManualTime


def drive(budget: FrameBudget, clock: ManualTime, cost_s: float, seconds: float, fps: float = 30) -> list[float]:
    """Capture times of the frames that a stage of this cost animates."""
    admitted, end, k = [], clock.now + seconds, 0
    start = clock.now
    while clock.now < end:
        captured = start + k / fps
        k += 1
        if captured + 1 / fps < clock.now:  # the stage takes the newest
            continue
        clock.now = max(clock.now, captured)
        if budget.admit(captured) is None:
            admitted.append(captured)
            clock.now += cost_s
            budget.spent(cost_s)
    return admitted


def test_a_fast_stage_animates_every_frame() -> None:
    clock = ManualTime()
    budget = FrameBudget(clock=clock)
    assert len(drive(budget, clock, 0.005, 10)) >= 295
    assert budget.rate == 30


def test_never_more_than_the_limit_in_any_window():
    clock = ManualTime()
    times = drive(FrameBudget(max_frames=10, clock=clock), clock, 0.001, 10, fps=60)
    assert 85 <= len(times) <= 101
    assert all(sum(t <= u < t + 1.0 for u in times) <= 10 for t in times)


def test_a_slow_stage_steps_down_evenly_and_recovers():
    clock = ManualTime()
    budget = FrameBudget(clock=clock)
    drive(budget, clock, 0.08, 5)
    assert budget.rate == 10
    assert budget.skipped[Skip.BUSY] > 0
    times = drive(budget, clock, 0.08, 5)
    gaps = {round(b - a, 3) for a, b in pairwise(times)}
    assert gaps == {0.1}, "motion is evenly spaced"
    drive(budget, clock, 0.005, 40)
    assert budget.rate == 30, "with room again, the rate comes back"


def test_a_stale_frame_is_refused():
    clock = ManualTime()
    budget = FrameBudget(clock=clock)
    clock.now = 1.0
    assert budget.admit(0.8) is Skip.STALE
    assert budget.admit(0.9) is None


def picture(k: int) -> TimedFrame:
    return TimedFrame(None, float(k))  # type: ignore[arg-type]


def test_an_intake_keeps_the_newest_and_counts() -> None:
    intake = Intake()
    frames = [picture(k) for k in range(5)]
    for frame in frames:
        intake.put(frame)
    assert intake.take(0) is frames[4]
    assert intake.take(0) is None
    intake.put(frames[0])
    intake.clear()
    assert intake.take(0) is None
    assert (intake.received, intake.dropped) == (6, 5)


def test_a_closed_intake_takes_neither_pictures_nor_sound() -> None:
    heard: list[float] = []
    intake = Intake(lambda frame, captured_s: heard.append(captured_s))
    intake.hear(None, 1.0)  # type: ignore[arg-type]
    intake.close()
    intake.hear(None, 2.0)  # type: ignore[arg-type]
    intake.put(picture(0))
    assert intake.take(None) is None
    assert (heard, intake.received) == ([1.0], 0)


@pytest.mark.parametrize("end", [Intake.wake, Intake.close])
@pytest.mark.parametrize("before", [True, False])
def test_a_taker_that_waits_for_ever_is_woken(end: Callable[[Intake], None], before: bool) -> None:
    intake, taken = Intake(), list[TimedFrame | None]()
    thread = threading.Thread(target=lambda: taken.append(intake.take(None)))
    if before:
        end(intake)
    thread.start()
    if not before:
        end(intake)
    thread.join(30)
    assert taken == [None]


@pytest.mark.parametrize("fps", [24, 25, 29.97, 30])
def test_common_frame_rates_pass_whole(fps):
    clock = ManualTime()
    assert len(drive(FrameBudget(clock=clock), clock, 0.01, 10, fps)) >= 10 * fps * 0.97
