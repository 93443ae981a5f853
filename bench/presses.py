"""What presses of presets look like: how far a landmark goes from frame to frame, against the driving clip's own steps.

p99_own: of the clip's steps without presses. added: the largest step of the difference that a preset makes, coming or going;
largest: the largest step of all while it comes, is there and goes, in frames where the clip's own one is no larger than p99.
`python -m bench.presses CLIP [PORTRAIT]`; lengths are pixels at 512², as `bench stability` has them.
"""

from __future__ import annotations

import json
import sys
from contextlib import closing
from itertools import cycle, islice
from pathlib import Path

import av
import numpy as np

from pipeline import models, threads
from pipeline.budget import FrameBudget
from pipeline.clips import open_clip, picture, pictures
from pipeline.engine import open_engine
from pipeline.face.faces import faces_by
from pipeline.frames import Image, TimedFrame
from pipeline.lane import Lane, Screen
from pipeline.mark.marker import UNMARKED
from pipeline.portrait import load_portrait
from pipeline.shapes.preset import shipped
from pipeline.stage import AnimationStage
from streamer.stream.poses import Poses

from .stability import CALIBRATION, FPS, SIDE, Bench, _rgb, _steps

EACH = 30  # frames on, and as many off
PRESETS = shipped()


def animated(bench: Bench, frames: list[Image], pressed: bool) -> list[Image]:
    """The puppet under these frames, after its calibration; pressed: each preset goes on and off in its turn."""
    now_s, shown, poses = 0.0, list[Image](), Poses()
    prepared = bench.engine.prepare(bench.portrait, SIDE, SIDE)
    screen = Screen(prepared, lambda frame: shown.append(_rgb(frame.yuv)), UNMARKED, lambda: now_s)
    budget = FrameBudget(max_frames=240, max_busy=1.0, clock=lambda: now_s)
    lane = Lane(bench.engine.open(), screen, budget, clock=lambda: now_s, easing=poses.easing)
    stage = AnimationStage(bench.engine, clock=lambda: now_s)
    lead = [*frames[:CALIBRATION], *frames[CALIBRATION:0:-1]]
    with closing(lane):
        for k, image in enumerate([*lead, *frames]):
            now_s = k / FPS
            number, after = divmod(k - len(lead), EACH)
            if pressed and number >= 0 and after == 0 and number < 2 * len(PRESETS):
                poses.press(PRESETS[number // 2])
            work = lane.step(TimedFrame(av.VideoFrame.from_ndarray(image, format="rgb24"), now_s))
            assert work is not None
            stage.offer(work)
            stage.step(stage.take())
            stage.step([])
    return shown[-len(frames) :]


def main(clip: str, portrait: str = "astronaut") -> None:
    threads.one_each()
    model = models.find(models.FACE_LANDMARKER)
    assert model is not None, "the face model is what measures"
    faces = faces_by(model)
    bench = Bench(open_engine("mesh", faces), load_portrait(portrait, faces), model)
    there = [picture(frame) for frame in islice(pictures(open_clip(Path(clip))), 240)]
    frames = list(islice(cycle([*there, *there[-2:0:-1]]), 2 * EACH * len(PRESETS)))
    own, pressed = (bench.landmarks(animated(bench, frames, on)) for on in (False, True))
    p99 = float(np.percentile(_steps(own), 99))
    added, steps = _steps(pressed - own), np.where(_steps(own) <= p99, _steps(pressed), 0.0)
    out = {"clip": Path(clip).name, "portrait": portrait, "p99_own": round(p99, 2)}
    for number, preset in enumerate(PRESETS):
        both = slice(2 * number * EACH, 2 * (number + 1) * EACH)
        out[preset.name] = {"added": round(float(added[both].max()), 2), "largest": round(float(steps[both].max()), 2)}
    print(json.dumps(out, indent=1))


if __name__ == "__main__":
    main(*sys.argv[1:])
