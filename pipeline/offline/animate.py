"""Animate into a file with the engine that also runs live.

What drives: a clip, a picture or a motion template. What is driven: a portrait, or a clip. Pictures, templates and clips
as sources need an engine that has `Drivers`, which liveportrait does.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import replace
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
from PIL import Image as Pillow

from .. import outfile
from ..clips import Progress, open_clip, pictures
from ..engine import Engine, Puppeteer
from ..errors import ClipError
from ..follow.tuning import Tuning
from ..frames import Image
from ..outfile import finished
from ..portrait import PICTURES, Portrait, is_picture, is_portrait
from .drivers import MAX_SIDE, TEMPLATES, Step, at_source_times, more_drivers, open_driver, paired, prepared_frames
from .mux import Output, Result, sound_of, write_clip

CLIPS = (".mp4",)


def is_clip(source: Path) -> bool:
    """Whether a source is taken for a clip: it is neither picture nor puppet, and has more than one frame."""
    if is_portrait(source):
        return False
    try:
        with open_clip(source) as clip:
            return len(list(islice(pictures(clip), 2))) > 1
    except (ClipError, av.error.FFmpegError):
        return False


def check_paths(source: Path | None, driver: Path, out: Path) -> None:
    """Raise PuppetError for all that is wrong with the files themselves, before any model is loaded.

    source: None for a portrait that is not read from a file here.
    """
    still = (source is None or not is_clip(source)) and is_picture(driver)
    outfile.check(out, PICTURES if still else CLIPS, [driver] if source is None else [driver, source])
    if driver.suffix not in TEMPLATES and not is_picture(driver):
        open_clip(driver).close()


def animate(
    engine: Engine, source: Portrait | Path, driver: Path, output: Output,
    progress: Progress = lambda done, total: None, tuning: Tuning = Tuning(), mirror: bool = False,
) -> Result:  # fmt: skip
    """Write `output`: MP4 (H.264, the driver's times, sound copied), or one picture if both source and driver are one.

    source: a portrait, or a clip, whose frames are then driven at the driver's times until the shorter of both ends.
    mirror: swap left and right of the driver. The neutral face is taken from the driver's first seconds, so that the
    first frame is already animated. A try that fails leaves no file, and what was at `output.path` stays. PuppetError.
    """
    check_paths(source if isinstance(source, Path) else None, driver, output.path)
    with ExitStack() as stack:
        puppeteer = stack.enter_context(closing(engine.open()))
        drive = open_driver(driver, engine, puppeteer, tuning, mirror, stack)
        if isinstance(source, Portrait) and is_picture(driver):
            return _write_picture(engine.prepare(source, MAX_SIDE, MAX_SIDE), next(drive.steps), output, puppeteer)
        clips = [] if drive.clip is None else [drive.clip]
        shown: Iterator[tuple[Step, Any]]
        if isinstance(source, Portrait):
            prepared = engine.prepare(source, MAX_SIDE, MAX_SIDE)
            shown = ((step, prepared) for step in drive.steps)
        else:
            more_drivers(engine, puppeteer, f"{source}: a clip as source")
            clips.append(stack.enter_context(open_clip(source)))
            pair = at_source_times if is_picture(driver) else paired
            shown = pair(drive.steps, prepared_frames(engine, clips[-1], stack))
        if output.max_frames is not None:
            drive = replace(drive, total=min(drive.total or output.max_frames, output.max_frames))
        frames = _animated(islice(shown, output.max_frames), puppeteer, output, drive.total, progress)
        result = write_clip(frames, output, drive.rate or Fraction(30), sound_of(source, driver, output.sound), puppeteer)
        return replace(result, notes=(*result.notes, *(clip.cut for clip in clips if clip.cut)))


def _animated(
    shown: Iterator[tuple[Step, Any]], puppeteer: Puppeteer, output: Output, total: int | None, progress: Progress
) -> Iterator[tuple[float, Image, bool]]:
    """Time, picture and whether a face was followed. All pictures have the size of the first."""
    sizes: list[tuple[int, int]] = []
    for done, (step, source) in enumerate(shown, 1):
        image = puppeteer.render(source, step.seen)
        beside = [step.image, source.still] if output.side_by_side else []
        images = [i for i in (*beside, image) if i is not None]
        sizes = sizes or _side_by_side(images)
        fitted = [_fitted(i, *size) for i, size in zip(images, sizes, strict=True)]
        yield step.time_s or 0.0, np.asarray(np.hstack(fitted), np.uint8), step.followed
        progress(done, total)


def _side_by_side(images: list[Image]) -> list[tuple[int, int]]:
    """Width and height of each in the height of the last; widths even."""
    height = images[-1].shape[0]
    return [(round(i.shape[1] * height / i.shape[0] / 2) * 2, height) for i in images]


def _fitted(image: Image, width: int, height: int) -> Image:
    """Between bars, where its shape is another one: a clip may change that."""
    share = min(width / image.shape[1], height / image.shape[0])
    across, down = (max(round(share * side), 1) for side in (image.shape[1], image.shape[0]))
    if width - across < 2 and height - down < 2:  # a pixel for evenness
        return np.asarray(cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA), np.uint8)
    out = np.zeros((height, width, 3), np.uint8)
    left, top = (width - across) // 2, (height - down) // 2
    out[top : top + down, left : left + across] = cv2.resize(image, (across, down), interpolation=cv2.INTER_AREA)
    return out


def _write_picture(prepared: Any, step: Step, output: Output, puppeteer: Puppeteer) -> Result:
    [(_, image, _)] = _animated(iter([(step, prepared)]), puppeteer, output, 1, lambda done, total: None)
    with finished(output.path) as part:
        Pillow.fromarray(image).save(part)
    return Result(1, 1, puppeteer.tracker_name)
