"""How often one face is taken for another, and its own for a stranger's: `python -m bench.likeness CLIPS PORTRAITS`.

Folders of clips of one person each, and of portraits of others; the demo clip and the bundled portraits are added. From each
half second on of each clip a neutral is taken as live. Same: two of one clip that share no frame. Other: two of two people.
SPREAD is estimated anew without the clips of both, so that no clip is judged by what was learned of it. Then the limit, too, is
chosen on some people and tried on the others, for every split of the people in clips in two.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from itertools import combinations, product
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.clips import open_clip, timed
from pipeline.face.faces import Faces, faces_for
from pipeline.face.likeness import LIMIT, proportions
from pipeline.face.motion import Array
from pipeline.follow.calibration import Calibration
from pipeline.portrait import DEMO_CLIP, bundled, bundled_names, load_portrait

STEP_S = 0.5
ONE = {"demo", "collins", "astronaut"}  # the same person, or pictures made of hers
LIMITS = (1.6, 1.8, 2.0, LIMIT, 2.4, 2.6, 2.8)
LET_IN = 0.02  # of strangers: the largest limit that keeps below is chosen, as LIMIT was on all of them
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


Scale = Callable[[str, str], Array]  # by which two people's proportions are compared
Others = dict[tuple[str, str], list[float]]


def own_distances(clips: dict[str, Taken], scale: Scale) -> dict[str, list[float]]:
    """Of people from themselves."""
    return {
        name: [_unlike(a[2], b[2], scale(name, name)) for a, b in combinations(taken, 2) if b[0] >= a[1]]
        for name, taken in clips.items()
    }


def other_distances(clips: dict[str, Taken], stills: dict[str, Taken], scale: Scale) -> Others:
    """Of people in clips from everybody else."""
    pairs = [pair for pair in combinations(clips | stills, 2) if pair[0] in clips and not {*pair} <= ONE]
    return {
        (one, two): [_unlike(a[2], b[2], scale(one, two)) for a in clips[one] for b in (clips | stills)[two]]
        for one, two in pairs
    }


def split(clips: dict[str, Taken], stills: dict[str, Taken]) -> None:
    """Learn scale and limit of one half of the people, and judge the other by them; for all halves that there are."""
    limits: list[float] = []
    refused: list[bool] = []
    let_in: list[NDArray[np.bool_]] = []
    for few in combinations(sorted(clips), len(clips) // 2):
        halves = [few, tuple(name for name in sorted(clips) if name not in few)]
        for learnt, judged in (halves, halves[::-1]):
            known, strange = ({name: clips[name] for name in half} for half in (learnt, judged))
            scale = spread(known, set())
            seen, unseen = (dict(sorted(stills.items())[k::2]) for k in (0, 1))
            values = np.concatenate([*map(np.array, other_distances(known, seen, lambda one, two: scale).values())])  # noqa: B023
            limits.append(max((limit for limit in np.arange(1.0, 4.0, 0.1) if np.mean(values <= limit) <= LET_IN), default=1.0))
            own = own_distances(strange, lambda one, two: scale)  # noqa: B023
            refused += [value > limits[-1] for taken in own.values() for value in taken]
            others = other_distances(strange, unseen, lambda one, two: scale)  # noqa: B023
            let_in += [np.array(pair) <= limits[-1] for pair in others.values()]
    print(
        f"learnt of one half, judged on the other, {len(limits)} times: limit {min(limits):.1f} to {max(limits):.1f}, "
        f"median {np.median(limits):.1f}; own face refused {np.mean(refused):.1%}, others let in "
        f"{np.concatenate(let_in).mean():.1%}, at some moment {np.mean([pair.any() for pair in let_in]):.1%} of pairs"
    )


def main(clips_folder: Path, portraits_folder: Path) -> None:
    faces = faces_for("likeness")
    clips = {path.stem: neutrals(path, faces) for path in [*sorted(clips_folder.glob("*.mp4")), DEMO_CLIP]}
    stills: dict[str, Taken] = {name: [(0, 0, proportions(bundled(name).landmarks))] for name in bundled_names()}
    for path in sorted(portraits_folder.glob("*.jpg")):
        stills[path.stem] = [(0, 0, proportions(load_portrait(str(path), faces).landmarks))]
    scales = {pair: spread(clips, {*pair}) for pair in product(clips, clips | stills)}
    same = own_distances(clips, lambda one, two: scales[one, two])
    other = other_distances(clips, stills, lambda one, two: scales[one, two])
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
    split(clips, stills)


def _unlike(one: Array, other: Array, scale: Array) -> float:
    return float(np.sqrt(np.mean(np.square((one - other) / scale))))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
