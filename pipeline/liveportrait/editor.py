"""Named shapes as LivePortrait knows them: offsets of its implicit keypoints, retargeting of lids and lips, turns of the head.

Which coordinate of which keypoint does what, and how far it goes, are those of the published still editor, whose numbers were
found by trying (KwaiVGI/LivePortrait, src/gradio_pipeline.py, MIT); its sliders' ranges are cut to what shapes are. It moves
both brows together, has no slider for what `UNSEEN` lists, and lids and gaze share their points.
"""

from __future__ import annotations

from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor

from ..shapes.names import ARKIT
from ..shapes.shapes import Held, Shapes
from .motion import Controllers, Face, FaceMotion, Ratios, among, retarget, rotation, stitch
from .networks import KEYPOINTS
from .options import MotionOptions
from .prepared import DevicePortrait

X, Y, Z = 0, 1, 2
BROWS_UP, BROWS_DOWN, LOOK, PURSED, WIDE, ASIDE, FROWN = 15.0, 12.0, 15.0, 15.0, 15.0, 0.09, 0.3  # on the editor's sliders
# (keypoint, coordinate): way at a shape's most; of shapes with two sides, each side gives a half.
_SMILE = {(20, Y): -0.01, (14, Y): -0.02, (17, Y): 0.0065, (17, Z): 0.003, (3, Y): -0.0035, (7, Y): -0.0035}
_UP = {(1, Y): 0.001 * BROWS_UP, (2, Y): -0.001 * BROWS_UP}
_DOWN = {(1, X): 0.001 * BROWS_DOWN, (2, X): -0.001 * BROWS_DOWN, (1, Y): -0.0003 * BROWS_DOWN, (2, Y): 0.0003 * BROWS_DOWN}
_WOO = {(14, Y): 0.001 * PURSED, (3, Y): -0.0005 * PURSED, (7, Y): -0.0005 * PURSED, (17, Z): -0.0005 * PURSED}
_EEE = {(20, Z): -0.001 * WIDE, (20, Y): -0.001 * WIDE, (14, Y): -0.001 * WIDE}
_LEFT, _RIGHT = {(19, X): ASIDE}, {(19, X): -ASIDE}


def _halved(name: str, way: dict[tuple[int, int], float], factor: float = 0.5) -> dict[str, dict[tuple[int, int], float]]:
    return {f"{name}{side}": {place: factor * far for place, far in way.items()} for side in ("Left", "Right")}


OFFSETS = {
    "browInnerUp": {place: 0.5 * far for place, far in _UP.items()},
    **_halved("browOuterUp", _UP, 0.25),
    **_halved("browDown", _DOWN),
    **_halved("mouthSmile", _SMILE),
    **_halved("mouthFrown", _SMILE, -0.5 * FROWN),
    **_halved("mouthStretch", _EEE),
    "mouthPucker": _WOO,
    "mouthLeft": _LEFT,
    "mouthRight": _RIGHT,
    "jawLeft": _LEFT,
    "jawRight": _RIGHT,
}
LIDS = tuple(f"eye{name}{side}" for name in ("Blink", "Wide", "Squint") for side in ("Right", "Left"))
_GLANCES = tuple(f"eyeLook{way}{side}" for way in ("Up", "Down", "In", "Out") for side in ("Right", "Left"))
UNSEEN = frozenset(ARKIT) - frozenset((*OFFSETS, *LIDS, *_GLANCES, "jawOpen"))
SHUT, SQUINT, OPEN = 25.0, 0.35, 0.2  # of the wink's slider; what squinting and wide eyes are of a lid's whole way
GAPE = 0.5  # lips that far apart, in mouth widths, for an open jaw
EYE_DISTANCE = 0.37  # of the crop, which is two wide
PARTS = (1, 3, 3, 2, 1, 3 * KEYPOINTS)  # whether anything is held, turn, move, lids, jaw, offsets
WIDTH = sum(PARTS)


def holding(held: Held) -> list[float]:
    """What the device is told of it, (WIDTH,): see `PARTS`. Degrees of pitch, yaw and roll as M's; keypoints' units."""
    shapes = held.shapes
    if not shapes.values:
        return [0.0] * WIDTH
    turn = [-shapes["headPitch"], -shapes["headYaw"], shapes["headRoll"]]
    move = [shapes["headX"] * EYE_DISTANCE, -shapes["headY"] * EYE_DISTANCE, shapes["headZ"]]
    lids = [_lid(shapes, "Right"), _lid(shapes, "Left")]
    return [1.0, *turn, *move, *lids, shapes["jawOpen"], *_offsets(shapes)]


def _offsets(shapes: Shapes) -> list[float]:
    out = [0.0] * (3 * KEYPOINTS)
    for name, way in OFFSETS.items():
        for (point, coordinate), far in way.items():
            out[3 * point + coordinate] += shapes[name] * far
    aside, up = _glance(shapes)
    for point, outward, inward in ((11, 0.0007, 0.001), (15, 0.001, 0.0007)):
        out[3 * point + X] += LOOK * aside * (outward if aside > 0 else inward)
        out[3 * point + Y] -= LOOK * up * 0.0005
    for point in (13, 16):  # the lids go along
        out[3 * point + Y] -= LOOK * up * 0.00015
    return out


