"""The person and the ground behind, apart: the ground stands still, and where the head was it shows what it may hide."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np

from ..face.motion import Array
from ..frames import Image
from .finish import Grain

MARGIN = 0.012  # of the side: hair that the matte misses goes with the head
FILL_SIDE = 160  # pixels
FADE = 0.05  # of the side: where the picture's border cuts the person, it fades into the ground beyond
BLACK = 32  # grey levels below which noise is all there is
FAINT = 12  # of 255: coverage that hardly shows
SEEN = 0.08  # coverage from which a pixel says nothing of the ground


@dataclass(frozen=True)
class Backdrop:
    """head: (side, side, 4) the person's colours times coverage, and coverage; ground: (side, side, 3) with the person
    filled in. head over ground is the portrait, to the pixel. Without a matte the head is all of the picture, three
    channels, and there is no ground."""

    head: Image
    ground: Image | None

    @classmethod
    def of(cls, crop: Image, coverage: Array | None, beyond: Array, grain: Grain) -> Backdrop:
        """From the crop (side, side, 3), the person's coverage (side, side) in it, if it is known, how far a pixel lies
        beyond the picture's border, and the crop's grain."""
        if coverage is None:
            return cls(crop, None)
        reach = 2 * round(MARGIN * crop.shape[0]) + 1
        disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (reach, reach))
        band = np.asarray(cv2.dilate((coverage > SEEN).astype(np.uint8), disc), np.uint8)
        band[beyond > 0] = 1
        grained = np.clip(np.round(grain.on(filled(crop, band))), 0, 255).astype(np.uint8)
        ground = np.where(band[..., None] > 0, grained, crop)
        # What is seen beside the person and is no darker than broad parts of the ground near it, as a window's frame, is ground,
        # too: thin ones may be hair.
        broad = cv2.dilate(np.where(band[..., None] > 0, np.uint8(0), crop), np.ones((reach, reach), np.uint8))
        broad[broad < BLACK] = 0
        darkest = cv2.erode(np.where(band[..., None] > 0, np.uint8(255), broad), np.ones((3 * reach, 3 * reach), np.uint8))
        beside = (coverage < SEEN) & (crop >= darkest).all(axis=-1)
        ground = np.where(beside[..., None], np.minimum(ground, crop), ground)
        coverage = coverage * np.clip(1.0 - beyond / FADE, 0.0, 1.0)
        mixed = ground + (crop - ground.astype(np.float32)) * coverage[..., None]
        crop = np.where(beyond[..., None] > 0, mixed, crop).astype(np.uint8)
        # Where the picture is darker than the ground could be through it, there is more of the person than the matte says.
        darker = ((ground - crop.astype(np.float32)) / np.maximum(ground, 1.0)).max(axis=-1)
        alpha = np.where(band > 0, np.ceil(255 * np.maximum(coverage, darker)), 0).clip(0, 255).astype(np.uint8)
        lone = apart(alpha)
        ground[lone], alpha[lone] = crop[lone], 0
        while True:
            over = crop.astype(np.int16) - through(ground, alpha)
            short = (over < 0).any(axis=-1)
            if not short.any():
                return cls(np.dstack([over.astype(np.uint8), alpha]), ground)
            alpha[short] += 1  # rounding

    def no_brighter(self) -> Backdrop:
        """For another ground: before its own, what is brighter there than its coverage allows made the picture whole."""
        colours, alpha = self.head[..., :3], self.head[..., 3:]
        return replace(self, head=np.concatenate([np.minimum(colours, alpha), alpha], axis=-1))

    def behind(self, head: Image) -> Image:
        """(side, side, 3): `head`, moved, over the ground."""
        if self.ground is None:
            return head
        out = through(self.ground, head[..., 3])
        return np.asarray(cv2.add(cv2.cvtColor(head, cv2.COLOR_RGBA2RGB), out, dst=out), np.uint8)


def apart(alpha: Image) -> np.ndarray:
    """(h, w) bool what is seen of a coverage (h, w) and does not hang together with its largest part."""
    _, parts, sizes, _ = cv2.connectedComponentsWithStats((alpha > FAINT).astype(np.uint8))
    return (parts > 0) & (parts != 1 + sizes[1:, cv2.CC_STAT_AREA].argmax()) if len(sizes) > 1 else parts > 0


def through(ground: Image, alpha: Image) -> Image:
    """What of the ground is seen through a coverage."""
    out = cv2.cvtColor(cv2.bitwise_not(alpha), cv2.COLOR_GRAY2RGB)
    return np.asarray(cv2.multiply(ground, out, dst=out, scale=1 / 255), np.uint8)


def without(ground: Image, picture: Image, alpha: Image) -> Image:
    """(h, w, 3) what of a picture is not the ground seen through a coverage (h, w): the person's colours times coverage."""
    person = cv2.subtract(picture, through(ground, alpha))
    return np.asarray(cv2.min(person, cv2.cvtColor(alpha, cv2.COLOR_GRAY2RGB)), np.uint8)


def filled(picture: Image, hidden: Image) -> Image:
    """(h, w, 3) the picture, where `hidden` (h, w) is not 0 filled in from around it: at a small size, as it is soft anyway.

    Telea, "An image inpainting technique based on the fast marching method", Journal of Graphics Tools 9(1), 2004.
    """
    factor = min(FILL_SIDE / max(hidden.shape), 1.0)
    small = [cv2.resize(a, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
             for a in (picture * (hidden == 0)[..., None].astype(np.float32), (hidden == 0).astype(np.float32))]  # fmt: skip
    known = np.clip(small[0] / np.maximum(small[1], 1e-3)[..., None], 0, 255).astype(np.uint8)
    full = cv2.inpaint(known, (small[1] < 0.2).astype(np.uint8), 4, cv2.INPAINT_TELEA)
    soft = cv2.resize(cv2.GaussianBlur(full, (0, 0), 1.5), hidden.shape[::-1], interpolation=cv2.INTER_CUBIC)
    near = cv2.blur((hidden == 0).astype(np.float32), (5, 5))[..., None]  # no step where it begins
    edge = np.where(hidden[..., None] == 0, picture, 0).astype(np.float32)
    edge = cv2.blur(edge, (5, 5)) / np.maximum(near, 1e-3)
    return np.where(hidden[..., None] > 0, np.round(soft + (edge - soft) * near), picture).astype(np.uint8)
