"""What every tracker does, whichever model it has."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing

import cv2
import numpy as np
import pytest

from pipeline.errors import ModelError
from pipeline.face import canonical
from pipeline.face import topology as topo
from pipeline.face.choice import place
from pipeline.face.faces import TRACKERS, Faces, faces_if_here
from pipeline.face.mediapipe import MediaPipeTracker
from pipeline.face.motion import eye_distance, eye_gaze, eye_openness, rest
from pipeline.face.noise import Denoiser
from pipeline.face.pair import ASKEW, level, paired
from pipeline.face.tracker import Tracker
from pipeline.face.units import in_pixels
from pipeline.face.views import tiles
from pipeline.frames import Driving
from pipeline.mesh.follow import MeshPuppeteer
from pipeline.portrait import bundled

from ..conftest import SHARED
from ..faces import two_faces

GOOD = TRACKERS[:2]


@pytest.fixture
def faces(request, model, litert, monkeypatch) -> Faces:
    monkeypatch.setenv("PUPPETCAST_MODELS", str(litert))
    found = faces_if_here(request.param, model)
    assert found is not None
    return found


@pytest.fixture
def opened() -> Iterator[Callable[[Faces], Tracker]]:
    """Opens trackers that are closed after the test."""
    with ExitStack() as stack:
        yield lambda faces: stack.enter_context(closing(faces.open_tracker()))


def every(trackers):
    return pytest.mark.parametrize("faces", trackers, indirect=True)


def shown(width: int, height: int, face: float, x: float = 0.5, y: float = 0.4):
    """A picture of that size with the bundled photograph in it, so large that the face has that width."""
    portrait = bundled("astronaut")
    middle = place(portrait.landmarks)
    scale = face / float(middle[2])
    small = cv2.resize(portrait.image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    left, top = (int(share * n - c * scale) for share, n, c in zip((x, y), (width, height), middle, strict=False))
    picture = np.repeat(np.linspace(60, 140, width, dtype=np.uint8)[None, :, None], 3, axis=2).repeat(height, axis=0)
    move = np.array([[1, 0, left], [0, 1, top]], np.float32)
    cv2.warpAffine(small, move, (width, height), dst=picture, borderMode=cv2.BORDER_TRANSPARENT)
    return picture, portrait.landmarks * scale + np.array([left, top, 0], np.float32)


@pytest.mark.slow
@every(TRACKERS)
def test_a_face_is_found_lost_and_found_again(faces, opened):
    picture, true = shown(640, 480, 130)
    tracker = opened(faces)
    for k in range(3):
        found = tracker.track(picture, k / 30)
    assert found.shape == (topo.COUNT, 3)
    off = np.linalg.norm((in_pixels(found, picture) - true)[:, :2], axis=1) / eye_distance(true)
    assert np.median(off) < 0.15
    assert found[topo.RIGHT_IRIS[0], 0] < found[topo.NOSE_TIP, 0] < found[topo.LEFT_IRIS[0], 0]
    assert tracker.faces == 1
    nobody = np.full_like(picture, 100)
    assert [tracker.track(nobody, 0.1 + k / 30) for k in range(4)] == [None] * 4
    elsewhere, _ = shown(640, 480, 130, x=0.3)
    assert any(tracker.track(elsewhere, 2 + k / 30) is not None for k in range(3))


@pytest.mark.slow
@every(TRACKERS)
def test_another_driver_is_looked_for_anew(faces):
    """Not where the one before was: there a network sees a face in whatever part of one it finds."""
    one, other = shown(640, 480, 130, x=0.4)[0], shown(640, 480, 260, x=0.55, y=0.45)[0]
    with closing(MeshPuppeteer(faces.open_tracker)) as puppeteer, closing(faces.open_tracker()) as fresh:
        for k in range(40):
            puppeteer.follow(Driving(one, k / 30))
        puppeteer.reset()
        seen = [puppeteer.track(other, 2 + k / 30) for k in range(3)]
        assert np.array(seen) == pytest.approx(np.array([fresh.track(other, k / 30) for k in range(3)]), abs=1e-3)


@every(GOOD[1:])
def test_after_a_pause_the_face_is_looked_for_anew(faces, opened):
    one, other = shown(640, 480, 130, x=0.4)[0], shown(640, 480, 260, x=0.55, y=0.45)[0]
    tracker, fresh = opened(faces), opened(faces)
    tracker.track(one, 0.0)
    assert tracker.track(other, 60.0) == pytest.approx(fresh.track(other, 60.0), abs=1e-3)


@every(TRACKERS)
def test_the_next_face_is_the_other_one(faces, opened):
    tracker, picture = opened(faces), two_faces()
    first = tracker.track(picture, 0.0)
    assert tracker.faces == 2
    assert tracker.next_face()
    second = tracker.track(picture, 0.1)
    assert abs(place(first)[0] - place(second)[0]) > 0.3


@pytest.mark.slow
@every(GOOD)
@pytest.mark.parametrize(("width", "height", "x"), [(1280, 720, 0.3), (480, 1000, 0.5)])
def test_a_face_of_six_percent_is_followed_where_it_goes(faces, opened, width, height, x):
    size = 0.06 * max(width, height)
    tracker, seen = opened(faces), []
    for k in range(34):
        picture, true = shown(width, height, size, x + 0.004 * k)
        found = tracker.track(picture, k / 30)
        off = None if found is None else in_pixels(place(found), picture) - place(true)
        seen.append(None if off is None else np.linalg.norm(off[:2]) / size)
    assert None not in seen[30:], "within a second"
    assert seen.count(None) <= 16
    assert max(off for off in seen if off is not None) < 0.3


@pytest.mark.long
@every(GOOD)
def test_every_face_of_a_group_is_found_and_small_ones_in_tall_pictures(faces):
    group = np.hstack([shown(200, 400, 44 + 6 * k)[0] for k in range(6)])
    assert len(faces.find(group)) == 6
    [found] = faces.find(shown(500, 1500, 75, y=0.2)[0])
    assert np.linalg.norm((place(found) - place(shown(500, 1500, 75, y=0.2)[1]))[:2]) < 15


@pytest.mark.slow
@every(GOOD)
def test_the_driver_at_the_far_end_of_the_room(faces, opened):
    from pipeline.clips import open_clip, picture, pictures

    path = SHARED / "cases" / "drivers" / "driver_far_from_camera.mp4"
    if not path.exists():
        pytest.skip("the clip of a far driver is not here")
    tracker = opened(faces)
    with open_clip(path) as clip:
        found = [tracker.track(picture(frame), float(frame.time or 0)) is not None for frame in pictures(clip)]
    assert all(found[30:])


def noisy(picture, light, sigma, count=24):
    rng = np.random.default_rng(4)
    dark = picture.astype(np.float32) * np.float32(light)
    return [np.clip(dark + rng.normal(0, sigma, picture.shape), 0, 255).astype(np.uint8) for _ in range(count)]


def tremble(tracker, frames):
    """Root mean square of a landmark's step from frame to frame, in eye distances, once the tracker has settled."""
    seen = [tracker.track(frame, k / 30) for k, frame in enumerate(frames)]
    marks = np.stack([face[:, :2] / eye_distance(face) for face in seen[8:]])
    return float(np.sqrt((np.diff(marks, axis=0) ** 2).sum(axis=2).mean()))


