"""What drives, step by step: clips, pictures, motion templates; and what is driven at each step."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import repeat
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np

from ..clips import Clip, first_seconds, open_clip, timed
from ..engine import Drivers, Engine, Puppeteer
from ..errors import NoFaceError, PuppetError
from ..face.units import in_pixels
from ..follow.neutral import FaceState
from ..follow.tuning import Tuning
from ..frames import Driving, Image
from ..loop import Loop
from ..portrait import Portrait, is_picture, read_picture

MAX_SIDE = 1280
EARLY_S = 0.002  # by which a picture may be taken before its time: files round times
TEMPLATES = (".safetensors", ".pkl")


@dataclass(frozen=True)
class Step:
    """One moment of a driver.

    time_s: from the driver's first frame; None where the source sets the times. image: the driver's picture, if it has
    one. seen: for `Puppeteer.render`. followed: whether a face drove it.
    """

    time_s: float | None
    image: Image | None
    seen: Any
    followed: bool = True


@dataclass(frozen=True)
class Drive:
    """A driver. total: its number of frames, about, rate: frames per second, where they are known; clip: that it is."""

    steps: Iterator[Step]
    total: int | None = None
    rate: Fraction | None = None
    clip: Clip | None = None


def more_drivers(engine: Engine, puppeteer: Puppeteer, what: str) -> Drivers:
    """The engine's drivers beyond clips; PuppetError where it has none."""
    if puppeteer.drivers is None:
        raise PuppetError(f"{what} needs '--engine liveportrait'; the engine here is {engine.name}")
    return puppeteer.drivers


def frame_by_frame(engine: Engine, puppeteer: Puppeteer, source: Path) -> bool:
    """Whether the engine drives a clip frame by frame, or else as a portrait that moves; PuppetError where it does neither."""
    return more_drivers(engine, puppeteer, f"{source}: a clip as source").clips_as_source


def through(loop: Loop, steps: Iterator[Step]) -> Iterator[Step]:
    """A driver that has no times, at those of a clip, once."""
    times = (k / loop.fps for k in range(len(loop)))
    return (
        replace(step, time_s=time_s, seen=replace(step.seen, time_s=time_s)) for time_s, step in zip(times, steps, strict=False)
    )


def open_driver(
    driver: Path, engine: Engine, puppeteer: Puppeteer, tuning: Tuning, mirror: bool, calibrate_s: float, stack: ExitStack
) -> Drive:
    puppeteer.tune(tuning)
    if calibrate_s and (driver.suffix in TEMPLATES or is_picture(driver)):
        raise PuppetError(f"{driver}: only a clip has a time to calibrate at; leave '--calibrate-at' out")
    if driver.suffix in TEMPLATES:
        if mirror:
            raise PuppetError(f"{driver}: a motion template cannot be mirrored; leave '--mirror' out")
        _nothing_to_smooth(tuning, f"{driver}: a motion template was smoothed when it was made")
        return _template_drive(driver, more_drivers(engine, puppeteer, f"{driver}: a motion template"))
    if is_picture(driver):
        _nothing_to_smooth(tuning, f"{driver}: a picture has nothing to smooth")
        return Drive(_picture_steps(driver, more_drivers(engine, puppeteer, f"{driver}: a picture as driver"), mirror))
    clip = stack.enter_context(open_clip(driver))
    if clip.seconds is not None and calibrate_s >= clip.seconds:
        raise PuppetError(f"{driver}: '--calibrate-at {calibrate_s:g}': it ends after {clip.seconds:.1f} seconds")
    puppeteer.calibrate((time_s, mirrored(image, mirror)) for time_s, image in first_seconds(driver, calibrate_s))
    return Drive(_clip_steps(clip, puppeteer, mirror), clip.about, clip.rate, clip)


def _nothing_to_smooth(tuning: Tuning, why: str) -> None:
    if tuning.smoothing != Tuning.smoothing:
        raise PuppetError(f"{why}; leave '--smoothing' out")


def mirrored(image: Image, mirror: bool) -> Image:
    """The picture, or its mirror image."""
    return np.ascontiguousarray(image[:, ::-1]) if mirror else image


def _clip_steps(clip: Clip, puppeteer: Puppeteer, mirror: bool) -> Iterator[Step]:
    for time_s, image in timed(clip):
        seen = puppeteer.follow(Driving(mirrored(image, mirror), time_s))
        yield Step(time_s, image, seen, puppeteer.state is FaceState.TRACKING)


def _template_drive(path: Path, drivers: Drivers) -> Drive:
    moments = drivers.moments(path)
    seconds = moments[-1].time_s if len(moments) > 1 else 0
    rate = Fraction((len(moments) - 1) / seconds).limit_denominator(1001) if seconds else None
    return Drive((Step(m.time_s, None, m.seen, m.followed) for m in moments), len(moments), rate)


def _picture_steps(path: Path, drivers: Drivers, mirror: bool) -> Iterator[Step]:
    """The picture, for ever."""
    image = read_picture(path)
    seen = drivers.look(mirrored(image, mirror))
    if seen is None:
        raise NoFaceError(f"{path}: no face found; use a picture that shows one face from the front")
    return repeat(Step(None, image, seen))


def paired(steps: Iterator[Step], moments: Iterator[tuple[float, Any]]) -> Iterator[tuple[Step, Any]]:
    """Each step with the newest source of its time, until either ends."""
    now, after = next(moments), next(moments, None)
    for step in steps:
        while after is not None and step.time_s is not None and after[0] <= step.time_s:
            now, after = after, next(moments, None)
        yield step, now[1]
        if after is None:
            return


def at_rate(pairs: Iterator[tuple[Step, Any]], fps: Fraction, rate: Fraction) -> Iterator[tuple[Step, Any]]:
    """Even times in place of the driver's: at each the newest step and what it drives, until the last step ends. rate: steps
    a second."""
    k, last = 0, None
    for step, prepared in pairs:
        while last is not None and k / fps < (step.time_s or 0.0) - EARLY_S:
            yield replace(last[0], time_s=float(k / fps)), last[1]
            k += 1
        last = step, prepared
    end_s = 0.0 if last is None else (last[0].time_s or 0.0) + 1 / float(rate)
    while last is not None and k / fps < end_s - EARLY_S:
        yield replace(last[0], time_s=float(k / fps)), last[1]
        k += 1


def count_at_rate(total: int, fps: Fraction, rate: Fraction) -> int:
    """How many `at_rate` makes of so many even steps."""
    return ceil((total / rate - EARLY_S) * fps)


def at_source_times(steps: Iterator[Step], moments: Iterator[tuple[float, Any]]) -> Iterator[tuple[Step, Any]]:
    return ((replace(step, time_s=time_s), prepared) for step, (time_s, prepared) in zip(steps, moments, strict=False))


def prepared_frames(engine: Engine, clip: Clip, stack: ExitStack) -> Iterator[tuple[float, Any]]:
    tracker = stack.enter_context(closing(engine.faces.open_tracker()))
    landmarks = None
    for time_s, image in timed(clip):
        found = tracker.track(image, time_s)
        landmarks = landmarks if found is None else in_pixels(found, image)  # a face lost for a moment is where it was
        if landmarks is None:
            raise NoFaceError(f"{clip.path}: no face in its first frame; cut the clip so that it starts with one")
        yield time_s, engine.prepare(Portrait(clip.path.name, image, landmarks), MAX_SIDE, MAX_SIDE)
