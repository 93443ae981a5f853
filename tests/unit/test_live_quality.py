"""What live users see: a still puppet, no leaps, gains that do what they say; by landmarks found in the output."""

from __future__ import annotations

import math
from contextlib import closing
from dataclasses import replace

import numpy as np
import pytest

from bench.stability import load
from pipeline.face import topology as topo
from pipeline.face.faces import faces_by
from pipeline.face.mediapipe import MediaPipeTracker, find_landmarks
from pipeline.face.motion import Neutral, euler, eye_gaze, eye_openness, looking, rest, rotation_matrix
from pipeline.fade import cross_faded
from pipeline.follow.blend import BLEND_S, Leap, Presence
from pipeline.follow.calibration import Calibration
from pipeline.follow.neutral import FaceState
from pipeline.follow.smoothing import OFF, OneEuroFilter, RotationFilter, ratio
from pipeline.follow.tuning import Region, Tuning, region_weights, tuned
from pipeline.frames import Driving, planar
from pipeline.mesh.follow import MeshPuppeteer
from pipeline.mesh.prepared import MeshPrepared
from pipeline.portrait import bundled, make_portrait
from streamer.control.spec import NeutralSpec

from ..faces import Faces, two_faces

PICTURE = np.zeros((48, 64, 3), np.uint8)


@pytest.mark.long
def test_gains_scale_the_motion_of_the_output(model, clip):
    frames = load(clip("d10"), 61)  # the mouth is shut at first, and open in the last
    portrait = MeshPrepared.of(bundled("drawing"), 512, 512)
    puppeteer = MeshPuppeteer(lambda: MediaPipeTracker(model))
    with closing(puppeteer):
        puppeteer.calibrate((k / 30, image) for k, image in enumerate(frames[:40]))
        puppeteer.tune(Tuning(smoothing=0.0))
        motion = puppeteer.follow(Driving(frames[-1], 100.0))

    def seen(tuning: Tuning) -> tuple[float, float]:
        """How far mouth and eyes are open in the output."""
        face = find_landmarks(portrait.render(tuned(motion, tuning)), model)[0]
        return float(np.linalg.norm(face[13] - face[14])), float(eye_openness(face).mean())

    motion.openness[:] = 0.3
    mouths = [seen(Tuning(mouth_gain=gain))[0] for gain in (0, 0.5, 1, 1.5)]
    eyes = [seen(Tuning(eyes_gain=gain))[1] for gain in (0, 0.5, 1)]
    print(mouths, eyes)
    assert mouths == sorted(mouths)
    assert mouths[0] < 0.3 * mouths[2]
    assert 0.3 < (mouths[1] - mouths[0]) / (mouths[2] - mouths[0]) < 0.7
    assert mouths[3] > 1.2 * mouths[2]
    assert eyes == sorted(eyes, reverse=True)
    assert 0.25 < (eyes[1] - eyes[0]) / (eyes[2] - eyes[0]) < 0.75


def moving(yaw: float = 0.2):
    motion = rest()
    motion.pose[:] = (yaw, 0.1, -0.1, 0.2, 0.3, 0.1)
    motion.expression[:] = 0.1
    motion.openness[:] = 0.4
    motion.gaze[:] = 0.05
    return motion


def test_gains_and_regions_of_a_motion():
    motion = moving()
    half = tuned(motion, Tuning(pose_gain=0.5, scale_lock=True))
    assert half.pose == pytest.approx([0.1, 0.05, -0.05, 0, 0.15, 0.05])
    lip = tuned(motion, Tuning(region=Region.LIP))
    assert not lip.pose.any()
    assert lip.openness == pytest.approx([1, 1])
    assert lip.expression[13, 1] > 0.09
    assert abs(lip.expression[105, 1]) < 0.01, "brows stay"
    eyes = tuned(motion, Tuning(region=Region.EYES, eyes_gain=0.5))
    assert eyes.openness == pytest.approx([0.7, 0.7])
    assert abs(eyes.expression[13, 1]) < 0.01
    pose = tuned(motion, Tuning(region=Region.POSE))
    assert not pose.expression.any()
    brows = tuned(motion, Tuning(brows_gain=2))
    assert brows.expression[105, 1] > 0.18
    assert brows.expression[13, 1] == pytest.approx(0.1, abs=0.002)
    assert np.allclose(region_weights().sum(axis=1), 1)


