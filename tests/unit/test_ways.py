"""Ways through the networks: their buffers while batches are in flight, what memory there is for, and another way that is
built beside the one in use."""

from __future__ import annotations

import pytest
import torch

from pipeline.liveportrait import build, steps
from pipeline.liveportrait.compose import TURN
from pipeline.liveportrait.follow import Given
from pipeline.liveportrait.host import Host, Turn
from pipeline.liveportrait.motion import Face
from pipeline.liveportrait.networks import TINY, SpadeGenerator
from pipeline.liveportrait.options import Build, Compile, Precision
from pipeline.liveportrait.spade import FoldedGenerator, in_turn
from pipeline.liveportrait.streams import Fork
from pipeline.liveportrait.weights import MAKERS, Networks

from ..happens_before import DEVICE, HappensBefore
from ..simple_device import Graphs, Rendered, Shown, Simple, Streets, face


def test_two_batches_are_in_flight_and_a_third_has_to_wait():
    streets = Streets()
    first, second = streets.submit("ab"), streets.submit("c")
    with pytest.raises(AssertionError, match="before the results of one of the two before it were collected"):
        streets.submit("d")
    assert (first(), second()) == ("ab", "c")
    third, fourth = streets.submit("bd"), streets.submit("aef")
    assert (fourth(), third()) == ("aef", "bd"), "whichever is collected first"


def test_a_batch_that_cannot_be_started_leaves_its_buffers(monkeypatch):
    streets = Streets()
    before = streets.submit("ab")
    monkeypatch.setattr(streets.path.steps, "play", lambda step, batch: 1 / 0)
    for _ in range(3):
        with pytest.raises(ZeroDivisionError):
            streets.submit("c")
    monkeypatch.undo()
    assert (streets.submit("c")(), before()) == ("c", "ab")


def flight(checked: HappensBefore) -> list[str]:
    """Batches of every size, two of them always in flight: the races. Nothing moves, but a portrait that is shown anew."""
    with checked:
        streets = Streets(checked, still_px=0.1)
        last = streets.submit("b")
        for names in ("bc", "abcd", "c", "ca", "bca", "abcd"):
            following = streets.submit(names)
            last()
            last = following
        last()
    return checked.races


def test_no_buffer_is_touched_before_its_time():
    assert flight(HappensBefore()) == []


ORDERS = [("ahead", "up"), ("compute", "ahead"), ("ahead", "compute"), ("down", "compute"), ("down", "event"), ("ahead", "event")]


@pytest.mark.parametrize("forgets", ORDERS, ids="-".join)
def test_an_order_that_is_forgotten_is_found(forgets):
    assert flight(HappensBefore(forgets))


@torch.inference_mode()
def painted(checked: HappensBefore) -> list[str]:
    """Two pictures of G, each with its two branches at once: the races."""
    generator = FoldedGenerator(SpadeGenerator(TINY).eval(), gather=True)
    seg = [torch.rand(1, TINY.warped, 4, 4) for _ in range(2)]
    wanted = [generator(given) for given in seg]
    generator.fork = Fork(checked)
    with checked:
        got = [generator(given.to(DEVICE, copy=True) * 1) for given in seg]
    assert all(torch.equal(a, b) for a, b in zip(got, wanted, strict=True))
    return checked.races


def test_g_s_branches_are_joined():
    assert painted(HappensBefore()) == []


@pytest.mark.parametrize("forgets", [("up", "compute"), ("compute", "up")], ids="-".join)
def test_a_branch_that_is_not_joined_is_found(forgets):
    """The first queue that is asked for is called so."""
    assert painted(HappensBefore(forgets))


def test_branches_are_captured_and_elsewhere_done_in_turn(monkeypatch):
    made = []
    monkeypatch.setattr(build, "compiled", lambda function, compile_: made.append(function.__name__) or function)
    for graph in (True, False):
        with torch.device("meta"):
            modules = [make(TINY).eval() for _, make in MAKERS.values()]
        networks = build.apply(Build(True, True, Compile.ON, graph), Networks(*modules), Precision.FP16, torch.device("meta"))
        assert (networks.generator.fork is not in_turn) is graph
    captured = ["begin", "look", "end", "forward", "forward"]
    assert made == [*captured, "forward", "forward", "forward"], "a compiled function is of one queue"


def test_faces_are_seen_while_the_pictures_before_are_painted(monkeypatch):
    """All that those wait for of the batch before is that its keypoints were taken over."""
    with HappensBefore() as checked:
        streets = Streets(checked)
        streets.submit("ab")()
        times: list[int] = []
        paint, see = streets.path._paint, streets.path._see
        done = lambda *args: (paint(*args), times.append(checked.time("compute")))  # noqa: E731
        monkeypatch.setattr(streets.path, "_paint", done)
        flying = streets.submit("ab")
        known = lambda batch: (see(batch), times.append(checked.seen_by("ahead", "compute")))  # noqa: E731
        monkeypatch.setattr(streets.path, "_see", known)
        streets.submit("ab")
        flying()
    assert times[1] < times[0]


