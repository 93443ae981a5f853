"""Motion does not depend on the size or shape of the driver's picture, which may change at any moment."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

import cv2
import numpy as np
import pytest

from bench.similarity import psnr
from bench.stability import load
from pipeline.face.choice import place
from pipeline.face.faces import faces_by
from pipeline.face.motion import eye_distance
from pipeline.face.units import in_pixels, in_units
from pipeline.follow.framing import Framing, View
from pipeline.follow.tuning import Tuning
from pipeline.frames import Driving, Image
from pipeline.liveportrait.crop import DRIVING, FaceBox, cut, mesh_box
from pipeline.mesh.follow import MeshPuppeteer
from pipeline.mesh.geometry import Geometry
from pipeline.mesh.pose import pose_of
from pipeline.mesh.prepared import MeshPrepared
from pipeline.portrait import bundled

FACE = bundled("drawing").landmarks
CHANGE = 24  # number of the first picture of the other size


def seen(shape: tuple[int, int], width: float, x: float = 0.0, y: float = 0.0) -> np.ndarray:
    """Landmarks, in its unit, of a face of `width` pixels in a picture of `shape`, so many pixels from the middle."""
    middle = place(FACE)
    face = (FACE - [*middle[:2], 0]) * (width / middle[2]) + [x, y, 0]
    return face.astype(np.float32) / np.float32(max(shape))


def test_units_and_pixels():
    picture = np.zeros((480, 640, 3), np.uint8)
    corners = np.array([[0, 0, 1], [639, 479, 64]], np.float32)
    assert in_units(corners, picture) == pytest.approx(np.array([[-319.5, -239.5, 1], [319.5, 239.5, 64]]) / 640)
    assert in_pixels(in_units(corners, picture), picture) == pytest.approx(corners, abs=1e-3)


@pytest.mark.parametrize(
    ("before", "after", "width", "moved"),
    [
        ((480, 640), (240, 320), 50, 0),
        ((480, 640), (640, 480), 100, 0),  # a phone is turned
        ((480, 640), (360, 640), 100, 0),  # 16:9 is cut from 4:3
        ((720, 1280), (720, 960), 100, 0),  # and 4:3 from 16:9,
        ((288, 512), (384, 512), 100 * 4 / 3, 0),  # scaled to the tracker's picture
        ((640, 480), (640, 1136), 100, 0),  # an upright picture between bars
        ((480, 640), (853, 480), 75, 0),  # a lying one in an upright one
        ((720, 1280), (720, 720), 100, 200),  # cut from beside the middle
    ],
)
def test_the_face_stays_where_it_was_in_a_picture_of_another_shape(before, after, width, moved):
    framing = Framing()
    one = framing(seen(before, 100, 20, -10), before, 0.0)
    share = width / 100
    other = framing(seen(after, width, 20 * share + moved, -10 * share), after, 0.03)
    assert other == pytest.approx(one, abs=0.002 * max(share, 1))
    again = framing(seen(before, 100, 20, -10), before, 0.06)
    assert again == pytest.approx(one, abs=0.002)
    assert framing.view.own(framing.view.first(one)) == pytest.approx(one, abs=1e-5)


def test_a_face_that_was_not_seen_lately_tells_nothing_of_the_shape():
    framing = Framing()
    framing(seen((720, 1280), 100), (720, 1280), 0.0)
    framing(seen((720, 960), 140), (720, 960), 5.0)
    assert framing.view == View()


@pytest.fixture(scope="module")
def geometry() -> Geometry:
    return MeshPrepared.of(bundled("drawing"), 512, 512).geometry


def landmarks_of_puppet(images: list[Image], geometry: Geometry, model: Path) -> np.ndarray:
    """(n, 478, 2) of a portrait, driven by pictures, the first CHANGE of which give the neutral."""
    puppeteer = MeshPuppeteer(faces_by(model).open_tracker)
    puppeteer.tune(Tuning(recentre_s=0))
    puppeteer.calibrate((k / 30, image) for k, image in enumerate(images[:CHANGE]))
    out = [pose_of(puppeteer.follow(Driving(image, k / 30)), geometry).landmarks(geometry) for k, image in enumerate(images)]
    puppeteer.close()
    return np.array(out)


def scaled(width: int, height: int, left: int = 0, top: int = 0) -> Callable[[Image], Image]:
    """Makes pictures of that size, between bars."""

    def made(image: Image) -> Image:
        small = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
        return np.asarray(cv2.copyMakeBorder(small, top, top, left, left, cv2.BORDER_REPLICATE), np.uint8)

    return made


@pytest.mark.long
@pytest.mark.parametrize(
    ("before", "after"),
    [
        (scaled(480, 480), scaled(240, 240)),
        (scaled(240, 240), scaled(480, 480)),
        (scaled(480, 480, left=80), scaled(480, 480, top=80)),  # 4:3, turned
        (scaled(288, 288, left=112), scaled(288, 288, left=48)),  # 4:3 cut from 16:9
    ],
    ids=["shrinks", "grows", "is turned", "is cut"],
)
def test_a_real_driver_does_not_leap_where_the_picture(before, after, geometry, model, clip):
    images = load(clip("d19"), 40)
    one = landmarks_of_puppet([before(image) for image in images], geometry, model)
    both = landmarks_of_puppet([*map(before, images[:CHANGE]), *map(after, images[CHANGE:])], geometry, model)
    own = np.linalg.norm(np.diff(one, axis=0), axis=2).max(axis=1)
    step = np.linalg.norm(both[CHANGE] - both[CHANGE - 1], axis=1).max()
    assert step <= np.percentile(own, 99)
    off = np.linalg.norm(both - one, axis=2)[CHANGE:]
    assert np.sqrt((off**2).mean()) < 0.025 * eye_distance(geometry.landmarks)


def test_liveportrait_cuts_the_same_face_from_a_picture_of_another_size(model: Path, clip: Callable[[str], Path]) -> None:
    """To a pixel of the networks' input; noise of two grey levels moves it by half of that."""
    images = load(clip("d19"), 5)
    small = [cv2.resize(image, (240, 240), interpolation=cv2.INTER_AREA) for image in images]

    def squares(pictures: Sequence[Image]) -> np.ndarray:
        with closing(faces_by(model).open_tracker()) as tracker:
            found = [tracker.track(picture, k / 30) for k, picture in enumerate(pictures)]
        boxes = [mesh_box(face, DRIVING) for face in found if face is not None]
        assert len(boxes) == len(pictures)
        return np.array([[*box.centre, box.side] for box in boxes])

    one, other = squares(images), squares(small)
    assert (np.abs(other - one).mean(axis=0) < one[:, 2].mean() / 256).all()
    square = FaceBox(one[0, :2], one[0, 2], 0.0)
    large, halved = (cut(image, square.in_pixels(image).to_crop(256), 256) for image in (images[0], small[0]))
    assert psnr(large, halved) > 30, "and it shows the same"
