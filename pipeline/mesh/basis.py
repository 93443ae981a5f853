"""What each ARKit shape at its most does to the landmarks: smooth pulls on places of the canonical face.

Made by hand after the pictures and words of Apple's documentation, and after the muscles that do it; in the face's own axes
(x to the person's left, y down, z away from the viewer) and in eye distances. Shapes of one side are each other's mirror image.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import NamedTuple

import numpy as np

from ..face import canonical
from ..face import topology as topo
from ..face.motion import Array
from ..shapes.names import ARKIT

UPPER, LOWER = "upper", "lower"  # what of a pull is felt: above or below the slit of the mouth
CORNER = (0.43, 1.04)
SLIT = CORNER[1]


class Pull(NamedTuple):
    """The face moves by `by` at `at`, less around it: reach is where it falls to 1/e along x and y. only: UPPER or LOWER. stiff:
    what is well within the reach keeps its form."""

    at: tuple[float, float]
    reach: tuple[float, float]
    by: tuple[float, float, float]
    only: str = ""
    stiff: bool = False


# Of the person's left, or of the middle.
PULLS: dict[str, tuple[Pull, ...]] = {
    "browInnerUp": tuple(Pull((side * 0.26, -0.44), (0.28, 0.30), (0.0, -0.12, 0.0), stiff=True) for side in (1, -1)),
    "browOuterUpLeft": (Pull((0.82, -0.48), (0.34, 0.30), (0.0, -0.11, 0.0), stiff=True),),
    "browDownLeft": (
        Pull((0.24, -0.42), (0.28, 0.24), (-0.03, 0.07, 0.0), stiff=True),
        Pull((0.78, -0.48), (0.34, 0.24), (-0.015, 0.05, 0.0), stiff=True),
    ),
    "cheekPuff": tuple(
        pull
        for side in (1, -1)
        for pull in (
            Pull((side * 0.66, 0.92), (0.26, 0.30), (side * 0.095, 0.0, -0.13)),
            Pull((side * 0.43, 1.04), (0.14, 0.14), (side * -0.03, 0.0, -0.02)),
        )
    ),
    "cheekSquintLeft": (Pull((0.58, 0.42), (0.26, 0.20), (0.01, -0.055, -0.02)),),
    "noseSneerLeft": (
        Pull((0.24, 0.58), (0.12, 0.20), (0.01, -0.06, 0.0)),
        Pull((0.26, 0.95), (0.16, 0.12), (0.01, -0.035, 0.0), UPPER),
    ),
    "mouthSmileLeft": (
        Pull(CORNER, (0.30, 0.26), (0.115, -0.125, 0.06)),
        Pull((0.62, 0.66), (0.26, 0.26), (0.03, -0.05, -0.03)),
    ),
    "mouthFrownLeft": (Pull(CORNER, (0.20, 0.22), (0.0, 0.11, 0.01)),),
    "mouthDimpleLeft": (Pull(CORNER, (0.20, 0.20), (0.06, 0.0, 0.07)),),
    "mouthStretchLeft": (Pull(CORNER, (0.28, 0.24), (0.11, 0.045, 0.05)),),
    "mouthPressLeft": (
        Pull((0.22, 0.95), (0.20, 0.10), (0.0, 0.03, 0.01), UPPER),
        Pull((0.22, 1.20), (0.20, 0.12), (0.0, -0.04, 0.01), LOWER),
    ),
    "mouthUpperUpLeft": (Pull((0.20, 0.97), (0.20, 0.18), (0.0, -0.085, 0.0), UPPER),),
    "mouthLowerDownLeft": (Pull((0.20, 1.14), (0.20, 0.18), (0.0, 0.09, 0.0), LOWER),),
    "mouthLeft": (Pull((0.0, 1.05), (0.42, 0.26), (0.13, 0.0, 0.0)),),
    "mouthRollUpper": (Pull((0.0, 0.93), (0.36, 0.09), (0.0, 0.075, 0.03), UPPER),),
    "mouthRollLower": (Pull((0.0, 1.24), (0.32, 0.11), (0.0, -0.09, 0.03), LOWER),),
    "mouthShrugUpper": (Pull((0.0, 0.97), (0.30, 0.14), (0.0, -0.04, -0.04), UPPER),),
    "mouthShrugLower": (Pull((0.0, 1.28), (0.30, 0.22), (0.0, -0.075, -0.02), LOWER),),
    "jawForward": (Pull((0.0, 1.42), (0.55, 0.40), (0.0, -0.01, -0.12), LOWER),),
}
# Eye openings that shapes of the lids add, and eye widths that a look goes: to the person's left and down.
OPENED = {"eyeBlink": -1.0, "eyeSquint": -0.32, "eyeWide": 0.2}
LOOK = (0.21, 0.085)
CLOSING = ("mouthPucker", "mouthClose", "cheekPuff", "mouthFrownLeft", "mouthPressLeft", "mouthRollLower")  # shut parted lips
JAW_DOWN, JAW_BACK, JAW_ASIDE = 0.36, 0.10, 0.13
HINGE, AHEAD = 0.90, 0.76  # depth at which the jaw turns, and how far the chin is before it


@cache
def basis() -> Array:
    """(52, 478, 3) in the order of `names.ARKIT`."""
    made = {name: _field(name) for name in ARKIT}
    return np.stack([made[name] for name in ARKIT])


def _field(name: str) -> Array:
    if name in _FIELDS:
        return _FIELDS[name]()
    if name.endswith("Right") and name not in PULLS:
        return mirrored(_field(f"{name.removesuffix('Right')}Left"))
    return sum((_pulled(pull) for pull in PULLS.get(name, ())), np.zeros((topo.COUNT, 3), np.float32))


def mirrored(offsets: Array) -> Array:
    """(478, 3) offsets as in a mirror image; irises have none."""
    out = np.zeros_like(offsets)
    out[:468] = offsets[canonical.mirrored()] * np.array([-1, 1, 1], np.float32)
    return out


def _pulled(pull: Pull) -> Array:
    away = (canonical.face()[:, :2] - np.array(pull.at)) / pull.reach
    squared = np.square(away).sum(axis=1)
    near = np.exp(-np.square(squared) if pull.stiff else -squared)
    if pull.only:
        near = near * (below_slit() if pull.only == LOWER else 1 - below_slit())
    return np.asarray(near[:, None] * np.array(pull.by), np.float32)


@cache
def below_slit() -> Array:
    """(478,) 1 for what goes with the lower lip, 0 with the upper one; in between beside the mouth."""
    face = canonical.face()
    out = _smooth((face[:, 1] - SLIT) / 0.12 + 0.5)
    out[[*topo.MOUTH_CORNERS, 78, 308]] = 0.5
    out[list(topo.UPPER_LIP)], out[list(topo.LOWER_LIP)] = 0.0, 1.0
    return np.asarray(out, np.float32)


@cache
def _jaw() -> Array:
    """(478,) how far the skin goes with the jaw: it turns about the ears, and cheeks stretch."""
    face = canonical.face()
    aside = _smooth((np.abs(face[:, 0]) - 0.3) / 0.35)
    start = SLIT - 0.34 * aside
    out = _smooth((face[:, 1] - start) / (1.28 - start)) * np.clip((HINGE - face[:, 2]) / AHEAD, 0.0, 1.0)
    out[list(topo.UPPER_LIP)] = 0.0
    out[list(topo.LOWER_LIP)] = np.sqrt(np.maximum(1.0 - np.square(face[list(topo.LOWER_LIP), 0] / 0.47), 0.0)) * 0.55 + 0.45
    out[[*topo.MOUTH_CORNERS, 78, 308]] = 0.40
    return np.asarray(out, np.float32)


def _jaw_open() -> Array:
    move = np.array([0.0, JAW_DOWN, JAW_BACK], np.float32)
    corners = _pulled(Pull(CORNER, (0.16, 0.2), (-0.045, 0.0, 0.0))) + _pulled(
        Pull((-CORNER[0], SLIT), (0.16, 0.2), (0.045, 0, 0))
    )
    return np.asarray(_jaw()[:, None] * move + corners + _pulled(Pull((0.0, 0.97), (0.3, 0.12), (0.0, -0.015, 0.0), UPPER)))


def _jaw_left() -> Array:
    return np.asarray(_jaw()[:, None] * np.array([JAW_ASIDE, 0.0, 0.0], np.float32))


def _mouth_close() -> Array:
    """The lips of a jaw that is open come together: ARKit's is given beside `jawOpen`, which it undoes at the lips."""
    lower = np.zeros(topo.COUNT, np.float32)
    lower[list(topo.LOWER_LIP)] = 1.0
    near = np.exp(-np.square((canonical.face()[:, :2] - (0.0, 1.2)) / (0.40, 0.20)).sum(axis=1)) * below_slit()
    return np.asarray(-_jaw_open() * np.maximum(lower, near)[:, None], np.float32)


