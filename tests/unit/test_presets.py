"""Presets: how they come and go, how they are kept, and what is refused."""

from __future__ import annotations

import json
from itertools import pairwise

import numpy as np
import pytest

from pipeline.budget import FrameBudget
from pipeline.errors import PuppetError
from pipeline.face import canonical
from pipeline.face.motion import Array, Motion, rotation_matrix
from pipeline.follow.leeway import CALM, Leeway, way
from pipeline.frames import Driving
from pipeline.lane import Lane, Screen
from pipeline.mark.marker import UNMARKED
from pipeline.mesh.follow import MeshPuppeteer
from pipeline.mesh.posing import places
from pipeline.shapes.ease import FASTEST, MOST_STEP_S, Easing, Hold
from pipeline.shapes.names import REGIONS
from pipeline.shapes.preset import Preset, shipped
from pipeline.stage import AnimationStage
from streamer.config import Portraits
from streamer.control.presets import HOTKEYS, MAX_BYTES, MAX_COUNT, Presets
from streamer.errors import BadPreset, CannotKeep, PresetsFull, UnknownPreset
from streamer.http.presets import _without_key
from streamer.stream.poses import Poses

from ..fakes import REST, FakeEngine, FakePrepared, FakePuppeteer, FakeTracker, ManualTime, camera_frame

SMILE = {"version": 1, "shapes": {"mouthSmileLeft": 0.6, "mouthSmileRight": 0.6}}
FRAME_S = 1 / 30


@pytest.fixture
def opened(tmp_path):
    return lambda **config: Presets(Portraits(folder=tmp_path, **config))


def settled(easing: Easing, time_s: float = 0.0):
    """What is held in the end, and how long it takes to come there."""
    start_s, held = time_s, easing.at(time_s)
    while easing.moving:
        time_s += FRAME_S
        held = easing.at(time_s)
    return held, time_s - start_s


def test_a_preset_comes_and_goes_within_its_time_and_leaves_nothing():
    poses = Poses()
    assert not poses.easing.at(0.0)
    smile = Preset.read({**SMILE, "name": "Smile", "mode": "instead", "ease_s": 0.4})
    poses.press(smile)
    held, took_s = settled(poses.easing)
    assert held.shapes.values == {"mouthSmileLeft": 0.6, "mouthSmileRight": 0.6}
    assert held.instead == {"mouth": 1.0}
    assert 0.4 <= took_s < 0.4 + 2 * FRAME_S
    poses.press(smile)
    held, _ = settled(poses.easing, 10.0)
    assert not held


def test_the_newest_wins_in_each_region_and_what_is_below_comes_back():
    poses = Poses()
    low = Preset.read({"name": "low", "shapes": {"jawOpen": 0.5, "browInnerUp": 0.5}})
    top = Preset.read({"name": "top", "shapes": {"jawOpen": 0.2, "gazeX": 0.3}, "mode": "over"})
    poses.press(low, True)
    poses.press(top, True)
    held, _ = settled(poses.easing)
    assert held.shapes.values == {"jawOpen": 0.2, "gazeX": 0.3, "browInnerUp": 0.5}
    assert held.instead == {"mouth": 0.0, "gaze": 0.0, "brows": 1.0}
    poses.press(low, True)
    assert poses.presets == ["top", "low"]
    assert settled(poses.easing, 5.0)[0].shapes["jawOpen"] == 0.5
    poses.press(low, False)
    assert settled(poses.easing, 9.0)[0].shapes["jawOpen"] == 0.2
    poses.clear()
    assert not settled(poses.easing, 13.0)[0]


def test_what_is_not_named_keeps_following_and_zero_names_a_region():
    poses = Poses()
    poses.hold({"smile": 0.5, "yaw": 0})
    held, _ = settled(poses.easing)
    assert held.instead == {"mouth": 1.0, "head": 1.0}
    assert held.shapes["mouthSmileLeft"] == 0.5
    poses.hold({})
    assert not settled(poses.easing, 5.0)[0]


def test_a_stall_does_not_let_it_leap():
    poses = Poses()
    poses.press(Preset.read({"name": "open", "shapes": {"jawOpen": 1}, "ease_s": 1}))
    poses.easing.at(0.0)
    assert poses.easing.at(60.0).shapes["jawOpen"] <= most_step(1.0, MOST_STEP_S, 1.0)


def most_step(whole: float, passed_s: float, ease_s: float) -> float:
    return whole * passed_s * FASTEST / ease_s


