"""What presses of presets look like: how far a landmark goes from picture to picture while they come and go, against the driving
clip's own steps.

p99_own: of the clip's steps without presses. over: by how much the largest step while a preset comes or goes, of both motions
together, is larger than that, or than the clip's own in the same picture where that is larger; negative where it is smaller.
added: the same, but beside the step that the clip makes if the preset stands still where it was in the picture before: on a
head that is held aside, the driver's own mouth goes another way than on one that nods with it, and no speed of the preset can
help that. took_s: how long it came or went at most, and in the mean. By landmarks found in the pictures, and
by where the engine puts them (placed), which no landmarker's tremble is in. Lengths are pixels at 512², as `bench stability` has
them. `python -m bench.presses CLIP [PORTRAIT [ROUNDS [PICTURES]]]`: rounds of all presets, each at other moments of the clip; in
so many of them pictures are made, which takes long.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import closing
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline import models, threads
from pipeline.clips import open_clip, picture, pictures
from pipeline.face.faces import Faces, faces_by
from pipeline.face.motion import Array
from pipeline.follow.leeway import WATCHED
from pipeline.frames import Driving, Image
from pipeline.mesh.engine import MeshEngine
from pipeline.mesh.follow import MeshPuppeteer
from pipeline.mesh.followed import Followed
from pipeline.mesh.pose import pose_of
from pipeline.mesh.posing import posed
from pipeline.mesh.prepared import MeshPrepared
from pipeline.portrait import load_portrait
from pipeline.shapes.preset import shipped
from pipeline.shapes.shapes import NOTHING, Held
from streamer.stream.poses import Poses

from .stability import FPS, SIDE, Bench, _steps

EACH = 30  # pictures on, and as many off
LONGEST = 240
PRESETS = shipped()
Marks = NDArray[np.float64]


class Recalled:
    """A tracker that has seen the clip already, there and back; it goes round."""

    name, faces, lopsided = "recalled", 1, False

    def __init__(self, clip: Path, faces: Faces) -> None:
        with closing(faces.open_tracker()) as tracker:
            there = [self._seen(tracker, picture(frame), k) for k, frame in enumerate(islice(pictures(open_clip(clip)), LONGEST))]
            self.lopsided = tracker.lopsided
        self.period = 2 * len(there) - 2
        self._round = cycle([*there, *there[-2:0:-1]])
        self.blink: Array | None = None

    @staticmethod
    def _seen(tracker: Any, image: Image, k: int) -> tuple[Array | None, Array | None]:
        return tracker.track(image, k / FPS), tracker.blink

    def track(self, image: Image, time_s: float) -> Array | None:
        landmarks, self.blink = next(self._round)
        return landmarks

    def next_face(self) -> bool:
        return False

    def close(self) -> None:
        pass


class Beside(MeshPuppeteer):
    """still: the motion of its last picture, had what is held stood still since the one before."""

    _held: Held = NOTHING

    def follow(self, driving: Driving) -> Followed:
        held = self._held
        followed = super().follow(driving)
        self.still = self._at(driving.time_s, posed(self._shown, held))
        return followed

    def holding(self, time_s: float, driven: bool) -> Held:
        self._held = super().holding(time_s, driven)
        return self._held


def placed(prepared: MeshPrepared, motion: Followed) -> Marks:
    """(len(WATCHED), 2) where the engine puts them."""
    return np.asarray(pose_of(motion, prepared.geometry, 0.0).landmarks(prepared.geometry)[WATCHED], np.float64)


def followed(puppeteer: MeshPuppeteer) -> Iterator[Followed]:
    """The clip's motion, picture by picture, for ever."""
    black, time_s = np.zeros((SIDE, SIDE, 3), np.uint8), 0.0
    while True:
        yield puppeteer.follow(Driving(black, time_s))
        time_s += 1 / FPS