def _round(narrower: float, ahead: float, apart: float) -> Array:
    """Lips drawn to the middle and forward; apart: each one's way from the slit."""
    face = canonical.face()
    near = np.exp(-np.square((face[:, :2] - (0.0, 1.06)) / (0.62, 0.30)).sum(axis=1))
    near[[*topo.UPPER_LIP, *topo.LOWER_LIP, *topo.MOUTH_CORNERS, 78, 308]] = 1.0
    side = 2.0 * below_slit() - 1.0
    middle = np.exp(-np.square(face[:, 0] / 0.30))
    out = np.column_stack([-narrower * face[:, 0], side * apart * middle, np.full(topo.COUNT, -ahead)])
    return np.asarray(out * near[:, None], np.float32)


_FIELDS: dict[str, Callable[[], Array]] = {
    "jawOpen": _jaw_open,
    "jawLeft": _jaw_left,
    "jawRight": lambda: mirrored(_jaw_left()),
    "mouthClose": _mouth_close,
    "mouthPucker": lambda: _round(0.40, 0.10, 0.012),
    "mouthFunnel": lambda: _round(0.28, 0.10, 0.085),
}


def _smooth(way: Array) -> Array:
    """0 before 0, 1 after 1, and smooth in between."""
    share = np.clip(way, 0.0, 1.0)
    return np.asarray(share * share * (3 - 2 * share))