def test_strength_has_a_sane_meaning():
    assert ratio(0.5) == 1
    assert ratio(0) == OFF
    assert ratio(1) == pytest.approx(0.25)
    assert ratio(0.25) > ratio(0.75)


def test_rotations_are_filtered_along_the_shortest_turn():
    filtered = RotationFilter(1.0, 0.0)
    filtered(rotation_matrix(0, 0, 3.0), 0.0)
    out = filtered(rotation_matrix(0, 0, -3.0), 1 / 30)  # 0.28 rad further, across the half turn; 6 the other way
    roll = euler(out)[2]
    assert 3.0 < roll % (2 * math.pi) < 3.29
    assert np.linalg.det(out) == pytest.approx(1, abs=1e-5)
    still = RotationFilter(1.0, 0.0)
    turned = rotation_matrix(0.3, 0.2, 0.1)
    assert np.allclose(still(turned, 0.0), turned)
    assert np.allclose(still(turned, 0.1), turned, atol=1e-6)


def test_noise_opens_no_filter_and_motion_does():
    rng = np.random.default_rng(3)
    noise, turn = rng.normal(0, 0.02, 300), np.linspace(0, 3.0, 30)
    loud, quiet = ([f(v, k / 30) for k, v in enumerate(noise)] for f in (OneEuroFilter(4, 40), OneEuroFilter(4, 40, quiet=0.1)))
    assert np.std(quiet[30:]) < 0.9 * np.std(loud[30:])
    follows = OneEuroFilter(4, 40, quiet=0.1)
    assert abs([follows(v, k / 30) for k, v in enumerate(turn)][-1] - turn[-1]) < 0.02


def test_presence_and_leaps_never_jump():
    presence, levels = Presence(), []
    for k in range(120):
        seen = k < 40 or k > 80
        levels.append(presence(k / 30, seen, 0.0 if seen else (k - 40) / 30))
    assert max(np.abs(np.diff(levels))) < 0.11
    assert levels[39] == 1
    assert min(levels[60:80]) == 0
    leap = Leap()
    assert leap(0.0) == (False, 0.0)
    leap.happened()
    assert leap(1.0) == (True, 1.0)
    assert 0 < leap(1.0 + BLEND_S / 2)[1] < 1
    assert leap(1.0 + BLEND_S) == (False, 0.0)


@pytest.fixture
def face():
    return bundled("drawing").landmarks  # its mouth is shut; the astronaut smiles


def run(follower: MeshPuppeteer, seconds: float, start_s: float):
    """Motions while the tracker stays as it is, and when it ended."""
    count = round(seconds * 30)
    return [follower.follow(Driving(PICTURE, start_s + k / 30)) for k in range(count)], start_s + count / 30


def test_a_still_face_is_made_stiller_and_a_step_is_not_held_up(face):
    rng = np.random.default_rng(5)
    noisy = [face + rng.normal(0, 0.4, face.shape).astype(np.float32) for _ in range(90)]
    turned = face + np.array([20, 0, 0], np.float32)

    def moved(smoothing: float) -> np.ndarray:
        """Where the head is, frame by frame: still under noise, then elsewhere at once."""
        tracker = Faces(face)
        follower = MeshPuppeteer(lambda: tracker)
        follower.tune(Tuning(smoothing=smoothing))
        _, now = run(follower, 2.5, 0.0)
        out = []
        for k, tracker.face in enumerate([*noisy, *[turned] * 4]):
            out.append(follower.follow(Driving(PICTURE, now + k / 30)).pose[4])
        return np.array(out)

    smooth, raw = moved(0.5), moved(0.0)
    assert smooth[:90].std() < 0.8 * raw[:90].std()
    step = smooth[90:] / raw[-1]
    assert step[0] > 0.5, "half of it at once"
    assert step[1] > 0.9


