"""From M's motion of B frames to the keypoints that W is shown: filter, gains, rest and leaps, without a look at the host."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ..follow.smoothing import one_euro
from .columns import Columns
from .editor import edited
from .follow import BETA, MIN_CUTOFF_HZ
from .motion import Controllers, Face, FaceMotion, Gains, Ratios, drive, smooth_turn
from .networks import KEYPOINTS
from .options import MotionOptions
from .prepared import DevicePortrait

# What the filter smooths, and how many numbers that is: expression, rotation, scale, translation, eyes, lip
PARTS = (3 * KEYPOINTS, 9, 1, 3, 2, 1)
STATE = sum(PARTS)
TURN = slice(PARTS[0], PARTS[0] + PARTS[1])  # the rotation; of its speed, three numbers are used


def filtered(motion: FaceMotion, columns: Columns[Tensor], state: Tensor) -> Tensor:
    """One step of the filter. state: (2, B, STATE), value and speed before it; the same after it."""
    seen = flat(Face(motion, Ratios(columns.openings[:, :2], columns.openings[:, 2:])))
    dt, cutoff, beta = columns.gap_s.clamp_min(1e-3), MIN_CUTOFF_HZ * columns.cutoff, BETA * columns.cutoff
    value, speed = one_euro(seen, state[0], state[1], dt, cutoff, beta)
    now, last = (t[:, TURN].reshape(-1, 3, 3) for t in (seen, state[0]))
    turned, turning = smooth_turn(now, last, state[1][:, TURN][:, :3], dt, cutoff, beta)
    value = torch.cat([value[:, : TURN.start], turned.flatten(1), value[:, TURN.stop :]], dim=1)
    speed = torch.cat([speed[:, : TURN.start], F.pad(turning, (0, 6)), speed[:, TURN.stop :]], dim=1)
    fresh, held = columns.gap_s == 0, columns.gap_s < 0
    value = torch.where(fresh, seen, torch.where(held, state[0], value))
    return torch.stack([value, torch.where(fresh | held, torch.zeros_like(speed), speed)])


def compose(
    portrait: DevicePortrait, value: Tensor, references: Tensor, columns: Columns[Tensor], blend: Tensor,
    controllers: Controllers, options: MotionOptions,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """What W is to show, (B, K, 3), of filtered faces and the references that they are measured against, (B, STATE) each.
    blend: (2, B, 3 · K), what was shown before against the resting portrait, and the leap; comes back as it is then."""
    canonical = portrait.face.motion.canonical  # the driver's own is not used
    driving, reference = unflat(value, canonical), unflat(references, canonical)
    keypoints = drive(portrait.face, driving, reference.motion, Gains.read(columns.gains), controllers, options)
    target = torch.lerp(keypoints, portrait.resting, columns.rest[..., None])
    # A leap is taken back little by little; offsets are against the resting portrait, which may have changed.
    offset = torch.where(columns.leap > 0, blend[0].nan_to_num() - (target - portrait.resting).flatten(1), blend[1])
    back = torch.where(columns.left > 0, offset * columns.left, torch.zeros_like(offset))
    shown = target + back.reshape(-1, KEYPOINTS, 3)
    kept = torch.stack([(shown - portrait.resting).flatten(1), offset])
    return edited(portrait, shown, columns.held, controllers, options), kept


def flat(face: Face) -> Tensor:
    """(B, STATE): all of a face but its canonical keypoints."""
    motion, ratios = face
    parts = [motion.expression, motion.rotation, motion.scale, motion.translation, ratios.eyes, ratios.lip]
    return torch.cat([p.flatten(1) for p in parts], dim=1)


def unflat(numbers: Tensor, canonical: Tensor) -> Face:
    """The reverse of `flat`."""
    expression, rotation, scale, translation, eyes, lip = torch.split(numbers, list(PARTS), dim=1)
    motion = FaceMotion(canonical, expression.reshape(-1, KEYPOINTS, 3), rotation.reshape(-1, 3, 3), scale, translation)
    return Face(motion, Ratios(eyes, lip))
