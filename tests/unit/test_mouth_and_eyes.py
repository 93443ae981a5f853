"""The mouth and the eyes of a portrait of one picture, under motions made up for each behaviour."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import av
import cv2
import numpy as np
import pytest

from pipeline.face import canonical
from pipeline.face import topology as topo
from pipeline.face.faces import faces_by
from pipeline.face.lids import driven_openness
from pipeline.face.mediapipe import MediaPipeTracker
from pipeline.face.motion import Motion, Neutral, eyes_look_shut, rest
from pipeline.mesh.animal import is_animal
from pipeline.mesh.eyes import GAZE_LIMIT, _iris, make_eyes, soft_gaze
from pipeline.mesh.finish import Grain
from pipeline.mesh.geometry import Geometry
from pipeline.mesh.interior import own_row
from pipeline.mesh.layers import Box
from pipeline.mesh.lids import _needed
from pipeline.mesh.mouth import _dome, make_mouth
from pipeline.mesh.pose import LIDS_LOOK, offsets, pose_of
from pipeline.mesh.prepared import MeshPrepared
from pipeline.mesh.tones import LUMA, Tones
from pipeline.portrait import Portrait, bundled, bundled_names, load_portrait

PICTURES = ("s1", "s5", "s9", "s12", "s22", "s30")


def moved(**ways: float) -> Motion:
    """A motion of the mouth, in eye distances: upper and lower lip, chin, both downward, and wider by `wide` to each side."""
    motion = rest()
    face = canonical.face()
    bow = np.cos(np.clip(face[:, 0] / 0.45, -1, 1) * np.pi / 2)  # less towards the corners
    for lip, name in ((list(topo.UPPER_LIP), "upper"), (list(topo.LOWER_LIP), "lower")):
        motion.expression[lip, 1] = ways.get(name, 0.0) * bow[lip]
    motion.expression[list(topo.JAW), 1] = ways.get("chin", 0.0)
    motion.expression[[175, 171, 396], 1] = ways.get("chin", 0.0)
    for corner, inner, side in ((61, 78, -1), (291, 308, 1)):
        motion.expression[[corner, inner], 0] = side * ways.get("wide", 0.0)
    return motion


def shut_eyes() -> Motion:
    return replace(rest(), openness=np.zeros(2, np.float32))


@pytest.fixture(scope="module", params=["astronaut", "drawing"])
def prepared(request):
    return MeshPrepared.of(bundled(request.param), 640, 512)


@pytest.fixture(scope="module")
def smiling():
    return MeshPrepared.of(bundled("astronaut"), 640, 512)


@pytest.fixture(scope="module")
def drawn():
    return MeshPrepared.of(bundled("drawing"), 640, 512)


def crop_of(prepared, motion):
    """The rendered crop, and the driven landmarks in it."""
    picture = prepared.render(motion)
    return prepared.crop.cut(picture), pose_of(motion, prepared.geometry).landmarks(prepared.geometry)


def jaw_of(prepared, motion):
    return prepared.mouth.jaw(pose_of(motion, prepared.geometry), prepared.geometry)


@pytest.mark.parametrize("name", [*bundled_names(), *PICTURES])
def test_at_rest_the_picture_is_itself_to_the_pixel(name, model, picture):
    given = bundled(name) if name in bundled_names() else load_portrait(str(picture(name)), faces_by(model))
    prepared = MeshPrepared.of(given, 1280, 512)
    assert np.array_equal(prepared.render(rest()), prepared.still)


def test_the_jaw_goes_with_the_chin_and_not_with_the_lips(prepared):
    lips = moved(upper=-0.06, lower=0.05)
    assert jaw_of(prepared, lips) == 0, "parting the lips leaves the jaw shut"
    assert jaw_of(prepared, moved(upper=-0.06, lower=0.05, chin=0.2)) > 0.2


def test_a_smile_draws_chin_and_lips_down_and_leaves_the_jaw_shut(prepared):
    bared = {"upper": -0.12, "lower": 0.15, "chin": 0.09}
    assert jaw_of(prepared, moved(**bared)) > 0.1, "a mouth that opens"
    assert jaw_of(prepared, moved(**bared, wide=0.12)) < 0.05, "one that grins"


def between_lips(prepared, motion):
    """Brightness down the middle of the open mouth, a little inside the lips."""
    crop, driven = crop_of(prepared, motion)
    x = round(float(driven[[13, 14], 0].mean()) + 0.06 * prepared.mouth.unit)  # beside the gap of the front teeth
    inset = 0.05 * prepared.mouth.unit
    top, bottom = round(float(driven[13, 1] + inset)), round(float(driven[14, 1] - inset))
    assert bottom - top > 3
    return crop[top:bottom, x - 1 : x + 2] @ LUMA


@pytest.mark.slow
def test_clenched_teeth_meet_though_the_lips_part(drawn):
    clenched = between_lips(drawn, moved(upper=-0.10, lower=0.06))
    opened = between_lips(drawn, moved(upper=-0.10, lower=0.30, chin=0.25))
    assert clenched.min() > 0.55 * clenched.max(), "no black between the rows"
    assert opened.min() < 0.5 * opened.max(), "which there is in an open mouth"


def test_teeth_reach_the_corners_of_a_wide_mouth(drawn):
    crop, driven = crop_of(drawn, moved(upper=-0.13, lower=0.06, wide=0.12))
    left, right = driven[78], driven[308]
    middle = (driven[13] + driven[14]) / 2
    columns = np.linspace(0.06, 0.94, 60)
    points = left + columns[:, None] * (right - left)
    points[:, 1] += (middle - (left + right) / 2)[1] * (1 - (2 * columns - 1) ** 2)
    xy = points.round().astype(int)
    light = cv2.GaussianBlur(crop, (0, 0), 1.0)[xy[:, 1], xy[:, 0]] @ LUMA
    assert (light > 1.2 * float(drawn.mouth.cavity @ LUMA)).mean() > 0.9, "no black gaps"
    assert np.abs(np.diff(light)).max() < 0.2 * np.ptp(light), "they fade towards the corners without an edge"


def test_pursed_lips_keep_the_light_out(drawn):
    around, pursed = (between_lips(drawn, moved(upper=-0.1, lower=0.3, chin=0.25, wide=wide)) for wide in (0.0, -0.15))
    assert pursed.mean() < 0.8 * around.mean()


def test_lower_teeth_stay_in_the_shade_of_the_lip_until_a_smile_bares_them(drawn):
    talking = between_lips(drawn, moved(upper=-0.10, lower=0.08)).mean(axis=1)
    smiling = between_lips(drawn, moved(upper=-0.10, lower=0.08, wide=0.15)).mean(axis=1)
    assert talking[-1] < 0.75 * talking.max()
    assert smiling[-1] > 1.1 * talking[-1]


def test_a_smile_is_dark_in_its_corners(drawn):
    crop, driven = crop_of(drawn, moved(upper=-0.13, lower=0.06, wide=0.12))
    corners = [driven[a] + 0.06 * (driven[b] - driven[a]) for a, b in ((78, 308), (308, 78))]
    middle = driven[[13, 14]].mean(axis=0)
    dark, light = ([crop[round(float(y)), round(float(x))] @ LUMA for x, y in points] for points in (corners, [middle]))
    assert max(dark) < 0.5 * light[0]


def test_an_open_mouth_is_rimmed_by_the_lip(drawn):
    crop, driven = crop_of(drawn, moved(upper=-0.05, lower=0.3, chin=0.25))
    edge, middle = driven[[88, 318]], driven[[13, 14]].mean(axis=0)
    inside = (edge + 0.15 * (middle - edge)).round().astype(int)
    light = crop[inside[:, 1], inside[:, 0]] @ LUMA
    assert light.min() > 0.7 * float(drawn.mouth.flesh @ LUMA), "no cavity up to the landmarks"


def test_light_in_a_round_mouth_falls_to_its_rim_all_round():
    turn = np.linspace(np.pi, -np.pi, 20, endpoint=False)  # from the left corner over the upper lip
    ring = np.stack([np.cos(turn), -np.sin(turn)], axis=1)
    box = Box(0, 0, 100, 100)
    dome = _dome(50 + 40 * ring, box)
    over = 50 + 38 * ring[1:10]
    assert max(dome[50, 50], dome[78, 50]) < 0.05, "the tongue is in the light"
    assert dome[over[:, 1].astype(int), over[:, 0].astype(int)].min() > 0.7, "the rim over it is not"
    assert not _dome(50 + 40 * ring * (1.0, 0.2), box).any(), "and a slit is as it is lit from before"


def test_a_gaping_mouth_hides_its_lower_teeth(drawn):
    gaping = between_lips(drawn, moved(upper=-0.1, lower=0.55, chin=0.25)).mean(axis=1)
    low = gaping[len(gaping) // 2 :]
    assert low.max() < 0.7 * gaping.max(), "no second row under the tongue"


def test_a_mouth_has_the_grain_of_the_face_and_not_of_what_is_behind_it(drawn):
    noisy = drawn.pixels + np.random.default_rng(0).normal(0, 12, drawn.pixels.shape)
    xs, ys = np.meshgrid(*[np.arange(drawn.geometry.side)] * 2)
    beside = np.hypot(xs - drawn.mouth.centre[0], ys - drawn.mouth.centre[1]) > 1.6 * drawn.mouth.unit
    crop = np.where(beside[..., None], np.clip(noisy, 0, 255), drawn.pixels).astype(np.uint8)
    assert Grain.of(crop).fine > 3
    assert Grain.of(make_mouth(crop, drawn.geometry).lower[..., :3]).fine < 1


@pytest.mark.slow
def test_a_smiling_portrait_s_lower_teeth_are_behind_its_own_upper_ones(smiling):
    """Below those an opening mouth is dark, down to the second row: no plate of flesh."""
    crop, driven = crop_of(smiling, moved(lower=0.2, chin=0.1))
    x, edge = round(float(driven[14, 0])), round(float(smiling.geometry.landmarks[14, 1]))
    below = (crop[edge : round(float(driven[14, 1])), x - 3 : x + 4] @ LUMA).mean(axis=1)
    assert below.min() < 0.75 * below[len(below) // 2 :].max()


def test_teeth_differ_less_than_skins_do(smiling):
    ratios = []
    for light in (1.0, 0.45):
        tones = Tones.of((smiling.pixels * light).astype(np.uint8), smiling.geometry.landmarks)
        ratios.append(float(tones.teeth @ LUMA) / float(tones.skin @ LUMA))
    assert 1.0 < ratios[0] < 1.2
    assert 1.35 < ratios[1] < 1.55


def test_a_smile_on_a_smile_bares_no_gum(smiling):
    crop, driven = crop_of(smiling, moved(upper=-0.12, wide=0.05))
    x, y = driven[13] + (0.08 * smiling.mouth.unit, 0.07 * smiling.mouth.unit)
    below_lip = crop[round(float(y)) - 2 : round(float(y)) + 3, round(float(x)) - 3 : round(float(x)) + 4].astype(float)
    assert (below_lip[..., 1] / below_lip[..., 0]).mean() > 0.8, "pale as teeth"


def test_own_teeth_keep_their_place_while_the_lip_goes_down(smiling):
    """They belong to the skull: neither painted over nor dragged along."""
    crop, _ = crop_of(smiling, moved(lower=0.12, chin=0.1))
    rested = smiling.geometry.landmarks
    x, (top, bottom) = round(float(rested[13, 0])), (round(float(rested[k, 1])) for k in (13, 14))
    width = round(0.15 * smiling.mouth.unit)
    teeth = np.s_[top + 3 : bottom - 3, x - width : x + width]
    change = np.abs(crop[teeth].astype(int) - smiling.pixels[teeth])
    assert change.mean() < 8


def test_a_portrait_that_smiles_can_shut_its_mouth(smiling):
    driven = pose_of(replace(rest(), shut=1.0), smiling.geometry).landmarks(smiling.geometry)
    gaps = np.linalg.norm(driven[list(topo.UPPER_INNER_LIP)] - driven[list(topo.LOWER_INNER_LIP)], axis=1)
    assert gaps.max() < 0.03 * smiling.mouth.width
    crop, _ = crop_of(smiling, replace(rest(), shut=1.0))
    x = round(float(driven[13, 0]))
    column = np.s_[round(float(driven[13, 1])) - 2 : round(float(driven[14, 1])) + 3, x - 12 : x + 13]
    teeth = float(
        smiling.pixels[round(float(smiling.geometry.landmarks[[13, 14], 1].mean())), x - 12 : x + 13].min(axis=1).mean()
    )
    assert crop[column].min(axis=2).mean() < 0.8 * teeth, "no teeth between shut lips"


def test_a_driver_with_parted_lips_leaves_them_to_the_portrait():
    face = bundled("astronaut").landmarks
    assert Neutral.of(face).shut == 0, "that driver's neutral shows teeth"
    assert Neutral.of(bundled("drawing").landmarks).shut > 0.85


@pytest.mark.parametrize("tint", [(0.75, 0.9, 1.0), (1.0, 0.85, 0.7), (0.8, 0.8, 0.8)])
def test_teeth_are_in_the_light_of_the_picture_and_never_green(tint, smiling):
    pixels = np.clip(smiling.pixels * np.array(tint), 0, 255).astype(np.uint8)
    teeth = Tones.of(pixels, smiling.geometry.landmarks).teeth
    assert teeth[1] < max(teeth[0], teeth[2]) + 1
    assert teeth @ LUMA > 0.9 * float(Tones.of(pixels, smiling.geometry.landmarks).skin @ LUMA)


def test_a_shut_eye_shows_nothing_of_its_white(prepared):
    """No crumbs where the lids meet, nor beyond the landmarks of a drawn eye."""
    crop, _ = crop_of(prepared, shut_eyes())
    for upper, lower in topo.EYES:
        eye = prepared.geometry.landmarks[[*upper, *lower], :2]
        (x0, y0), (x1, y1) = (eye.min(axis=0) - 4).astype(int), (eye.max(axis=0) + 5).astype(int)
        light = [(picture[y0:y1, x0:x1] @ LUMA).astype(np.uint8) for picture in (prepared.pixels, crop)]
        specks = [int((grey.astype(int) - cv2.medianBlur(grey, 9) > 34).sum()) for grey in light]
        assert specks[0] > 40, "an open eye is full of them"
        assert specks[1] == 0


@pytest.mark.parametrize("name", ["collins", "drawing"])
def test_a_lid_paints_nothing_beside_the_eye(name):
    """What is lighter than skin above an eye is a lid or a brow in the light, and no eyeball."""
    given = MeshPrepared.of(bundled(name), 640, 512)
    geometry, pose = given.geometry, pose_of(shut_eyes(), given.geometry)
    for eye in given.eyes:
        image = given.pixels.copy()
        eye.lid.draw(image, geometry, pose, pose.landmarks(geometry), 0.0)
        painted = np.argwhere(np.abs(image.astype(int) - given.pixels).max(axis=2) > 8)[:, ::-1]
        outline = cv2.convexHull(geometry.landmarks[[*eye.upper, *eye.lower], :2])
        away = [-cv2.pointPolygonTest(outline, point, True) for point in painted.tolist()]
        assert len(painted) > 100
        assert max(away) < 0.2 * eye.width


def test_a_lid_is_the_picture_s_own_skin_as_far_as_that_is_skin():
    xs = np.linspace(10, 90, 9, dtype=np.float32)
    above, edge = (np.stack([xs, np.full(9, y, np.float32)], axis=1) for y in (10, 50))
    skin, box = np.full((60, 100, 3), 180, np.float32), Box(0, 0, 100, 60)
    assert _needed(skin @ LUMA, skin @ LUMA, above, edge, box)[14, 50] < 0.2
    assert _needed(skin @ LUMA, skin @ LUMA, above, edge, box)[45, 50] > 0.95
    for other in (40, 250):  # a black eye, a white one
        assert _needed(np.full_like(skin, other) @ LUMA, skin @ LUMA, above, edge, box)[14, 50] > 0.95


def test_white_at_the_rim_of_an_iris_does_not_look_about_with_it():
    picture = np.full((60, 60, 3), (90, 60, 40), np.uint8)
    picture[47:49, 28:32] = 250  # a tear on the lower lid
    picture[30:33, 32:35] = 250  # a light in the pupil
    ys, xs = np.mgrid[0:60, 0:60]
    iris = _iris(picture, np.ones((60, 60), bool), np.hypot(xs - 30, ys - 30), 20.0)
    assert iris[47:49, 28:32, :3].max() < 100
    assert iris[30:33, 32:35, :3].min() == 250


def test_an_animal_s_iris_fills_its_eye_and_what_a_glance_bares_is_a_little_lighter():
    face = with_openings(np.asarray(canonical.face() * 100 + (200, 200, 0), np.float32), 0.5, np.float32([0, 1, 0]))
    eyes, people = (make_eyes(with_eyes(face, white), Geometry.of(face, 400)) for white in (45, 220))
    covered, person_s = ([(eye.iris[..., 3] > 0.5).sum() for eye in each] for each in (eyes, people))
    assert all(np.array(covered) > 1.5 * np.array(person_s))
    for eye in eyes:
        iris = eye.iris[..., :3][eye.iris[..., 3] > 0.5]
        assert 15 < eye.white.mean() - iris.mean() < 60
        assert iris.max() < 60, "no lid goes with it"


def test_eyes_that_are_round_and_dark_from_lid_to_lid_are_an_animal_s():
    """Neither a person's narrow dark ones are, nor such as show their white."""
    face = np.asarray(canonical.face() * 100 + (200, 200, 0), np.float32)
    round_eyed, narrow = (with_openings(face, gap, np.float32([0, 1, 0])) for gap in (0.5, 0.25))
    pictures = [with_eyes(face, white) for face, white in ((round_eyed, 45), (narrow, 45), (round_eyed, 220))]
    found = [is_animal(picture, face) for picture, face in zip(pictures, (round_eyed, narrow, round_eyed), strict=True)]
    assert found == [True, False, False]


