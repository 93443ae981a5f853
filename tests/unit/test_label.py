"""The visible label: where it stands, what it covers, on which outputs and for how long."""

from __future__ import annotations

import ast
import asyncio

import cv2
import numpy as np
import pytest

from pipeline.frames import _SEAL, AnimatedFrame, Marked, opaque, planar, stacked, yuv_planes
from pipeline.label import Corner, Label, box_of
from pipeline.mark.marker import UNMARKED
from pipeline.portrait import DEMO_CLIP, bundled, bundled_names, fit
from streamer.config import Budget, Config, Device, Kind, Puppet
from streamer.config.label import Label as Section
from streamer.errors import ConfigError
from streamer.stream.admission import Admission
from streamer.stream.stages import Stages
from streamer.stream.stream import Shown, Stream

from ..conftest import ROOT
from ..fakes import FakeEngine, FakePrepared, LoopTime, VirtualStage
from ..virtual_time import virtual

SIDES = (240, 512, 1080)
MIDDLE = (0.3, 0.3, 0.4, 0.4)
CORNERS = {"top_right": (0.75, 0.0), "top_left": (0.0, 0.0), "bottom_right": (0.75, 0.75), "bottom_left": (0.0, 0.75)}


def frame_of(grey: int, side: int = 240) -> AnimatedFrame:
    return AnimatedFrame(planar(np.full((side, side, 3), grey, np.uint8)), 0.0, 1, _SEAL)


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("grey", [0, 128, 255])
def test_white_letters_on_a_dark_plate_whatever_is_behind(grey, side):
    label = Label()
    x, y, wide, high = label.place(side, side, None)
    frame = frame_of(grey, side)
    after = frame.labelled(label, None).yuv[y : y + high, x : x + wide]
    assert (after >= 180).mean() > 0.08  # letters
    plate = np.median(after)
    assert plate <= 16 + 219 * 0.36  # a contrast of 7 to 1 to white
    assert high >= 16
    assert np.ptp(frame.yuv[:side]) == 0, "other outputs show the frame as it was"


@pytest.mark.parametrize("name", bundled_names())
@pytest.mark.parametrize("side", SIDES)
def test_it_never_meets_the_face(name, side):
    """Nor where the face, as wide as its outline, goes as far as it may be expected to."""
    portrait = bundled(name)
    image, landmarks = fit(portrait.image, portrait.landmarks, side, side / max(portrait.image.shape))
    height, width = image.shape[:2]
    hull = cv2.convexHull(landmarks[:, :2].astype(np.float32))
    for corner in Corner:
        x, y, wide, high = Label(corner=corner).place(width, height, box_of(landmarks, width, height))
        assert 0 <= x <= width - wide
        assert 0 <= y <= height - high
        edges = [(px, py) for px in np.linspace(x, x + wide, 20) for py in (y, y + high)]
        nearest = max(cv2.pointPolygonTest(hull, edge, True) for edge in edges)
        assert nearest < -0.02 * side, f"{corner}: {-nearest:.0f} pixels from the face"


@pytest.mark.parametrize("wanted", list(Corner))
def test_the_corner_is_the_one_that_is_wanted_unless_the_face_is_there(wanted):
    free = Label(corner=wanted).place(512, 512, MIDDLE)
    assert free == Label(corner=wanted).place(512, 512, None)
    taken = Label(corner=wanted).place(512, 512, (*CORNERS[wanted], 0.25, 0.25))
    assert taken[:2] != free[:2]


def test_nothing_but_its_place_is_touched():
    label, frame = Label(), frame_of(128)
    x, y, wide, high = label.place(240, 240, MIDDLE)
    for step, before, after in zip((1, 2, 2), yuv_planes(frame.yuv), yuv_planes(frame.labelled(label, MIDDLE).yuv), strict=True):
        changed = np.argwhere(before != after) * step
        if step == 1:
            assert changed.min(axis=0).tolist() >= [y, x]
            assert changed.max(axis=0).tolist() <= [y + high - 1, x + wide - 1]
        else:
            assert not changed.size  # grey is grey


