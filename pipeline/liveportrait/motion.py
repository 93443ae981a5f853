"""Implicit keypoints: from M's heads to where the portrait's keypoints go. Pure tensor functions, float32.

Row vectors: a canonical keypoint c (3,) becomes s · (c · R + δ) + t. K = 21 keypoints, B the batch.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ..follow.smoothing import DERIVATIVE_CUTOFF_HZ, gain
from ..follow.tuning import Tuning
from .networks import KEYPOINTS, MotionHeads
from .options import MotionOptions

BIN_DEGREES, FIRST_DEGREES = 3.0, -97.5
LIP_OPEN = 0.03  # a source mouth more open than this is closed before relative motion is added
LIPS = (6, 12, 14, 17, 19, 20)
BROWS = (1, 2)
EYES = (11, 13, 15, 16, 18)
# In absolute motion these coordinates (x, y, z) of the expression come from the driver, the others stay the source's.
ABSOLUTE = dict.fromkeys((1, 2, 6, *range(11, 21)), (0, 1, 2)) | {3: (1,), 4: (1,), 5: (2,), 8: (2,), 9: (1, 2)}


class FaceMotion(NamedTuple):
    """One face. canonical: (B, K, 3); expression: (B, K, 3); rotation: (B, 3, 3); scale: (B, 1); translation: (B, 3)."""

    canonical: Tensor
    expression: Tensor
    rotation: Tensor
    scale: Tensor
    translation: Tensor

    def keypoints(self) -> Tensor:
        """(B, K, 3) keypoints in the picture; the depth of the translation is not used."""
        flat = nn.functional.pad(self.translation[:, :2], (0, 1))
        turned = self.canonical @ self.rotation + self.expression
        return self.scale[:, None] * turned + flat[:, None]


class Ratios(NamedTuple):
    """Openings of a face. eyes: (B, 2) left and right; lip: (B, 1)."""

    eyes: Tensor
    lip: Tensor


class Face(NamedTuple):
    """B faces as the networks know them: M's motion, and the openings that landmarks tell."""

    motion: FaceMotion
    ratios: Ratios


class Gains(NamedTuple):
    """`Tuning` for B frames, a row each, or one for all of them. pose, scale: (B, 1); expression: (B, 4) of mouth, eyes,
    brows and the rest; retargeting: (B, 2) of eyes and of lips, 0 or 1."""

    pose: Tensor
    scale: Tensor
    expression: Tensor
    retargeting: Tensor

    @classmethod
    def read(cls, numbers: Tensor) -> Gains:
        """From rows (B, 8) in the order of `Tuning.gains`."""
        return cls(*torch.split(numbers, [1, 1, 4, 2], dim=1))

    @classmethod
    def of(cls, tuning: Tuning, device: torch.device) -> Gains:
        return cls.read(torch.tensor([tuning.gains], device=device))


class Controllers(NamedTuple):
    """The small networks S and R."""

    stitching: nn.Module
    lip: nn.Module
    eye: nn.Module


def degrees(bins: Tensor) -> Tensor:
    """(B, 66) head -> (B, 1) expected angle in degrees."""
    index = torch.arange(bins.shape[1], dtype=torch.float32, device=bins.device)
    return (bins.float().softmax(dim=1) * index).sum(dim=1, keepdim=True) * BIN_DEGREES + FIRST_DEGREES


def rotation(pitch: Tensor, yaw: Tensor, roll: Tensor) -> Tensor:
    """(B, 1) angles in degrees -> (B, 3, 3) = (Rz(roll) · Ry(yaw) · Rx(pitch))ᵀ, to be used as x · R."""
    (sp, cp), (sy, cy), (sr, cr) = ((a.deg2rad().sin()[:, 0], a.deg2rad().cos()[:, 0]) for a in (pitch, yaw, roll))
    rows = [
        torch.stack([cr * cy, cr * sy * sp - sr * cp, cr * sy * cp + sr * sp], dim=1),
        torch.stack([sr * cy, sr * sy * sp + cr * cp, sr * sy * cp - cr * sp], dim=1),
        torch.stack([-sy, cy * sp, cy * cp], dim=1),
    ]
    return torch.stack(rows, dim=1).transpose(1, 2)