def test_an_animal_that_pants_gets_no_second_mouth(caplog):
    """Where its lips are found there is skin, and below it the mouth that it has already: of the head alone all is seen."""
    face = with_openings(np.asarray(canonical.face() * 100 + (200, 200, 0), np.float32), 0.5, np.float32([0, 1, 0]))
    wide = replace(rest(), expression=opened_mouth(0.3))
    shown = {}
    for name, white, below in (("dog", 45, 40), ("shut", 45, 180), ("person", 220, 40)):
        picture = with_eyes(face, white)
        chin = face[[*topo.LOWER_OUTER_LIP, 365, 378, 152, 149, 136], :2]
        cv2.fillPoly(picture, [cv2.convexHull(np.round(chin).astype(np.int32))], (below,) * 3)
        prepared = MeshPrepared.of(Portrait(name, picture, face), 400, 400)
        shown[name] = np.abs(prepared.render(wide).astype(int) - prepared.still).max()
    assert shown["dog"] <= 1
    assert min(shown["shut"], shown["person"]) > 50
    assert [record.args[0] for record in caplog.records if "an animal" in record.msg] == ["dog"]


def opened_mouth(gap: float) -> np.ndarray:
    """(478, 3) offsets of lips that part by `gap` eye distances."""
    out = np.zeros((topo.COUNT, 3), np.float32)
    out[[*topo.LOWER_LIP, *topo.JAW], 1] = gap
    return out