@pytest.mark.parametrize("side", [2, 16, 30])
def test_a_picture_of_a_few_pixels_is_laid_over_as_far_as_it_goes(side):
    assert frame_of(128, side).labelled(Label(), None).yuv.shape == (side * 3 // 2, side)
    assert Label().drawn(np.full((2, 7 * side, 3), 128, np.uint8), None).shape == (2, 7 * side, 3)


def test_of_a_cut_out_it_is_colour_and_coverage():
    """Where nothing of the person is, the label is there all the same."""
    yuv = planar(np.full((240, 240, 3), 200, np.uint8))
    black, nothing = planar(np.zeros((240, 240, 3), np.uint8)), np.zeros((240, 240), np.uint8)
    alone = AnimatedFrame(yuv, 0.0, 1, _SEAL, lambda: Marked(stacked(black, nothing)))
    label = Label()
    x, y, wide, high = label.place(240, 240, None)
    both = yuv_planes(alone.labelled(label, None).cut_out().yuv)[0]
    colours, coverage = both[:240], both[240:]
    part = np.s_[y : y + high, x : x + wide]
    letters = colours[part] > 180
    assert letters.mean() > 0.08
    assert (coverage[part][letters] > 180).all()
    outside = coverage.copy()
    outside[part] = 16
    assert (outside == 16).all()
    plain = AnimatedFrame(yuv, 0.0, 1, _SEAL).labelled(label, None)
    assert (plain.cut_out().yuv == opaque(plain.yuv)).all()


def test_a_picture_of_colours_times_coverage_shows_it_where_it_is_clear():
    drawn = Label().drawn(np.zeros((240, 240, 4), np.uint8), None)
    x, y, wide, high = Label().place(240, 240, None)
    assert (drawn[y : y + high, x : x + wide, 3] > 180).mean() > 0.08
    assert drawn[..., 3].sum() == drawn[y : y + high, x : x + wide, 3].sum()
    assert (drawn[..., :3].max(axis=2) <= drawn[..., 3]).all()


def test_all_outputs_have_it_by_default_and_each_its_own_if_the_config_says_so():
    assert Config().label.kinds() == list(Kind)
    label = Section(seconds=5, outputs={"camera": {"show": False}, "recordings": {"text": "AI", "seconds": 0}})
    assert label.of(Kind.CAMERA) is None
    assert label.of(Kind.RECORDINGS) == Label("AI")
    assert label.of(Kind.VIEWERS) == Label(seconds=5)
    assert Section(show=False, outputs={"push": {"show": True}}).kinds() == [Kind.PUSH]


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"text": "生成"}, "built-in font has no"),
        ({"font": ROOT / "README.md"}, f"label.font: {ROOT / 'README.md'}"),
        ({"font": ROOT / "nowhere.ttf"}, "nowhere.ttf"),
    ],
)
def test_what_the_font_cannot_show_is_an_error_at_the_start(keys, said):
    with pytest.raises(ConfigError, match="label") as raised:
        Section(**keys).check()
    assert said in str(raised.value)


def test_it_is_said_before_an_engine_is_loaded(shell, tmp_path):
    """Of the two mistakes, an engine without its checkpoints is the later one."""
    variables = {"PUPPETCAST_LABEL__FONT": str(tmp_path / "none.ttf")}
    for command in (["animate", "mei", DEMO_CLIP, "-o", tmp_path / "out.mp4"], ["pose", "mei", "-o", tmp_path / "out.png"]):
        done = shell.run([*command, "--engine", "liveportrait", "--checkpoints", tmp_path], **variables)
        assert (done.code, "error: label.font: " in done.said, "heckpoint" in done.said) == (2, True, False), done


@pytest.mark.parametrize("text", ["Mit KI verändert (größer)", "Modifié par IA", "Изменено ИИ"])
def test_letters_of_europe_need_no_font(text):
    Section(text=text).check()


def test_a_time_at_first_exposure():
    assert Label().shows(1e6)
    assert Label(seconds=3).shows(None)
    assert [Label(seconds=3).shows(seen_s) for seen_s in (0.0, 2.9, 3.0)] == [True, True, False]


class Looks:
    """A sink that keeps whether what it gets is labelled: the corner of a grey picture is then not grey."""

    def __init__(self, kind: Kind) -> None:
        self.kind = kind
        self.seen_s: float | None = None
        self.labelled: list[bool] = []

    def offer(self, frame: AnimatedFrame) -> None:
        self.labelled.append(np.ptp(frame.yuv[: frame.yuv.shape[1]]) > 0)


@virtual
async def test_a_stream_labels_what_it_hands_out_for_those_who_look_and_while_they_are_new():
    clock = LoopTime()
    stages = Stages(lambda name: FakeEngine(clock), 0.002, VirtualStage, clock)
    stage = stages.open("fake")
    await stages.started(stage, FakePrepared())
    label = Section(seconds=2, outputs={"camera": {"show": False}, "recordings": {"seconds": 0}})
    shown, admission = Shown("a", FakePrepared()), Admission(Device(), {})
    stream = Stream(
        "a", stage, stage.engine.open(), shown, Budget(), Puppet(), admission, stages.run, UNMARKED, clock, label_of=label.of
    )  # fmt: skip
    viewer, camera, recording = (Looks(kind) for kind in (Kind.VIEWERS, Kind.CAMERA, Kind.RECORDINGS))
    stream.sinks.update({viewer, camera, recording})
    frames = [planar(np.full((64, 64, 3), 128, np.uint8)) for _ in range(2)]

    async def shows() -> list[bool]:
        stream._from_stage(AnimatedFrame(frames[0], clock(), 1, _SEAL))
        await asyncio.sleep(0.1)
        return [sink.labelled[-1] for sink in (viewer, camera, recording)]

    assert await shows() == [True, False, True], "before anybody looks, too"
    viewer.seen_s = clock()
    assert await shows() == [True, False, True]
    await asyncio.sleep(2)
    assert await shows() == [False, False, True]
    viewer.seen_s = clock()  # another one has come
    assert await shows() == [True, False, True]
    assert not np.ptp(frames[0][:64]), "what it was given is as it was"
    await stream.stop()
    await stages.stop()


def test_nothing_but_a_stream_takes_pictures_before_their_label():
    """Whoever else asks for the latest one only asks whether there is one."""
    for path in (ROOT / "streamer").rglob("*.py"):
        if path.name == "stream.py":
            continue
        nodes = list(ast.walk(ast.parse(path.read_text())))
        asked = {node.left for node in nodes if isinstance(node, ast.Compare) and isinstance(node.ops[0], ast.Is | ast.IsNot)}
        taken = {node for node in nodes if isinstance(node, ast.Attribute) and node.attr == "latest"} - asked
        assert not taken, path
