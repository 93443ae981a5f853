"""How still the puppet is: jitter, delay, drift, gains, and what a change while live looks like; by landmarks found in
the output. `puppetcast bench stability`.

Pictures are measured at 512² or as the portrait has it; all lengths are pixels there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.budget import FrameBudget
from pipeline.clips import Progress, open_clip, timed
from pipeline.engine import Engine
from pipeline.face.mediapipe import MediaPipeTracker
from pipeline.face.motion import Array, eye_openness
from pipeline.face.units import in_pixels
from pipeline.fade import FADE_S
from pipeline.follow.leeway import WATCHED
from pipeline.follow.tuning import Tuning
from pipeline.frames import Image, TimedFrame
from pipeline.lane import Lane, Screen
from pipeline.mark.marker import UNMARKED
from pipeline.portrait import Portrait
from pipeline.stage import AnimationStage

SIDE = 512
FPS = 30
NOISE = 3.0  # grey levels, standard deviation: a webcam indoors
STRENGTHS = (0.0, 0.25, 0.5, 0.75, 1.0)
GAINS = (0.0, 0.5, 1.0, 1.5)
SETTLED_S = 2.5  # a second for the neutral, one for the blend
CALIBRATION = 40  # frames
QUIET = 60
LONGEST = 240


@dataclass
class Bench:
    """One engine and portrait. model: of the landmarker that measures."""

    engine: Engine
    portrait: Portrait
    model: Path

    def animated(
        self, frames: Iterable[Image], tuning: Tuning, calibrated: list[Image], after: Callable[[Any, int], None] | None = None
    ) -> Iterator[Image]:
        """Pictures of the puppet, each made FPS of a second after the other. after: what is done to the puppeteer after
        each frame."""
        source = self.engine.prepare(self.portrait, SIDE, SIDE)
        with closing(self.engine.open()) as puppeteer:
            puppeteer.tune(tuning)
            puppeteer.calibrate((k / FPS, image) for k, image in enumerate(calibrated))
            for k, image in enumerate(frames):
                yield puppeteer.animate(source, image, 100 + k / FPS)
                if after is not None:
                    after(puppeteer, k)

    def landmarks(self, pictures: Iterable[Image]) -> NDArray[np.float64]:
        """(n, len(WATCHED), 2) where the landmarker sees them; every picture on its own."""
        with closing(MediaPipeTracker(self.model)) as tracker:
            tracked = [(image, tracker.track(image, k / FPS)) for k, image in enumerate(pictures)]
        found = [None if face is None else in_pixels(face, image) for image, face in tracked]
        seen: Array = next(f for f in found if f is not None)
        rows = []
        for face in found:
            seen = seen if face is None else face
            rows.append(seen[WATCHED, :2])
        return np.array(rows, np.float64)

    def jitter(self, still: Image, tuning: Tuning, seconds: float = 4.0, seed: int = 5) -> float:
        """p95 of how far landmarks of the puppet are from their mean while the driver is one picture under noise."""
        rng = np.random.default_rng(seed)
        noisy = [noise(still, rng) for _ in range(int(seconds * FPS))]
        return self.spread(self.landmarks(islice(self.animated(noisy, tuning, noisy[:40]), 15, None)))

    def quiet(self, frames: list[Image], tuning: Tuning) -> float:
        """p95 of what in the path of a landmark is no motion, over a quiet stretch of a clip: its distance from a
        parabola through seven frames (Savitzky and Golay, Analytical Chemistry 36(8), 1964)."""
        from scipy.signal import savgol_filter  # takes longer to import than all else here

        marks = self.landmarks(self.animated(frames, tuning, frames[:40]))
        rest = (marks - savgol_filter(marks, 7, 2, axis=0))[3:-3]
        return float(np.percentile(np.linalg.norm(rest, axis=2), 95))

    @staticmethod
    def spread(marks: NDArray[np.float64]) -> float:
        return float(np.percentile(np.linalg.norm(marks - marks.mean(axis=0), axis=2), 95))

    def delay_ms(self, before: Image, after: Image, tuning: Tuning) -> dict[str, float]:
        """When a step of the driver, from one picture to another, has come to 50 and 90 % in the puppet, in milliseconds
        after the frame that shows it."""
        marks = self.landmarks(self.animated([before] * 30 + [after] * 30, tuning, [before] * 40))
        path = marks.reshape(len(marks), -1)
        start, end = path[20:29].mean(axis=0), path[-8:].mean(axis=0)
        share = (path - start) @ (end - start) / float((end - start) @ (end - start))
        times = np.arange(len(share)) - 30
        return {f"to_{p}_percent": round(1000 / FPS * _crossing(times, share, p / 100), 1) for p in (50, 90)}

    def drift(self, frames: list[Image], tuning: Tuning, seconds: float) -> float:
        """Largest distance of a landmark's mean position over the last loop from the one over the first loop."""
        loop = frames + frames[-2:0:-1]  # there and back: no leap where it starts again
        loops = max(round(seconds * FPS / len(loop)), 2)
        marks = self.landmarks(self.animated(loop * loops, tuning, frames[:40]))
        first, last = (marks[k * len(loop) : (k + 1) * len(loop)].mean(axis=0) for k in (0, loops - 1))
        return float(np.linalg.norm(last - first, axis=1).max())

    def recalibration(self, frames: list[Image], at: int) -> dict[str, float]:
        """What a recalibration at frame `at` looks like: the largest step of a landmark from frame to frame in the
        SETTLED_S after it, the largest of the same frames without it, and p99 of all the clip's own steps."""
        own, changed = (
            _steps(self.landmarks(self.live(frames))),
            _steps(self.landmarks(self.live(frames, at, lambda lane, screen: lane.recalibrate()))),
        )
        window = slice(at, at + round(SETTLED_S * FPS))
        return _figures(changed[window], own[window], own)

    def swap(self, frames: list[Image], portrait: Portrait, at: int | None = None) -> dict[str, float]:
        """The same for a change of portrait, outside its cross-fade; its own steps are those of either portrait. at: None
        for where the clip's own steps are the least, as a larger one of them would hide a leap."""
        prepared = self.engine.prepare(portrait, SIDE, SIDE)
        own = [_steps(self.landmarks(b.live(frames))) for b in (self, replace(self, portrait=portrait))]
        since, until = round(FADE_S * FPS) + 2, round(SETTLED_S * FPS)
        if at is None:
            at = min(range(max(len(own[1]) - until, 1)), key=lambda k: float(own[1][k + since : k + until].max()))
        changed = _steps(self.landmarks(self.live(frames, at, lambda lane, screen: screen.change(prepared))))
        window = slice(at + since, at + until)
        return _figures(changed[window], own[1][window], max(own, key=lambda steps: float(np.percentile(steps, 99))))

    def live(
        self, frames: list[Image], at: int = -1, act: Callable[[Lane, Screen], None] = lambda lane, screen: None
    ) -> list[Image]:
        """The puppet as a lane and a stage of its own animate it, at FPS of a clock that waits for them; act: done at
        frame `at`. Frames that the driver's calibration takes come before: the first ones, twice."""
        now_s, shown = 0.0, list[Image]()
        prepared = self.engine.prepare(self.portrait, SIDE, SIDE)
        generous = FrameBudget(max_frames=240, max_busy=1.0, clock=lambda: now_s)
        screen = Screen(prepared, lambda frame: shown.append(_rgb(frame.yuv)), UNMARKED, lambda: now_s)
        lane = Lane(self.engine.open(), screen, generous, clock=lambda: now_s)
        stage = AnimationStage(self.engine, clock=lambda: now_s)
        lead = frames[:CALIBRATION] + frames[CALIBRATION:0:-1]
        with closing(lane):
            for k, image in enumerate([*lead, *frames]):
                now_s = k / FPS
                if k == len(lead) + at and at >= 0:
                    act(lane, screen)
                work = lane.step(TimedFrame(av.VideoFrame.from_ndarray(image, format="rgb24"), now_s))
                assert work is not None
                stage.offer(work)
                stage.step(stage.take())
                stage.step([])
        return shown[-len(frames) :]

    def proportions(self, frames: list[Image], name: str) -> dict[str, float]:
        """How strongly the puppet's mouth or eyes move at each of GAINS, against their motion at 1."""
        unsmoothed = Tuning(smoothing=0.0)
        tunings = {g: replace(unsmoothed, mouth_gain=g) if name == "mouth" else replace(unsmoothed, eyes_gain=g) for g in GAINS}
        amount = {g: self._motion(frames, tuning, name) for g, tuning in tunings.items()}
        one = amount[1.0]
        return {str(g): round(float(a @ one) / float(one @ one), 3) for g, a in amount.items()}

    def _motion(self, frames: list[Image], tuning: Tuning, name: str) -> NDArray[np.float64]:
        with closing(MediaPipeTracker(self.model)) as tracker:
            seen = [tracker.track(image, k / FPS) for k, image in enumerate(self.animated(frames, tuning, frames))]
        faces = [s for s in seen if s is not None]
        if name == "mouth":
            values = [np.linalg.norm(f[13] - f[14]) / np.linalg.norm(f[234] - f[454]) for f in faces]
        else:
            values = [eye_openness(f).mean() for f in faces]
        series = np.array(values, np.float64)
        return series - np.median(series)