def test_no_sequence_of_presses_makes_a_step_above_that_of_one_press():
    pytest.importorskip("hypothesis", reason="hypothesis is not here; 'make test' installs it")
    from hypothesis import given, settings
    from hypothesis import strategies as st

    holds = [
        Hold({"mouth": {"jawOpen": value}}, instead, ease_s)
        for value, instead, ease_s in ((1.0, True, 0.2), (0.4, False, 0.7), (0.0, True, 0.3))
    ]
    presses = st.lists(st.tuples(st.lists(st.sampled_from(holds), max_size=3), st.floats(0, 0.3)), max_size=25)

    @settings(database=None, derandomize=True, deadline=None, max_examples=30)
    @given(presses)
    def check(presses):
        easing, time_s, before = Easing(), 0.0, (0.0, 0.0)
        for pressed, passed_s in presses:
            easing.holds = tuple(pressed)
            time_s += passed_s
            held = easing.at(time_s)
            now = (held.shapes["jawOpen"], held.instead["mouth"]) if held else (0.0, 0.0)
            assert all(-1e-9 <= value <= 1 + 1e-9 for value in now), "it never leaves what it is sent to"
            bound = most_step(1.0, min(passed_s, MOST_STEP_S), 0.2)
            assert max(abs(a - b) for a, b in zip(now, before, strict=True)) <= bound + 1e-9
            before = now

    check()


def nodding(count: int) -> Array:
    """(count, 478, 3) a face that keeps turning and going about, now slowly and now fast, and talks; seeded."""
    rng = np.random.default_rng(5)
    time_s = np.arange(count)[:, None] * FRAME_S
    waves = np.sin(2 * np.pi * (time_s * rng.uniform(0.1, 1.1, 12) + rng.uniform(0, 1, 12))).reshape(count, 4, 3).sum(axis=2)
    yaw, pitch, aside, jaw = (waves * (0.15, 0.08, 0.1, 0.04)).T
    talks = np.zeros((478, 3), np.float32)
    talks[[14, 17, 152], 1] = 1.0
    faces = [
        (canonical.face() + jaw[k] * talks) @ rotation_matrix(yaw[k], pitch[k], 0.0).T + (aside[k], 0, 0) for k in range(count)
    ]
    return np.array(faces, np.float32) * 100 + 300


