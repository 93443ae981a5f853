"""The skin that covers an eye as it shuts: the lid, smooth to its lashes."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from ..face import topology as topo
from ..face.motion import Array
from ..frames import Image
from .geometry import Geometry
from .layers import SUBPIXEL, Box, affine, blend, draw, filled, placed, polygon_mask
from .pose import Pose
from .tones import LUMA

FADE = (0.38, 0.10)  # openness between which the drawn lid takes over from the stretched one
OVER = (0.95, 0.75)  # the same where the stretched one is not seen
SEAL = 0.14  # openness below which it covers the rest of the eyeball, too
LASHES, LINE = 0.08, 0.028  # in eye widths: where a portrait's own lashes are kept, and the line that the lids make
BALL = 40.0  # colour distance from skin that is eyeball for certain
MARGIN = 0.07  # the lid's own edge and lashes lie this far outside the eyeball


@dataclass(frozen=True)
class Lid:
    """The lid of one eye. skin: (h, w, 3) without the eye, its top left corner at `origin`; above, below: (9, 2) the edges of
    what it must cover; lash: (3,) colour of the line where lids meet. over: it comes down over a picture whose own lid
    stays where it is."""

    upper: tuple[int, ...]
    corners: tuple[int, int]
    origin: Array
    skin: Array
    above: Array
    below: Array
    centre: Array
    width: float
    lash: Array
    beyond: Array
    bounds: Array
    over: bool = False

    def draw(self, image: Image, geometry: Geometry, pose: Pose, driven: Array, openness: float) -> None:
        """Draw over the warped crop, from the fold down to the driven lid's edge; nothing while the eye is open."""
        high, low = OVER if self.over else FADE
        shut = float(np.clip((high - openness) / (high - low), 0.0, 1.0))
        if shut <= 0:
            return
        shift = (pose.offsets[list(self.corners)].mean(axis=0) @ pose.linear.T)[:2]
        at = affine(pose, geometry.pivot, self.centre, shift)
        edge = driven[list(self.upper)]
        seal = float(np.clip(1.0 - openness / SEAL, 0.0, 1.0))
        below = edge + (placed(self.below, at) - edge) * seal
        outline = np.concatenate([placed(self.above, at), below[::-1]])
        box = Box.around(np.concatenate([outline, placed(self.bounds, at)]), 0.12 * self.width, geometry.side)
        if box is None:
            return
        colour = draw(self.skin, self.origin, at, box)
        if self.over:
            line = _drawn_line(edge[1:-1], box, self.width)
        else:
            line = np.maximum(self._lashes(box.of(image), colour, edge, box), 0.85 * _stroke(edge[1:-1], box, LINE * self.width))
        colour += np.minimum(self.lash - colour, 0) * line[..., None]
        mask = np.maximum(polygon_mask(outline, box, self.width / 28), draw(self.beyond, self.origin, at, box) * seal)
        blend(image, box, colour, mask * (shut * shut * (3 - 2 * shut)))

    def _lashes(self, under: Image, colour: Array, edge: Array, box: Box) -> Array:
        """(h, w) 0..1 the portrait's own, which the warp has brought to the driven `edge`."""
        light, lash = colour @ LUMA, float(self.lash @ LUMA)
        dark = (light - under.astype(np.float32) @ LUMA) / np.maximum(light - lash, 8.0)
        own = np.clip(dark, 0, 1) * _stroke(edge, box, LASHES * self.width)
        own = cv2.morphologyEx(own, cv2.MORPH_CLOSE, np.ones((2 * round(0.04 * self.width) + 1, 3)))
        return np.asarray(cv2.GaussianBlur(own, (0, 0), max(0.012 * self.width, 0.4)))


def _drawn_line(points: Array, box: Box, width: float) -> Array:
    """(h, w) 0..1 the line of a shut eye of `width` pixels without lashes of its own along (n, 2) points: even, thin in a soft
    shade, and gone at its ends."""
    way = np.linspace(-1, 1, len(points))
    even = np.polynomial.polynomial.polyval(way, np.polynomial.polynomial.polyfit(way, points, 2)).T.astype(np.float32)
    line = np.maximum(0.8 * _stroke(even, box, LINE * width), 0.45 * _stroke(even, box, 3 * LINE * width))
    xs, ys = np.meshgrid(np.arange(box.x0, box.x1) + 0.5, np.arange(box.y0, box.y1) + 0.5)
    to_end = np.minimum(*(np.hypot(xs - x, ys - y) for x, y in even[[0, -1]]))
    return np.asarray(line * np.clip(to_end / (0.25 * width), 0.15, 1))


def _stroke(points: Array, box: Box, width: float) -> Array:
    """(h, w) 0..1 a soft line `width` pixels wide along (n, 2) points, thinner towards its ends."""
    mask = np.zeros(box.size[::-1], np.float32)
    fine = cv2.resize(points[None].astype(np.float32), (4 * len(points), 1), interpolation=cv2.INTER_CUBIC)[0]
    corners = np.round((fine - box.origin - 0.5) * 2**SUBPIXEL).astype(np.int32)
    cv2.polylines(mask, [corners], False, 1.0, max(round(width), 1), cv2.LINE_AA, SUBPIXEL)
    mask = cv2.GaussianBlur(mask, (0, 0), max(width / 2.4, 0.7))
    return np.asarray(mask * min(width, 1.0))


