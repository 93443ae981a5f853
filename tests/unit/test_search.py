"""Faces are found where the finder alone does not see them, and marks win wherever they are given."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from pipeline.errors import MarksError, NoFaceError
from pipeline.face.canonical import five_points
from pipeline.face.faces import faces_by
from pipeline.face.search import find_faces
from pipeline.pictures.decode import decode
from pipeline.portrait import bundled, make_portrait, read_portrait

from ..conftest import SHARED

CASES = SHARED / "cases" / "portraits"
CAT = [[78, 98], [172, 98], [126, 135], [108, 155], [146, 155]]


@pytest.fixture
def case():
    def read(name: str) -> bytes:
        if not (CASES / name).exists():
            pytest.skip(f"the case {name} is not here")
        return (CASES / name).read_bytes()

    return read


def width(face: np.ndarray) -> float:
    return float(np.ptp(face[:, 0]))


def scattered(side: int, places: list[tuple[str, int, int, int]]) -> np.ndarray:
    """A blurred ground of (side, side) with bundled portraits on it: name, width, x, y."""
    noise = np.random.default_rng(1).integers(0, 256, (side, side, 3), np.uint8)
    picture = cv2.GaussianBlur(noise, (0, 0), 9)
    for name, across, x, y in places:
        image = bundled(name).image
        small = cv2.resize(image, (across, across * image.shape[0] // image.shape[1]), interpolation=cv2.INTER_AREA)
        picture[y : y + small.shape[0], x : x + across] = small
    return picture


@pytest.mark.parametrize(("name", "turns"), [("astronaut", 1), ("astronaut", 2), ("drawing", 0), ("drawing", 2)])
def test_a_picture_that_lies_or_stands_on_its_head_is_shown_upright(model, name, turns):
    image = cv2.resize(bundled(name).image, None, fx=0.6, fy=0.6, interpolation=cv2.INTER_AREA)
    found = find_faces(np.ascontiguousarray(np.rot90(image, turns)), faces_by(model))
    assert np.array_equal(found.image, image)
    assert len(found.faces) == 1


@pytest.mark.slow
def test_a_small_face_is_found(model):
    picture = scattered(1400, [("astronaut", 130, 900, 700)])
    portrait = make_portrait("small", picture, faces_by(model))
    assert 30 < width(portrait.landmarks) < 60
    middle = portrait.landmarks[:, :2].mean(axis=0)
    assert (np.abs(middle - (965, 770)) < 60).all()


def test_every_face_of_a_group_can_be_chosen(model):
    places = [("drawing", 150, 20 + 190 * (k % 4), 60 + 400 * (k // 4)) for k in range(6)]
    portrait = make_portrait("group", scattered(800, places), faces_by(model))
    assert len(portrait.others) == len(places)
    lefts = [left for left, *_ in portrait.boxes()]
    assert np.diff(lefts).min() > -0.01
    assert {portrait.with_face(k).face for k in range(len(places))} == set(range(len(places)))


def test_where_there_is_no_face_none_is_found(model, case):
    with pytest.raises(NoFaceError, match="no face found"):
        find_faces(scattered(700, []), faces_by(model))
    with pytest.raises(NoFaceError, match="cat: no face found"):
        read_portrait("cat", case("face_cat_marks.jpg"), faces_by(model))


@pytest.mark.parametrize(
    ("marks", "wrong"),
    [
        (CAT[:4], "five points are expected: the eye on the left, the eye on the right, the tip of the nose"),
        ([*CAT[:4], [float("nan"), 1]], "five points are expected: the eye on the left"),
        ([*CAT[:4], [9e9, 1]], "the right corner of the mouth is at [0-9]*,1, far outside the picture"),
        ([CAT[1], CAT[0], *CAT[2:]], "the eyes are changed over"),
        ([[5, 5]] * 5, "the eyes are 0 pixels apart"),
        ([*CAT[3:], *CAT[:3]], "the mouth is not below the eyes"),
    ],
    ids=["four", "no number", "far away", "eyes exchanged", "one point", "upside down"],
)
def test_marks_that_are_no_face_are_refused(marks, wrong):
    with pytest.raises(MarksError, match=f"^cat: marks: {wrong}"):
        make_portrait("cat", np.zeros((256, 256, 3), np.uint8), faces_by(None), np.array(marks, np.float32))


@pytest.mark.slow
def test_marks_are_pixels_of_the_file_however_large(model):
    given = bundled("astronaut")
    large = cv2.resize(given.image, None, fx=5, fy=5)
    data = cv2.imencode(".jpg", large[..., ::-1])[1].tobytes()
    portrait = read_portrait("large", data, faces_by(model), five_points(given.landmarks) * 5)
    assert max(portrait.image.shape) == 2048
    scale = portrait.image.shape[0] / given.image.shape[0]
    assert np.abs(five_points(portrait.landmarks) / scale - five_points(given.landmarks)).max() < 0.1 * width(given.landmarks)


@pytest.mark.slow
def test_the_cases(model, case):
    """Each of ../shared/cases/portraits gives what its README calls right."""
    finder = faces_by(model)
    plain = read_portrait("gif", case("face_still.gif"), finder)
    for twin in ("face_grey16.png", "face_alpha_hidden_noise.png"):
        portrait = read_portrait(twin, case(twin), finder)
        assert np.abs(portrait.landmarks - plain.landmarks)[:, :2].max() < 0.03 * width(plain.landmarks), twin
    assert (read_portrait("alpha", case("face_alpha_hidden_noise.png"), finder).image[0, 0] == 128).all()
    assert decode(case("face_48_megapixels.jpg"), "large").image.shape == (1536, 2048, 3)
    statue = read_portrait("statue", case("face_statue_small_in_picture.jpg"), finder)
    assert 30 < width(statue.landmarks) < 45
    cat = read_portrait("cat", case("face_cat_marks.jpg"), finder, np.array(CAT, np.float32))
    assert np.abs(five_points(cat.landmarks) - CAT).max() < 0.03 * 94  # of the distance of its eyes
    assert decode(case("exif-typeerror.png"), "exif").image.shape == (96, 80, 3)
    assert read_portrait("cut", case("face_cut_by_left_border.jpg"), finder).landmarks[:, 0].min() < 20


def test_a_speck_beside_a_face_is_no_face():
    face = bundled("astronaut").landmarks

    class Sees:
        def find(self, image):
            return [face, face * 0.1]

        def find_in(self, images):
            return iter([self.find(image) for image in images])

    assert [len(each) for each in find_faces(bundled("astronaut").image, Sees()).faces] == [478]