def test_buffers_of_a_batch_that_is_in_flight_are_found_in_use(monkeypatch):
    """What the assertion keeps from happening."""

    def begin(host: Host) -> Turn:
        host._free.rotate()
        return host._free[0]

    monkeypatch.setattr(Host, "begin", begin)
    monkeypatch.setattr(Host, "give_back", lambda host, turn: None)
    checked = HappensBefore()
    with checked:
        streets = Streets(checked)
        flying = streets.submit("c")
        alone = [streets.submit(name)() for name in "ab"]
        assert (alone, flying()) == (["a", "b"], "b"), "another stream's picture"
    assert checked.races


def test_a_warm_up_leaves_no_trace_in_any_stream():
    streets = Streets()
    streets.path.capture(lambda done, total: None)
    assert not streets.path._filter[:, :-1].any()
    assert not streets.path._blend[:, :-1].any()


@pytest.mark.slow
def test_after_a_rebuild_every_stream_turns_its_head():
    """The rotation's filter cannot begin from nothing: of a stream in the first place as little as of any other."""
    streets = Streets()
    rebuilt = streets.new_path()
    rebuilt.capture(lambda done, total: None)
    turn = streets.face.motion.rotation.flatten()
    for path in (streets.path, rebuilt):
        for _ in range(3):
            assert streets.submit("abc", path)() == "abc"
        assert torch.allclose(path._filter[0, :3, TURN], turn.expand(3, -1), atol=1e-5)


def test_after_a_rebuild_streams_go_on_where_they_were():
    streets, moved = Streets(), Streets()
    moved.runtime._motion = face(torch.Generator().manual_seed(2), 1)
    for one in (streets, moved):
        one.submit("abcd")()
    rebuilt = streets.new_path()
    rebuilt.go_on_from(streets.path)
    streets.runtime._motion = moved.runtime._motion  # each takes one more step, towards another motion
    assert streets.submit("bd", rebuilt)() == streets.submit("bd")() == "bd"
    for ours, before in zip(rebuilt._state(), streets.path._state(), strict=True):
        assert torch.allclose(ours, before, atol=1e-6)
    assert not torch.allclose(rebuilt._filter[0, 1], moved.path._filter[0, 1]), "the filter was on its way"


def test_one_stream_s_bad_numbers_lower_nobody_s_precision(monkeypatch):
    streets = Streets()
    bad = torch.full_like(streets.face.motion.expression, torch.nan)
    nowhere = Face(streets.face.motion._replace(expression=bad), streets.face.ratios)
    given = [(streets.portraits["a"], Given(face, streets.face, row)) for row, face in enumerate((nowhere, streets.face))]
    render = streets.runtime.render
    of_keypoints = lambda features, keypoints: render(features, keypoints) + 0 * keypoints.sum((1, 2))[:, None, None, None]  # noqa: E731
    monkeypatch.setattr(streets.runtime, "render", of_keypoints)
    assert [finite for _, finite in streets.path.submit(given)()] == [False, True]
    assert not streets.path.overflowed
    monkeypatch.setattr(streets.runtime, "render", lambda features, keypoints: render(features, keypoints) * torch.inf)
    assert [finite for _, finite in streets.path.submit(given)()] == [False, False]
    assert streets.path.overflowed, "the second one's keypoints were good"


def test_algorithms_are_searched_in_the_warm_up_only(monkeypatch):
    streets = Streets()
    seen: list[bool] = []
    motion = streets.runtime.motion
    monkeypatch.setattr(
        streets.runtime, "motion", lambda pictures: (seen.append(torch.backends.cudnn.benchmark), motion(pictures))[1]
    )
    streets.path.capture(lambda done, total: None)
    assert seen[:1] == [True]
    seen.clear()
    streets.submit("ab")()
    assert seen == [False]


@pytest.fixture
def graphs(monkeypatch):
    """A device that captures, as far as a processor can be one."""
    monkeypatch.setattr(steps, "Captured", Graphs)
    monkeypatch.setattr(steps, "graph_memory", lambda where: ("pool", "stream"))
    monkeypatch.setattr(Graphs, "captured", [])
    monkeypatch.setattr(Simple, "graphs", True)
    return Graphs


