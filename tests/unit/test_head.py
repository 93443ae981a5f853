"""The head of a portrait of one picture: pose, matte, ground, border, grain and recentring, with motions that are made."""

from __future__ import annotations

import logging
from dataclasses import replace
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from pipeline.face.faces import faces_by
from pipeline.face.motion import rest
from pipeline.follow.recentre import Recentring
from pipeline.mesh.backdrop import Backdrop
from pipeline.mesh.backward import backward
from pipeline.mesh.extend import cut
from pipeline.mesh.finish import Grain, Wrinkles
from pipeline.mesh.matte import person
from pipeline.mesh.pose import KNEE, limited, pose_of
from pipeline.mesh.prepared import MeshPrepared
from pipeline.mesh.warp import warp
from pipeline.portrait import Portrait, bundled, bundled_names, load_portrait
from streamer.config import Engine
from streamer.control.gallery import Gallery
from streamer.control.preparing import SIDES

POSES = [(0.4, 0, 0, 0, 0, 0), (-0.5, 0.2, 0, 0, 0, 0), (0, -0.4, 0.5, 0.2, 0.5, 0), (0.3, 0.3, -0.2, -0.1, -0.4, 0.3)]


def posed(*pose):
    return replace(rest(), pose=np.array(pose, np.float32))


def head_of(source, motion):
    """The head over its ground, without the drawn layers and with lids and lips as they are."""
    pose = pose_of(motion, source.geometry)
    pose = replace(pose, offsets=np.zeros_like(pose.offsets))
    return source.backdrop.behind(warp(source.backdrop.head, source.geometry, pose, pose.landmarks(source.geometry)))


@pytest.fixture(scope="module")
def astronaut():
    return MeshPrepared.of(bundled("astronaut"), 640, 512)


def test_a_pose_is_the_drivers_own_up_to_a_knee():
    limits = np.array([[0.4], [0.6]], np.float32)
    x = np.linspace(-2, 2, 4001)[:, None].astype(np.float32)
    y = limited(x, limits)
    inside = (x > -KNEE * 0.4) & (x < KNEE * 0.6)
    assert np.array_equal(y[inside], x[inside]), "slope 1"
    assert (np.diff(y[:, 0]) >= 0).all()
    assert y.min() == pytest.approx(-0.4, abs=1e-3)
    assert y.max() == pytest.approx(0.6, abs=1e-3)
    assert np.abs(np.diff(y[:, 0], 2)).max() < 1e-4, "the slope does not leap"


def test_a_face_that_is_cut_or_turned_moves_less():
    face = bundled("astronaut")
    whole = MeshPrepared.of(face, 640, 512).geometry.limits
    x = int(face.landmarks[:, 0].min()) + 20
    moved = face.landmarks - np.array([x, 0, 0], np.float32)
    left = MeshPrepared.of(Portrait("cut", np.ascontiguousarray(face.image[:, x:]), moved), 640, 512).geometry.limits
    assert left[1, 4] < 0.5 * whole[1, 4], "away from the border that cuts it"
    assert left[0, 4] == whole[0, 4]
    assert left[0, 0] < whole[0, 0]


@pytest.mark.parametrize("name", ["astronaut", "drawing", "s1", "s5", "s9", "s12", "s22", "s30"])
def test_at_rest_head_and_ground_are_the_portrait(name, request):
    if name in bundled_names():
        portrait = bundled(name)
    else:
        path, model = request.getfixturevalue("picture")(name), request.getfixturevalue("model")
        portrait = load_portrait(str(path), faces_by(model))
    source = MeshPrepared.of(portrait, 640, 512)
    assert np.array_equal(source.crop.paste(head_of(source, rest()), source.still), source.still)


def test_the_ground_stands_still_whatever_the_pose(astronaut):
    still = head_of(astronaut, rest())
    reach = np.zeros(still.shape[:2], bool)
    moved = [head_of(astronaut, posed(*pose)) for pose in POSES]
    for out in moved:
        reach |= (out != still).any(axis=-1)
    coverage = astronaut.backdrop.head[..., 3]
    far = cv2.dilate(coverage, np.ones((141, 141), np.uint8)) == 0
    assert far.mean() > 0.02
    assert not reach[far].any()
    assert all(np.abs(out.astype(int) - still).mean() > 2 for out in moved), "and the head does move"