def _figures(changed: NDArray[np.float64], same: NDArray[np.float64], own: NDArray[np.float64]) -> dict[str, float]:
    values = (changed.max(), same.max(), np.percentile(own, 99))
    return dict(zip(("largest", "largest_without", "p99_own"), (round(float(v), 2) for v in values), strict=True))


def _steps(marks: NDArray[np.float64]) -> NDArray[np.float64]:
    """Largest step of a landmark, frame by frame."""
    return np.asarray(np.linalg.norm(np.diff(marks, axis=0), axis=2).max(axis=1))


def _crossing(times: NDArray[np.int64], share: NDArray[np.float64], level: float) -> float:
    """When `share` first reaches `level`, between frames too; frame 0 is the first that shows the step."""
    k = int(np.argmax(share >= level))
    if k == 0:
        return 0.0
    return float(times[k - 1] + (level - share[k - 1]) / max(share[k] - share[k - 1], 1e-9))


def noise(image: Image, rng: np.random.Generator) -> Image:
    """The picture as a camera would give it once more."""
    return np.clip(image + rng.normal(0, NOISE, image.shape), 0, 255).astype(np.uint8)


def load(clip: Path, count: int, start: int = 0) -> list[Image]:
    """Frames of a clip, RGB."""
    with open_clip(clip) as source:
        return [image for _, image in islice(timed(source), start, start + count)]


