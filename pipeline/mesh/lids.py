"""The skin that covers an eye as it shuts: the lid, smooth to its lashes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np

from ..face import topology as topo
from ..face.motion import Array
from ..frames import Image
from .geometry import Geometry
from .layers import SUBPIXEL, Box, affine, draw, filled, placed, polygon_mask, subpixel
from .pose import BOW, Pose
from .tones import LUMA

FADE = (0.60, 0.20)  # openness between which the drawn lid takes over from the stretched one
OVER = (0.95, 0.75)  # the same where the stretched one is not seen
SEAL = 0.14  # openness below which it covers the rest of the eyeball, too
LASHES, LINE = 0.08, 0.028  # in eye widths: the shade in which a portrait's own lashes are kept, and the line in it
DARK = 0.5  # of the skin's brightness that this line has at most
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
    over: bool = False

    def draw(self, image: Image, geometry: Geometry, pose: Pose, driven: Array, openness: float) -> None:
        """Draw over the warped crop, from the fold down to the driven lid's edge; nothing while the eye is open."""
        high, low = OVER if self.over else FADE
        shut = float(np.clip((high - openness) / (high - low), 0.0, 1.0))
        if shut <= 0:
            return
        shut = shut * shut * (3 - 2 * shut)
        shift = (pose.offsets[list(self.corners)].mean(axis=0) @ pose.linear.T)[:2]
        at = affine(pose, geometry.pivot, self.centre, shift)
        above, edge = placed(self.above, at), _even(driven[list(self.upper)])
        seal = float(np.clip(1.0 - openness / SEAL, 0.0, 1.0))
        outline = np.concatenate([above, (edge + (placed(self.below, at) - edge) * seal)[::-1]])
        box = Box.around(outline, 0.12 * self.width, geometry.side)
        if box is None:
            return
        under = box.of(image).astype(np.float32)
        skin = draw(self.skin, self.origin, at, box)
        shade, sharp = _strokes(edge, box, (LASHES * self.width, LINE * self.width))
        line = _line(edge, shade, sharp, box, self.width)
        mask = polygon_mask(outline, box, self.width / 28)
        if not self.over:
            seen, light = under @ LUMA, skin @ LUMA
            line = self._with_lashes(line, shade, seen, light, above, edge, box)
            mask *= _needed(seen, light, above, edge, box)
        colour = under + (skin - under) * mask[..., None]
        colour += np.minimum(self.lash - colour, 0) * line[..., None]
        box.of(image)[:] = cv2.addWeighted(colour, shut, under, 1 - shut, 0, dtype=cv2.CV_8U)

    def _with_lashes(self, line: Array, shade: Array, seen: Array, light: Array, above: Array, edge: Array, box: Box) -> Array:
        """(h, w) 0..1 the line and the portrait's own lashes, which the warp has brought into the `shade` along the driven
        `edge`. seen, light: (h, w) luma of the warped picture and of the lid's skin."""
        dark = (light - seen) / np.maximum(light - float(self.lash @ LUMA), 8.0)
        own = np.clip(dark, 0, 1) * shade
        own *= polygon_mask(np.concatenate([above, edge[::-1]]), box, LINE * self.width / 2)  # below, the line alone is even
        both = cv2.morphologyEx(np.maximum(line, own), cv2.MORPH_CLOSE, np.ones((2 * round(0.04 * self.width) + 1, 3)))
        return np.asarray(cv2.GaussianBlur(both, (0, 0), max(0.012 * self.width, 0.4)))


def _even(edge: Array) -> Array:
    """(n, 2) the curve of a lid's edge: single landmarks stand out of it, and the line of a shut eye does not."""
    return np.asarray(_cubic(len(edge)) @ edge, np.float32)


@cache
def _cubic(count: int) -> Array:
    """(count, count) what makes of values along a way those of the cubic that fits them best."""
    powers = np.vander(np.linspace(-1, 1, count), 4)
    return np.asarray(powers @ np.linalg.pinv(powers), np.float32)


def _needed(seen: Array, light: Array, above: Array, edge: Array, box: Box) -> Array:
    """(h, w) 0..1 where the drawn lid covers the stretched one: in its lower half, where that is stretched lashes, and where it
    is no skin but an eyeball. seen, light: luma of the stretched one and of the drawn one."""
    height = max(0.85 * math.hypot(*(edge - above)[4].tolist()), 1.0)  # its mean
    down = edge - above
    low = (edge + down[4])[::-1]
    lower, edges = (np.concatenate([above + share * down, low]) for share in (0.4, 0.7 * BOW))
    covered = np.maximum(polygon_mask(lower, box, 0.2 * height), polygon_mask(edges, box, 0.05 * height))
    share = seen / np.maximum(light, 8.0)
    other = np.maximum((share - 1.12) / 0.15, (0.75 - share) / 0.2)
    return np.maximum(covered, cv2.GaussianBlur(np.clip(other, 0, 1), (0, 0), 0.06 * height))


def _line(edge: Array, shade: Array, sharp: Array, box: Box, width: float) -> Array:
    """(h, w) 0..1 the line of a shut eye of `width` pixels along its (n, 2) edge: thin in a soft shade, and gone at its ends."""
    line = np.maximum(np.float32(0.8) * sharp, np.float32(0.35) * shade)
    xs = np.arange(box.x0, box.x1, dtype=np.float32) + np.float32(0.5)
    ys = np.arange(box.y0, box.y1, dtype=np.float32)[:, None] + np.float32(0.5)
    to_end = np.minimum(*(np.hypot(xs - x, ys - y) for x, y in edge[[0, -1]]))
    return np.asarray(line * np.clip(to_end / np.float32(0.25 * width), 0.15, 1))