def test_a_portrait_stays_in_its_slot_while_streams_take_turns():
    streets = Streets()
    for names, held in (("abc", "abc"), ("cab", "abc"), ("bca", "abc"), ("acb", "abc"), ("aa", "aac"), ("ba", "abc")):
        assert streets.submit(names)() == names
        holds = [name for it in streets.path._holds for name, portrait in streets.portraits.items() if portrait is it]
        assert "".join(holds) == held, names


def test_where_memory_ends_smaller_batches_go_on(graphs, monkeypatch, caplog):
    monkeypatch.setattr(graphs, "room", 2)
    held = iter(range(0, 100_000_000, 10_000_000))
    monkeypatch.setattr(steps, "reserved", lambda where: next(held))
    caplog.set_level("INFO")
    streets = Streets()
    streets.path.capture(lambda done, total: None)
    assert streets.path.batches == [1, 2]
    assert streets.submit("ab")() == "ab"
    assert [r.message for r in caplog.records] == [
        "batch of 1: 10 MB", "batch of 2: 10 MB", "no memory for 4 streams in one go: at most 2",
    ]  # fmt: skip
    monkeypatch.setattr(graphs, "room", 0)
    with pytest.raises(torch.OutOfMemoryError):
        Streets().path.capture(lambda done, total: None)


