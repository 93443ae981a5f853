"""A puppet from pictures of a face: frames of a clip, or photographs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..portrait import Picture, Portrait
from .choose import BLURRED, BUDGET, chosen, evened, most_neutral, sharpness, whole


def of_pictures(name: str, pictures: Sequence[Picture], budget: int = BUDGET) -> Portrait:
    """The puppet that pictures of one face make; blurred ones, faces cut off and doubles are left out."""
    sharp = np.array([sharpness(p.image, p.landmarks) for p in pictures])
    usable = [
        p for p, s in zip(pictures, sharp, strict=True) if s >= BLURRED * np.median(sharp) and whole(p.image, p.landmarks)
    ] or list(pictures)
    faces = [p.landmarks for p in usable]
    first, *others = chosen(faces, most_neutral(faces), budget)
    neutral = usable[first]
    return Portrait(name, neutral.image, neutral.landmarks, more=tuple(evened(usable[k], neutral) for k in others))
