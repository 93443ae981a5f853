"""What drives, step by step: clips, pictures, motion templates; and what is driven at each step."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from av.container import InputContainer

from ..clips import first_seconds, open_clip, timed
from ..engine import Engine, Puppeteer
from ..errors import ClipError, NoFaceError, PuppetError
from ..face.tracker import open_tracker
from ..follow.neutral import FaceState
from ..frames import Image
from ..portrait import Portrait, is_picture, read_picture

if TYPE_CHECKING:
    from ..liveportrait.engine import LivePortraitPuppeteer


MAX_SIDE = 1280
TEMPLATES = (".safetensors", ".pkl")


@dataclass(frozen=True)
class Step:
    """One moment of a driver.

    time_s: from the driver's first frame; None where the source sets the times. image: the driver's picture, if it has
    one. render: the source's picture at this moment. followed: whether a face drove it, asked after `render`.
    """

    time_s: float | None
    image: Image | None
    render: Callable[[Any], Image]
    followed: Callable[[], bool] = lambda: True


@dataclass(frozen=True)
class Drive:
    """A driver. total: its number of frames, rate: frames per second, where they are known."""

    steps: Iterator[Step]
    total: int | None = None
    rate: Fraction | None = None


def only_liveportrait(engine: Engine, what: str) -> None:
    if engine.name != "liveportrait":
        raise PuppetError(f"{what} needs '--engine liveportrait'; the engine here is {engine.name}")


def open_driver(driver: Path, engine: Engine, puppeteer: Any, stack: ExitStack) -> Drive:
    if driver.suffix in TEMPLATES:
        only_liveportrait(engine, f"{driver}: a motion template")
        return _template_drive(driver, puppeteer)
    if is_picture(driver):
        only_liveportrait(engine, f"{driver}: a picture as driver")
        return Drive(_picture_steps(driver, puppeteer))
    clip = stack.enter_context(open_clip(driver))
    puppeteer.calibrate(first_seconds(driver))
    return Drive(_clip_steps(clip, puppeteer), clip.streams.video[0].frames or None, clip.streams.video[0].average_rate)


def _clip_steps(clip: InputContainer, puppeteer: Puppeteer) -> Iterator[Step]:
    for time_s, image in timed(clip):

        def render(source: Any, time_s: float = time_s, image: Image = image) -> Image:
            return puppeteer.animate(source, image, time_s)

        yield Step(time_s, image, render, lambda: puppeteer.state is FaceState.TRACKING)


def _template_drive(path: Path, puppeteer: LivePortraitPuppeteer) -> Drive:
    from ..liveportrait.template import load

    template = load(path).to(puppeteer.device)

    def step(k: int) -> Step:
        rest = template.rest[k]
        return Step(
            template.times_s[k],
            None,
            lambda source: puppeteer.render(source, template.frame(k), template.reference, rest),
            lambda: rest == 0,
        )

    seconds = template.times_s[-1] if len(template) > 1 else 0
    rate = Fraction((len(template) - 1) / seconds).limit_denominator(1001) if seconds else None
    return Drive(map(step, range(len(template))), len(template), rate)


def _picture_steps(path: Path, puppeteer: LivePortraitPuppeteer) -> Iterator[Step]:
    """The picture, for ever."""
    image = read_picture(path)
    driven = puppeteer.look(image)
    if driven is None:
        raise NoFaceError(f"{path}: no face found; use a picture that shows one face from the front")
    # As published: the expression counts from none at all, the pose from itself.
    motion = driven.motion._replace(expression=driven.motion.expression * 0)
    reference = driven._replace(motion=motion)
    while True:
        yield Step(None, image, lambda source: puppeteer.render(source, driven, reference))


def paired(steps: Iterator[Step], moments: Iterator[tuple[float, Any]]) -> Iterator[tuple[Step, Any]]:
    """Each step with the newest source of its time, until either ends."""
    now, after = next(moments), next(moments, None)
    for step in steps:
        while after is not None and step.time_s is not None and after[0] <= step.time_s:
            now, after = after, next(moments, None)
        yield step, now[1]
        if after is None:
            return


def at_source_times(steps: Iterator[Step], moments: Iterator[tuple[float, Any]]) -> Iterator[tuple[Step, Any]]:
    return ((replace(step, time_s=time_s), prepared) for step, (time_s, prepared) in zip(steps, moments, strict=False))


def prepared_frames(engine: Engine, source: Path, model: Path | None, stack: ExitStack) -> Iterator[tuple[float, Any]]:
    tracker = stack.enter_context(closing(open_tracker(model)))
    clip = stack.enter_context(open_clip(source))
    landmarks, time_s = None, None
    for time_s, image in timed(clip):
        found = tracker.track(image, time_s)
        landmarks = landmarks if found is None else found  # a face lost for a moment is where it was
        if landmarks is None:
            raise NoFaceError(f"{source}: no face in its first frame; cut the clip so that it starts with one")
        yield time_s, engine.prepare(Portrait(source.name, image, landmarks), MAX_SIDE, MAX_SIDE)
    if time_s is None:
        raise ClipError(f"{source}: no picture could be decoded")