class Kind:
    """One way to tell where landmarks are, and what it says of presses. own: (period, ...) without presses."""

    def __init__(self, own: Marks) -> None:
        self.own = _steps(np.concatenate([own[-1:], own]))  # to each picture from the one before
        self.p99 = float(np.percentile(self.own, 99))
        self.over = {preset.name: float("-inf") for preset in PRESETS}
        self.added = dict(self.over)

    def see(self, name: str, marks: Marks, still: Marks, first: int) -> None:
        """While a preset comes or goes. still: (n - 1, ...) where each but the first would be, had the preset stood still since
        the one before; first: which of the clip's pictures the second one shows."""
        own = np.array([self.own[(first + k) % len(self.own)] for k in range(len(marks) - 1)])
        steps, most = _steps(marks), np.maximum(own, self.p99)
        self.over[name] = max(self.over[name], float((steps - most).max()))
        unmoved = np.linalg.norm(still - marks[:-1], axis=2).max(axis=1)
        self.added[name] = max(self.added[name], float((steps - np.maximum(most, unmoved)).max()))


def main(clip: str, portrait: str = "astronaut", rounds: str = "30", in_pictures: str = "3") -> None:
    threads.one_each()
    model = models.find(models.FACE_LANDMARKER)
    assert model is not None, "the face model is what measures"
    faces = faces_by(model)
    engine = MeshEngine(faces)
    prepared = engine.prepare(load_portrait(portrait, faces), SIDE, SIDE)
    bench = Bench(engine, load_portrait(portrait, faces), model)
    recalled = Recalled(Path(clip), faces)
    puppeteer, poses = Beside(lambda: recalled), Poses()
    motions, period, shown = followed(puppeteer), recalled.period, 0
    list(islice(motions, period))  # it is calibrated, and knows its usual steps
    own = list(islice(motions, period))
    kinds = {"placed": Kind(np.array([placed(prepared, motion) for motion in own]))}
    if int(in_pictures):
        kinds["pictures"] = Kind(bench.landmarks(motion.render(prepared) for motion in own))
    puppeteer.pose(lambda room: poses.easing.at(shown / FPS, room))
    windows: list[tuple[str, int, list[Followed], list[Followed]]] = []  # a preset, its first picture but one, all, those still
    last = own[-1]
    for preset in islice(cycle(preset for preset in PRESETS for _ in range(2)), 2 * len(PRESETS) * int(rounds)):
        poses.press(preset)
        windows.append((preset.name, shown, [last], []))
        for _ in range(EACH):
            went = poses.easing.moving
            last, shown = next(motions), shown + 1
            if went or poses.easing.moving:
                windows[-1][2].append(last)
                windows[-1][3].append(puppeteer.still)
    for name, first, parts, unmoved in windows:
        marks, still = (np.array([placed(prepared, motion) for motion in part]) for part in (parts, unmoved))
        kinds["placed"].see(name, marks, still, first)
    some = windows[: 2 * len(PRESETS) * int(in_pictures)]
    if some:
        ends = np.cumsum([len(parts) for _, _, parts, _ in some])[:-1]
        marks = bench.landmarks(motion.render(prepared) for _, _, parts, _ in some for motion in parts)
        # A landmarker that follows sees the pictures in the order in which they would be.
        still = bench.landmarks(motion.render(prepared) for _, _, parts, unmoved in some for motion in (parts[0], *unmoved))
        for (name, first, *_), part, other in zip(some, np.split(marks, ends), np.split(still, ends), strict=True):
            kinds["pictures"].see(name, part, other[1:], first)
    took = {preset.name: [len(parts) - 2 for name, _, parts, _ in windows if name == preset.name] for preset in PRESETS}
    out: dict[str, Any] = {"clip": Path(clip).name, "portrait": portrait, "rounds": int(rounds), "in_pictures": int(in_pictures)}
    for name, kind in kinds.items():
        out[name] = {
            "p99_own": round(kind.p99, 2),
            **{key: {name: round(most, 2) for name, most in getattr(kind, key).items()} for key in ("over", "added")},
        }
    out["took_s"] = {name: [round(max(each) / FPS, 2), round(sum(each) / len(each) / FPS, 2)] for name, each in took.items()}
    print(json.dumps(out, indent=1))


if __name__ == "__main__":
    main(*sys.argv[1:])