def with_openings(face: np.ndarray, gap: float, down: np.ndarray) -> np.ndarray:
    """(478, 3) the same with lids `gap` eye widths apart. down: (3,) unit vector to the chin."""
    out = face.copy()
    for upper, lower in topo.EYES:
        middle = (face[list(upper[1:-1])] + face[list(lower[1:-1])]) / 2
        half = gap / 2 * np.linalg.norm(face[upper[-1]] - face[upper[0]]) * down
        out[list(upper[1:-1])], out[list(lower[1:-1])] = middle - half, middle + half
    return out


def with_eyes(face: np.ndarray, white: int) -> np.ndarray:
    """A picture of skin with eyes, their irises of 40 grey levels."""
    picture = np.full((400, 400, 3), 180, np.uint8)
    for (upper, lower), iris in zip(topo.EYES, topo.IRISES, strict=True):
        cv2.fillPoly(picture, [np.round(face[[*upper, *lower[-2:0:-1]], :2]).astype(np.int32)], (white,) * 3)
        x, y = np.round(face[iris[0], :2]).astype(int).tolist()
        cv2.circle(picture, (x, y), round(float(np.linalg.norm(face[iris[1], :2] - face[iris[0], :2]))), (40,) * 3, -1)
    return picture


def test_round_eyes_do_not_stare(smiling):
    """Their lids leave the iris free already: looking up and opening wide, they go less far than narrow ones do."""
    looks = replace(rest(), gaze=np.tile(np.float32([0, -0.1]), (2, 1))), replace(rest(), openness=np.full(2, 1.3, np.float32))
    ways = []
    for gap in (0.25, 0.5):
        face = with_openings(smiling.geometry.landmarks, gap, smiling.geometry.axes[1])
        geometry = replace(smiling.geometry, landmarks=face)
        ways.append([-float(offsets(look, geometry, 0.0)[159] @ geometry.axes[1]) for look in looks])
    (up, wide), (round_up, round_wide) = ways
    assert 0 < round_up < 0.6 * up
    assert 0 < round_wide < 1.2 * wide, "of twice the gap"


