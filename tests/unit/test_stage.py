"""Lanes and stage, told the time: order, batches, rest, fades, and whatever fails."""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from pipeline.budget import FrameBudget, Skip
from pipeline.engine import Engine
from pipeline.errors import DeviceLost
from pipeline.fade import FADE_S
from pipeline.follow.neutral import FaceState
from pipeline.follow.tuning import Tuning
from pipeline.frames import AnimatedFrame, Image, planar
from pipeline.lane import FADE_STEP_S, REST_AFTER_S, Lane, Screen
from pipeline.mark.marker import UNMARKED
from pipeline.runners import StageThread
from pipeline.stage import SLOWER, AnimationStage, Cost, Turn, Work
from streamer.config import Device
from streamer.errors import Overloaded
from streamer.stream.admission import Admission, fps_each, refusal
from streamer.stream.intake import Intake
from streamer.stream.stages import Stages

from ..fakes import (
    FACE,
    GREY,
    REST,
    FakeEngine,
    FakePrepared,
    FakePuppeteer,
    LoopTime,
    ManualTime,
    VirtualStage,
    WallTime,
    camera_frame,
)
from ..virtual_time import virtual

FRAME_S = 1 / 32  # a sum of many is exact


def broken(*_: object) -> None:
    raise RuntimeError("out of memory")


# The stage by itself


@dataclass
class Log:
    """What became of works, in order."""

    lines: list[tuple[str, str]] = field(default_factory=list)
    device_s: dict[str, float] = field(default_factory=dict)

    def work(self, name: str, turn: Turn) -> Work:
        def done(yuv: object, device_s: float) -> None:
            self.lines.append((name, "done"))
            self.device_s[name] = device_s

        return Work(turn, FakePrepared(name), 0, 0.01, done, lambda spent_s: self.lines.append((name, "failed")))


def staged(on_cpu: bool = True, watch_s: float = 2.0, **options: object) -> tuple[AnimationStage, FakeEngine, ManualTime, Log]:
    time = ManualTime()
    engine = FakeEngine(time, **options)  # type: ignore[arg-type]
    engine.on_cpu = on_cpu
    return AnimationStage(engine, clock=time, watch_s=watch_s), engine, time, Log()


def test_lanes_take_turns_whatever_they_offer() -> None:
    stage, _, _, log = staged(seconds=0.02)
    turns = {name: Turn() for name in "abcd"}
    for _ in range(40):
        for name, turn in turns.items():  # all of them always have a frame
            stage.offer(log.work(name, turn))
        stage.step(stage.take())
    assert [name for name, _ in log.lines] == list("abcd") * 10


def test_a_lane_that_fails_has_had_its_turn() -> None:
    stage, engine, _, log = staged(seconds=0.02)
    engine.fault = lambda work: broken() if work[0][0].name == "a" else None
    turns = {name: Turn() for name in "ab"}
    for _ in range(6):
        for name, turn in turns.items():
            stage.offer(log.work(name, turn))
        stage.step(stage.take())
    assert log.lines == [("a", "failed"), ("b", "done")] * 3


def test_a_newer_frame_takes_the_place_of_one_that_waits() -> None:
    stage, _, _, log = staged()
    turn = Turn()
    old, new = log.work("old", turn), log.work("new", turn)
    stage.offer(old)
    stage.offer(new)
    assert not stage.waits(old)
    assert stage.waits(new)
    stage.step(stage.take())
    assert not stage.waits(new)
    assert log.lines == [("new", "done")]


def test_a_batch_waits_for_lanes_that_are_expected_soon_and_no_longer() -> None:
    stage, _, time, log = staged(seconds=0.01, max_batch=2)
    first, second, third = Turn(), Turn(), Turn()
    assert stage.wait_s() is None, "nothing to do"
    stage.offer(log.work("a", first))
    assert stage.wait_s() == 0, "nobody else is known"
    stage.offer(log.work("b", second))
    stage.step(stage.take())
    stage.offer(log.work("a", first))
    assert stage.wait_s() == stage.gather_s, "the other one was served just now"
    stage.offer(log.work("c", third))
    assert stage.wait_s() == 0, "full"
    stage.step(stage.take())
    time.sleep(2)
    stage.offer(log.work("a", first))
    assert stage.wait_s() == 0, "the others have been silent"
    assert stage.batches == {2: 2}