def face_motion(heads: MotionHeads) -> FaceMotion:
    """Give M's raw heads their meaning, in float32."""
    return FaceMotion(
        canonical=heads.kp.float().reshape(-1, KEYPOINTS, 3),
        expression=heads.exp.float().reshape(-1, KEYPOINTS, 3),
        rotation=rotation(degrees(heads.pitch), degrees(heads.yaw), degrees(heads.roll)),
        scale=heads.scale.float(),
        translation=heads.t.float(),
    )


def drive(
    source: Face, driving: Face, reference: FaceMotion, gains: Gains, controllers: Controllers, options: MotionOptions
) -> Tensor:
    """(B, K, 3) keypoints for W, of B driving frames.

    reference: the driver's frame that relative motion is measured against. Source, reference and gains are of one face
    each, or of B.
    """
    resting = source.motion.keypoints()
    moved = transfer(source.motion, driving.motion, reference, gains, options).keypoints()
    if not options.compat:
        moved = resting + (moved - resting) * options.multiplier
    moved = moved + _retargeting(resting, source.ratios, driving.ratios, gains, controllers)
    if options.stitching:
        moved = stitch(controllers.stitching, resting, moved)
    if options.close_lips and options.relative:
        moved = moved + _closing(resting, source.ratios, gains, controllers)
    if options.compat:
        moved = resting + (moved - resting) * options.multiplier
    return moved


def transfer(source: FaceMotion, driving: FaceMotion, reference: FaceMotion, gains: Gains, options: MotionOptions) -> FaceMotion:
    """The source's face with the driver's motion, before any network corrects it. A gain of 0 leaves the source's own."""
    weight = (gains.expression @ _region_points(gains.expression.device))[..., None]
    move = _relative if options.relative else _absolute
    moved = move(source, driving, reference, gains, weight)
    if not options.keep_place:
        return moved
    batch = len(driving.scale)
    return moved._replace(scale=source.scale.expand(batch, -1), translation=source.translation.expand(batch, -1))


def _relative(source: FaceMotion, driving: FaceMotion, reference: FaceMotion, gains: Gains, weight: Tensor) -> FaceMotion:
    turn = power(driving.rotation @ reference.rotation.transpose(1, 2), gains.pose)
    return FaceMotion(
        canonical=source.canonical,
        expression=source.expression + weight * (driving.expression - reference.expression),
        rotation=turn @ source.rotation,
        scale=source.scale * (driving.scale / reference.scale) ** gains.scale,
        translation=source.translation + gains.pose * (driving.translation - reference.translation),
    )


def _absolute(source: FaceMotion, driving: FaceMotion, reference: FaceMotion, gains: Gains, weight: Tensor) -> FaceMotion:
    """As published, the scale stays the source's."""
    used = weight * _absolute_points(weight.device)
    turn = power(driving.rotation @ source.rotation.transpose(1, 2), gains.pose)
    return FaceMotion(
        canonical=source.canonical,
        expression=source.expression + used * (driving.expression - source.expression),
        rotation=turn @ source.rotation,
        scale=source.scale.expand_as(driving.scale),
        translation=source.translation + gains.pose * (driving.translation - source.translation),
    )


def among(points: Iterable[int], device: torch.device) -> Tensor:
    """(K,) 1 for these keypoints. Made on the device: the compiler looks through `cache`, and a captured way must not come to
    the host."""
    index = torch.arange(KEYPOINTS, device=device)
    return torch.stack([index == point for point in points]).any(dim=0).float()


@cache
def _absolute_points(device: torch.device) -> Tensor:
    """(1, K, 3) 1 for what absolute motion takes from the driver."""
    used = [among([point for point, its in ABSOLUTE.items() if coordinate in its], device) for coordinate in range(3)]
    return torch.stack(used, dim=1)[None]


@cache
def _region_points(device: torch.device) -> Tensor:
    """(4, K) which keypoints are of mouth, eyes, brows and the rest."""
    regions = [among(points, device) for points in (LIPS, EYES, BROWS)]
    return torch.stack([*regions, 1 - among((*LIPS, *EYES, *BROWS), device)])


def power(rotations: Tensor, gain: Tensor) -> Tensor:
    """(B, 3, 3) rotations by `gain` (B, 1) times their angle about their axis."""
    return from_vector(to_vector(rotations) * gain)