def _glance(shapes: Shapes) -> tuple[float, float]:
    """Of both eyes together, to the person's left and up, −1..1."""
    left = shapes["eyeLookOutLeft"] - shapes["eyeLookInLeft"]
    right = shapes["eyeLookInRight"] - shapes["eyeLookOutRight"]
    ups = [shapes[f"eyeLookUp{side}"] - shapes[f"eyeLookDown{side}"] for side in ("Left", "Right")]
    aside, up = shapes["gazeX"] + (left + right) / 2, shapes["gazeY"] + sum(ups) / 2
    return min(max(aside, -1.0), 1.0), min(max(up, -1.0), 1.0)


def _lid(shapes: Shapes, side: str) -> float:
    """1 for a shut eye, negative for one that is wide open."""
    lid = shapes[f"eyeBlink{side}"] + SQUINT * shapes[f"eyeSquint{side}"] - OPEN * shapes[f"eyeWide{side}"]
    return min(lid, 1.0)


def still_face(device: torch.device) -> Face:
    """A driver that does nothing: measured against itself it moves no portrait."""
    zeros, one = torch.zeros(1, KEYPOINTS, 3, device=device), torch.ones(1, 1, device=device)
    motion = FaceMotion(zeros, zeros, torch.eye(3, device=device)[None], one, torch.zeros(1, 3, device=device))
    return Face(motion, Ratios(torch.zeros(1, 2, device=device), torch.zeros(1, 1, device=device)))


def edited(
    portrait: DevicePortrait, shown: Tensor, held: Tensor, controllers: Controllers, options: MotionOptions
) -> Tensor:  # fmt: skip
    """(B, K, 3) keypoints `shown`, and beside their motion what is `held`, (B, WIDTH); as they are where nothing is."""
    holds, turn, move, lids, jaw, offsets = torch.split(held, list(PARTS), dim=1)
    source, resting = portrait.face.motion, portrait.resting
    pitch, yaw, roll = torch.split(turn, 1, dim=1)
    own = source.rotation
    turned = own.transpose(1, 2) @ rotation(pitch, yaw, roll) @ own  # about the head's axes, whatever the portrait's own pose
    place = F.pad(source.translation[:, :2], (0, 1))[:, None]
    moved = (shown - place) @ turned * (1 + move[:, 2:, None]) + place + F.pad(move[:, :2], (0, 1))[:, None]
    moved = moved + source.scale[:, None] * (offsets.reshape(-1, KEYPOINTS, 3) + _winks(resting, lids))
    moved = moved + _retargeted(portrait, lids, jaw, controllers)
    if options.stitching:  # `shown` has been stitched
        moved = stitch(controllers.stitching, resting, moved) + shown - stitch(controllers.stitching, resting, shown)
    return torch.where(holds[..., None] > 0, moved, shown)


def _winks(resting: Tensor, lids: Tensor) -> Tensor:
    """(B, K, 3) what one lid does beyond the other. lids: (B, 2) of the person's right and left eye. Which points are whose is
    told by where they lie: the person's right is on the left of the picture."""
    alone = lids - _together(lids)
    first_is_right = (resting[:, 11, :1] < resting[:, 15, :1]).float()
    of_points = torch.lerp(alone.flip(1), alone, first_is_right)
    return (of_points @ _wink(lids.device)).reshape(-1, KEYPOINTS, 3)


def _together(lids: Tensor) -> Tensor:
    """(B, 1) how far both eyes are shut."""
    return lids.amin(dim=1, keepdim=True).clamp_min(0)


@cache
def _wink(device: torch.device) -> Tensor:
    """(2, 3 · K) of the eye of keypoints 11 and 13, and that of 15 and 16."""
    lids = ((11, 13), (15, 16))
    down = [0.001 * SHUT * among([upper], device) - 0.0003 * SHUT * among([lower], device) for upper, lower in lids]
    return F.pad(torch.stack(down)[..., None], (Y, Z - Y)).flatten(1)


def _retargeted(portrait: DevicePortrait, lids: Tensor, jaw: Tensor, controllers: Controllers) -> Tensor:
    """Offsets that shut both eyes and open the lips, as far as they are to: networks do not give 0 where nothing is asked."""
    ratios, resting, batch = portrait.face.ratios, portrait.resting, len(lids)
    eyes = torch.cat([ratios.eyes, torch.zeros_like(ratios.lip)], dim=1).expand(batch, -1)
    lips = torch.cat([ratios.lip, ratios.lip.clamp_min(GAPE)], dim=1).expand(batch, -1)
    shut = retarget(controllers.eye, resting, eyes) * _together(lids)[..., None]
    return shut + retarget(controllers.lip, resting, lips) * jaw[..., None]
