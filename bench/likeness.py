"""How often one face is taken for another, and its own for a stranger's: `python -m bench.likeness CLIPS PORTRAITS`.

Folders of clips of one person each, and of portraits of others; the demo clip and the bundled portraits are added. From each
half second on of each clip a neutral is taken as live. Same: two of one clip that share no frame. Other: two of two people.
SPREAD is estimated anew without the clips of both, so that no clip is judged by what was learned of it.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Iterator
from contextlib import closing
from itertools import combinations
from pathlib import Path

import numpy as np

from pipeline.clips import open_clip, timed
from pipeline.face.faces import Faces, faces_for
from pipeline.face.likeness import LIMIT, proportions
from pipeline.face.motion import Array
from pipeline.follow.calibration import Calibration
from pipeline.portrait import DEMO_CLIP, bundled, bundled_names, load_portrait

STEP_S = 0.5
ONE = {"demo", "collins", "astronaut"}  # the same person, or pictures made of hers
LIMITS = (1.6, 1.8, 2.0, LIMIT, 2.4, 2.6, 2.8)
Taken = list[tuple[float, float, Array]]  # from when to when a neutral was taken, and its proportions


def neutrals(path: Path, faces: Faces) -> Taken:
    """Of a clip."""
    with closing(faces.open_tracker()) as tracker, open_clip(path) as clip:
        seen = [(time_s, face) for time_s, image in timed(clip) if (face := tracker.track(image, time_s)) is not None]
    return list(_windows(seen))


def _windows(seen: list[tuple[float, Array]]) -> Iterator[tuple[float, float, Array]]:
    start_s = seen[0][0]
    while True:
        calibration = Calibration()
        ends = (time_s for time_s, face in seen if time_s >= start_s and calibration.add(face, time_s) is not None)
        end_s = next(ends, None)
        if end_s is None:
            return
        yield start_s, end_s, proportions(calibration.landmarks())
        start_s += STEP_S


def spread(clips: dict[str, Taken], without: set[str]) -> Array:
    """How much proportions differ within clips."""
    parts = [np.stack([face for *_, face in taken]) for name, taken in clips.items() if name not in without and len(taken) > 2]
    return np.asarray(np.concatenate([part - part.mean(axis=0) for part in parts]).std(axis=0))


def main(clips_folder: Path, portraits_folder: Path) -> None:
    faces = faces_for("likeness")
    clips = {path.stem: neutrals(path, faces) for path in [*sorted(clips_folder.glob("*.mp4")), DEMO_CLIP]}
    stills: dict[str, Taken] = {name: [(0, 0, proportions(bundled(name).landmarks))] for name in bundled_names()}
    for path in sorted(portraits_folder.glob("*.jpg")):
        stills[path.stem] = [(0, 0, proportions(load_portrait(str(path), faces).landmarks))]
    same: dict[str, list[float]] = defaultdict(list)
    other: dict[tuple[str, str], list[float]] = defaultdict(list)
    for name, taken in clips.items():
        scale = spread(clips, {name})
        same[name] = [_unlike(a[2], b[2], scale) for a, b in combinations(taken, 2) if b[0] >= a[1]]
    for one, two in combinations(clips | stills, 2):
        if one in clips and not {one, two} <= ONE:
            scale = spread(clips, {one, two})
            second = (clips | stills)[two]
            other[one, two] = [_unlike(a[2], b[2], scale) for a in clips[one] for b in second]
    own, strange = np.concatenate([*map(np.array, same.values())]), np.concatenate([*map(np.array, other.values())])
    print(
        f"{len(clips)} clips, {len(stills)} portraits: {len(own)} comparisons of a face with itself, {len(strange)} with others"
    )
    for limit in LIMITS:
        passed = sum(min(values) <= limit for values in other.values())
        print(
            f"limit {limit}: own face refused {(own > limit).sum()} ({(own > limit).mean():.1%}), others let in "
            f"{(strange <= limit).sum()} ({(strange <= limit).mean():.1%}), at some moment {passed} of {len(other)} pairs"
        )
    for name, values in same.items():
        if values:
            print(f"{name}: refused {np.mean(np.array(values) > LIMIT):.0%} of {len(values)}")


def _unlike(one: Array, other: Array, scale: Array) -> float:
    return float(np.sqrt(np.mean(np.square((one - other) / scale))))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
