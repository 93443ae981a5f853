"""What may be wrong with the pictures that a puppet is made of, in words for who makes it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..face.canonical import face
from ..face.motion import PARTED, Array, Neutral, eyes_look_shut, lips_apart
from ..portrait import Picture
from .people import other_people

TURNED = 0.25  # radians from the front
NAMED = 5  # pictures at most


def doubts(pictures: Sequence[Picture], names: Sequence[str]) -> list[str]:
    """One line for each doubt. The first picture is the neutral one."""
    return [*_of_neutral(pictures[0].landmarks, names[0]), *_of_people(pictures, names)]


def _of_neutral(landmarks: Array, name: str) -> list[str]:
    yaw, pitch = np.abs(Neutral.of(face()).motion(landmarks).pose[:2]).tolist()
    wrong = {
        "is turned aside": yaw > TURNED,
        "looks up or down": pitch > TURNED,
        "has its mouth open": lips_apart(landmarks) > PARTED,
        "has its eyes shut": eyes_look_shut(landmarks),
    }
    told = " and ".join(what for what, is_so in wrong.items() if is_so)
    cure = "add a picture from the front, with open eyes and a closed mouth"
    return [f"{name} is taken for the neutral face, but {told}: the puppet will be skewed; {cure}"] if told else []


def _of_people(pictures: Sequence[Picture], names: Sequence[str]) -> list[str]:
    others = [names[k] for k in other_people(pictures)]
    if not others:
        return []
    told = ", ".join(others[:NAMED]) + (f" and {len(others) - NAMED} more" if len(others) > NAMED else "")
    return [f"another face than that of {names[0]} seems to be on {told}; a puppet is of one person: leave the other out"]