def test_a_capture_says_in_its_own_words_that_memory_has_ended():
    def of(problem: str) -> BaseException:
        try:
            try:
                raise torch.OutOfMemoryError("CUDA out of memory")
            except torch.OutOfMemoryError:
                raise RuntimeError(problem)  # noqa: B904
        except RuntimeError as exc:
            return exc

    assert build.is_out_of_memory(of("operation failed due to a previous error during capture"))
    assert build.is_out_of_memory(RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate(handle)"))
    assert not build.is_out_of_memory(RuntimeError("CUDA error: an illegal memory access was encountered"))


@pytest.fixture
def compiling(graphs, monkeypatch):
    monkeypatch.setattr(Simple, "compiles", True, raising=False)


def test_the_smallest_and_the_largest_batch_are_ready_first(graphs, compiling):
    rig, runtime = Rendered(), Simple()
    rig.renderer.warm_up(runtime, rig.shown["a"], lambda done, total: None)
    assert graphs.captured == [1, 8]
    assert rig.colours(rig.submit(runtime, "abc")) == "abc", "served meanwhile"
    [build] = rig.builds
    build()
    assert graphs.captured == [1, 8, 1, 2, 4, 8]
    assert rig.colours(rig.submit(runtime, "abc")) == "abc"
    assert rig.renderer._way.path.batches == [1, 2, 4, 8]
    assert len(rig.builds) == 1


@pytest.mark.slow
def test_of_another_way_too(graphs, compiling):
    rig, first, second = Rendered(4), Simple(), Simple()
    rig.renderer.warm_up(first, rig.shown["a"], lambda done, total: None)
    rig.builds.pop()()
    graphs.captured.clear()
    for _ in range(4):
        assert rig.colours(rig.submit(second, "ab")) == "ab"
        while rig.builds:
            rig.builds.pop()()
    assert graphs.captured == [1, 4, 1, 2, 4]
    assert rig.renderer.runtime is second
    assert rig.renderer._way.path.batches == [1, 2, 4]


def test_where_the_largest_batch_finds_no_memory_the_next_smaller_is_built(graphs, compiling, monkeypatch):
    monkeypatch.setattr(graphs, "room", 4)
    rig, runtime = Rendered(), Simple()
    rig.renderer.warm_up(runtime, rig.shown["a"], lambda done, total: None)
    assert rig.renderer.max_batch == 1
    rig.builds.pop()()
    assert rig.colours(rig.submit(runtime, "abc"[:1])) == "a"
    assert rig.renderer.max_batch == 4


def test_buffers_that_leave_no_room_to_run_are_smaller(graphs, monkeypatch):
    whole = graphs.__init__

    def init(graph, function, where, *shared):
        if len(function.func.__self__._holds) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        whole(graph, function, where, *shared)

    monkeypatch.setattr(graphs, "__init__", init)
    rig, runtime = Rendered(), Simple()
    rig.renderer.warm_up(runtime, rig.shown["a"], lambda done, total: None)
    assert rig.colours(rig.submit(runtime, "ab")) == "ab"
    assert rig.renderer.max_batch == 2
    monkeypatch.setattr(graphs, "room", 0)
    with pytest.raises(torch.OutOfMemoryError):
        Rendered().renderer.warm_up(runtime, rig.shown["a"], lambda done, total: None)


def test_another_way_is_built_beside_the_frames_and_keeps_its_own_networks(graphs):
    rig, first, second = Rendered(4), Simple(), Simple()
    rig.renderer.warm_up(first, rig.shown["a"], lambda done, total: None)
    flying = rig.submit(first, "ab")
    for names in ("c", "ab", "abcd"):
        following = rig.submit(second, names)
        rig.colours(flying)
        flying = following
        assert rig.renderer._way.path.runtime is first, "what was captured of it is in use"
    [build] = rig.builds
    build()
    before = rig.renderer._way.path
    following = rig.submit(second, "da")
    assert rig.renderer._way.path.runtime is second
    assert (rig.colours(flying), rig.colours(following)) == ("abcd", "da")
    assert torch.equal(rig.renderer._way.path._filter[0, :2], before._filter[0, :2]), "streams go on where they were"
    assert len(rig.builds) == 1


def test_a_way_that_cannot_be_built_stops_nobody(graphs, monkeypatch, caplog):
    rig, first, second = Rendered(4), Simple(), Simple()
    rig.renderer.warm_up(first, rig.shown["a"], lambda done, total: None)
    monkeypatch.setattr(second, "motion", lambda pictures: 1 / 0)
    rig.colours(rig.submit(second, "ab"))
    rig.builds.pop()()
    assert rig.colours(rig.submit(second, "ab")) == "ab"
    assert rig.builds == [], "it is not tried for every frame"
    assert "going on with the one before" in caplog.text


def test_a_portrait_that_is_no_larger_than_what_is_configured_builds_nothing(graphs):
    rig, runtime = Rendered(4), Simple()
    rig.renderer.grow(12)
    rig.renderer.warm_up(runtime, rig.shown["a"], lambda done, total: None)
    captured = len(graphs.captured)
    for name, side in zip("bcd", (8, 12, 10), strict=True):
        rig.shown[name] = Shown(rig.streets, name, side)
    assert rig.colours(rig.submit(runtime, "bcd")) == "bcd"
    assert (len(graphs.captured), rig.builds) == (captured, [])


def test_a_precision_that_overflows_is_told_of(graphs, monkeypatch):
    rig, runtime = Rendered(4), Simple()
    rig.renderer.warm_up(runtime, rig.shown["a"], lambda done, total: None)
    render = runtime.render
    monkeypatch.setattr(runtime, "render", lambda features, keypoints: render(features, keypoints) * torch.nan)
    rig.submit(runtime, "a")()
    assert rig.overflowed == [runtime]


# Frames for which nothing has moved


def moving(streets: Streets, by_px: float) -> None:
    """From now on the driver's face is so much further to the right, in pixels of the crop."""
    motion = streets.runtime._motion
    streets.runtime._motion = motion._replace(translation=motion.translation + torch.tensor([[by_px / 256, 0, 0]]))


def test_where_nothing_has_moved_nothing_is_painted(monkeypatch):
    streets, painted = Streets(still_px=0.1), []
    paint = streets.path._paint
    monkeypatch.setattr(
        streets.path, "_paint", lambda tensors, keypoints: (painted.append(len(keypoints)), paint(tensors, keypoints))
    )
    assert [streets.submit(names)() for names in ("ab", "ab", "bac", "abcd", "dc", "d")] == [
        "ab", "--", "--c", "---d", "--", "-",
    ]  # fmt: skip
    assert painted == [2, 1, 1], "of the smallest size that holds those that have moved"


def test_what_has_moved_is_what_has_gone_from_the_picture_that_is_shown():
    """However slowly: a threshold from frame to frame would let it go anywhere."""
    streets = Streets(still_px=0.5)
    out = ""
    for _ in range(10):
        moving(streets, 0.2)
        out += streets.submit("a", gap_s=0.0)()
    assert out == "a--a--a--a"


def test_another_portrait_and_a_stream_that_begins_anew_are_painted():
    streets = Streets(still_px=0.1)
    assert [streets.submit("a")() for _ in range(2)] == ["a", "-"]
    streets.portraits["a"] = streets.portraits["b"]
    assert [streets.submit("a")() for _ in range(2)] == ["b", "-"]
    streets.path.forget(0)
    assert [streets.submit("a")() for _ in range(2)] == ["b", "-"]


def test_a_picture_that_was_not_finite_is_not_the_one_to_stay(monkeypatch):
    streets = Streets(still_px=0.1)
    render = streets.runtime.render
    monkeypatch.setattr(streets.runtime, "render", lambda *given: render(*given) * torch.nan)
    streets.submit("a")()
    monkeypatch.undo()
    assert [streets.submit("a")() for _ in range(2)] == ["a", "-"]


@pytest.mark.slow
def test_each_frame_is_painted_unless_asked_otherwise():
    streets = Streets()
    assert [streets.submit("ab")() for _ in range(2)] == ["ab", "ab"]