def to_vector(rotations: Tensor) -> Tensor:
    """(B, 3, 3) -> (B, 3): axis times angle in radians, below a half turn."""
    skew = (rotations - rotations.transpose(1, 2)) / 2  # sin(angle) times the axis' cross matrix
    axis = torch.stack([skew[:, 2, 1], skew[:, 0, 2], skew[:, 1, 0]], dim=1)
    sine = axis.norm(dim=1, keepdim=True)
    cosine = ((rotations.diagonal(dim1=1, dim2=2).sum(1, keepdim=True) - 1) / 2).clamp(-1, 1)
    return axis / sine.clamp_min(1e-9) * torch.atan2(sine, cosine)


def from_vector(vectors: Tensor) -> Tensor:
    """(B, 3) -> (B, 3, 3), the reverse of `to_vector` (Rodrigues' formula)."""
    angle = vectors.norm(dim=1)[:, None, None]
    x, y, z = (vectors / vectors.norm(dim=1, keepdim=True).clamp_min(1e-9)).unbind(dim=1)
    zero = torch.zeros_like(x)
    unit = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], dim=1).reshape(-1, 3, 3)
    identity = torch.eye(3, device=vectors.device, dtype=vectors.dtype)
    return identity + angle.sin() * unit + (1 - angle.cos()) * (unit @ unit)


def smooth_turn(
    rotation: Tensor, last: Tensor, speed: Tensor, dt: Tensor, min_cutoff_hz: float | Tensor, beta: float | Tensor
) -> tuple[Tensor, Tensor]:
    """One step of the One-Euro filter on SO(3): the rotation (B, 3, 3) and its speed (B, 3), `dt` (B, 1) seconds after
    `last`."""
    turn = to_vector(rotation @ last.transpose(1, 2))
    speed = speed + gain(DERIVATIVE_CUTOFF_HZ, dt) * (turn / dt - speed)
    cutoff = min_cutoff_hz + beta * speed.norm(dim=1, keepdim=True)
    return from_vector(turn * gain(cutoff, dt)) @ last, speed


def stitch(network: nn.Module, resting: Tensor, moved: Tensor) -> Tensor:
    """S keeps shoulders and background where they are. resting: (1, K, 3); moved: (B, K, 3)."""
    out = network(torch.cat([resting.expand_as(moved).flatten(1), moved.flatten(1)], dim=1))
    shift = nn.functional.pad(out[:, 3 * KEYPOINTS :], (0, 1))  # x and y alone
    return moved + out[:, : 3 * KEYPOINTS].reshape(-1, KEYPOINTS, 3) + shift[:, None]


def retarget(network: nn.Module, resting: Tensor, ratios: Tensor) -> Tensor:
    """(B, K, 3) offsets by R. resting: (1, K, 3); ratios: (B, 2) source and wanted lip, or (B, 3) both source eyes
    and the wanted one."""
    flat = resting.flatten(1).expand(ratios.shape[0], -1)
    out: Tensor = network(torch.cat([flat, ratios], dim=1))
    return out.reshape(-1, KEYPOINTS, 3)


def _retargeting(resting: Tensor, source: Ratios, driving: Ratios, gains: Gains, controllers: Controllers) -> Tensor:
    """Offsets that open eyes and lips as far as the driver's."""
    batch = len(driving.lip)
    # The networks were trained with one eye of the driver, the left one.
    eyes = retarget(controllers.eye, resting, torch.cat([source.eyes.expand(batch, -1), driving.eyes[:, :1]], dim=1))
    lip = retarget(controllers.lip, resting, torch.cat([source.lip.expand(batch, -1), driving.lip], dim=1))
    share = gains.retargeting[..., None]
    return eyes * share[:, :1] + lip * share[:, 1:]


def _closing(resting: Tensor, source: Ratios, gains: Gains, controllers: Controllers) -> Tensor:
    """Relative motion starts from a closed mouth: offsets that close the source's, unless something is retargeted."""
    closed = retarget(controllers.lip, resting, torch.cat([source.lip, torch.zeros_like(source.lip)], dim=1))
    wanted = (source.lip >= LIP_OPEN).float() * (1 - gains.retargeting.amax(dim=1, keepdim=True))
    return closed * wanted[..., None]