def _strokes(points: Array, box: Box, widths: tuple[float, ...]) -> list[Array]:
    """(h, w) 0..1 soft lines of some widths in pixels along (n, 2) points, thinner towards their ends."""
    fine = subpixel(cv2.resize(points[None].astype(np.float32), (4 * len(points), 1), interpolation=cv2.INTER_CUBIC)[0], box)
    out = []
    for width in widths:
        mask = np.zeros(box.size[::-1], np.uint8)  # lines are smooth in bytes alone
        cv2.polylines(mask, [fine], False, 255, max(round(width), 1), cv2.LINE_AA, SUBPIXEL)
        light = mask * np.float32(min(width, 1.0) / 255)
        out.append(np.asarray(cv2.GaussianBlur(light, (0, 0), max(width / 2.4, 0.7)), np.float32))
    return out


def make_lid(crop: Image, geometry: Geometry, eye: int) -> Lid:
    """The shut lid of one eye (0 right, 1 left) of the resting portrait."""
    upper, lower = topo.EYES[eye]
    rest = geometry.landmarks
    above, below = rest[list(upper), :2], rest[list(lower), :2]
    along = above[-1] - above[0]
    width = max(float(np.linalg.norm(along)), 1e-3)
    down = np.array([-along[1], along[0]], np.float32) / width
    swell = np.sin(np.linspace(0.45, np.pi - 0.45, len(upper)))[:, None] * MARGIN * width * down
    wider = np.linspace(-MARGIN, MARGIN, len(upper))[:, None] ** 3 / MARGIN**2 * along  # at the corners
    above, below = above - swell + wider, below + 0.7 * swell + wider
    box = Box.around(np.concatenate([above, below]), 0.5 * width, geometry.side)
    assert box is not None, "a crop is larger than its eyes"
    patch = box.of(crop)
    hole = cv2.dilate(polygon_mask(np.concatenate([above, below[::-1]]), box, 0), np.ones((3, 3))) > 0.02
    skin = _skin(patch, hole, _over(box, above), width) * _relief(box, above, below)[..., None]
    skin += _grain(crop, box, width) * hole[..., None]
    line = patch[polygon_mask(np.concatenate([above, rest[list(upper[::-1]), :2]]), box, 0) > 0.5].reshape(-1, 3)
    return Lid(upper, (upper[0], upper[-1]), box.origin, skin.astype(np.float32), above, below,
               rest[[upper[0], upper[-1]]].mean(axis=0), width, _lash(line, skin[hole]))  # fmt: skip


def _over(box: Box, edge: Array) -> Array:
    """(h, w) whether a place is above an (n, 2) edge, or beside it as high."""
    xs, ys = np.meshgrid(np.arange(box.x0, box.x1) + 0.5, np.arange(box.y0, box.y1) + 0.5)
    return np.asarray(ys < np.interp(xs, *edge.T))


def _skin(patch: Image, hole: Array, over: Array, width: float) -> Array:
    """(h, w, 3) the patch with its eye filled in from the skin around it, whose lashes and brows do not count. over: (h, w)
    what lies above the eye."""
    around = ~hole
    near = filled(patch, around, width / 12) @ LUMA
    smooth = cv2.GaussianBlur(near, (0, 0), width / 5)
    known = around & (np.abs(near / np.maximum(smooth, 1.0) - 1) < 0.15)
    skin = filled(patch, known if known.sum() > 20 else around, width / 24)
    ring = (cv2.dilate(hole.astype(np.uint8), np.ones((3, 3)), iterations=max(int(width / 6), 1)) > 0) & around
    socket = near[ring & over]  # not the cheek: where light comes from aside, that is the brightest of all
    cap = np.percentile(socket, 85) if socket.size else 255.0
    dim = np.where(hole, np.minimum(1.0, cap / np.maximum(skin @ LUMA, 1.0)), 1.0)
    return skin * _soft(dim, width / 16)[..., None]


def _soft(values: Array, radius: float) -> Array:
    return np.asarray(cv2.GaussianBlur(values.astype(np.float32), (0, 0), radius))


def _relief(box: Box, above: Array, below: Array) -> Array:
    """(h, w) light on a lid: it bulges over the eyeball, and turns away to the fold and the lashes."""
    xs, ys = np.meshgrid(np.arange(box.x0, box.x1) + 0.5, np.arange(box.y0, box.y1) + 0.5)
    top, bottom = np.interp(xs, *above.T), np.interp(xs, *below.T)
    t = np.clip((ys - top) / np.maximum(bottom - top, 1.0), 0, 1)
    inside = np.clip((xs - above[0, 0]) / 4, 0, 1) * np.clip((above[-1, 0] - xs) / 4, 0, 1)
    return np.asarray(1 + (0.03 * np.sin(np.pi * t) - 0.05 * np.sin(np.pi * np.minimum(t * 4, 1))) * inside)


def _grain(crop: Image, box: Box, width: float) -> Array:
    """(h, w, 3) the fine structure of the skin under the eye, so that the lid is not smoother than the picture."""
    drop = int(min(0.9 * width, crop.shape[0] - box.y1))
    cheek = crop[box.y0 + drop : box.y1 + drop, box.x0 : box.x1].astype(np.float32)
    return np.clip(cheek - cv2.GaussianBlur(cheek, (0, 0), 1.6), -10, 10)


def _lash(line: Array, skin: Array) -> Array:
    """(3,) as dark as the portrait's own lid line and never lighter than a shadow on its skin, in the hue of that, as what is
    dark there is iris, too; and of more of it, as skin has in its shadows."""
    tone = skin.mean(axis=0)
    light = max(float(tone @ LUMA), 1.0)
    dark = min(float(np.percentile(line @ LUMA, 10)), DARK * light) if len(line) >= 8 else DARK * light
    return np.asarray(dark * (tone / light) ** 2, np.float32)
