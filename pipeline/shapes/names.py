"""The names of shapes, and the sliders that are made of them.

Shapes are ARKit's blend shapes as Apple spells them, 0 at rest and 1 at their most, the head's pose and the gaze. Left and
right are the person's own; numbers of head and gaze are positive to the person's own left, up, and toward the viewer. Source:
developer.apple.com/documentation/arkit/arfaceanchor/blendshapelocation.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

REGIONS: Final = ("head", "gaze", "eyes", "brows", "mouth")
_SIDES: Final = ("Left", "Right")
HEAD: Final = {
    "headYaw": (-45.0, 45.0), "headPitch": (-45.0, 45.0), "headRoll": (-45.0, 45.0),  # degrees
    "headX": (-0.5, 0.5), "headY": (-0.5, 0.5),  # eye distances
    "headZ": (-0.3, 0.3),  # by what share the head is larger
}  # fmt: skip
_GAZE: Final = ("eyeLookDown", "eyeLookIn", "eyeLookOut", "eyeLookUp")
_OF_REGION: Final = {
    "gaze": [f"{name}{side}" for name in _GAZE for side in _SIDES],
    "eyes": [f"eye{name}{side}" for name in ("Blink", "Squint", "Wide") for side in _SIDES],
    "brows": ["browInnerUp", *(f"brow{name}{side}" for name in ("Down", "OuterUp") for side in _SIDES)],
    "mouth": [
        *("jawForward", "jawLeft", "jawOpen", "jawRight", "mouthClose", "mouthFunnel", "mouthLeft", "mouthPucker"),
        *("mouthRight", "mouthRollLower", "mouthRollUpper", "mouthShrugLower", "mouthShrugUpper", "cheekPuff", "tongueOut"),
        *(
            f"{name}{side}"
            for name in (
                *("mouthDimple", "mouthFrown", "mouthLowerDown", "mouthPress", "mouthSmile", "mouthStretch", "mouthUpperUp"),
                *("cheekSquint", "noseSneer"),
            )
            for side in _SIDES
        ),
    ],
}
ARKIT: Final = tuple(name for names in _OF_REGION.values() for name in names)
RANGES: Final = HEAD | {"gazeX": (-1.0, 1.0), "gazeY": (-1.0, 1.0)} | dict.fromkeys(ARKIT, (0.0, 1.0))
SHAPES: Final = tuple(RANGES)
REGION: Final = (
    dict.fromkeys(HEAD, "head")
    | dict.fromkeys(("gazeX", "gazeY"), "gaze")
    | {name: region for region, names in _OF_REGION.items() for name in names}
)
UNSEEN: Final = frozenset({"tongueOut"})  # taken from every driver, shown by no engine


def _both(name: str, factor: float = 1.0) -> dict[str, float]:
    return {f"{name}{side}": factor for side in _SIDES}


# What each slider does to which shape; one with a negative factor moves with the slider's negative half.
SLIDERS: Final[Mapping[str, Mapping[str, float]]] = {
    "yaw": {"headYaw": 1.0},
    "pitch": {"headPitch": 1.0},
    "roll": {"headRoll": 1.0},
    "gazeX": {"gazeX": 1.0},
    "gazeY": {"gazeY": 1.0},
    "blinkLeft": {"eyeBlinkLeft": 1.0, "eyeWideLeft": -1.0},
    "blinkRight": {"eyeBlinkRight": 1.0, "eyeWideRight": -1.0},
    "brows": {"browInnerUp": 1.0, **_both("browOuterUp"), **_both("browDown", -1.0)},
    "smile": _both("mouthSmile") | _both("cheekSquint", 0.4),
    "frown": _both("mouthFrown") | {"mouthShrugLower": 0.3},
    "mouthOpen": {"jawOpen": 1.0},
    "pucker": {"mouthPucker": 1.0},
    "puff": {"cheekPuff": 1.0},
}


def slider_range(name: str) -> tuple[float, float]:
    """The least and the largest number that a slider takes."""
    ends = [(RANGES[shape], factor) for shape, factor in SLIDERS[name].items()]
    low = min(min(low * factor, high * factor) for (low, high), factor in ends)
    return low, max(max(low * factor, high * factor) for (low, high), factor in ends)
