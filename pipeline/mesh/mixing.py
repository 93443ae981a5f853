"""Which key pictures a frame mixes, region by region: nothing pops."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from ..face.motion import Array
from .regions import LIPS, REGIONS

LEAST_REACH = 0.15  # where more than a region mixes are alike far away, none leaves at once
REACH = 1.0  # a key picture so much further away than the nearest has no part any more
TRACE = 0.05  # a share too small to be seen
SAME = 0.3  # pictures of a region that are nearer to each other would only blur each other
AT_HOME = 0.1  # a motion so near to the neutral shows the neutral picture, whatever the others are
GAP_REACH = 1.8  # a mouth open wider than that times a key picture's is not in that picture,
BARELY = 0.4  # and so many steps;
LENT = 0.5  # steps further the teeth are another's: they and a picture's own would show through each other
FAR = 1e6
Spaces = dict[str, Array]  # by region: (n, d) features
Weights = dict[str, Array]  # by region: (n,) for the n key pictures, the neutral first; the sum is 1


def spaces(keys: Sequence[Mapping[str, Array]]) -> Spaces:
    """By region where key pictures with these features lie, the neutral first; doubles of earlier ones are far away."""
    out = {}
    for name in REGIONS:
        points = np.stack([key[name] for key in keys]).astype(np.float32)
        for k in range(1, len(points)):
            if np.linalg.norm(points[:k] - points[k], axis=1).min() < SAME:
                points[k] = FAR
        out[name] = points
    return out


def wanted(features: Mapping[str, Array], known: Spaces) -> Weights:
    """The weights that suit a motion's features at once: continuous in them, and all on a key picture that equals them.

    Modified Shepard weights: Franke and Nielson, "Smooth interpolation of large sets of scattered data", International
    Journal for Numerical Methods in Engineering 15(11), 1980.
    """
    out = {}
    for name, region in REGIONS.items():
        distance = np.linalg.norm(known[name] - features[name], axis=1)
        beyond = np.zeros(len(distance))
        if name == "mouth":
            beyond = _beyond(features[name], known[name])
            distance += beyond
        distance[0] = max(distance[0] - AT_HOME, 0.0)
        nearest = np.sort(distance)
        reach = nearest[0] + REACH
        if len(nearest) > region.mixed:
            reach = min(reach, max(float(nearest[region.mixed]), nearest[0] + LEAST_REACH))
        near = np.maximum(1 / np.maximum(distance, 1e-4) - 1 / reach, 0.0) ** 2
        share = (near / float(near.sum())).astype(np.float32)
        trusted = 1.0 - min(max(float(distance[1:].min(initial=np.inf)) - region.trust, 0.0), 1.0)
        share[1:] *= trusted * np.clip(1.0 - beyond[1:] / LENT, 0.0, 1.0)
        share[0] = 1.0 - share[1:].sum()
        out[name] = share
    return out


def _beyond(mouth: Array, known: Array) -> Array:
    """(n,) steps by which a mouth is open wider than key pictures can be bent to: what they show between the lips would smear."""
    lower, upper = 2 * LIPS.index(14) + 1, 2 * LIPS.index(13) + 1
    opening, openings = (np.maximum(m[..., lower] - m[..., upper], 0.0) for m in (mouth, known))
    return np.asarray(np.maximum(opening - GAP_REACH * openings - BARELY, 0.0))


def sparse(weights: Weights) -> Weights:
    """The same without traces, and of no more key pictures than a region mixes and one that is leaving."""
    out = {}
    for name, region in REGIONS.items():
        share = weights[name]
        too_small = max(TRACE, float(np.sort(share)[-region.mixed - 2])) if len(share) > region.mixed + 1 else TRACE
        kept = np.maximum(share - too_small, 0.0)
        out[name] = kept / kept.sum()
    return out


def at_once(target: Weights) -> Weights:
    """What a picture without a past shows."""
    return target


class Mixer:
    """The weights of one stream, which follow those wanted with each region's time constant."""

    def __init__(self) -> None:
        self._of: object = None
        self._weights: Weights = {}
        self._time_s = 0.0

    def __call__(self, of: object, target: Weights, time_s: float) -> Weights:
        """Weights at `time_s`. of: whose key pictures they are; at once the target where those are others."""
        passed_s = time_s - self._time_s
        if self._of is not of or not 0.0 <= passed_s < 1.0:
            self._weights = target
        else:
            steps = {name: 1.0 - math.exp(-passed_s / region.time_s) for name, region in REGIONS.items()}
            self._weights = {name: w + np.float32(steps[name]) * (target[name] - w) for name, w in self._weights.items()}
        self._of, self._time_s = of, time_s
        return self._weights