def test_calibration_says_what_is_wrong(face):
    calibration = Calibration()
    assert calibration.state.problem == "Come into view: no face is seen."
    distance = np.linalg.norm(face[33] - face[263])
    moved = face + np.array([0.3 * distance, 0, 0], np.float32)
    centre = face.mean(axis=0)
    tilted = (face - centre) @ rotation_matrix(0, 0, 0.6).T + centre
    turned = (face - centre) @ rotation_matrix(0.7, 0, 0).T + centre
    yawning = face.copy()
    yawning[14, 1] += 0.5 * distance
    seen = [(face, ""), (moved, "Hold still."), (moved, ""), (tilted, "upright"), (turned, "straight"), (face, "")]
    for k, (landmarks, problem) in enumerate([*seen, (yawning, "mouth"), (face, "")]):
        calibration.add(landmarks, k / 30)
        assert bool(problem) == bool(calibration.state.problem), (k, problem, calibration.state.problem)
        assert problem in calibration.state.problem
    assert 0 < calibration.state.share < 0.2
    calibration.missed()
    assert "no face" in calibration.state.problem


def test_who_never_shuts_the_mouth_is_calibrated_all_the_same():
    face = bundled("astronaut").landmarks
    calibration, neutral, k = Calibration(), None, 0
    while neutral is None:
        neutral = calibration.add(face, k / 30)  # a smile that shows teeth
        assert calibration.state.problem == "Close your mouth."
        k += 1
    assert k == pytest.approx(91, abs=2), "three seconds"


def test_one_picture_that_is_good_by_chance_is_no_neutral(face):
    """At two pictures a second one with half-shut lids, alone in having a shut mouth, was all that it was made of."""
    smiling, blinking = bundled("astronaut").landmarks, bundled("collins").landmarks.copy()
    for upper, lower in topo.EYES:
        middle = (blinking[list(upper)] + blinking[list(lower)]) / 2
        for lid in (upper, lower):
            blinking[list(lid)] = middle + 0.3 * (blinking[list(lid)] - middle)
    calibration, neutral, k = Calibration(), None, 0
    while neutral is None:
        neutral = calibration.add(blinking if k == 2 else smiling, k / 2)
        k += 1
    assert eye_openness(neutral.landmarks) == pytest.approx(eye_openness(smiling), rel=0.05)


@pytest.mark.parametrize("ahead", [12, 0], ids=["ahead now and then", "never ahead"])
def test_who_shuts_the_mouth_only_while_looking_aside_looks_ahead_all_the_same(ahead):
    """Of the pictures with a shut mouth the neutral was made, eyes and all: who looked ahead then squinted."""
    talking = bundled("astronaut").landmarks / 512
    straight = looking(talking, np.zeros((2, 2)))
    shut = looking(talking, np.array([[0.15, 0.0], [0.15, 0.0]]))
    shut[list(topo.LOWER_LIP)] += shut[13] - shut[14]
    calibration, neutral, k = Calibration(), None, 0
    while neutral is None:
        neutral = calibration.add(straight if k < ahead else shut, k / 30)
        k += 1
    assert neutral.gaze[:, 0].mean() == pytest.approx(0 if ahead else 0.15, abs=0.01)
    assert neutral.shut == 1, "the mouth is that of the others"
    assert NeutralSpec.of("test", neutral).neutral().gaze == pytest.approx(neutral.gaze, abs=1e-4), "also where the stream moves"


def test_eyes_look_the_same_way(face):
    """The landmarker sees each apart, and a puppet of many pictures chose each eye's apart: it squinted."""
    neutral = Neutral.of(face)
    one = looking(face, eye_gaze(face) + [[0.2, 0.0], [0.0, 0.0]])
    right, left = neutral.motion(one).gaze
    assert right == pytest.approx(left)
    assert right[0] == pytest.approx(0.1, abs=0.02)
    shut = one.copy()  # a wink's iris is anywhere
    (upper, lower) = topo.EYES[0]
    shut[list(upper)] = shut[list(lower)]
    assert abs(neutral.motion(shut).gaze).max() < 0.02


