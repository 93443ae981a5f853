"""What a face in one picture does, whose neutral nobody has seen.

It is taken apart into who it is (a mixture of the bundled portraits, which rest) and what it does (a mixture of what a face
does in the bundled clip), by least squares in which neither may be large. Only the second moves a portrait.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files

import numpy as np

from ..face.lids import driven_openness
from ..face.motion import Array, Motion, eye_centres, eye_distance, eye_gaze, eye_openness, mouth_width, rest, umeyama
from ..face.topology import COUNT, RIGID
from ..portrait import bundled

RESTING = ("amina", "clara", "collins", "henrik", "mei", "samuel")
BASIS = files("pipeline") / "mesh" / "expressions.npz"
NOISE = 0.02  # eye distances by which landmarks lie beside both mixtures
UNSEEN_BLINK = 0.12  # score of open eyes
_RIGID = np.array(RIGID)


def motion_of(landmarks: Array, blink: Array | None) -> Motion:
    """The expression of (478, 3) landmarks, and of (2,) blink scores where the tracker has them; the head stays as it is, as
    a picture does not say from where it has turned."""
    mean, people = _people()
    doing, strength = _expressions()
    seen = _upright(landmarks, mean)
    basis = np.concatenate([people, doing]).reshape(len(people) + len(doing), -1)
    prior = NOISE**2 * np.diag([1.0] * len(people) + list(strength**-2.0))
    amounts = np.linalg.solve(basis @ basis.T + prior, basis @ (seen - mean).ravel())
    resting = mean + np.tensordot(amounts[: len(people)], people, 1)
    ratio = eye_openness(seen) / np.maximum(eye_openness(resting), 1e-3)
    return Motion(
        pose=rest().pose,
        expression=np.asarray(np.tensordot(amounts[len(people) :], doing, 1), np.float32),
        openness=np.minimum(
            driven_openness(ratio, None if blink is None else blink - UNSEEN_BLINK), 1.0
        ),  # large eyes are no act
        gaze=eye_gaze(landmarks) - eye_gaze(resting),
        mouth_width=mouth_width(resting),
        shut=1.0,
    )


@cache
def _people() -> tuple[Array, Array]:
    """(478, 3) mean of faces at rest, in eye distances, its origin between the eyes; (n, 478, 3) how each of them differs."""
    faces = [bundled(name).landmarks for name in RESTING]
    mean = (faces[0] - eye_centres(faces[0]).mean(axis=0)) / eye_distance(faces[0])
    for _ in range(2):
        upright = np.stack([_upright(face, mean) for face in faces])
        mean = upright.mean(axis=0)
    return mean, upright - mean


@cache
def _expressions() -> tuple[Array, Array]:
    """(n, 478, 3) what faces do, in eye distances, each of length 1; (n,) how strong each usually is."""
    with BASIS.open("rb") as file, np.load(file) as stored:
        return stored["directions"].astype(np.float32).reshape(-1, COUNT, 3), stored["strengths"].astype(np.float32)


def _upright(landmarks: Array, like: Array) -> Array:
    """In the place, size and turn of another face."""
    scale, rotation, translation = umeyama(like[_RIGID], landmarks[_RIGID])
    return np.asarray((landmarks - translation) @ rotation / scale, np.float32)