def test_straight_lines_beside_the_head_stay(astronaut):
    """Lines are painted on the ground of the portrait; where the moved head does not lie they are there, unbent."""
    coverage = astronaut.crop.coverage(astronaut.still, astronaut.cut.matte)
    lined = astronaut.pixels.copy()
    lined[(np.arange(astronaut.crop.side) % 24 < 3)[None, :] & (coverage < 0.01)] = (200, 30, 30)
    beyond = astronaut.crop.beyond(astronaut.still)
    backdrop = Backdrop.of(lined, coverage, beyond, Grain.of(astronaut.pixels))
    source = replace(astronaut, backdrop=backdrop, pixels=lined)
    for pose in POSES:
        p = pose_of(posed(*pose), source.geometry)
        moved = warp(backdrop.head, source.geometry, p, p.landmarks(source.geometry))
        open_now = ~(backdrop.head.any(axis=-1) | moved.any(axis=-1)) & (beyond == 0)
        assert open_now.mean() > 0.2
        assert np.array_equal(head_of(source, posed(*pose))[open_now], lined[open_now])


@pytest.mark.parametrize("pose", POSES)
def test_nothing_that_is_seen_folds_over(astronaut, pose):
    """What neighbouring nodes show lies in the same order: only hidden parts are left out between them."""
    geometry = astronaut.geometry
    inner, *_ = backward(geometry, pose_of(posed(*pose), geometry))
    at = geometry.grid + inner
    across, down = np.diff(at, axis=1)[:-1], np.diff(at, axis=0)[:, :-1]
    area = across[..., 0] * down[..., 1] - across[..., 1] * down[..., 0]
    face = np.hypot(*np.moveaxis((geometry.grid - geometry.pivot[:2]) / (0.35 * geometry.side), -1, 0))[:-1, :-1] < 1
    whole = np.maximum(np.abs(across), np.abs(down)).max(axis=-1) < 3 * geometry.side / len(geometry.grid)
    assert (area[face & whole] > 0).mean() > 0.995
    assert whole[face].mean() > 0.93


def test_the_far_cheek_is_hidden_and_not_squeezed(astronaut):
    """At a turn what lies behind the cheek's edge is left out: the map leaps there."""
    geometry = astronaut.geometry
    inner, *_ = backward(geometry, pose_of(posed(0.45, 0, 0, 0, 0, 0), geometry))
    cell = geometry.side / len(geometry.grid)
    steps = np.diff(geometry.grid[..., 0] + inner[..., 0], axis=1) / cell
    row = int(geometry.pivot[1] / cell)
    assert steps[row].max() > 3
    assert np.median(steps[row]) == pytest.approx(1, abs=0.3)


@pytest.mark.slow
def test_a_busy_ground_has_no_matte():
    face = bundled("astronaut")
    noise = np.random.default_rng(1).integers(0, 255, face.image.shape, np.uint8)
    assert person(noise, face.landmarks) is None
    flat = np.full_like(face.image, 120)
    assert person(flat, face.landmarks) is None
    source = MeshPrepared.of(Portrait("flat", flat, face.landmarks), 640, 512)
    assert source.backdrop.ground is None
    assert np.array_equal(source.backdrop.head, source.pixels)


def test_beyond_its_border_a_picture_goes_on_without_streaks():
    rng = np.random.default_rng(2)
    picture = np.repeat(np.repeat(rng.integers(0, 255, (50, 50, 3), np.uint8), 4, axis=0), 4, axis=1)
    out = cut(picture, -60, 20, 160)
    assert np.array_equal(out[:, 60:], picture[20:180, :100])
    outside = out[:, :60].astype(float)
    assert np.abs(np.diff(outside, axis=1)).mean() > 1, "no streaks"
    assert np.abs(outside[:, 59] - picture[20:180, 1]).mean() < 12, "it goes on where it ends"
    detail = np.abs(np.diff(outside, axis=0)).mean(axis=(0, 2))
    assert detail[:10].mean() < 0.5 * detail[-10:].mean(), "blurred further out"