@pytest.mark.long
@every(GOOD)
def test_in_the_dark_the_tremble_is_less_than_half(faces, opened, model, litert):
    from pipeline.face.litert import LitertTracker  # is not on every platform

    frames = noisy(shown(480, 480, 170)[0], 0.1, 7)
    with closing(MediaPipeTracker(model) if faces.name == "mediapipe" else LitertTracker(litert)) as bare:
        assert tremble(opened(faces), frames) < 0.5 * tremble(bare, frames)


def test_in_the_light_pictures_are_left_as_they_are():
    picture, true = shown(640, 480, 170)
    calm = Denoiser()
    for frame in noisy(picture, 1.0, 3, 3):
        assert calm(frame, place(true)) is frame
    assert calm(picture, None) is picture


def test_in_the_dark_a_motion_is_not_late():
    calm = Denoiser()
    before, after = (shown(480, 480, 170, x=x)[0] for x in (0.45, 0.55))
    for frame in noisy(before, 0.18, 7):
        calm(frame, None)
    [moved] = noisy(after, 0.18, 7, 1)
    got = calm(moved, None).astype(np.float32)
    # Where the picture has changed by more than the noise, the new one is there at once.
    old, new = (p.astype(np.float32).mean(axis=2) * 0.18 for p in (before, after))
    changed = cv2.erode((np.abs(cv2.blur(new - old, (9, 9))) > 8).astype(np.uint8), np.ones((5, 5))) > 0
    assert changed.sum() > 2000
    came, due = (got.mean(axis=2) - old)[changed], (new - old)[changed]
    share = float(came @ due) / float(due @ due)
    assert share > 0.9


