"""Whether the mark is found where there is none: cuts of clips and portraits that nobody marked. Part of `puppetcast bench mark`.

Each window is two pictures in a row, or a portrait, at a scale and cut out at a place that are drawn; it is looked at as a marked
one would be, but at one scale of those that are tried first, and at the likeliest place alone. Of every SEARCHED-th the whole
first search is made. What is decoded where nothing was sent is as good as drawn: so what counts is how many are.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from pipeline.clips import Progress, open_clip
from pipeline.frames import Image
from pipeline.mark.detect import ALARM, USUAL, Plane, Spectrum, evened, place, read, residual, search
from pipeline.offline.identify import lumas
from pipeline.portrait import Portrait

CUT = (96, 192)  # pixels, of a side
SCALED = (0.7, 1.3)
SEARCHED = 100


def unmarked(
    portraits: Sequence[Portrait], clips: Sequence[Path], cuts: int, progress: Progress = lambda done, total: None
) -> dict[str, Any]:
    """So many cuts of each plane. least_log10_chance: of those whose check held by accident, the one nearest to an alarm."""
    rng = random.Random(2)
    planes, searched, chances = 0, 0, [0.0]
    for done, of_one in enumerate([map(_of_portrait, portraits), *map(_of_clip, clips)], 1):
        for plane in of_one:
            planes += 1
            scaled = _scaled(rng, plane)
            for k in range(cuts):
                spectrum = Spectrum(evened(_cut(rng, scaled)))
                if k % SEARCHED == 0:
                    searched += 1
                    found = search(spectrum, USUAL, math.inf)
                else:
                    found = read(place(spectrum, rng.choice(USUAL)))
                chances += [found.log10_chance] if found is not None else []
        progress(done, len(clips) + 1)
    return {
        "windows": cuts * planes, "planes": planes, "searched": searched, "checks_held": len(chances) - 1,
        "alarms": sum(chance < ALARM for chance in chances), "least_log10_chance": round(min(chances), 1),
    }  # fmt: skip


def _of_portrait(portrait: Portrait) -> Plane:
    return residual(np.asarray(cv2.cvtColor(portrait.image, cv2.COLOR_RGB2GRAY), np.uint8))


def _of_clip(clip: Path) -> Iterator[Plane]:
    """Of each two pictures in a row, together."""
    with open_clip(clip) as opened:
        pictures: Iterator[Image] = (luma for _, luma in lumas(opened.moments()))
        while len(two := list(islice(pictures, 2))) == 2:
            yield residual(np.asarray(cv2.addWeighted(two[0], 0.5, two[1], 0.5, 0, dtype=cv2.CV_32F), np.float32))


def _scaled(rng: random.Random, plane: Plane) -> Plane:
    share = rng.uniform(*SCALED)
    return np.asarray(cv2.resize(plane, None, fx=share, fy=share), np.float32)


def _cut(rng: random.Random, plane: Plane) -> Plane:
    height, width = (min(rng.randint(*CUT), side) for side in plane.shape)
    top, left = rng.randint(0, plane.shape[0] - height), rng.randint(0, plane.shape[1] - width)
    return plane[top : top + height, left : left + width]