def shown(faces: Array, presets: list[Preset]) -> tuple[list[Motion], list[Motion], list[int]]:
    """What the mesh engine shows of them, and what while each preset is pressed and let go in its turn; and for how many pictures
    each comes and goes."""
    tracker, poses, went = FakeTracker(), Poses(), [0] * (2 * len(presets))
    given = iter(faces)
    tracker.track = lambda image, time_s: next(given)  # type: ignore[method-assign]
    puppeteer, own, motions = MeshPuppeteer(lambda: tracker), list[Motion](), list[Motion]()
    puppeteer.pose(lambda room: poses.easing.at(len(motions) * FRAME_S, room))
    for k in range(len(faces)):
        number, after = divmod(k - LEAD, EACH)
        if number >= 0 and after == 0:
            poses.press(presets[number // 2])
        motions.append(puppeteer.follow(Driving(np.zeros((600, 600, 3), np.uint8), k * FRAME_S)))
        own.append(puppeteer._shown)
        went[number] += poses.easing.moving
    return own, motions, went


def steps(motions: list[Motion]) -> Array:
    return np.array([way(places(one), places(other)) for one, other in pairwise(motions)])[LEAD - 1 :]


LEAD, EACH = 100, 24  # pictures before the first press, and between two


def test_beside_a_face_that_moves_presses_make_no_step_above_its_own_usual_ones():
    """Each of those that are shipped, pressed and let go: both motions together. Where the face itself steps farther, that is
    what they keep to."""
    presets = shipped()
    own, motions, went = shown(nodding(LEAD + 2 * EACH * len(presets)), presets)
    p99 = float(np.quantile(steps(own), 0.99))
    assert (steps(motions) - np.maximum(steps(own), p99)).max() < 0.02 * p99
    assert max(went) * FRAME_S <= 0.8
    assert min(went) * FRAME_S < 0.45, "where there is room, it is not slower"


def test_an_engine_that_knows_no_landmarks_shares_the_speed_of_the_driver():
    leeway, place = Leeway(), np.zeros((1, 2))
    for k in range(100):
        way_s = 2 * CALM * abs(np.sin(k))
        place = place + (way_s * FRAME_S, 0)
        leeway.see(place, k * FRAME_S)
        if k:
            assert leeway.share == 0 or leeway.share * leeway.most + way_s * FRAME_S <= leeway.most * (1 + 1e-6)
    leeway.see(None, 9.0)
    assert leeway.share == 1, "where no face is, nothing moves beside it"


@pytest.fixture
def puppet():
    """A lane that nobody drives yet, stepped by hand; a jaw that opens is bright."""
    return Puppet()


class Puppet:
    def __init__(self) -> None:
        self.time, self.poses, self.shown = ManualTime(), Poses(), list[int]()
        self.stage = AnimationStage(FakeEngine(self.time), clock=self.time)
        screen = Screen(FakePrepared(), lambda frame: self.shown.append(int(frame.yuv[0, 0])), UNMARKED, self.time)
        budget = FrameBudget(max_frames=60, clock=self.time)
        self.lane = Lane(FakePuppeteer(), screen, budget, clock=self.time, easing=self.poses.easing)
        self.lane.step(None)

    def wait(self, seconds: float, level: int | None = None) -> list[int]:
        """How bright the pictures of this time are. level: of a driver."""
        before, end_s = len(self.shown), self.time() + seconds
        while self.time() < end_s:
            wait_s = FRAME_S if level is not None else self.lane.wait_s
            if wait_s is None:
                self.time.now = end_s
            else:
                self.time.sleep(wait_s)
                work = self.lane.step(None if level is None else camera_frame(level, self.time()))
                if work is not None:
                    self.stage.offer(work)
                    self.stage.step(self.stage.take())
        return self.shown[before:]


OPEN = Preset.read({"name": "open", "shapes": {"jawOpen": 1}, "ease_s": 0.4})


def test_without_a_driver_a_preset_is_shown_and_then_nothing_more_is_made(puppet):
    assert puppet.wait(5.0) == []
    puppet.poses.press(OPEN)
    levels = puppet.wait(3.0)
    assert levels[-1] == REST + 100
    assert levels == sorted(levels)
    assert max(np.diff(levels)) <= 100 * most_step(1.0, FRAME_S, 0.4) + 1
    assert len(levels) < 40, "a pose that stands still costs nothing"
    assert puppet.lane.wait_s is None
    puppet.poses.press(OPEN)
    assert puppet.wait(3.0)[-1] == REST
    assert puppet.lane.wait_s is None


def test_a_pose_is_there_again_when_the_driver_has_gone(puppet):
    puppet.poses.press(OPEN)
    puppet.wait(3.0)
    assert puppet.wait(3.0, level=REST)[-1] == REST + 100
    levels = puppet.wait(6.0)
    assert levels[-1] == REST + 100
    assert puppet.lane.wait_s is None


def test_an_engine_that_fails_at_a_pose_is_not_asked_for_ever(puppet, monkeypatch):
    monkeypatch.setattr(puppet.lane.puppeteer, "at_rest", lambda time_s: 1 / 0)
    puppet.poses.press(OPEN)
    assert puppet.wait(3.0) == []
    assert puppet.lane.wait_s is None


def test_a_pose_that_fails_costs_its_frame_and_not_the_lane(puppet, monkeypatch):
    with monkeypatch.context() as failing:
        failing.setattr(puppet.lane.puppeteer, "pose", lambda held: 1 / 0)
        assert puppet.wait(0.5, level=REST) == []
    assert puppet.wait(0.5, level=REST)


def test_presets_are_there_after_a_restart_with_their_keys(opened):
    presets = opened()
    assert presets.hotkey("Smile") == 1
    kept = presets.put("Äh, Kuß".replace(",", ""), SMILE, hotkey=1)
    assert presets.hotkey("Smile") is None
    again = opened()
    assert again.get("Äh Kuß") == kept
    assert (again.hotkey("Äh Kuß"), again.hotkey("Smile"), again.is_own("Äh Kuß")) == (1, None, True)
    again.delete("Äh Kuß")
    assert opened().hotkey("Smile") == 1, "who had the key at first has it again"
    again.put("Smile", SMILE)
    assert opened().get("Smile").shapes["mouthSmileLeft"] == 0.6
    back = again.delete("Smile")
    assert back == opened().get("Smile") == presets.shipped["Smile"]


@pytest.mark.parametrize("restarts", [False, True])
def test_a_key_that_nobody_has_goes_back_to_the_shipped_preset_that_had_it_first(opened, restarts):
    presets = opened()
    first = {name: presets.hotkey(name) for name in presets.shipped}
    assert (first["Surprise"], first["Wink"], first["Sad"]) == (3, 4, 5)
    presets.put("Wink", SMILE, hotkey=3)
    assert (presets.hotkey("Wink"), presets.hotkey("Surprise")) == (3, None)
    presets.put("B", SMILE, hotkey=3)
    assert (presets.hotkey("B"), presets.hotkey("Wink")) == (3, 4)
    presets.put("B", SMILE, hotkey=5)
    assert (presets.hotkey("B"), presets.hotkey("Surprise"), presets.hotkey("Sad")) == (5, 3, None)
    presets.put("Wink", SMILE, hotkey=9)
    presets.put("C", SMILE, hotkey=4)
    presets = opened() if restarts else presets
    presets.delete("Wink")
    assert (presets.hotkey("C"), presets.hotkey("Wink"), presets.hotkey("Look away")) == (4, None, 9), "C was given that key"
    for name in ("B", "C"):
        presets.delete(name)
    assert {name: presets.hotkey(name) for name in presets.shipped} == first


def test_a_key_that_was_lost_comes_back_with_the_next_start(opened, tmp_path):
    presets = opened()
    presets.put("own", SMILE, hotkey=1)
    keys = json.loads((tmp_path / "presets" / HOTKEYS).read_text())
    (tmp_path / "presets" / HOTKEYS).write_text(json.dumps([*keys[:3], "", *keys[4:]]))
    assert (opened().hotkey("own"), opened().hotkey("Wink"), opened().hotkey("Smile")) == (1, 4, None)


def test_shipped_presets_have_a_key_each_and_move_something():
    assert len(shipped()) == 9
    assert all(preset.shapes.values and preset.regions <= set(REGIONS) for preset in shipped())
    assert all(Preset.read(preset.data()) == preset for preset in shipped())


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("a", {**SMILE, "version": 2}, "preset: version: this program reads version 1, not 2"),
        ("a", {**SMILE, "version": True}, "preset: version: "),
        ("a", {"shapes": {"mouthSmirk": 1}}, "preset 'a': shape 'mouthSmirk' is not known; sliders: "),
        ("a", {"shapes": {"jawOpen": 2}}, "preset 'a': shape 'jawOpen': a number from 0 to 1 is expected, not 2"),
        ("a", {"shapes": [1]}, "preset 'a': shapes: numbers by name are expected"),
        ("a", {**SMILE, "regions": ["nose"]}, "preset 'a': region 'nose' is not known"),
        ("a", {**SMILE, "mode": "under"}, "preset 'a': mode: over or instead is expected, not 'under'"),
        ("a", {**SMILE, "ease_s": 0}, "preset 'a': ease_s: a number of seconds from 0.1 to 10 is expected, not 0"),
        ("a", {**SMILE, "colour": 1}, "preset: colour: unknown; known: version, name"),
        ("a", {**SMILE, "name": "b"}, "preset: name: 'b' is not the name in the address, 'a'"),
        ("a", [SMILE], "a preset is a JSON object: version, name"),
        ("../a/b", SMILE, "preset: name: 1 to 24 letters"),
        ("", SMILE, "preset: name: 1 to 24 letters"),
        ("hotkeys.json", SMILE, "preset: name: 1 to 24 letters"),
        ("a" * 25, SMILE, "preset: name: 1 to 24 letters"),
        ("smile", SMILE, "preset: name: there is 'Smile' already"),
    ],
)
def test_what_is_refused(opened, tmp_path, name, data, message):
    with pytest.raises(BadPreset) as refused:
        opened().put(name, data)
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)
    assert not list(tmp_path.rglob("*.json"))


