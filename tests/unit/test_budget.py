"""FrameBudget and FrameQueue on a clock of their own."""

from __future__ import annotations

import threading
from itertools import pairwise

import pytest

from pipeline.budget import FrameBudget, Skip
from pipeline.frames import TimedFrame
from streamer.stream.intake import FrameQueue


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def drive(budget: FrameBudget, clock: Clock, cost_s: float, seconds: float, fps: float = 30) -> list[float]:
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


def test_a_fast_stage_animates_every_frame():
    clock = Clock()
    budget = FrameBudget(clock=clock)
    assert len(drive(budget, clock, 0.005, 10)) >= 295
    assert budget.rate == 30


def test_never_more_than_the_limit_in_any_window():
    clock = Clock()
    times = drive(FrameBudget(max_frames=10, clock=clock), clock, 0.001, 10, fps=60)
    assert 85 <= len(times) <= 101
    assert all(sum(t <= u < t + 1.0 for u in times) <= 10 for t in times)


def test_a_slow_stage_steps_down_evenly_and_recovers():
    clock = Clock()
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
    clock = Clock()
    budget = FrameBudget(clock=clock)
    clock.now = 1.0
    assert budget.admit(0.8) is Skip.STALE
    assert budget.admit(0.9) is None


def test_the_queue_keeps_the_newest_and_counts():
    queue = FrameQueue(depth=2)
    frames = [TimedFrame(None, float(k)) for k in range(5)]  # type: ignore[arg-type]
    for frame in frames:
        queue.put(frame)
    assert queue.take(0) is frames[4]
    assert queue.take(0) is None
    assert (queue.received, queue.dropped) == (5, 4)


def test_a_waiting_taker_wakes_up():
    queue = FrameQueue()
    taken = []
    thread = threading.Thread(target=lambda: taken.append(queue.take(30)))
    thread.start()
    queue.wake()
    thread.join(5)
    assert taken == [None]


@pytest.mark.parametrize("fps", [24, 25, 29.97, 30])
def test_common_frame_rates_pass_whole(fps):
    clock = Clock()
    assert len(drive(FrameBudget(clock=clock), clock, 0.01, 10, fps)) >= 10 * fps * 0.97