def _rgb(yuv: Image) -> Image:
    return np.asarray(cv2.cvtColor(yuv, cv2.COLOR_YUV2RGB_I420), np.uint8)


def report(
    engine: Engine, portraits: list[Portrait], clips: list[Path], model: Path, seconds: float, progress: Progress
) -> dict[str, object]:
    """All of it, for each clip. seconds: of the drift. The second portrait is the one that is swapped to."""
    out: dict[str, object] = {}
    bench = Bench(engine, portraits[0], model)
    done, total = 0, 6 * len(clips)

    def step() -> None:
        nonlocal done
        done += 1
        progress(done, total)

    for clip in clips:
        frames = load(clip, LONGEST)
        calm = calmest(bench.landmarks(frames))
        row: dict[str, object] = {"frames": len(frames), "calmest_at": calm}
        still = frames[calm]
        row["jitter_p95_px"] = {str(s): round(bench.jitter(still, Tuning(smoothing=s)), 3) for s in STRENGTHS}
        step()
        far = int(np.argmax(np.abs(np.stack(frames)[:, ::8, ::8].astype(np.float32) - still[::8, ::8]).mean(axis=(1, 2, 3))))
        row["delay_ms"] = {str(s): bench.delay_ms(still, frames[far], Tuning(smoothing=s)) for s in STRENGTHS}
        step()
        stretch = frames[calm : calm + QUIET]
        row["quiet_p95_px"] = {str(s): round(bench.quiet(stretch, Tuning(smoothing=s)), 3) for s in (0.0, 0.5)}
        row["drift_px"] = round(bench.drift(stretch, Tuning(recentre_s=0), seconds), 3)
        step()
        row["recalibration_px"] = bench.recalibration(frames, max(calm - 15, 0))
        step()
        row["swap_px"] = bench.swap(frames, portraits[1])
        step()
        row["mouth_gain"], row["eyes_gain"] = bench.proportions(frames, "mouth"), bench.proportions(frames, "eyes")
        step()
        out[clip.stem] = row
    return out


def calmest(marks: NDArray[np.float64]) -> int:
    """Where the QUIET frames with the least motion begin."""
    steps = _steps(marks)
    return int(np.argmin(np.convolve(steps, np.ones(min(QUIET, len(steps))), "valid")))