def test_in_the_dark_a_smaller_picture_is_averaged_on():
    calm, picture = Denoiser(), shown(480, 480, 170)[0]
    *before, last = noisy(picture, 0.18, 7, 14)
    for frame in before:
        known = calm(frame, None)
    small = cv2.resize(last, (360, 360), interpolation=cv2.INTER_AREA)
    wanted = cv2.resize(known, (360, 360), interpolation=cv2.INTER_AREA).astype(int)
    off, anew = (np.abs(each(small, None) - wanted).mean() for each in (calm, Denoiser()))
    assert off < 0.6 * anew


@pytest.mark.parametrize(("width", "height"), [(1920, 1080), (500, 1500), (640, 640), (3000, 200)])
def test_tiles_cover_the_picture_and_a_face_lies_whole_in_one(width, height):
    views = tiles(np.zeros((height, width, 3), np.uint8))
    size = 0.06 * max(width, height)
    for x in np.linspace(size, width - size, 17):
        for y in np.linspace(min(size, height / 2), max(height - size, height / 2), 17):
            assert any(
                v.left <= max(x - size, 0)
                and x + size <= v.right
                and v.top <= max(y - size, 0)
                and min(y + size, height) <= v.bottom
                for v in views
            )


@every(GOOD)
def test_landmarks_are_those_of_a_picture_of_any_size(faces, opened):
    picture, _ = shown(640, 480, 170)
    small = cv2.resize(picture, (320, 240), interpolation=cv2.INTER_AREA)
    turned = cv2.copyMakeBorder(picture[:, 80:560], 80, 80, 0, 0, cv2.BORDER_REPLICATE)
    tracker = opened(faces)
    settled = [tracker.track(picture, k / 30) for k in range(4)][-1]
    for k, other in enumerate((small, picture, turned, picture)):
        found = tracker.track(other, (4 + k) / 30)
        assert np.abs(found - settled)[:, :2].mean() < 0.01 * eye_distance(settled)


def test_eyes_are_a_pair_but_for_a_wink():
    """A small difference of lids and gaze is mostly noise; one eye that shuts is meant."""
    face = canonical.face() * 100
    upper, lower = (list(lid[1:-1]) for lid in topo.EYES[0])

    def opened(times: float) -> np.ndarray:
        """The face with its right eye so many times as open, and looking aside with it alone."""
        out = face.copy()
        middle = (face[upper] + face[lower]) / 2
        out[upper], out[lower] = (middle + times * (face[lid] - middle) for lid in (upper, lower))
        out[list(topo.RIGHT_IRIS), 0] += 4
        return out

    for times, left in ((0.85, 0.25), (0.1, 1.0)):
        before, after = opened(times), paired(opened(times))
        gap, was = np.subtract(*eye_openness(after)), np.subtract(*eye_openness(before))
        assert gap == pytest.approx(left * was, rel=1e-3)
        assert eye_openness(after).mean() == pytest.approx(eye_openness(before).mean(), rel=1e-3)
        gaze = eye_gaze(after)
        assert gaze[0] == pytest.approx(gaze[1], abs=1e-4)
        assert gaze.mean(axis=0) == pytest.approx(eye_gaze(before).mean(axis=0), abs=1e-4)
        moved = np.abs(after - before).max(axis=1) > 1e-3
        assert set(np.flatnonzero(moved)) <= {*np.ravel(topo.EYES), *np.ravel(topo.IRISES)}