def test_a_shut_eye_is_shut_for_the_face_model(prepared, model):
    tracker = MediaPipeTracker(model)
    tracker.track(prepared.still, 0.0)
    assert max(tracker.blink) < 0.3
    tracker.track(prepared.render(shut_eyes()), 0.1)
    assert min(tracker.blink) > 0.45
    tracker.close()


@pytest.mark.long
def test_lids_shut_without_a_leap(prepared):
    before: Any = None
    steps: list[float] = []
    for openness in np.linspace(1, 0, 41):
        crop, _ = crop_of(prepared, replace(rest(), openness=np.full(2, openness, np.float32)))
        eye = prepared.geometry.landmarks[[*topo.EYES[0][0], *topo.EYES[0][1]], :2]
        (x0, y0), (x1, y1) = eye.min(axis=0).astype(int), eye.max(axis=0).astype(int)
        mean = crop[y0:y1, x0:x1].mean()
        steps += [] if before is None else [abs(mean - before)]
        before = mean
    assert max(steps) < 0.2 * sum(steps), "no step is a fifth of the whole way"


@pytest.mark.parametrize(
    ("ratio", "blink", "expected"),
    [
        ((1.0, 1.0), (0.0, 0.0), (1.0, 1.0)),
        ((1.3, 1.3), (-0.1, -0.1), (1.3, 1.3)),
        ((0.85, 0.85), (0.15, 0.15), (0.79, 0.79)),  # a squint is no blink
        ((0.55, 0.60), (0.65, 0.60), (0.0, 0.0)),  # landmarks that stay open
        ((0.30, 0.25), (0.10, 0.10), (0.0, 0.0)),  # and scores that do
        ((0.50, 0.70), (0.45, 0.03), (0.0, 1.0)),  # a wink: the model drags the other eye along
        ((0.70, 0.50), (0.03, 0.45), (1.0, 0.0)),
        ((0.43, 0.84), (0.27, 0.00), (0.0, 1.0)),  # a faint one, told by lids and scores together
        ((0.67, 0.81), (0.24, 0.01), (0.53, 0.98)),  # one that is hardly seen, on a turned head
        ((1.07, 0.73), (-0.04, 0.15), (1.1, 0.61)),  # one eye that squints
    ],
)
def test_openness_is_what_landmarks_and_blink_scores_say_together(ratio, blink, expected):
    seen = driven_openness(np.array(ratio, np.float32), np.array(blink, np.float32))
    assert seen == pytest.approx(expected, abs=0.05)


