"""Glasses in a portrait: they are seen, and do not bend when the eyes behind them shut."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from pipeline.clips import open_clip, timed
from pipeline.face import topology as topo
from pipeline.face.faces import MediaPipeFaces
from pipeline.face.motion import Array, rest
from pipeline.frames import Image
from pipeline.mesh.crop import Crop
from pipeline.mesh.glasses import worn
from pipeline.mesh.prepared import MeshPrepared
from pipeline.portrait import Portrait, bundled, load_portrait, make_portrait


def with_glasses(portrait: Portrait, colour: tuple[int, int, int]) -> tuple[Portrait, Array]:
    """The portrait with round glasses, and (h, w) bool where their rims are."""
    rims = np.zeros(portrait.image.shape[:2], np.uint8)
    points = portrait.landmarks[:, :2]
    thick = max(round(0.02 * float(np.linalg.norm(points[33] - points[263]))), 1)
    centres = [points[[upper[0], upper[-1]]].mean(axis=0) for upper, _ in topo.EYES]
    apart = centres[1] - centres[0]
    widest = max(float(np.linalg.norm(points[upper[-1]] - points[upper[0]])) for upper, _ in topo.EYES)
    radius = max(0.36 * float(np.linalg.norm(apart)), 0.7 * widest)
    for centre in centres:
        cv2.circle(rims, [round(float(v)) for v in centre + (0, 0.2 * radius)], round(radius), 255, thick, cv2.LINE_AA)
    inward = 0.98 * radius * apart / np.linalg.norm(apart)
    ends = [centres[0] + inward, centres[1] - inward]
    (x0, y0), (x1, y1) = ([round(float(v)) for v in end] for end in ends)
    cv2.line(rims, (x0, y0), (x1, y1), 255, thick, cv2.LINE_AA)
    share = rims[..., None] / 255
    image = (portrait.image * (1 - share) + np.array(colour) * share).astype(np.uint8)
    return replace(portrait, image=image), rims > 128


def seen(portrait: Portrait) -> bool:
    crop = Crop.around(portrait.landmarks)
    return worn(crop.cut(portrait.image), portrait.landmarks - np.array([crop.x, crop.y, 0], np.float32))


@pytest.mark.parametrize("name", ["astronaut", "drawing"])
def test_they_are_seen_by_their_bridge(name):
    portrait = bundled(name)
    assert not seen(portrait)
    for colour in ((30, 25, 20), (250, 240, 200)):
        assert seen(with_glasses(portrait, colour)[0])


@pytest.mark.long
def test_they_are_seen_in_photographs_and_paintings(model, picture, clip):
    """d12 wears transparent ones, d19 thin ones of metal; nobody else wears any."""
    faces = MediaPipeFaces(model)

    def first(name: str) -> Image:
        with open_clip(clip(name)) as opened:
            return next(image for _, image in timed(opened))

    drivers = {name: seen(make_portrait(name, first(name), faces)) for name in ("d0", "d10", "d12", "d14", "d18", "d19")}
    assert {name for name, found in drivers.items() if found} == {"d12", "d19"}
    assert not any(seen(load_portrait(str(picture(name)), faces)) for name in ("s1", "s5", "s9", "s12", "s22", "s30"))


def test_rims_do_not_move_when_eyes_shut():
    portrait, rims = with_glasses(bundled("astronaut"), (30, 25, 20))
    prepared = MeshPrepared.of(portrait, 2048, 864)
    assert prepared.still.shape == portrait.image.shape
    shut = prepared.render(replace(rest(), openness=np.zeros(2, np.float32))).astype(int)
    assert np.abs(shut - prepared.still)[rims].max() <= 1
    eye = np.round(portrait.landmarks[topo.RIGHT_IRIS[0], :2]).astype(int)
    assert np.abs(shut - prepared.still)[eye[1], eye[0]].max() > 30, "but the eyes do shut"
    assert np.array_equal(prepared.render(rest()), prepared.still)