def test_a_neutral_is_a_robust_mean(face):
    calibration, neutral, k = Calibration(), None, 0
    rng = np.random.default_rng(1)
    while neutral is None:
        wild = 40 if k % 9 == 4 else 0  # a tracker that jumps now and then
        neutral = calibration.add(face + rng.normal(0, 0.5, face.shape).astype(np.float32) + wild, k / 30)
        k += 1
    assert np.abs(neutral.landmarks - face).mean() < 0.3


def test_lost_found_paused_and_calibrated_anew(face):
    tracker = Faces(face)
    follower, still = MeshPuppeteer(lambda: tracker), Tuning(recentre_s=0)  # the rest does not drift meanwhile
    follower.tune(still)
    _, now = run(follower, 2.0, 0.0)
    assert follower.keeper.state is FaceState.TRACKING
    tracker.face = face + np.array([30, 0, 0], np.float32)
    moved, now = run(follower, 1.0, now)
    assert moved[-1].pose[4] > 0.2
    follower.tune(replace(still, paused=True))
    resting, now = run(follower, 12.0, now)
    assert follower.keeper.state is FaceState.PAUSED
    assert np.allclose(resting[-1].flat(), rest().flat(), atol=1e-5)
    follower.tune(still)
    back, now = run(follower, 1.5, now)
    assert follower.keeper.state is FaceState.TRACKING, "a pause is no loss"
    assert back[-1].pose[4] == pytest.approx(moved[-1].pose[4], abs=0.01)
    steps = np.abs(np.diff([m.pose[4] for m in [*moved[-1:], *resting, *back]]))
    assert steps.max() < 0.15 * moved[-1].pose[4], "to rest and back without a snap"
    tracker.face = None
    _, now = run(follower, 2.0, now)
    tracker.face = face
    run(follower, 0.5, now)
    assert follower.keeper.state is FaceState.TRACKING, "back soon: the same neutral"
    tracker.face = None
    _, now = run(follower, 12.0, now + 1)
    tracker.face = face
    run(follower, 0.5, now)
    assert follower.keeper.state is FaceState.CALIBRATING, "away for long: perhaps another face"
    assert not follower.keeper.calibrated


def test_a_recalibration_moves_on_meanwhile(face):
    tracker = Faces(face)
    follower = MeshPuppeteer(lambda: tracker)
    _, now = run(follower, 2.0, 0.0)
    tracker.face = face + np.array([30, 0, 0], np.float32)
    before, now = run(follower, 1.0, now)
    follower.keeper.recalibrate()
    during, now = run(follower, 0.8, now)
    assert follower.keeper.state is FaceState.CALIBRATING
    assert 0.5 < follower.keeper.calibrating.share < 1
    assert during[-1].pose[4] == pytest.approx(before[-1].pose[4], abs=0.01)
    after, _ = run(follower, 2.0, now)
    assert abs(after[-1].pose[4]) < 0.01, "the new neutral is where the face is now"
    steps = np.abs(np.diff([m.pose[4] for m in [*during[-1:], *after]]))
    assert steps.max() < 0.08 * before[-1].pose[4]


def test_a_neutral_that_was_taken_elsewhere_is_gone_on_with(face):
    """As JSON, from one puppeteer to another: the face moves the portrait at once, as it did, without a calibration."""
    face = face / 512  # as trackers tell it
    tracker = Faces(face)
    one, other = (MeshPuppeteer(lambda: tracker) for _ in range(2))
    assert one.neutral is None
    _, now = run(one, 2.0, 0.0)
    tracker.face = face + np.array([0.06, 0, 0], np.float32)
    before, _ = run(one, 1.0, now)
    assert one.neutral is not None
    told = NeutralSpec.of("cascade", one.neutral)
    other.go_on(NeutralSpec.model_validate_json(told.model_dump_json()).neutral())
    after, _ = run(other, 1.0, 0.0)
    assert other.keeper.state is FaceState.TRACKING
    assert np.allclose(after[-1].pose, before[-1].pose, atol=0.01)
    with pytest.raises(ValueError, match="the eyes lie in one place"):
        NeutralSpec(tracker="x", landmarks=[(0.5, 0.5, 0.0)] * 478)