@pytest.mark.parametrize("turn", [0, 15])
def test_lips_lids_and_irises_lie_where_the_landmarker_sees_them(litert, turn):
    """The network for them takes what we cut out for it: a cut beside or turned otherwise would put all of them elsewhere."""
    from pipeline.face.litert import find_landmarks  # is not on every platform

    portrait = bundled("astronaut")
    height, width = portrait.image.shape[:2]
    move = cv2.getRotationMatrix2D((width / 2, height / 2), turn, 1.0)
    [seen] = find_landmarks(cv2.warpAffine(portrait.image, move, (width, height), borderMode=cv2.BORDER_REPLICATE), litert)
    true = portrait.landmarks[:, :2] @ move[:, :2].T + move[:, 2]
    off = np.linalg.norm(seen[:, :2] - true, axis=1) / eye_distance(portrait.landmarks)
    parts = {"lips": topo.UPPER_LIP + topo.LOWER_LIP, "lids": np.ravel(topo.EYES), "irises": np.ravel(topo.IRISES)}
    assert {name: off[list(points)].mean() for name, points in parts.items()} == pytest.approx(dict.fromkeys(parts, 0), abs=0.04)


@pytest.mark.parametrize("content", [b"", b"not a model" * 100])
def test_what_is_no_attention_network_is_named(tmp_path, content):
    networks = pytest.importorskip("pipeline.face.attention", reason="ai-edge-litert is not here")
    path = tmp_path / "face_landmark_with_attention.tflite"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=f"{path}: not a usable model; run"):
        networks.Attention(path)


def levelled(move: dict[int, tuple[float, float]]) -> np.ndarray:
    """What is left of a motion, x and y of some points in eye distances: (478, 2)."""
    motion = rest()
    for point, offset in move.items():
        motion.expression[point, :2] = offset
    return level(motion).expression[:, :2]


CHEEK, OTHER_CHEEK = 205, 425


def test_small_moves_of_one_side_are_no_turn_of_the_head_and_those_of_both_are_free():
    left = levelled({CHEEK: (0.03, 0.02)})
    assert left[CHEEK] == pytest.approx((0.015, 0.02)), "half of it is taken for a smile, which both sides do"
    assert left[OTHER_CHEEK] == pytest.approx((-0.015, 0.0))
    both = {CHEEK: (0.03, 0.02), OTHER_CHEEK: (-0.03, 0.02), **dict.fromkeys(topo.RIGHT_BROW + topo.LEFT_BROW, (0.0, -0.05))}
    assert levelled(both) == pytest.approx(levelled({}) + [both.get(k, (0.0, 0.0)) for k in range(topo.COUNT)])


def test_a_brow_raised_alone_a_one_sided_smile_and_a_wink_come_through():
    brow = levelled({topo.RIGHT_BROW[2]: (0.0, -0.2)})
    assert brow[topo.RIGHT_BROW[2]] == pytest.approx((0.0, -0.2))
    corner, other = topo.MOUTH_CORNERS
    smile = levelled({corner: (-0.1, -0.06)})
    assert smile[corner] == pytest.approx((-0.05 - 0.05 * ASKEW, -0.06), abs=1e-6)
    assert smile[other] == pytest.approx((0.05 - 0.05 * ASKEW, 0.0), abs=1e-6)
    lid = topo.RIGHT_UPPER_LID[4]
    assert levelled({lid: (0.0, 0.05)})[lid] == pytest.approx((0.0, 0.05))