def test_more_than_a_batch_is_served_longest_ago_first() -> None:
    stage, _, _, log = staged(seconds=0.01, max_batch=3)
    turns = {name: Turn() for name in "abcde"}
    for _ in range(5):
        for name, turn in turns.items():
            stage.offer(log.work(name, turn))
        stage.step(stage.take())
    assert stage.batches == {3: 5}
    assert {name: [n for n, _ in log.lines].count(name) for name in turns} == dict.fromkeys("abcde", 3)


@pytest.mark.parametrize("wrong", [[], [b"none"], [np.zeros((24, 16), np.float32)], [np.zeros((25, 16), np.uint8)],
                                   [np.zeros((12, 8), np.uint8)], None])  # fmt: skip
def test_what_is_no_picture_costs_that_frame_alone(wrong: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Too few, none, of another type, of another shape, of another size than the portrait."""
    stage, engine, _, log = staged()
    turn = Turn()
    right = engine.submit
    for submit in (lambda work: lambda: wrong, right):
        monkeypatch.setattr(engine, "submit", submit)
        stage.offer(log.work("a", turn))
        stage.step(stage.take())
    assert log.lines == [("a", "failed"), ("a", "done")]


def test_one_failing_stream_does_not_spoil_a_batch() -> None:
    stage, engine, _, log = staged(max_batch=8)
    engine.fault = lambda work: broken() if any(prepared.name == "b" for prepared, _ in work) else None
    for name in "abc":
        stage.offer(log.work(name, Turn()))
    stage.step(stage.take())
    assert log.lines == [("a", "done"), ("b", "failed"), ("c", "done")]
    assert stage.batches == {3: 1, 1: 3}


def overlapping(fails: str) -> tuple[AnimationStage, Log, list[tuple[str, str]]]:
    """A stage whose device works beside it, and what is asked of the device: batches by their names. fails: whose batches
    fail, where they hold others too."""
    stage, engine, _, log = staged(overlaps=True, max_batch=4)
    asked: list[tuple[str, str]] = []
    submit = engine.submit

    def recorded(work):  # type: ignore[no-untyped-def]
        name = "".join(prepared.name for prepared, _ in work)
        asked.append(("submit", name))
        if len(work) > 1 and set(fails) & set(name):
            broken()
        collect = submit(work)
        return lambda: (asked.append(("collect", name)), collect())[1]

    engine.submit = recorded  # type: ignore[method-assign]
    return stage, log, asked


def test_a_batch_that_failed_is_tried_again_when_the_device_has_nothing_else_of_ours() -> None:
    """Its buffers are two: a third batch, or one that is not collected, would be overwritten with another stream's picture."""
    stage, log, asked = overlapping(fails="a")
    for names in ("ab", "c"):
        for name in names:
            stage.offer(log.work(name, Turn()))
        stage.step(stage.take())
    assert asked == [
        ("submit", "ab"), ("submit", "c"), ("collect", "c"),
        ("submit", "a"), ("collect", "a"), ("submit", "b"), ("collect", "b"),
    ]  # fmt: skip
    assert log.lines == [("c", "done"), ("a", "done"), ("b", "done")]
    assert stage.wait_s() is None


def test_a_frame_is_not_tried_again_after_a_newer_one_of_its_lane() -> None:
    stage, log, _ = overlapping(fails="a")
    turn = Turn()
    for names, turns in (("ab", (turn, Turn())), ("c", (turn,))):
        for name, its in zip(names, turns, strict=True):
            stage.offer(log.work(name, its))
        stage.step(stage.take())
    assert log.lines == [("c", "done"), ("b", "done")]


def test_a_device_that_is_lost_is_not_asked_again(caplog: pytest.LogCaptureFixture) -> None:
    stage, engine, _, log = staged(max_batch=4)
    asked: list[int] = []

    def lost(work: Sequence[object]) -> None:
        asked.append(len(work))
        raise DeviceLost("cuda:0 does not answer any more (an illegal memory access)")

    engine.fault = lost
    turns = {name: Turn() for name in "ab"}
    for _ in range(3):
        for name, turn in turns.items():
            stage.offer(log.work(name, turn))
        stage.step(stage.take())
    assert stage.lost == "cuda:0 does not answer any more (an illegal memory access)"
    assert asked == [2], "neither again one by one, nor for the next frames"
    assert log.lines == [("a", "failed"), ("b", "failed")]
    assert [record.message for record in caplog.records] == [f"engine fake: {stage.lost}"]


def test_a_device_that_hangs_is_lost_after_two_seconds() -> None:
    stage, _, time, log = staged(overlaps=True, on_cpu=False)
    for name, wait_s in (("a", 1.5), ("b", 1.5), ("c", 0.0)):
        stage.offer(log.work(name, Turn()))
        stage.step(stage.take())
        time.sleep(wait_s)
        stage.watch()
    assert not stage.lost, "each batch came in time"
    time.sleep(0.6)
    stage.watch()
    assert not stage.lost, "the last one too, so far"
    time.sleep(1.5)
    stage.watch()
    assert stage.lost == "no picture has come within 2 s"
    waiting = log.work("d", Turn())
    stage.offer(waiting)
    assert not stage.waits(waiting), "its lane is let go on"


def test_a_device_that_hangs_in_its_first_batch_is_seen_from_outside() -> None:
    """The thread that asked it does not come back."""
    stage, engine, time, log = staged(on_cpu=False)
    seen: list[str] = []

    def hang(work: Sequence[object]) -> None:
        time.sleep(2.1)
        stage.watch()
        seen.append(stage.lost)

    engine.fault = hang
    stage.offer(log.work("a", Turn()))
    stage.step(stage.take())
    assert seen == ["no picture has come within 2 s"]


def test_a_processor_takes_the_time_it_needs() -> None:
    for stage, _, time, log in (
        staged(seconds=9.0, overlaps=True),
        staged(seconds=9.0, overlaps=True, on_cpu=False, watch_s=0.0),
    ):
        stage.offer(log.work("a", Turn()))
        stage.step(stage.take())
        time.sleep(9.0)
        stage.watch()
        assert not stage.lost


def test_a_stage_may_take_as_long_as_its_device_may_and_many_times_as_long_as_lately() -> None:
    assert staged()[0].limit_s(5) == 5
    assert staged(on_cpu=False, watch_s=30)[0].limit_s(5) == 30
    assert staged(on_cpu=False, watch_s=0)[0].limit_s(5) == float("inf"), "who turns it off has it wait"
    slow = staged(max_batch=2)[0]
    slow.measured(1.5)
    assert slow.limit_s(5) == SLOWER * 2 * 1.5


def test_the_next_batch_is_prepared_while_the_device_works() -> None:
    stage, engine, time, log = staged(seconds=0.1, overlaps=True)
    turn, submitted = Turn(), []
    engine.fault = lambda work: submitted.append((work[0][0].name, time()))
    for name in "ab":
        stage.offer(log.work(name, turn))
        stage.step(stage.take())
    assert submitted == [("a", 0.0), ("b", 0.0)], "the second before the first is done"
    assert log.lines == [("a", "done")]
    assert stage.wait_s() == 0, "a batch that is done is not kept waiting"
    stage.step([])
    assert log.lines == [("a", "done"), ("b", "done")]
    assert time() == pytest.approx(0.2)
    assert stage.frame_s() == pytest.approx(0.1), "the time that a frame waits for the device is not the device's"


def test_the_budget_is_told_the_device_as_if_it_were_shared() -> None:
    stage, _, _, log = staged(seconds=0.01)
    for name in "abc":
        stage.offer(log.work(name, Turn()))
        stage.step(stage.take())
    assert log.device_s == pytest.approx({"a": 0.01, "b": 0.02, "c": 0.03})


def test_a_lane_that_has_ended_is_served_no_more() -> None:
    stage, _, _, log = staged()
    turn = Turn()
    stage.offer(log.work("a", turn))
    stage.close(turn)
    stage.offer(log.work("b", turn))
    assert stage.take() == []


# Who may become a driver


@dataclass
class Driven:
    stage: AnimationStage
    driver: object | None = None


def test_a_stream_that_would_slow_the_others_down_is_refused() -> None:
    stage, *_ = staged()
    streams = {name: Driven(stage) for name in "ab"}
    admission = Admission(Device(min_fps=10), streams)
    assert admission.fps_with_one_more(stage) is None
    stage.measured(0.06)
    admission.check(stage)  # alone it gets 15
    streams["a"].driver = "demo"
    assert admission.driven(stage) == 1
    assert admission.fps_with_one_more(stage) == pytest.approx(7.5)
    with pytest.raises(Overloaded, match=r"each of the 2 with 7\.5 frames per second; device\.min_fps promises 10;"):
        admission.check(stage)
    admission.check(AnimationStage(FakeEngine(ManualTime())))  # another device is free
    streams["a"].driver = None
    admission.check(stage)


@pytest.mark.parametrize(
    ("driven", "fps", "free", "why"),
    [
        (0, 60, 1.0, "60 frames per second would take 1.80 of what animates, and 1.00 is free"),
        (0, 30, 0.9, ""),
        (1, 15, 0.5, ""),
        (1, 15, 0.4, "15 frames per second would take 0.45 of what animates, and 0.40 is free"),
        (2, 0, 0.0, "one more driven stream would leave each of the 3 with 10.0 frames per second; device.min_fps promises 12"),
        (4, 0, 1.0, "4 streams are driven already, the limit (device.max_streams)"),
    ],
)
def test_admission_is_a_question(driven, fps, free, why) -> None:
    limits = Device(min_fps=12, max_streams=4, cores=2, max_busy=0.9)
    assert refusal(driven, Cost(0.03, 0.05), limits, fps, free) == why
    assert refusal(0, None, limits, fps) == "", "nothing is known yet"


def test_a_lane_costs_what_its_own_frames_take() -> None:
    stage, engine, _, log = staged(seconds=0.01)
    turns = {name: Turn() for name in "ab"}
    for name, seconds in (("a", 0.01), ("b", 0.05)):
        engine.seconds = seconds
        stage.offer(log.work(name, turns[name]))
        stage.step(stage.take())
    costs = [stage.cost(turn) for turn in turns.values()]
    assert [cost and cost.device_s for cost in costs] == pytest.approx([0.01, 0.05])
    assert (stage.cost(Turn()) or costs[0]).device_s == pytest.approx(0.03), "one that has not begun: as they all"


def test_more_drivers_than_the_limit_are_refused() -> None:
    stage, *_ = staged()
    streams = {name: Driven(stage, "camera") for name in "abcd"} | {"e": Driven(stage)}
    with pytest.raises(Overloaded, match=r"4 streams are driven already, the limit \(device\.max_streams\)"):
        Admission(Device(max_streams=4), streams).check(stage)
    Admission(Device(max_streams=5), streams).check(stage)


def test_an_engine_that_overlaps_is_limited_by_the_device_alone() -> None:
    stage, engine, _, log = staged(seconds=0.01, overlaps=True)
    engine.on_cpu = False
    stage.offer(log.work("a", Turn()))
    stage.step(stage.take())
    stage.step([])
    assert fps_each(3, stage.cost(), Device(max_busy=0.9, cores=2)) == pytest.approx(0.9 / 0.03)


@virtual
async def test_streams_that_name_the_same_engine_share_it() -> None:
    opened: list[str] = []

    def open_engine(name: str) -> Engine:
        opened.append(name)
        return FakeEngine(LoopTime(), name="mesh" if name == "auto" else name)

    engines = Stages(open_engine, 0.002, VirtualStage, LoopTime())
    stage = await engines.opened("auto")
    assert engines.open("mesh") is stage, "what auto chose here is the same engine as the one that is named: one device"
    assert engines.open("other") is not stage
    assert opened == ["auto", "other"]
    assert engines.stages == []
    await engines.started(stage, FakePrepared())
    await engines.started(stage, FakePrepared())
    assert engines.stages == [stage]
    assert stage.frame_s() == 0.0, "known from the warm-up"
    await engines.stop()


# A lane by itself


@dataclass
class Rig:
    """A lane and its stage, stepped by hand."""

    time: ManualTime = field(default_factory=ManualTime)

    def __post_init__(self) -> None:
        self.engine = FakeEngine(self.time, seconds=0.01)
        self.stage = AnimationStage(self.engine, clock=self.time)
        self.shown: list[AnimatedFrame] = []
        self.screen = Screen(FakePrepared(), self.shown.append, UNMARKED, self.time)
        self.budget = FrameBudget(max_frames=32, clock=self.time)
        self.puppeteer = FakePuppeteer()
        self.mirror = False
        self.lane = Lane(self.puppeteer, self.screen, self.budget, lambda: self.mirror, self.time)
        self.lane.step(None)

    def drive(self, seconds: float, level: Callable[[float], int] | None, every_s: float = FRAME_S) -> None:
        """Frames of a driver; none for one that is silent, then as a thread that waits no longer than it may."""
        end_s = self.time() + seconds
        while self.time() < end_s - 1e-6:
            if level is None:
                wait_s = self.lane.wait_s
                if wait_s is None or self.time() + wait_s > end_s:
                    self.time.now = end_s
                    return
                self.time.sleep(wait_s)
                self.step(None)
            else:
                due_s = self.time() + every_s
                self.step(level(self.time()))
                self.time.now = max(due_s, self.time())

    def step(self, level: int | None) -> None:
        work = self.lane.step(None if level is None else camera_frame(level, self.time()))
        if work is not None:
            self.stage.offer(work)
            self.stage.step(self.stage.take())

    @property
    def levels(self) -> list[int]:
        """How bright each picture was."""
        return [int(frame.yuv[0, 0]) for frame in self.shown]

    def largest_step(self, since: int = 0) -> int:
        """Between two pictures, from the picture of this index on."""
        return max(abs(b - a) for a, b in pairwise(self.levels[since:]))


def test_a_lane_at_rest_shows_the_portrait_and_waits_for_nothing_else() -> None:
    rig = Rig()
    assert rig.levels == [REST]
    assert rig.lane.wait_s is None
    assert rig.lane.face is FaceState.NO_FACE


def test_a_portrait_that_moves_goes_on_while_nobody_drives_and_after() -> None:
    rig = Rig()
    rig.screen.prepared.fps = 16.0  # type: ignore[misc]
    rig.drive(1.0, None)
    assert len(rig.shown) == pytest.approx(17, abs=1)
    rig.drive(0.5, lambda s: 100)
    driven = len(rig.shown)
    rig.drive(REST_AFTER_S + FADE_S + 1.0, None)
    assert len(rig.shown) - driven > 16


def test_idle_life_costs_few_pictures_while_nobody_drives_and_none_when_it_is_off() -> None:
    rig = Rig()
    rig.lane.tune(Tuning(idle=True))
    rig.drive(10.0, None)
    assert 78 < len(rig.shown) < 120
    rig.drive(1.0, lambda s: 100)
    rig.drive(REST_AFTER_S + 5.0, None)
    rig.lane.tune(Tuning())
    rig.drive(2.0, None)
    assert rig.lane.wait_s is None, "nothing is waited for"
    assert rig.levels[-1] == REST


def test_pictures_are_numbered_and_as_old_as_their_drivers() -> None:
    rig = Rig()
    rig.drive(2.0, lambda s: 100)
    assert [frame.number for frame in rig.shown] == list(range(1, 66))
    assert [frame.captured_s for frame in rig.shown[1:]] == [k * FRAME_S for k in range(64)]
    assert list(rig.screen.stats.stage_s)[-3:] == pytest.approx([0.01] * 3)
    assert rig.screen.fps() == 32
    assert rig.screen.stats.animated == 64


def test_a_picture_that_stays_is_counted_and_says_nothing_of_what_the_next_one_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    rig = Rig()
    submit = rig.engine.submit
    pictures: dict[int, Image] = {}

    def lasting(work: Sequence[tuple[Any, Any]]) -> Callable[[], list[Image]]:
        rig.engine.seconds = 0.001 if work[0][1] in pictures else 0.01
        collect = submit(work)
        return lambda: [pictures.setdefault(seen, yuv) for (_, seen), yuv in zip(work, collect(), strict=True)]

    monkeypatch.setattr(rig.engine, "submit", lasting)
    rig.drive(2.0, lambda s: 100)
    rig.drive(0.5, lambda s: 160)
    stats = rig.screen.stats
    assert (stats.animated, stats.still) == (80, 80 - len(pictures))
    assert 1 < len(pictures) < 10
    assert len(rig.shown) == 81, "viewers get each of them"
    assert rig.stage.frame_s() == pytest.approx(0.01)


def test_a_portrait_at_rest_says_nothing_of_what_a_picture_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    """While a slow engine's driver is calibrated nothing is computed: what that takes must not become the limit of the rest."""
    rig = Rig()
    submit = rig.engine.submit

    def resting(work: Sequence[tuple[Any, Any]]) -> Callable[[], Sequence[Image | None]]:
        rig.engine.seconds = 0.001
        collect = submit(work)
        return lambda: [None for _ in collect()]

    rig.drive(1.0, lambda s: 100)
    with monkeypatch.context() as patch:
        patch.setattr(rig.engine, "submit", resting)
        rig.drive(2.0, lambda s: 100)
    assert rig.levels[-1] == REST
    assert rig.stage.frame_s() == pytest.approx(0.01)
    cost = rig.stage.cost(rig.lane.turn)
    assert cost is not None
    assert cost.device_s == pytest.approx(0.01)


def test_a_silent_driver_lets_the_puppet_come_to_rest_by_a_fade() -> None:
    rig = Rig()
    rig.drive(3.0, lambda s: 100)
    rig.drive(2.0, lambda s: 160)
    assert rig.levels[-1] == REST + 60
    count = len(rig.shown)
    rig.drive(REST_AFTER_S - FRAME_S - 0.01, None)
    assert len(rig.shown) == count, "viewers keep the last frame"
    assert rig.lane.face is FaceState.TRACKING
    rig.drive(1.0, None)
    assert rig.lane.face is FaceState.NO_FACE
    faded = rig.levels[count:]
    assert faded == sorted(faded, reverse=True)
    assert faded[-1] == REST
    assert len(faded) == pytest.approx(FADE_S / FADE_STEP_S + 1, abs=1)
    assert rig.largest_step(count - 1) < 0.25 * 60
    assert rig.lane.wait_s is None


def test_a_driver_that_comes_back_makes_no_leap() -> None:
    rig = Rig()
    rig.drive(3.0, lambda s: 100)
    rig.drive(2.0, lambda s: 160)
    count = len(rig.shown)
    rig.drive(5.0, None)
    rig.drive(2.0, lambda s: 160)
    assert rig.levels[-1] == REST + 60, "the same neutral"
    assert rig.largest_step(count - 1) < 0.25 * 60


def test_a_portrait_changes_by_a_fade_of_its_length() -> None:
    for driven in (True, False):
        rig = Rig()
        other = FakePrepared("other", GREY + 80)
        if driven:
            rig.drive(2.0, lambda s: 100)
        count, began_s = len(rig.shown), rig.time()
        rig.screen.change(other)
        rig.drive(FADE_S - 2 * FADE_STEP_S, (lambda s: 100) if driven else None)
        assert rig.screen.fading
        assert all(a <= b for a, b in pairwise(rig.levels[count:]))
        rig.drive(3 * FADE_STEP_S, (lambda s: 100) if driven else None)
        assert not rig.screen.fading
        assert rig.time() - began_s < FADE_S + 3 * FADE_STEP_S
        if not driven:
            assert rig.levels[-1] == int(planar(other.still)[0, 0])
            assert rig.largest_step(count - 1) < 0.25 * 80
            assert rig.lane.wait_s is None


def test_what_is_still_on_its_way_is_not_shown_after_the_rest() -> None:
    rig = Rig()
    work = rig.lane.step(camera_frame(100, 0.0))
    assert work is not None
    rig.time.sleep(REST_AFTER_S)
    assert rig.lane.step(None) is None
    count = len(rig.shown)
    rig.stage.offer(work)
    rig.stage.step(rig.stage.take())
    assert len(rig.shown) == count
    assert rig.screen.stats.animated == 0
    assert rig.budget.busy > 0, "but it has cost what it cost"


def test_a_recalibration_makes_no_leap() -> None:
    rig = Rig()
    rig.drive(2.0, lambda s: 100)
    rig.drive(2.0, lambda s: 160)
    count = len(rig.shown)
    rig.lane.recalibrate()
    rig.drive(0.5, lambda s: 160)
    assert rig.lane.face is FaceState.CALIBRATING
    assert 0 < rig.lane.puppeteer.calibrating.share < 1
    assert rig.levels[-1] == REST + 60, "the present neutral goes on meanwhile"
    rig.drive(3.0, lambda s: 160)
    assert rig.levels[-1] == REST, "the new neutral is how the face is now"
    assert rig.largest_step(count - 1) < 0.1 * 60


def test_requests_are_done_between_two_frames_in_their_order() -> None:
    rig = Rig()
    done: list[str] = []
    rig.puppeteer.reset = lambda: done.append("reset")  # type: ignore[method-assign]
    rig.puppeteer.recalibrate = lambda: done.append("recalibrate")  # type: ignore[method-assign]
    rig.puppeteer.next_face = lambda: broken()  # type: ignore[method-assign,assignment,return-value]
    rig.lane.recalibrate()
    rig.lane.next_face()
    rig.lane.reset()
    assert done == []
    assert rig.lane.wait_s == 0
    rig.drive(FRAME_S, lambda s: 100)
    assert done == ["recalibrate", "reset"], "one that fails does not keep the next from being done"
    assert rig.screen.stats.errors == 1
    assert rig.screen.stats.animated == 1


def test_the_driver_is_seen_as_in_a_mirror_where_that_is_asked_for() -> None:
    rig = Rig()
    seen: list[bool] = []
    follow = rig.puppeteer.follow
    rig.puppeteer.follow = lambda driving: (seen.append(driving.mirrored), follow(driving))[1]  # type: ignore[method-assign]
    rig.drive(FRAME_S, lambda s: 100)
    rig.mirror = True
    rig.drive(FRAME_S, lambda s: 100)
    assert seen == [False, True]


def test_a_failing_engine_leaves_the_last_picture(caplog: pytest.LogCaptureFixture) -> None:
    rig = Rig()
    rig.engine.fault = broken
    with caplog.at_level(logging.ERROR):
        rig.drive(2.0, lambda s: 100)
    assert rig.screen.stats.errors == 64
    assert rig.screen.stats.animated == 0
    assert len(rig.shown) == 1, "the still portrait stays; the driver's picture is never shown"
    assert len(caplog.records) == 7, "1, 2, 4, … 64: a broken engine does not flood the log"
    rig.engine.fault = lambda work: None
    rig.drive(1.0, lambda s: 100)
    assert rig.screen.stats.animated == 32


def test_an_engine_that_is_mended_makes_no_leap() -> None:
    rig = Rig()
    rig.drive(2.0, lambda s: 100)
    count = len(rig.shown)
    rig.engine.fault = broken
    rig.drive(1.0, lambda s: 160)
    rig.engine.fault = lambda work: broken() if rig.screen.stats.errors % 2 else None  # now and then
    rig.drive(FRAME_S, lambda s: 160)
    rig.engine.fault = lambda work: None
    rig.drive(1.0, lambda s: 160)
    assert rig.levels[-1] == REST + 60
    assert rig.largest_step(count - 1) < 0.25 * 60


def test_a_failing_tracker_leaves_the_last_picture() -> None:
    rig = Rig()
    rig.drive(2.0, lambda s: 100)
    rig.puppeteer.tracker.fault = broken
    count = len(rig.shown)
    rig.drive(1.0, lambda s: 100)
    assert (rig.screen.stats.errors, len(rig.shown)) == (32, count)
    rig.puppeteer.tracker.fault = lambda: None
    rig.drive(1.0, lambda s: 100)
    assert len(rig.shown) == count + 32


def test_a_stale_frame_is_not_followed() -> None:
    rig = Rig()
    rig.time.sleep(1.0)
    assert rig.lane.step(camera_frame(100, 0.8)) is None
    assert rig.budget.skipped == {Skip.STALE: 1}
    assert rig.lane.step(camera_frame(100, 0.9)) is not None


# Several lanes in virtual time


async def driven(
    engine: FakeEngine, time: LoopTime, seconds: float, count: int = 1
) -> list[tuple[Screen, FrameBudget, Intake, list[float]]]:
    """Lanes at 30 frames per second; of each what was shown, and how old it was."""
    runner = VirtualStage(AnimationStage(engine, clock=time))
    streams, running = [], []
    for _ in range(count):
        ages: list[float] = []
        screen = Screen(FakePrepared(), lambda f, ages=ages: ages.append(time() - f.captured_s), UNMARKED, time)  # type: ignore[misc]
        budget, intake = FrameBudget(clock=time), Intake()
        streams.append((screen, budget, intake, ages))
        running.append(runner.run(Lane(engine.open(), screen, budget, clock=time), intake))
    for k in range(round(30 * seconds)):
        await asyncio.sleep(max(k / 30 - time(), 0.0))
        for _, _, intake, _ in streams:
            intake.put(camera_frame(100, k / 30))
    await asyncio.sleep(1)  # what has been taken is done
    for lane in running:
        lane.stop()
    assert runner.stop()
    return streams


@virtual
async def test_a_slow_engine_steps_down_and_stays_young() -> None:
    time = LoopTime()
    [(screen, budget, _, ages)] = await driven(FakeEngine(time, seconds=0.08), time, 9)
    assert budget.rate == 10
    assert budget.skipped[Skip.BUSY] > 150
    assert max(ages[8:]) < 0.15 + 0.08, "as old as the budget lets in, and a frame's own time"
    assert screen.stats.animated == 270 - budget.skipped.total()


@virtual
async def test_four_lanes_that_are_too_many_get_the_same_share() -> None:
    time = LoopTime()
    streams = await driven(FakeEngine(time, seconds=0.02), time, 20, count=4)
    animated = [screen.stats.animated for screen, *_ in streams]
    assert max(animated) - min(animated) <= 0.1 * min(animated)
    assert {budget.rate for _, budget, *_ in streams} == {10}
    for screen, budget, intake, _ in streams:
        assert screen.stats.animated + budget.skipped.total() + intake.dropped == intake.received, "each frame is accounted for"


@virtual
async def test_lanes_that_are_driven_together_are_animated_together() -> None:
    time = LoopTime()
    engine = FakeEngine(time, seconds=0.005, max_batch=8)
    batches: list[int] = []
    engine.fault = lambda work: batches.append(len(work))
    await driven(engine, time, 3, count=3)
    assert batches[-60:] == [3] * 60


# The threads around them


@dataclass
class Threaded:
    """A lane and its stage on their threads."""

    def __post_init__(self) -> None:
        self.captured_s = WallTime()()
        self.engine = FakeEngine(WallTime())
        self.shown: queue.SimpleQueue[AnimatedFrame] = queue.SimpleQueue()
        self.screen = Screen(FakePrepared(), self.shown.put, UNMARKED)
        self.puppeteer = FakePuppeteer()
        self.intake = Intake()
        self.stage = StageThread(AnimationStage(self.engine))
        self.lane = Lane(self.puppeteer, self.screen, FrameBudget(clock=lambda: self.captured_s))
        self.running = self.stage.run(self.lane, self.intake)

    def put(self) -> None:
        self.captured_s += 1  # by the clock of its budget, too, which so lets all of them in
        self.intake.put(camera_frame(100, self.captured_s))


def test_threads_animate_and_end() -> None:
    rig = Threaded()
    assert rig.shown.get(timeout=30).number == 1, "the portrait at rest"
    for number in (2, 3, 4):
        rig.put()
        while rig.shown.get(timeout=30).number < number:  # at rest it may be shown again, on the way to the first frame
            pass
    assert rig.running.stop(30), "while it waits for a frame"
    assert rig.puppeteer.tracker.faces == 0, "the tracker is closed"
    assert rig.stage.stop(30)


def test_a_lane_ends_while_the_device_works_for_another() -> None:
    rig = Threaded()
    working, go_on = threading.Event(), threading.Event()
    rig.engine.fault = lambda work: (working.set(), go_on.wait(30))
    rig.put()
    assert working.wait(30)
    rig.put()  # is followed, and then waits for the device
    try:
        assert rig.running.stop(30)
    finally:
        go_on.set()
    assert rig.stage.stop(30)


def test_threads_outlive_whatever_fails() -> None:
    rig = Threaded()
    failed = threading.Event()

    def fail(*_: object) -> None:
        failed.set()
        broken()

    rig.shown.get(timeout=30)
    for breaks in ("tracker", "engine"):
        failed.clear()
        rig.puppeteer.tracker.fault = fail if breaks == "tracker" else lambda: None
        rig.engine.fault = fail if breaks == "engine" else lambda work: None
        rig.put()
        assert failed.wait(30)
    rig.engine.fault = lambda work: None
    rig.put()
    rig.shown.get(timeout=30)
    assert rig.running.stop(30)
    assert rig.stage.stop(30)
    assert rig.screen.stats.errors == 2


@pytest.mark.parametrize("wrong", [np.nan, np.inf, 1e30])
def test_landmarks_that_lie_nowhere_are_no_face(wrong: float) -> None:
    """Once: the filters would go on with them."""
    puppeteer = FakePuppeteer()
    image = np.full((100, 100, 3), 50, np.uint8)
    right = puppeteer.track(image, 0.0)
    assert right is not None
    sees = puppeteer.tracker.track
    puppeteer.tracker.track = lambda image, time_s: FACE * np.where(np.arange(len(FACE)) == 7, wrong, 1)[:, None]  # type: ignore[method-assign]
    assert puppeteer.track(image, 0.1) is None
    puppeteer.tracker.track = sees  # type: ignore[method-assign]
    again = puppeteer.track(image, 0.2)
    assert again is not None
    assert np.allclose(again, right)
