"""Named shapes: what they are called, what each moves, in both engines, and what a face does that nobody drives."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.errors import PuppetError
from pipeline.face import topology as topo
from pipeline.face.faces import faces_by
from pipeline.face.motion import rest
from pipeline.follow.idle import BETWEEN_BLINKS_S, BLINK_S, FALL_S, QUICK_S, RISE_S, IdleLife
from pipeline.follow.tuning import Tuning
from pipeline.mesh.basis import basis, mirrored
from pipeline.mesh.engine import MeshEngine
from pipeline.mesh.follow import MeshPuppeteer
from pipeline.mesh.pose import LIPS
from pipeline.mesh.posing import motion_of, posed
from pipeline.shapes.names import ARKIT, REGION, REGIONS, SHAPES, SLIDERS, UNSEEN, slider_range
from pipeline.shapes.parse import parse, parse_regions
from pipeline.shapes.shapes import NOTHING, Held, Shapes

from ..faces import assert_at_rest
from ..fakes import FakeTracker

BROWS, LIDS = [*topo.RIGHT_BROW, *topo.LEFT_BROW], [i for lids in topo.EYES for lid in lids for i in lid]


def test_every_shape_of_arkit_is_there_and_in_one_region():
    assert len(ARKIT) == len(set(ARKIT)) == 52
    assert set(REGION) == set(SHAPES)
    assert set(REGION.values()) == set(REGIONS)
    assert {"eyeBlinkLeft", "jawOpen", "mouthSmileLeft", "browInnerUp", "cheekPuff", "noseSneerRight", "tongueOut"} < set(ARKIT)
    for name, shapes in SLIDERS.items():
        assert len({REGION[shape] for shape in shapes}) == 1, f"{name} is of one region"
    assert [slider_range(name) for name in ("yaw", "brows", "smile")] == [(-45, 45), (-1, 1), (0, 1)]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"smil": 1}, "shape 'smil' is not known; sliders: yaw, pitch"),
        ({"smile": 1.01}, "shape 'smile': a number from 0 to 1 is expected, not 1.01"),
        ({"headYaw": -46}, "shape 'headYaw': a number from -45 to 45 is expected, not -46"),
        ({"jawOpen": float("nan")}, "shape 'jawOpen': a number from 0 to 1 is expected, not nan"),
        ({"jawOpen": True}, "shape 'jawOpen': a number from 0 to 1 is expected, not True"),
        ({"jawOpen": "wide"}, "shape 'jawOpen': a number from 0 to 1 is expected, not 'wide'"),
    ],
)
def test_what_is_no_shape_is_told_in_a_line(given, message):
    with pytest.raises(PuppetError) as told:
        parse(given)
    assert str(told.value).startswith(message)
    assert "\n" not in str(told.value)


def test_sliders_and_shapes_add_up_as_far_as_they_go():
    assert parse({"brows": -0.5}).values == {"browDownLeft": 0.5, "browDownRight": 0.5}
    both = parse({"smile": 0.5, "mouthSmileLeft": 0.7})
    assert (both["mouthSmileLeft"], both["mouthSmileRight"]) == (1.0, 0.5)
    with pytest.raises(PuppetError, match="region 'nose' is not known; regions: head, gaze"):
        parse_regions(["nose"])


def test_what_is_held_keeps_the_rest_of_the_drivers_motion():
    held = Held(parse({"yaw": 20}), {"head": 1.0})
    assert (held.keeps("head"), held.keeps("mouth")) == (0.0, 1.0)
    assert not NOTHING
    assert held


def test_each_shape_moves_its_region_and_sides_are_mirror_images():
    moved = {name: np.linalg.norm(field, axis=1) for name, field in zip(ARKIT, basis(), strict=True)}
    for name, way in moved.items():
        if name in UNSEEN or REGION[name] in ("eyes", "gaze"):
            assert not way.any(), f"{name} is of the lids, or of nothing"
        elif REGION[name] == "brows":
            assert way[BROWS].max() > 0.05
            assert way[LIPS].max() < 1e-3, name
        else:
            most = max(float(way.max()), 1e-9)
            assert most > 0.02
            assert way[BROWS].max() < 0.03 * most, name
    for name in (name for name in ARKIT if name.endswith("Left")):
        left, right = (basis()[ARKIT.index(name.removesuffix("Left") + side)] for side in ("Left", "Right"))
        assert np.allclose(mirrored(left)[:468], right[:468], atol=0.02), name


def test_a_pose_goes_beside_the_drivers_motion_or_instead_of_it():
    driven = motion_of(parse({"yaw": 10, "mouthOpen": 0.5, "blinkLeft": 0.5, "gazeX": 0.5}))
    shapes = parse({"yaw": 5, "blinkLeft": 0.25, "smile": 1})
    assert posed(driven, NOTHING) is driven
    over = posed(driven, Held(shapes))
    assert np.allclose(over.pose, driven.pose + motion_of(shapes).pose)
    assert np.allclose(over.openness, [1.0, 0.25])
    assert np.allclose(over.gaze, driven.gaze)
    instead = posed(driven, Held(shapes.within({"head", "mouth"}), {"head": 1.0, "mouth": 1.0}))
    assert np.allclose(instead.pose, motion_of(shapes).pose)
    assert np.allclose(instead.expression[13], motion_of(shapes).expression[13], atol=1e-3), "no jaw of the driver's"
    assert np.allclose(instead.openness, driven.openness), "eyes stay the driver's"
    assert np.allclose(instead.gaze, driven.gaze), "eyes stay the driver's"


def test_degrees_and_sides_are_those_of_the_person():
    moved = motion_of(parse({"yaw": 10, "pitch": 5, "roll": 3, "gazeX": 1, "gazeY": 1, "blinkLeft": 1}))
    assert moved.pose[0] < 0, "to the picture's right, up, to the own left shoulder"
    assert moved.pose[1] < 0, "to the picture's right, up, to the own left shoulder"
    assert moved.pose[2] > 0, "to the picture's right, up, to the own left shoulder"
    assert (moved.gaze[:, 0] > 0).all()
    assert (moved.gaze[:, 1] < 0).all()
    assert moved.openness.tolist() == [1.0, 0.0], "right, left"


@pytest.mark.slow
def test_all_at_rest_is_the_portrait_to_the_pixel(tmp_path):
    assert_at_rest(MeshEngine(faces_by(None)), tmp_path / "out.png")


class Puppets:
    """Pictures of a life at `rate` a second: idle from `start_s`, driven from `driven_s`."""

    def __init__(self, seed: int = 1, rate: int = 100) -> None:
        self.life, self.rate = IdleLife(seed), rate

    def until(self, start_s: float, end_s: float, driven: bool = False) -> list[Shapes]:
        return [self.life(start_s + k / self.rate, driven) for k in range(round((end_s - start_s) * self.rate))]


def test_idle_life_blinks_as_people_do_and_the_same_with_a_seed():
    shown = Puppets().until(10, 70)
    lids = np.array([shapes["eyeBlinkLeft"] for shapes in shown])
    assert [shapes.values for shapes in Puppets().until(10, 70)] == [shapes.values for shapes in shown]
    assert [shapes.values for shapes in Puppets(2).until(10, 70)] != [shapes.values for shapes in shown]
    starts, ends = (np.flatnonzero(np.diff((lids > 0).astype(int)) == way) / 100 for way in (1, -1))
    gaps, long = np.diff(starts), ends - starts[: len(ends)]
    assert len(starts) >= 8, "irregular"
    assert np.ptp(gaps) > 0.5, "irregular"
    assert gaps.min() > BETWEEN_BLINKS_S[0]
    assert gaps.max() < BETWEEN_BLINKS_S[1] + BLINK_S[1] + 0.05
    assert long.min() >= 0.15
    assert long.max() <= 0.3
    assert np.percentile([shapes["eyeBlinkLeft"] for shapes in shown[300:]], 99) > 0.9, "lids shut"
    assert max(abs(shapes["headYaw"]) for shapes in shown) < 2


def test_idle_life_begins_at_rest_and_makes_room_for_a_driver_without_a_step():
    puppets = Puppets()
    alone, driven = puppets.until(0, 8), puppets.until(8, 9, driven=True)
    assert not alone[0].values
    assert abs(alone[round(RISE_S * 100) // 4]["headYaw"]) < 0.3
    yaw = np.array([shapes["headYaw"] for shapes in (*alone, *driven)])
    assert np.abs(np.diff(yaw)).max() < 0.06, "degrees in 10 ms"
    assert not driven[round(FALL_S * 100) + 1].values


def test_a_puppet_that_nobody_drives_shows_what_is_held_and_lives_where_it_should():
    puppeteer = MeshPuppeteer(FakeTracker)
    assert puppeteer.at_rest(0.0) is None, "nothing, and nothing is asked for"
    assert puppeteer.idle_s is None, "nothing, and nothing is asked for"
    puppeteer.pose(lambda room: Held(parse({"smile": 0.5})))
    seen = puppeteer.at_rest(1.0)
    assert seen is not None
    assert np.allclose(seen.expression, posed(rest(), Held(parse({"smile": 0.5}))).expression)
    puppeteer.pose(lambda room: NOTHING)
    puppeteer.tune(Tuning(idle=True))
    lives = [puppeteer.at_rest(k / 10) for k in range(20, 80)]
    assert lives[0] is None
    assert lives[-1] is not None
    assert np.abs(lives[-1].pose).max() > 0
    assert puppeteer.idle_s is not None
    assert puppeteer.idle_s >= QUICK_S
    puppeteer.tune(Tuning(idle=True, paused=True))
    ended = [puppeteer.at_rest(8 + k * QUICK_S) for k in range(20)]
    assert ended[0] is not None, "it goes away little by little"
    assert ended[-1] is None
    assert puppeteer.idle_s is None
