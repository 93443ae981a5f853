"""The parts of a face that choose their key pictures apart, and what makes two pictures of such a part alike."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ..face import topology as topo
from ..face.motion import Array, Motion

# Rings round the mouth and the eyes: they hold a patch in place where it meets its surroundings.
MOUTH_RING = (2, 97, 98, 203, 206, 216, 212, 202, 204, 194, 201, 200, 421, 418, 424, 422, 432, 436, 426, 423, 327, 326)
RIGHT_RING = (130, 247, 30, 29, 27, 28, 56, 190, 243, 112, 26, 22, 23, 24, 110, 25)
LEFT_RING = (359, 467, 260, 259, 257, 258, 286, 414, 463, 341, 256, 252, 253, 254, 339, 255)
# Round those, from the outer corner along the cheek: below a shut eye the narrower ones leave no room for its lashes.
RIGHT_AROUND = (226, 31, 228, 229, 230, 231, 232, 233, 244, 189, 221, 222, 223, 224, 225, 113)
LEFT_AROUND = (446, 261, 448, 449, 450, 451, 452, 453, 464, 413, 441, 442, 443, 444, 445, 342)
LIPS = (13, 14, 0, 17, *topo.MOUTH_CORNERS, 78, 308, 81, 311, 178, 402)
HAIRLINE = (21, 54, 103, 67, 109, 10, 338, 297, 332, 284, 251)  # below it the oval is the face's outline
BROWS = (107, 105, 70, 336, 334, 300)  # inner end, middle and outer end of each
CHEEKS = (205, 425, 50, 280)
# What counts as one step from one picture to another.
TURN, TURN_OF_PARTS, ROLL = 0.10, 0.15, 0.30  # radians; a mouth or an eye bears more of another turn than a whole face
BROW, CHEEK, LIP = 0.05, 0.08, 0.06  # eye distances, root of the sum over points
OPENNESS, GAZE = 0.15, 0.06  # of the neutral opening; eye widths


@dataclass(frozen=True)
class Region:
    """nodes: landmarks that place it; outline: landmarks round it; feather: width of its soft edge in eye distances, inside
    the outline; grid: cells of its warp; mixed: how many key pictures mix; time_s: how slowly they change; trust: steps to the
    nearest key picture beyond which the neutral, bent and drawn as it must be, is better."""

    nodes: tuple[int, ...]
    outline: tuple[int, ...]
    feather: float
    grid: int
    mixed: int
    time_s: float
    trust: float = math.inf


def _eye(
    lids: tuple[tuple[int, ...], tuple[int, ...]], iris: tuple[int, ...], ring: tuple[int, ...], around: tuple[int, ...]
) -> Region:
    nodes = (*lids[0], *lids[1][1:-1], *ring, *around, iris[0], iris[1], iris[3])
    return Region(nodes, around, 0.06, 16, 2, 0.02, 1.5)  # eyes jump


REGIONS = {
    "face": Region(
        (*topo.OVAL, *topo.RIGHT_BROW, *topo.LEFT_BROW, *topo.NOSE[::2], *topo.UPPER_OUTER_LIP[::2],
         *topo.LOWER_OUTER_LIP[2:-1:2], *MOUTH_RING[::3], *RIGHT_RING[::3], *LEFT_RING[::3], *CHEEKS, 33, 133, 362, 263, 9, 151),
        topo.OVAL, 0.08, 22, 2, 0.12,
    ),
    "mouth": Region(
        (*topo.UPPER_LIP, *topo.LOWER_LIP, *topo.MOUTH_CORNERS, 78, 308, *MOUTH_RING), MOUTH_RING, 0.14, 20, 2, 0.06
    ),
    "right": _eye(topo.EYES[0], topo.RIGHT_IRIS, RIGHT_RING, RIGHT_AROUND),
    "left": _eye(topo.EYES[1], topo.LEFT_IRIS, LEFT_RING, LEFT_AROUND),
}  # fmt: skip


def features(motion: Motion) -> dict[str, Array]:
    """Of each region: a point in a space where a distance of about 1 is a step that one sees. All 0 for the neutral."""
    turn, roll, expression = motion.pose[:2], motion.pose[2:3], motion.expression[:, :2]
    brows = expression[list(BROWS)].ravel()
    lips, cheeks = expression[list(LIPS)].ravel(), expression[list(CHEEKS)].ravel()
    of_parts = turn / TURN_OF_PARTS
    out = {
        "face": np.concatenate([turn / TURN, roll / ROLL, brows / BROW, cheeks / CHEEK, lips / (4 * LIP)]),
        "mouth": np.concatenate([lips / LIP, of_parts]),
    }
    for k, eye in enumerate(("right", "left")):
        out[eye] = np.concatenate([(motion.openness[k : k + 1] - 1) / OPENNESS, motion.gaze[k] / GAZE, of_parts])
    return out