def make_lid(crop: Image, geometry: Geometry, eye: int) -> Lid:
    """The shut lid of one eye (0 right, 1 left) of the resting portrait."""
    upper, lower = topo.EYES[eye]
    rest = geometry.landmarks
    above, below = rest[list(upper), :2], rest[list(lower), :2]
    along = above[-1] - above[0]
    width = max(float(np.linalg.norm(along)), 1e-3)
    down = np.array([-along[1], along[0]], np.float32) / width
    swell = np.sin(np.linspace(0.12, np.pi - 0.12, len(upper)))[:, None] * MARGIN * width * down
    wider = np.linspace(-MARGIN, MARGIN, len(upper))[:, None] ** 3 / MARGIN**2 * along  # at the corners
    above, below = above - swell + wider, below + 0.7 * swell + wider
    box = Box.around(np.concatenate([above, below]), 0.5 * width, geometry.side)
    assert box is not None, "a crop is larger than its eyes"
    patch = box.of(crop)
    hole = cv2.dilate(polygon_mask(np.concatenate([above, below[::-1]]), box, 0), np.ones((3, 3))) > 0.02
    beyond = _beyond(patch, _skin(patch, hole, width), hole)
    whole = hole | beyond
    skin = _skin(patch, whole, width)
    skin *= _relief(box, above, below)[..., None]
    skin += _grain(crop, box, width) * whole[..., None]
    line = box.of(crop)[polygon_mask(np.concatenate([above, rest[list(upper[::-1]), :2]]), box, 0) > 0.5].reshape(-1, 3)
    return Lid(upper, (upper[0], upper[-1]), box.origin, skin.astype(np.float32), above, below,
               rest[[upper[0], upper[-1]]].mean(axis=0), width, _lash(line, skin[hole]), _soft(beyond, 1.0),
               box.origin + cv2.boxPoints(cv2.minAreaRect(np.argwhere(whole)[:, ::-1].astype(np.float32))))  # fmt: skip


def _skin(patch: Image, hole: Array, width: float) -> Array:
    """(h, w, 3) the patch with its eye filled in from the skin around it, whose lashes and brows do not count."""
    around = ~hole
    near = filled(patch, around, width / 12) @ LUMA
    smooth = cv2.GaussianBlur(near, (0, 0), width / 5)
    known = around & (np.abs(near / np.maximum(smooth, 1.0) - 1) < 0.15)
    skin = filled(patch, known if known.sum() > 20 else around, width / 24)
    ring = (cv2.dilate(hole.astype(np.uint8), np.ones((3, 3)), iterations=max(int(width / 6), 1)) > 0) & around
    cap = np.percentile(near[ring], 70) if ring.any() else 255.0  # the socket's own shade
    dim = np.where(hole, np.minimum(1.0, cap / np.maximum(skin @ LUMA, 1.0)), 1.0)
    return skin * _soft(dim, width / 16)[..., None]


def _beyond(patch: Image, skin: Array, hole: Array) -> Array:
    """(h, w) bool: what joins the `hole`, or a lash beside it, and is plainly lighter than skin: an eyeball that reaches
    beyond the landmarks."""
    near = cv2.dilate(hole.astype(np.uint8), np.ones((3, 3)), iterations=max(hole.shape[1] // 25, 1)) > 0
    other = (np.linalg.norm(patch - skin, axis=2) > BALL) & (patch @ LUMA > skin @ LUMA) | hole
    parts = cv2.connectedComponents(other.astype(np.uint8), connectivity=4)[1]
    inside = np.unique(parts[near])
    beyond = np.isin(parts, inside[inside > 0]) & ~hole
    if beyond.sum() > 0.5 * hole.sum():  # it goes on into light that is none of the eye's
        return np.zeros_like(hole)
    return cv2.dilate(beyond.astype(np.uint8), np.ones((3, 3)), iterations=2) > 0


def _soft(values: Array, radius: float) -> Array:
    return np.asarray(cv2.GaussianBlur(values.astype(np.float32), (0, 0), radius))


def _relief(box: Box, above: Array, below: Array) -> Array:
    """(h, w) light on a lid: it bulges over the eyeball, and turns away to the fold and the lashes."""
    xs, ys = np.meshgrid(np.arange(box.x0, box.x1) + 0.5, np.arange(box.y0, box.y1) + 0.5)
    top, bottom = np.interp(xs, *above.T), np.interp(xs, *below.T)
    t = np.clip((ys - top) / np.maximum(bottom - top, 1.0), 0, 1)
    inside = np.clip((xs - above[0, 0]) / 4, 0, 1) * np.clip((above[-1, 0] - xs) / 4, 0, 1)
    return np.asarray(1 + (0.07 * np.sin(np.pi * t) - 0.05 * np.sin(np.pi * np.minimum(t * 4, 1))) * inside)


def _grain(crop: Image, box: Box, width: float) -> Array:
    """(h, w, 3) the fine structure of the skin under the eye, so that the lid is not smoother than the picture."""
    drop = int(min(0.9 * width, crop.shape[0] - box.y1))
    cheek = crop[box.y0 + drop : box.y1 + drop, box.x0 : box.x1].astype(np.float32)
    return np.clip(cheek - cv2.GaussianBlur(cheek, (0, 0), 1.6), -10, 10)


def _lash(line: Array, skin: Array) -> Array:
    """(3,) the dark of the portrait's own lid line, never lighter than a shadow on its skin."""
    tone = skin.mean(axis=0)
    if len(line) < 8:
        return np.asarray(0.55 * tone, np.float32)
    luma = line.astype(np.float32) @ LUMA
    own = line[luma <= np.percentile(luma, 20)].mean(axis=0)
    return np.asarray(np.minimum(own, 0.6 * tone), np.float32)