@pytest.mark.parametrize("fps", [1, 2, 5, 10, 30])
def test_a_driver_is_followed_at_every_rate(face, fps):
    tracker = Faces(face)
    follower = MeshPuppeteer(lambda: tracker)
    for k in range(8 * fps):
        follower.follow(Driving(PICTURE, k / fps))
    assert follower.keeper.calibrated
    moves = []
    for k in range(8 * fps, 16 * fps):  # to and fro, all 4 s
        tracker.face = face + np.array([30 * math.sin(k / fps * math.pi / 2), 0, 0], np.float32)
        moves.append(follower.follow(Driving(PICTURE, k / fps)).pose[4])
    assert np.ptp(moves) > 0.8 * 60 / np.linalg.norm(face[33] - face[263])


def test_a_driver_that_stalls_for_a_moment_makes_no_leap(face):
    tracker = Faces(face)
    follower = MeshPuppeteer(lambda: tracker)
    before, now = run(follower, 3.0, 0.0)
    tracker.face = face + np.array([30, 0, 0], np.float32)
    after, _ = run(follower, 2.0, now + 1.0)
    moved = after[-1].pose[4]
    assert moved > 0.2
    assert np.abs(np.diff([m.pose[4] for m in [before[-1], *after]])).max() < 0.08 * moved


def test_another_face_gets_its_own_neutral(face):
    tracker = Faces(face)
    follower = MeshPuppeteer(lambda: tracker)
    run(follower, 2.0, 0.0)
    assert not follower.next_face()
    assert follower.keeper.calibrated
    tracker.faces = 2
    assert follower.next_face()
    assert not follower.keeper.calibrated


def test_the_followed_face_stays_until_the_next_is_asked_for(model):
    image = two_faces()
    tracker = MediaPipeTracker(model)

    def place(time_s: float) -> float:
        face = tracker.track(image, time_s)
        assert face is not None
        return float(face[:, 0].mean())

    middle = [place(k / 30) for k in range(6)]
    assert tracker.faces == 2
    assert np.ptp(middle) < 0.02, "always the same one"
    assert tracker.next_face()
    other = [place(1 + k / 30) for k in range(6)]
    assert min(abs(np.array(other) - middle[-1])) > 0.2
    assert np.ptp(other) < 0.02
    one = image.copy()
    one[:, 512 if other[-1] > 0 else 0 :][:, :512] = 0
    gone = [tracker.track(one, 1.3 + k / 30) for k in range(6)]
    assert gone[-1] is None, "the other face is not taken for it at once"
    assert tracker.track(one, 5.0) is not None, "but when it stays away"
    assert not tracker.next_face()
    tracker.close()


def test_a_portrait_with_two_faces_lets_choose(model):
    image = two_faces()
    assert len(find_landmarks(image, model)) == 2
    portrait = make_portrait("pair", image, faces_by(model))
    assert len(portrait.boxes()) == 2
    left, right = (portrait.with_face(k).landmarks[:, 0].mean() for k in (0, 1))
    assert left < 512 < right
    with pytest.raises(Exception, match="no face 2; it shows 2"):
        portrait.with_face(2)


def test_a_cross_fade_between_pictures_of_two_sizes():
    dark, light = (planar(np.full((side, side, 3), level, np.uint8)) for side, level in ((64, 40), (32, 240)))
    mixed = cross_faded(dark, light, 0.5)
    assert mixed.shape == light.shape
    assert mixed[:32].mean() == pytest.approx((dark[:64].mean() + light[:32].mean()) / 2, abs=2)