def test_there_are_so_many_and_no_more(opened):
    presets = opened(keep=False)
    for number in range(MAX_COUNT):
        presets.put(f"own {number}", SMILE)
    with pytest.raises(PresetsFull, match="there are 100 presets already"):
        presets.put("one more", SMILE)
    presets.put("own 1", SMILE, hotkey=9)
    with pytest.raises(BadPreset, match="comes with the program"):
        presets.delete("Wink")
    with pytest.raises(UnknownPreset, match="no preset 'nobody'; presets: Smile"):
        presets.delete("nobody")


def test_a_damaged_folder_costs_only_what_is_damaged(opened, tmp_path, caplog):
    opened().put("good", SMILE)
    folder = tmp_path / "presets"
    (folder / "newer.json").write_text(json.dumps({**SMILE, "name": "newer", "version": 2}))
    (folder / "none.json").write_text("{")
    (folder / "large.json").write_text(" " * (MAX_BYTES + 1))
    (folder / HOTKEYS).write_text("[1]")
    presets = opened()
    assert presets.is_own("good")
    assert set(presets.all()) == {*presets.shipped, "good"}
    assert presets.hotkey("Smile") == 1
    for text in ("newer.json is left out: preset: version: this program reads version 1, not 2", "none.json", "16 KB", HOTKEYS):
        assert text in caplog.text
    assert (folder / "newer.json").exists()


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "presets").write_text("in the way")
    with pytest.raises(CannotKeep, match=r"preset 'good': cannot be kept \(.*portraits.folder"):
        Presets(Portraits(folder=tmp_path)).put("good", SMILE)


def test_a_preset_s_name_says_which_it_is():
    with pytest.raises(PuppetError, match=r"preset: name: .* not None"):
        Preset.read(SMILE)


def test_what_get_gives_can_be_put():
    assert _without_key({"name": "a", "hotkey": 3, "own": True}) == ({"name": "a"}, 3)
    assert _without_key({"hotkey": None}) == ({}, None)
    assert _without_key([]) == ([], None)
    for key in (0, 10, True, "1"):
        with pytest.raises(BadPreset, match="preset: hotkey: 1 to 9, or null, not "):
            _without_key({"hotkey": key})
