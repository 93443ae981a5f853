"""Which worker gets a stream, whatever is asked and reported in whatever order."""

from __future__ import annotations

import pytest

from streamer.fleet.base import At, FleetFull
from streamer.fleet.placement import EXCLUDED_S, SETTLE_S, Cost, Found, Load, Table

pytest.importorskip("hypothesis", reason="hypothesis is not here; 'make test' installs it")

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule

LIMIT = 0.9


def load(worker: str, share: float = 0.0, epoch: str = "1", sessions: int = 64, **held: float | None) -> Load:
    return Load(worker, epoch, share, sessions, held)


def table(*loads: Load, **options: bool) -> Table:
    made = Table(LIMIT, **options)
    for each in loads:
        made.report(each, 0.0)
    return made


def test_the_fullest_that_has_room_gets_it():
    full = table(load("a", 0.1), load("b", 0.6), load("c", 0.8))
    assert full.place("x", Cost(0.25), 0.0) == "b"
    assert full.place("y", Cost(0.1), 0.0) == "c"


def test_spread_the_emptiest_gets_it():
    four = table(load("a"), load("b"), spread=True)
    assert sorted(four.place(f"s{k}", Cost(0.2), 0.0) for k in range(4)) == ["a", "a", "b", "b"]


def test_a_bound_stream_stays():
    one = table(load("a", 0.1), load("b", 0.2))
    assert one.place("x", Cost(0.1), 0.0) == one.place("x", Cost(5.0), 0.0) == one.where("x", 0.0) == "b"


def test_what_is_placed_is_counted_once():
    one = table(load("a"))
    one.place("x", Cost(0.3), 0.0)
    assert one.used("a") == pytest.approx(0.3)
    one.report(load("a", 0.05, x=None), 0.1)  # it is there, and nobody drives it yet
    assert one.used("a") == pytest.approx(0.35)
    one.report(load("a", 0.15, x=0.1), 0.2)  # a rate is of the last second, and its first one is not over
    assert one.used("a") == pytest.approx(0.35)
    one.report(load("a", 0.25, x=0.2), 0.2 + SETTLE_S)
    assert one.used("a") == pytest.approx(0.25)


def test_where_guesses_were_too_low_more_room_is_kept_until_the_stream_has_shown_what_it_takes():
    one = table(load("a"))
    for k, share in enumerate((0.02, 0.1, 0.05, 0.11)):  # that one took less than was guessed costs nothing
        one.place(f"s{k}", Cost(0.1), 0.0)
        for moment in (0.0, SETTLE_S):
            one.report(load("a", share, **{f"s{k}": share}), moment)
        one.release(f"s{k}")
        one.report(load("a"), SETTLE_S)
    one.place("x", Cost(0.1), SETTLE_S)
    assert 0.11 < one.used("a") < 0.13
    one.place("y", Cost(0.1, measured=True), SETTLE_S)
    assert one.used("a") < 0.13 + 0.1, "this one took that before"
    for moment in (SETTLE_S, 2 * SETTLE_S):
        one.report(load("a", 0.2, x=0.1, y=0.1), moment)
    assert one.used("a") == pytest.approx(0.2)


def test_who_drains_or_is_silent_gets_nothing():
    two = table(load("a", 0.5), load("b", 0.1))
    two.drain("a")
    two.report(load("a", 0.5), 0.5)
    assert two.place("x", Cost(0.1), 0.5) == "b"
    two.report(load("a", 0.5), 2.0)
    assert two.silent(2.0) == ["b"]
    with pytest.raises(FleetFull, match="'y'"):
        two.place("y", Cost(0.1), 2.0)


def test_from_a_worker_that_drains_goes_what_nobody_drives():
    two = table(load("a", 0.3, x=0.2, y=None), load("b", 0.7))
    two.drain("a")
    assert two.place("x", Cost(0.1), 0.1) == "a"
    assert two.place("y", Cost(0.3), 0.1) == "a"  # there is nowhere to go
    assert two.place("y", Cost(0.1), 0.1) == "b"


def test_who_refused_a_stream_does_not_get_it_for_a_while():
    two = table(load("a", 0.5), load("b", 0.1))
    assert two.place("x", Cost(0.1), 0.0) == "a"
    assert two.refused("x", "a", 0.0)
    assert two.used("a") == 0.5
    assert two.place("x", Cost(0.1), 0.0) == "b"
    assert two.place("y", Cost(0.1), 0.0) == "a"
    two.release("x")
    two.report(load("a", 0.5), EXCLUDED_S)
    assert two.place("x", Cost(0.1), EXCLUDED_S) == "a"


def test_a_driven_stream_keeps_its_place_when_another_driver_is_refused():
    one = table(load("a", 0.2, x=0.2))
    assert not one.refused("x", "a", 0.0)
    assert one.where("x", 0.0) == "a"


def test_sessions_and_bitrate_are_promised_once_too():
    one = Table(LIMIT)
    one.report(Load("a", "1", 0.0, 5, {}, kbps_free=2000), 0.0)
    one.place("x", Cost(0.1, sessions=3, kbps=1500), 0.0)
    for cost in (Cost(0.1, sessions=3), Cost(0.1, sessions=1, kbps=600)):
        with pytest.raises(FleetFull):
            one.place("y", cost, 0.0)
    one.report(Load("a", "1", 0.1, 2, {"x": 0.1}, kbps_free=500), 0.1)
    assert one.place("y", Cost(0.1, sessions=2, kbps=500), 0.1) == "a"


