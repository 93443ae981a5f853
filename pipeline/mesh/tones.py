"""The light of a portrait, as far as it can be told from its skin, lips and eyes."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from ..face import topology as topo
from ..face.motion import Array
from ..frames import Image
from .layers import Box, polygon_mask

SKIN = (50, 280, 205, 425, 101, 330, 117, 346, 36, 266, 151, 9, 5, 199)  # cheeks, forehead, nose, chin
LIPS = (0, 17, 37, 267, 84, 314)
ENAMEL = np.array([1.03, 1.0, 0.94], np.float32)  # teeth under white light, a little warm
PALE, PER_SKIN = 56.0, 0.8  # luma of front teeth under skin of luma 0, and per luma of it: teeth differ less than skins do,
BRIGHT = 1.5  # and are never brighter against it
# What is taken for light, of luma 1: old varnish is far more yellow than any lamp; what makes eyes red is none.
LIGHT = np.array([[0.88, 0.94, 0.68], [1.10, 1.04, 1.10]], np.float32)
NO_COLOUR = 0.04  # saturation of a skin below which a picture has no colours


@dataclass(frozen=True)
class Tones:
    """Colours (3,) of a mouth's interior in the portrait's own light."""

    skin: Array
    cavity: Array
    flesh: Array
    gum: Array
    teeth: Array

    @classmethod
    def of(cls, crop: Image, rest: Array) -> Tones:
        """From the crop (side, side, 3) and its landmarks."""
        skin, lip = skin_of(crop, rest), _sample(crop, rest, LIPS, 0.5)
        light = _light(crop, rest, skin)
        luma = float(skin @ LUMA)
        bright = min(PALE + PER_SKIN * luma, BRIGHT * luma)
        coloured = float(np.clip((_saturation(skin) - NO_COLOUR) / 0.1, 0, 1))
        enamel = light * (1 + (ENAMEL - 1) * coloured)
        flesh = 0.6 * lip + 0.4 * float(skin @ LUMA) * light * (1 + (np.array([0.93, 0.48, 0.48]) - 1) * coloured)
        return cls(
            skin=skin,
            cavity=(0.24 * flesh * np.array([1.25, 0.8, 0.85])).astype(np.float32),
            flesh=np.clip(0.9 * flesh, 0, 255).astype(np.float32),
            gum=np.clip(
                0.5 * lip + 0.42 * float(skin @ LUMA) * (1 + (np.array([1.15, 0.75, 0.75]) - 1) * coloured), 0, 255
            ).astype(np.float32),
            teeth=np.clip(bright * enamel / float(enamel @ LUMA), 0, 245).astype(np.float32),
        )


def skin_of(crop: Image, rest: Array) -> Array:
    """(3,) colour of the skin, where it is well lit."""
    return _sample(crop, rest, SKIN, 0.65)


LUMA = np.array([0.299, 0.587, 0.114], np.float32)


def _light(crop: Image, rest: Array, skin: Array) -> Array:
    """(3,) colour of the light, of luma 1: half way the eye whites', which are never quite white; without eyes, less of the
    skin's."""
    whites = [_eye_white(crop, rest, k) for k in range(2)]
    seen = [w for w in whites if w is not None]
    colour, trust = (np.mean(seen, axis=0), 0.55) if seen else (skin, 0.3)
    light = 1 + trust * (colour / max(float(colour @ LUMA), 1.0) - 1)
    return np.clip(light, *LIGHT)


def _eye_white(crop: Image, rest: Array, k: int) -> Array | None:
    """(3,) the brighter half of an eye beside its iris; None where too little of it is seen."""
    (upper, lower), iris = topo.EYES[k], rest[list(topo.IRISES[k]), :2]
    outline = rest[[*upper, *lower[-2:0:-1]], :2]
    box = Box.around(outline, 0, crop.shape[0])
    if box is None:
        return None
    ys, xs = np.mgrid[box.y0 : box.y1, box.x0 : box.x1]
    radius = float(np.linalg.norm(iris[1:] - iris[0], axis=1).mean())
    beside = np.hypot(xs + 0.5 - iris[0, 0], ys + 0.5 - iris[0, 1]) > 1.15 * radius
    pixels = box.of(crop)[beside & (polygon_mask(outline, box, 0) > 0.9)].astype(np.float32)
    if len(pixels) < 8:
        return None
    luma = pixels @ LUMA
    return np.asarray(np.median(pixels[luma >= np.median(luma)], axis=0), np.float32)


def _sample(crop: Image, rest: Array, points: tuple[int, ...], brightness: float) -> Array:
    """(3,) colour at the points: of the one that is brighter than the share `brightness` of them."""
    blurred = cv2.GaussianBlur(crop, (0, 0), max(crop.shape[0] / 200, 0.8))
    xy = np.clip(rest[list(points), :2].astype(int), 0, crop.shape[0] - 1)
    colours = blurred[xy[:, 1], xy[:, 0]].astype(np.float32)
    ranked = colours[np.argsort(colours @ LUMA)]
    near = round(brightness * (len(ranked) - 1))
    return np.asarray(ranked[max(near - 1, 0) : near + 2].mean(axis=0), np.float32)


def own_teeth(crop: Image, inside: Array, skin: Array) -> Array | None:
    """(3,) colour of the teeth that a portrait shows between its lips, (side, side) `inside`; None where it shows none."""
    pixels = crop[inside > 0.9].astype(np.float32)
    bright = pixels[pixels @ LUMA > 0.78 * float(skin @ LUMA)]
    if len(pixels) < 12 or len(bright) < 0.3 * len(pixels):
        return None
    colour = np.percentile(bright, 70, axis=0)
    pale = _saturation(colour) < max(0.8 * _saturation(skin), 2 * NO_COLOUR)
    return np.asarray(colour, np.float32) if pale else None


def _saturation(colour: Array) -> float:
    return float(np.ptp(colour)) / max(float(colour.max()), 1.0)
