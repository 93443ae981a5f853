"""Named shapes as the mesh engine's motion, alone and over a driver's."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from ..face import canonical
from ..face.motion import Array, Motion, mouth_width, rest, rotation_matrix
from ..face.topology import RIGID
from ..follow.leeway import WATCHED
from ..follow.tuning import region_weights
from ..shapes.names import ARKIT
from ..shapes.shapes import Held, Shapes
from .basis import CLOSING, LOOK, OPENED, basis
from .pose import LIPS, TURN_GAIN

WIDEST_OPEN = 1.3
SIDES = ("Right", "Left")  # as `Motion` has them


def motion_of(shapes: Shapes) -> Motion:
    """What a face of canonical proportions does under `shapes`."""
    turn = np.radians([-shapes["headYaw"], -shapes["headPitch"], shapes["headRoll"]]) / TURN_GAIN[:3]
    pose = [*turn, np.log1p(shapes["headZ"]), shapes["headX"], -shapes["headY"]]
    used = [(k, value) for k, name in enumerate(ARKIT) if (value := shapes[name])]
    moved = sum((np.float32(value) * basis()[k] for k, value in used), rest().expression)
    opened = [1.0 + sum(way * shapes[f"{name}{side}"] for name, way in OPENED.items()) for side in SIDES]
    return Motion(
        pose=np.array(pose, np.float32),
        expression=moved,
        openness=np.clip(opened, 0.0, WIDEST_OPEN).astype(np.float32),
        gaze=np.array([_gaze(shapes, side) for side in SIDES], np.float32),
        mouth_width=mouth_width(canonical.face()),
        shut=max(shapes[name] for name in CLOSING),
    )


def places(motion: Motion) -> Array:
    """(n, 2) where WATCHED of a face of canonical proportions lie under `motion`, in eye distances."""
    *angles, log_scale = (motion.pose[:4] * TURN_GAIN).tolist()
    face = canonical.face()
    turned = (face[WATCHED] - face[list(RIGID)].mean(axis=0) + motion.expression[WATCHED]) @ rotation_matrix(*angles).T
    return np.asarray(math.exp(log_scale) * turned[:, :2] + motion.pose[4:], np.float32)


def posed(motion: Motion, held: Held) -> Motion:
    """`motion` with what is held added, or in its place."""
    if not held:
        return motion
    own = _kept(motion, held)
    more = motion_of(held.shapes)
    expression = more.expression.copy()
    expression[LIPS, 0] *= motion.mouth_width / more.mouth_width
    return replace(
        own,
        pose=own.pose + more.pose,
        expression=own.expression + expression,
        openness=np.clip(own.openness + more.openness - 1.0, 0.0, WIDEST_OPEN),
        gaze=own.gaze + more.gaze,
        shut=max(own.shut, more.shut),
    )


def _kept(motion: Motion, held: Held) -> Motion:
    """What is left of the driver's."""
    head, gaze, eyes, brows, mouth = (np.float32(held.keeps(name)) for name in ("head", "gaze", "eyes", "brows", "mouth"))
    weight = region_weights() @ np.array([mouth, eyes, brows, mouth], np.float32)
    return replace(
        motion,
        pose=motion.pose * head,
        expression=motion.expression * weight[:, None],
        openness=1.0 + (motion.openness - 1.0) * eyes,
        gaze=motion.gaze * gaze,
        shut=motion.shut * float(mouth),
    )


def _gaze(shapes: Shapes, side: str) -> tuple[float, float]:
    """Of one eye in eye widths, to the person's left and down."""
    out, across = ("eyeLookIn", "eyeLookOut")[:: 1 if side == "Right" else -1]
    aside = shapes["gazeX"] + shapes[f"{out}{side}"] - shapes[f"{across}{side}"]
    up = shapes["gazeY"] + shapes[f"eyeLookUp{side}"] - shapes[f"eyeLookDown{side}"]
    return LOOK[0] * min(max(aside, -1.0), 1.0), -LOOK[1] * min(max(up, -1.0), 1.0)