def test_what_a_dead_worker_had_is_told():
    one = table(load("a", 0.2, x=0.1, y=None))
    assert one.gone("a") == ["x", "y"]
    assert one.gone("a") == []
    assert one.where("x", 0.0) is None


def test_a_report_shows_what_is_lost_and_what_strays():
    two = table(load("a", x=0.1, y=0.1), load("b"))
    assert two.report(load("a", y=0.1), 0.1) == Found(["x"], [])
    assert two.report(load("b", y=0.1, z=0.1), 0.1) == Found([], ["y"])
    assert two.where("z", 0.1) == "b"
    assert two.report(load("a", epoch="2", new=None), 0.2) == Found(["y"], [])


def test_a_report_from_before_a_stream_was_begun_takes_nothing_away():
    one = table(load("a"))
    one.place("x", Cost(0.3), 0.0)
    assert one.report(load("a"), 0.1) == Found([], [])
    assert one.used("a") == pytest.approx(0.3)


def test_holes_that_are_too_small_are_no_places():
    two = table(load("a", 0.75), load("b", 0.5))
    assert two.places(Cost(0.2), 0.0) == 2
    two.drain("b")
    assert two.places(Cost(0.2), 0.0) == 0


def test_what_a_server_tells_of_itself_is_a_load():
    stream = {"engine": "mesh", "driven": True, "fps": 15.0, "cost": 0.01, "share": 0.15, "viewers": 1, "bitrate_kbps": 900}
    streams = {"x": stream, "y": stream | {"driven": False, "fps": 0.0, "share": 0.0}}
    answer = {"share": 0.2, "sessions_free": 9, "bitrate_kbps": 900, "takes": False, "streams": streams}
    told = Load.told(At("a", "7", "http://127.0.0.1:1"), answer, uplink_kbps=1000)
    assert told == Load("a", "7", 0.2, 9, {"x": 0.15, "y": None}, kbps_free=100, takes=False)


class Fleet(RuleBasedStateMachine):  # type: ignore[misc]
    """Workers that do what they are told sooner or later, beside the table; `truth` has what runs where."""

    streams = Bundle("streams")
    workers = st.sampled_from("abc")

    def __init__(self) -> None:
        super().__init__()
        self.table, self.now = Table(LIMIT), 0.0
        self.truth: dict[str, dict[str, tuple[float, bool]]] = {}
        self.epochs, self.drains = dict.fromkeys("abc", 0), set[str]()

    @rule(worker=workers)
    def report(self, worker: str) -> None:
        has = self.truth.setdefault(worker, {})
        held = {name: share if driven else None for name, (share, driven) in has.items()}
        share = sum(share for share, driven in has.values() if driven)
        found = self.table.report(Load(worker, str(self.epochs[worker]), share, 64, held), self.now)
        for stream in found.stray:
            del has[stream]

    @rule(target=streams, name=st.sampled_from("stuvwxyz"))
    def name(self, name: str) -> str:
        return name

    @rule(stream=streams, share=st.floats(0.01, 0.6))
    def place(self, stream: str, share: float) -> None:
        before = self.table.where(stream, self.now)
        try:
            worker = self.table.place(stream, Cost(share), self.now)
        except FleetFull:
            assert before is None
            return
        if before is not None and before not in self.table.draining():
            assert worker == before
        if worker != before:
            assert worker not in self.drains
            assert self.table.used(worker) <= LIMIT + 1e-6
            self.truth.get(before or worker, {}).pop(stream, None)
            self.truth[worker][stream] = (share, False)

    @rule(worker=workers, stream=streams)
    def drive(self, worker: str, stream: str) -> None:
        if stream in self.truth.get(worker, {}):
            self.truth[worker][stream] = (self.truth[worker][stream][0], True)

    @rule(worker=workers)
    def die(self, worker: str) -> None:
        self.table.gone(worker)
        self.epochs[worker] += 1
        self.truth.pop(worker, None)
        self.drains.discard(worker)

    @rule(worker=workers)
    def drain(self, worker: str) -> None:
        self.table.drain(worker)
        if worker in self.table.draining():
            self.drains.add(worker)

    @rule(worker=workers, stream=streams)
    def refuse(self, worker: str, stream: str) -> None:
        if self.table.refused(stream, worker, self.now):
            self.truth.get(worker, {}).pop(stream, None)
            assert self.table.where(stream, self.now) is None

    @rule(seconds=st.floats(0, 3))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @invariant()
    def nobody_is_filled_above_the_limit(self) -> None:
        assert all(sum(share for share, _ in has.values()) <= LIMIT + 1e-6 for has in self.truth.values())

    @invariant()
    def every_stream_has_one_worker(self) -> None:
        bound = [stream for worker in "abc" for stream in self.table.on(worker)]
        assert len(bound) == len(set(bound))
        assert all(self.table.where(stream, self.now) in (worker, None) for worker in "abc" for stream in self.table.on(worker))


TestFleet = Fleet.TestCase
TestFleet.settings = settings(max_examples=40, stateful_step_count=30, deadline=None, database=None, derandomize=True)