def test_without_blink_scores_landmarks_alone_tell():
    assert driven_openness(np.array([0.3, 1.0], np.float32), None) == pytest.approx([0.0, 1.0])


@pytest.mark.slow
def test_the_tracker_tells_blinks(model, clip):
    tracker, seen = MediaPipeTracker(model), []
    with av.open(str(clip("d0"))) as given:
        for frame in given.decode(video=0):
            tracker.track(frame.to_ndarray(format="rgb24"), float(frame.time))
            seen.append(tracker.blink)
    tracker.close()
    scores = np.array(seen)
    assert scores.shape[1] == 2
    assert np.median(scores) < 0.25
    assert scores.max(axis=0).min() > 0.6, "the driver blinks"


def test_gaze_has_its_full_slope_up_to_the_corner():
    for look in ([0.29, 0.0], [0.0, 0.19], [-0.2, -0.14]):
        assert soft_gaze(np.array(look)) == pytest.approx(look)
    far = soft_gaze(np.array([9.0, -9.0]))
    assert far[0] == pytest.approx(-far[1]), "in its own direction"
    assert 0.95 < np.linalg.norm(far / GAZE_LIMIT) <= 1.0, "an iris in the corner of both limits would be gone"


def test_eyes_that_look_aside_already_have_less_room_on_that_side(smiling):
    """Of a glance of as much to either side."""
    eye, shown = smiling.eyes[0], {}
    for aside in (0.0, 0.1):
        turned = replace(eye, aside=np.array([aside, 0.0], np.float32))
        shown[aside] = [float(np.abs(turned.look(np.array([x, 0.0]))[0])) / eye.width for x in (-0.3, 0.3)]
    assert shown[0.0][0] == pytest.approx(shown[0.0][1], abs=0.06)
    assert shown[0.1][1] < shown[0.0][1] - 0.05 < shown[0.1][0]


