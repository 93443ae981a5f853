"""Animate into a file with the engine that also runs live.

What drives: a clip, a picture or a motion template. What is driven: a portrait, or a clip. Pictures,
templates and clips as sources need the liveportrait engine.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from enum import StrEnum
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import av
import cv2
import numpy as np
from av.audio.stream import AudioStream
from av.container import InputContainer, OutputContainer
from PIL import Image as Pillow

from .clips import Progress, finished, first_seconds, open_clip, timed
from .engine import Engine, Puppeteer
from .errors import ClipError, NoFaceError, PuppetError
from .face.tracker import open_tracker
from .follow import FaceState
from .frames import CLOCK, Image
from .portrait import PICTURES, Portrait, is_picture, read_picture

if TYPE_CHECKING:
    from .liveportrait.engine import LivePortraitPuppeteer

MAX_SIDE = 1280
TEMPLATES = (".safetensors", ".pkl")


class Sound(StrEnum):
    """Whose sound the output gets."""

    DRIVER = "driver"
    SOURCE = "source"
    NONE = "none"


@dataclass(frozen=True)
class Output:
    """What to write. max_frames: stop after exactly so many. side_by_side: driver and source beside the result."""

    path: Path
    max_frames: int | None = None
    side_by_side: bool = False
    sound: Sound = Sound.DRIVER


@dataclass(frozen=True)
class Result:
    """What was written."""

    frames: int
    tracked: int
    tracker: str


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


def animate(
    engine: Engine, source: Portrait | Path, driver: Path, output: Output, model: Path | None = None,
    progress: Progress = lambda done, total: None,
) -> Result:  # fmt: skip
    """Write `output`: MP4 (H.264, the driver's times, sound copied), or one picture if both source and driver are one.

    source: a portrait, or a clip, whose frames are then driven at the driver's times until the shorter of both ends.
    model: the face model, needed for a clip as source. The neutral face is taken from the driver's first seconds, so
    that the first frame is already animated. A try that fails leaves no file. Raises PuppetError.
    """
    with ExitStack() as stack:
        puppeteer = stack.enter_context(closing(engine.open()))
        drive = _drive(driver, engine, puppeteer, stack)
        if isinstance(source, Portrait) and is_picture(driver):
            return _write_picture(engine.prepare(source, MAX_SIDE, MAX_SIDE), next(drive.steps), output, puppeteer)
        if output.path.suffix.lower() in PICTURES:
            raise PuppetError(f"{output.path}: a clip comes out; choose a name that ends in .mp4")
        shown: Iterator[tuple[Step, Any]]
        if isinstance(source, Portrait):
            prepared = engine.prepare(source, MAX_SIDE, MAX_SIDE)
            shown = ((step, prepared) for step in drive.steps)
        else:
            _only_liveportrait(engine, f"{source}: a clip as source")
            pair = _at_source_times if is_picture(driver) else _paired
            shown = pair(drive.steps, _prepared_frames(engine, source, model, stack))
        if output.max_frames is not None:
            drive = replace(drive, total=min(drive.total or output.max_frames, output.max_frames))
        frames = _animated(islice(shown, output.max_frames), output, drive.total, progress)
        return _write_clip(frames, output, drive.rate or Fraction(30), _sound(source, driver, output.sound), puppeteer)


def _only_liveportrait(engine: Engine, what: str) -> None:
    if engine.name != "liveportrait":
        raise PuppetError(f"{what} needs '--engine liveportrait'; the engine here is {engine.name}")


def _drive(driver: Path, engine: Engine, puppeteer: Any, stack: ExitStack) -> Drive:
    if driver.suffix in TEMPLATES:
        _only_liveportrait(engine, f"{driver}: a motion template")
        return _template_drive(driver, puppeteer)
    if is_picture(driver):
        _only_liveportrait(engine, f"{driver}: a picture as driver")
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
    from .liveportrait.template import load

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


def _paired(steps: Iterator[Step], moments: Iterator[tuple[float, Any]]) -> Iterator[tuple[Step, Any]]:
    """Each step with the newest source of its time, until either ends."""
    now, after = next(moments), next(moments, None)
    for step in steps:
        while after is not None and step.time_s is not None and after[0] <= step.time_s:
            now, after = after, next(moments, None)
        yield step, now[1]
        if after is None:
            return


def _at_source_times(steps: Iterator[Step], moments: Iterator[tuple[float, Any]]) -> Iterator[tuple[Step, Any]]:
    return ((replace(step, time_s=time_s), prepared) for step, (time_s, prepared) in zip(steps, moments, strict=False))


def _prepared_frames(engine: Engine, source: Path, model: Path | None, stack: ExitStack) -> Iterator[tuple[float, Any]]:
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


def _animated(
    shown: Iterator[tuple[Step, Any]], output: Output, total: int | None, progress: Progress
) -> Iterator[tuple[float, Image, bool]]:
    """Time, picture and whether a face was followed."""
    for done, (step, source) in enumerate(shown, 1):
        image = step.render(source)
        beside = [step.image, source.still] if output.side_by_side else []
        yield step.time_s or 0.0, _beside([i for i in (*beside, image) if i is not None]), step.followed()
        progress(done, total)


def _beside(images: list[Image]) -> Image:
    """Pictures side by side in the height of the last; widths even."""
    height = images[-1].shape[0]
    widths = [round(i.shape[1] * height / i.shape[0] / 2) * 2 for i in images]
    scaled = [cv2.resize(i, (w, height), interpolation=cv2.INTER_AREA) for i, w in zip(images, widths, strict=True)]
    return np.asarray(np.hstack(scaled), np.uint8)


def _write_picture(prepared: Any, step: Step, output: Output, puppeteer: Puppeteer) -> Result:
    if output.path.suffix.lower() not in PICTURES:
        raise PuppetError(f"{output.path}: one picture comes out; choose a name that ends in {', '.join(PICTURES)}")
    [(_, image, _)] = _animated(iter([(step, prepared)]), output, 1, lambda done, total: None)
    with finished(output.path) as part:
        Pillow.fromarray(image).save(part)
    return Result(1, 1, puppeteer.tracker_name)


def _write_clip(
    frames: Iterator[tuple[float, Image, bool]], output: Output, rate: Fraction, sound: Path | None, puppeteer: Puppeteer
) -> Result:
    try:
        with finished(output.path) as part:
            with av.open(str(part), "w", format="mp4") as target:
                count, tracked = _encode(frames, target, rate, sound)
            if not count:
                raise ClipError(f"{output.path}: nothing to write: no picture of the driver could be decoded")
    except av.error.FFmpegError as exc:
        raise ClipError(f"{output.path}: cannot be written ({exc.strerror})") from exc
    return Result(count, tracked, puppeteer.tracker_name)


def _encode(
    frames: Iterator[tuple[float, Image, bool]], target: OutputContainer, rate: Fraction, sound: Path | None
) -> tuple[int, int]:
    video = target.add_stream("libx264", rate=rate, options={"crf": "17", "preset": "fast"})
    audio = None if sound is None else _audio_stream(sound, target)
    count = tracked = 0
    end_s = 0.0
    for time_s, image, followed in frames:
        if not count:
            video.height, video.width = image.shape[:2]
            video.pix_fmt, video.codec_context.time_base = "yuv420p", CLOCK
        frame = av.VideoFrame.from_ndarray(image, format="rgb24")
        frame.pts, frame.time_base = round(time_s / CLOCK), CLOCK
        target.mux(video.encode(frame))
        count, tracked, end_s = count + 1, tracked + followed, time_s
    if count:
        target.mux(video.encode(None))
        if audio is not None and sound is not None:
            _copy_audio(sound, target, audio, end_s + 1 / float(rate))
    return count, tracked


def _sound(source: Portrait | Path, driver: Path, sound: Sound) -> Path | None:
    """The clip whose sound is taken: the driver's unless it has none, then the source's; or as told."""
    clips = {Sound.DRIVER: [driver, source], Sound.SOURCE: [source], Sound.NONE: []}[sound]
    for clip in clips:
        if isinstance(clip, Path) and clip.suffix not in TEMPLATES and not is_picture(clip):
            with open_clip(clip) as opened:
                if opened.streams.audio:
                    return clip
    return None


def _audio_stream(sound: Path, target: OutputContainer) -> AudioStream | None:
    with open_clip(sound) as clip:
        try:
            return target.add_stream_from_template(clip.streams.audio[0])
        except (ValueError, av.error.FFmpegError):
            return None  # a codec that MP4 cannot hold


def _copy_audio(sound: Path, target: OutputContainer, audio: AudioStream, until_s: float) -> None:
    """Packets as they are, on the clock of the clip's first picture."""
    with open_clip(sound) as clip:
        video = clip.streams.video[0]
        start_s = float((video.start_time or 0) * (video.time_base or 0))
        for packet in clip.demux(clip.streams.audio[0]):
            if packet.dts is None or packet.pts is None:
                continue
            shift = round(start_s / packet.time_base)
            packet.pts, packet.dts = packet.pts - shift, packet.dts - shift
            if float(packet.pts * packet.time_base) >= until_s:
                return
            if packet.pts >= 0 or shift <= 0:  # a codec's priming stays, sound from before the picture goes
                packet.stream = audio
                target.mux(packet)
