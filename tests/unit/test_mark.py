"""The mark in real pictures: as faint as it has to be, and found after what becomes of pictures."""

from __future__ import annotations

from datetime import date
from io import BytesIO
from itertools import islice

import cv2
import numpy as np
import pytest
from PIL import Image as Pillow

from pipeline.clips import open_clip, pictures
from pipeline.frames import AnimatedFrame, Marked, planar, stacked, yuv_planes
from pipeline.mark import code
from pipeline.mark.detect import USUAL, find
from pipeline.mark.marker import UNMARKED, Marker
from pipeline.mark.payload import Payload
from pipeline.portrait import DEMO_CLIP, bundled

SAYS = Payload.of(0xBEEF, "live", date(2026, 8, 2))
MARKER = Marker(lambda: SAYS)


@pytest.fixture(scope="module")
def astronaut():
    picture = bundled("astronaut").image
    return planar(np.ascontiguousarray(picture[: len(picture) // 2 * 2, : picture.shape[1] // 2 * 2]))


def framed(yuv, marker: Marker = MARKER) -> AnimatedFrame:
    return marker.frame(yuv, 0.0, 1, lambda: stacked(yuv, np.full_like(yuv_planes(yuv)[0], 255)))


def luma(yuv):
    return yuv_planes(yuv)[0]


def scaled(image, factor: float):
    return cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)


def as_jpeg(image, quality: int):
    held = BytesIO()
    Pillow.fromarray(image).save(held, "jpeg", quality=quality)
    return np.asarray(Pillow.open(held))


ATTACKS = {
    "none": lambda y: y,
    "mirrored": lambda y: np.ascontiguousarray(y[:, ::-1]),
    "half the size": lambda y: scaled(y, 0.5),
    "a size of nobody's": lambda y: scaled(y, 0.83),
    "cropped by a quarter": lambda y: np.ascontiguousarray(y[37 : 37 + len(y) * 7 // 8, 21 : 21 + y.shape[1] * 6 // 7]),
    "JPEG 50": lambda y: as_jpeg(y, 50),
    "brighter": lambda y: np.clip(y * 1.2, 0, 255).astype(np.uint8),
    "paler": lambda y: np.clip(128 + 0.8 * (y.astype(np.float32) - 128), 0, 255).astype(np.uint8),
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_one_picture_is_enough(astronaut, attack):
    found = find([ATTACKS[attack](luma(framed(astronaut).yuv)[100:484, 128:512])])
    assert found is not None
    assert found.payload == SAYS
    assert found.log10_chance < -9


def test_the_mark_is_42_decibels_below_and_the_colours_stay(astronaut):
    marked = framed(astronaut).yuv
    error = luma(marked).astype(np.float32) - luma(astronaut)
    assert 0 < np.mean(error**2) < 255**2 / 10**4.2
    assert (marked[len(astronaut) * 2 // 3 :] == astronaut[len(astronaut) * 2 // 3 :]).all()


def test_nothing_is_found_without_a_mark_nor_of_what_was_not_marked(astronaut):
    with open_clip(DEMO_CLIP) as clip:
        lumas = [frame.to_ndarray(format="gray") for frame in islice(pictures(clip), 4)]
    assert find(lumas, USUAL) is None
    assert find([luma(framed(astronaut, UNMARKED).yuv)], [1.0]) is None


def test_flat_areas_stay_quiet_beside_outlines():
    """A halo of grain around an outline is seen at once."""
    drawn = np.full((256, 256, 3), 180, np.uint8)
    drawn[:, 128:] = 90
    plain = planar(drawn)
    error = np.abs(luma(framed(plain).yuv).astype(np.float32) - luma(plain))
    beside, far = error[:, 138:150].mean(), error[:, 200:240].mean()
    assert 0 < beside < 1.25 * far


def test_a_cut_out_is_marked_above_its_coverage(astronaut):
    cut = framed(astronaut).cut_out()
    colours, coverage = np.split(luma(cut.yuv), 2)
    assert (coverage == 235).all()
    assert find([colours]).payload == SAYS


def test_what_nothing_moves_in_is_not_marked_again(astronaut):
    assert framed(astronaut).yuv is not framed(np.array(astronaut)).yuv
    assert framed(astronaut).yuv is framed(astronaut).yuv


def test_bars_stay_black():
    bars = planar(np.zeros((64, 64, 3), np.uint8))
    assert (framed(bars).yuv == bars).all()


@pytest.mark.parametrize("side", [2, 6, 16])
def test_the_smallest_pictures_can_be_marked(side):
    yuv = np.full((side * 3 // 2, side), 120, np.uint8)
    assert framed(yuv).yuv.shape == yuv.shape


def test_no_picture_becomes_a_frame_without_a_marker(astronaut):
    with pytest.raises(TypeError, match="only a marker"):
        AnimatedFrame(Marked(astronaut), 0.0, 1, object())


def test_bits_that_are_often_wrong_are_put_right():
    rng = np.random.default_rng(5)
    bits = SAYS.bits()
    soft = (code.encode(bits) * 0.9 + rng.normal(size=code.CODED)).astype(np.float32)
    assert np.mean((soft > 0) != (code.encode(bits) > 0)) > 0.1
    assert (code.decode(soft) == bits).all()


def test_noise_seldom_passes_the_check():
    rng = np.random.default_rng(6)
    passed = sum(code.decode(rng.normal(size=code.CODED).astype(np.float32)) is not None for _ in range(8))
    assert passed <= 1