@pytest.mark.parametrize("look", [-0.1, 0.1])
def test_open_lids_go_along_with_a_glance_and_shut_ones_stay(smiling, look):
    moved = {}
    for openness in (1.0, 0.0):
        still, looking = (
            offsets(replace(rest(), openness=np.full(2, openness, np.float32), gaze=np.full((2, 2), g)), smiling.geometry, 0.0)
            for g in (0.0, look)
        )
        moved[openness] = (looking - still) @ smiling.geometry.axes[1] / smiling.eyes[0].width
    upper, lower = topo.EYES[0]
    assert moved[1.0][[upper[4], lower[4]]] == pytest.approx(np.multiply(LIDS_LOOK[look > 0], look), rel=0.1)
    assert moved[1.0][[upper[0], upper[-1]]] == pytest.approx(0, abs=1e-6)
    assert moved[0.0] == pytest.approx(0, abs=1e-6)


def test_a_portrait_with_shut_eyes_says_so(smiling, model):
    assert not any(bundled(name).eyes_shut for name in bundled_names())
    tracker = MediaPipeTracker(model)
    landmarks = tracker.track(smiling.render(shut_eyes()), 0.0)
    tracker.close()
    assert landmarks is not None
    assert eyes_look_shut(landmarks)


def test_only_the_upper_teeth_of_an_open_mouth_are_the_skull_s():
    """What is dark below them, and what is bright below that, is not."""
    own = np.full((60, 100, 3), 40, np.uint8)  # a cavity
    own[10:25] = 220  # upper teeth
    own[10:25, 48:50] = 60  # a line between two
    own[40:50] = 200  # lower teeth
    inside = np.zeros((60, 100), np.float32)
    inside[8:55, 5:95] = 1
    tones = Tones(*np.full((5, 3), 220, np.float32))
    kept = own_row(own, inside, np.arange(60)[:, None] < np.full((1, 100), 12), tones, 80.0)
    assert kept[12:23, 20:80].min() == 1, "the line between two teeth is one of them"
    assert kept[27:, 5:95].max() == 0