def test_grain_has_the_level_of_the_portrait():
    rng = np.random.default_rng(3)
    noisy = np.clip(120 + rng.normal(0, 5, (256, 256, 1)), 0, 255).astype(np.uint8).repeat(3, axis=2)
    grain = Grain.of(noisy)
    assert grain.fine == pytest.approx(5, rel=0.1)
    drawn = grain.on(np.full((200, 200, 4), 100, np.float32))
    assert drawn[..., 0].std() == pytest.approx(5, rel=0.15)
    assert (drawn[..., 3] == 100).all()
    assert Grain.of(np.full((64, 64, 3), 90, np.uint8)) == Grain(0, 0)


def test_a_frown_shades_the_brow_and_a_drawing_has_no_folds(astronaut):
    motion = rest()
    motion.expression[[107, 55], 0], motion.expression[[336, 285], 0] = 0.12, -0.12
    picture = np.full((astronaut.geometry.side, astronaut.geometry.side, 3), 150, np.uint8)
    shaded = astronaut.wrinkles.on(picture, motion).astype(int) - 150
    x, y = astronaut.geometry.landmarks[9, :2].astype(int)
    assert shaded[y - 12 : y + 12, x - 25 : x + 25].min() < -6
    assert np.abs(shaded).max() < 30, "subtle"
    assert astronaut.wrinkles.on(picture, rest()) is picture
    assert astronaut.wrinkles.on(picture, replace(motion, wrinkles=0.0)) is picture
    assert MeshPrepared.of(bundled("drawing"), 640, 512).wrinkles is None
    assert Wrinkles.of(astronaut.geometry, Grain(0.1, 0.1)) is None


def test_leaning_back_does_not_shrink_the_head_for_good():
    recentre, pose = Recentring(), np.array([0.2, 0.1, 0, -0.2, 0.5, 0], np.float32)
    shown = np.stack([recentre(pose, 100 + k / 10, 25.0) for k in range(1000)])
    assert np.array_equal(shown[0], pose), "a lean is seen at once"
    assert np.allclose(shown[:, :3], pose[:3]), "turns are not taken back"
    assert shown[250, 3] == pytest.approx(-0.2 / np.e, rel=0.02)
    assert abs(shown[-1, 3]) < 0.005
    assert shown[-1, 4] == pytest.approx(0.5 / np.e, rel=0.02), "where it has gone it stays for longer"
    assert np.abs(np.diff(shown, axis=0)).max() < 0.003
    after = recentre(pose, 10_000, 25.0)
    assert np.abs(after - shown[-1]).max() < 0.01, "nor does it leap after a pause"
    off = Recentring()
    assert all(np.array_equal(off(pose, k, 0.0), pose) for k in range(100))


class Slow:
    """An engine whose frames take as long as their pixels."""

    by_size = True
    name = "slow"

    def __init__(self, pixel_s: float) -> None:
        self.pixel_s = pixel_s
        self.sides: list[int] = []

    def prepare(self, portrait, max_side, max_crop):
        self.sides.append(max_side)
        return SimpleNamespace(still=np.zeros((max_side, max_side, 3), np.uint8), fps=0.0)

    def warm_up(self, prepared, progress):
        return self.pixel_s * prepared.still.shape[0] * prepared.still.shape[1]


@pytest.mark.parametrize(("pixel_s", "side"), [(1e-9, 1080), (1e-7, SIDES[-1])])
async def test_a_slow_machine_takes_smaller_pictures_and_says_so(pixel_s, side, caplog):
    caplog.set_level(logging.INFO)
    gallery, engine = Gallery(Engine(), faces_by(None), set, frame_s=0.015), Slow(pixel_s)
    await gallery.prepared(engine, "astronaut")
    assert engine.sides[-1] == side
    assert ("too slow here" in caplog.text) == (side < 1080)
