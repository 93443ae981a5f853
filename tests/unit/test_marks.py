"""Faces placed by hand: which point is wrong is told, and a found face is corrected or placed anew."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.errors import MarksError, PortraitError
from pipeline.face.canonical import five_points, from_five_points
from pipeline.face.faces import CascadeFaces
from pipeline.face.marks import problem
from pipeline.portrait import Picture, Portrait, bundled, make_portrait

FACE = np.array([[100, 100], [300, 100], [200, 200], [150, 300], [250, 300]], np.float32)


@pytest.mark.parametrize(
    ("points", "message"),
    [
        ({}, ""),
        ({0: (-900, 1)}, "the eye on the left is at -900,1, far outside the picture, which has 640x480 pixels"),
        ({4: (250, float("nan"))}, "five points are expected: the eye on the left, the eye on the right, the tip of the nose"),
        ({1: (101, 100)}, "the eyes are 1 pixels apart; put the first point on one, the second on the other"),
        ({0: (300, 100), 1: (100, 100)}, "the eyes are changed over; the one on the left of the picture comes first"),
        ({3: (150, 20), 4: (250, 20)}, "the mouth is not below the eyes; the eyes come first, its corners last"),
        ({3: (250, 300), 4: (150, 300)}, "the corners of the mouth are changed over; the one on the left of the picture comes"),
        ({3: (200, 300), 4: (201, 300)}, "the corners of the mouth are at one place; put a point on each"),
        ({2: (200, 430)}, "the tip of the nose is below the mouth; it comes third"),
        ({2: (200, 10)}, "the tip of the nose is above the eyes; it comes third"),
        ({2: (600, 200)}, "the tip of the nose is beside the face; it comes third"),
        ({2: (330, 200)}, ""),  # a profile's
        ({2: (200, 290)}, ""),  # a cat's
    ],
)
@pytest.mark.parametrize("turned", [False, True], ids=["upright", "lying"])
def test_what_is_wrong_with_five_points_is_said(points, message, turned):
    marks = FACE.copy()
    for k, point in points.items():
        marks[k] = point
    if turned and "outside" not in message:
        marks = (marks - 240) @ np.array([[0, 1], [-1, 0]], np.float32) + 240
    said = problem(marks, 640, 480)
    assert said.startswith(message)
    assert bool(said) == bool(message)


def test_points_that_are_moved_a_little_correct_the_face_and_others_place_it_anew():
    portrait = bundled("astronaut")
    found = five_points(portrait.landmarks)
    same = portrait.with_marks(found).landmarks
    assert np.abs(same - portrait.landmarks).max() < 0.01
    nudged = found + np.array([[0, 0], [0, 0], [0, 0], [-6, 4], [0, 0]], np.float32)
    corrected = portrait.with_marks(nudged).landmarks
    assert np.abs(five_points(corrected) - nudged).max() < 0.5
    moved = np.linalg.norm((corrected - portrait.landmarks)[:, :2], axis=1)
    assert moved.max() < 12, "what was found stays"
    away = found + 120
    placed = portrait.with_marks(away).landmarks
    assert np.allclose(placed, from_five_points(away)), "of what was found nothing is left"


def test_of_a_group_the_face_that_moves_is_placed_and_the_order_is_kept():
    image = np.zeros((400, 900, 3), np.uint8)
    left, right = from_five_points(FACE), from_five_points(FACE + np.float32([450, 0]))
    group = Portrait("two", image, left, (left, right))
    moved = group.with_marks(FACE + np.float32([560, 0]))
    assert moved.face == 1
    assert np.array_equal(moved.others[0], right)
    assert np.allclose(five_points(moved.landmarks), FACE + np.float32([560, 0]), atol=8)  # eyes are no points


def test_what_cannot_be_placed_says_so():
    portrait = bundled("drawing")
    with pytest.raises(MarksError, match="drawing: marks: the eyes are changed over"):
        portrait.with_marks(FACE[[1, 0, 2, 3, 4]])
    with pytest.raises(MarksError, match="wall: marks: the eyes are 0 pixels apart"):
        make_portrait("wall", np.zeros((300, 300, 3), np.uint8), CascadeFaces(), np.full((5, 2), 9, np.float32))
    puppet = Portrait("me", portrait.image, portrait.landmarks, more=(Picture(portrait.image, portrait.landmarks),))
    with pytest.raises(PortraitError, match="a puppet brings its face with it, in 2 pictures"):
        puppet.with_marks(FACE)
