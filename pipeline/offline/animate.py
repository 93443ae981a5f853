"""Animate into a file with the engine that also runs live.

What drives: a clip, a picture or a motion template. What is driven: a portrait, or a clip, which not every engine does.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
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
from ..errors import ClipError, PuppetError
from ..follow.tuning import Tuning
from ..frames import Image, planar
from ..outfile import finished
from ..pictures.covering import covering
from ..portrait import PICTURES, Portrait, is_picture, is_portrait
from ..puppet.moving import moving
from .drivers import (
    MAX_SIDE,
    TEMPLATES,
    Step,
    at_rate,
    at_source_times,
    count_at_rate,
    frame_by_frame,
    open_driver,
    paired,
    prepared_frames,
    through,
)
from .formats import FORMATS, SUFFIXES, check_alpha, check_size, is_sequence, numbered, rate_of, step_of
from .mux import Output, Result, sound_of, write_clip

log = logging.getLogger(__name__)


def is_clip(source: Path) -> bool:
    """Whether a source is taken for a clip: it is neither picture nor puppet, and has more than one frame."""
    if is_portrait(source):
        return False
    try:
        with open_clip(source) as clip:
            return len(list(islice(pictures(clip), 2))) > 1
    except (ClipError, av.error.FFmpegError):
        return False


def check_paths(source: Path | None, driver: Path, out: Path, replace: bool = True, transparent: bool = False) -> None:
    """Raise PuppetError for all that is wrong with the files themselves, before any model is loaded.

    source: None for a portrait that is not read from a file here. replace: whether `out` may be there already.
    transparent: whether the person alone is wanted.
    """
    still = (source is None or not is_clip(source)) and is_picture(driver)
    first = out if still or not is_sequence(out) else numbered(out, 1)
    if still and out.suffix.lower() in FORMATS and out.suffix.lower() not in PICTURES:
        raise PuppetError(
            f"{out}: portrait and driver are both pictures, so one picture comes out: choose a name that ends in "
            f"{' or '.join(PICTURES)}, or a clip as driver"
        )
    outfile.check(first, PICTURES if still else SUFFIXES, [driver] if source is None else [driver, source], replace)
    if transparent:
        check_alpha(out)
    if driver.suffix not in TEMPLATES and not is_picture(driver):
        open_clip(driver).close()


def animate(
    engine: Engine, source: Portrait | Path, driver: Path, output: Output,
    progress: Progress = lambda done, total: None, tuning: Tuning = Tuning(), mirror: bool = False, calibrate_s: float = 0.0,
    passes: Sequence[str] = (),
) -> Result:  # fmt: skip
    """Write `output`, a file of one of `formats.SUFFIXES` with the driver's times, or one picture if both source and driver are
    one.

    source: a portrait, or a clip: its frames are driven at the driver's times until the shorter of both ends, or, by an engine
    that does not do that, go on as those of a portrait that moves for as long as the driver lasts.
    mirror: swap left and right of the driver. calibrate_s: from when on the driver's neutral face is looked for; it is known
    before the first frame, which is already animated. passes: for a portrait that only who has its pass may drive. A try that
    fails leaves no file, and what was at `output.path` stays.
    PuppetError.
    """
    check_paths(source if isinstance(source, Path) else None, driver, output.path, transparent=output.transparent)
    check_size(output.path, output.size)
    check_pass(source, passes)
    if output.transparent and (output.side_by_side or not isinstance(source, Portrait)):
        raise PuppetError("--transparent: only of a portrait, and not side by side; leave one of them out")
    if output.behind is not None and not isinstance(source, Portrait):
        raise PuppetError("--background: only of a portrait; what is behind a clip's person moves, too")
    with ExitStack() as stack:
        puppeteer = stack.enter_context(closing(engine.open()))
        drive = open_driver(driver, engine, puppeteer, tuning, mirror, calibrate_s, stack)
        check_face(source, driver, puppeteer, drive.clip is not None)
        given = source
        if isinstance(source, Path) and not frame_by_frame(engine, puppeteer, source):
            source = moving(source, str(source), engine.faces)
        loop = source.loop if isinstance(source, Portrait) else None
        if isinstance(source, Portrait) and is_picture(driver) and loop is None:
            return _write_picture(prepared_for(engine, source, output), next(drive.steps), output, puppeteer)
        clips = [] if drive.clip is None else [drive.clip]
        shown: Iterator[tuple[Step, Any]]
        if isinstance(source, Portrait):
            prepared = prepared_for(engine, source, output)
            steps = through(loop, drive.steps) if loop is not None and is_picture(driver) else drive.steps
            shown = ((step, prepared) for step in steps)
        else:
            clips.append(stack.enter_context(open_clip(source)))
            pair = at_source_times if is_picture(driver) else paired
            shown = pair(drive.steps, prepared_frames(engine, clips[-1], stack))
        rate = drive.rate or (clips[-1].rate if clips else Fraction(30 if loop is None else loop.fps).limit_denominator(1001))
        total = drive.total or (clips[-1].about if clips else None if loop is None else len(loop))
        shown, rate, total = _paced(shown, rate, total, output)
        frames = _animated(shown, puppeteer, output, total, progress)
        result = write_clip(frames, output, rate, sound_of(given, driver, output.sound), puppeteer)
        return replace(result, notes=(*result.notes, *(clip.cut for clip in clips if clip.cut)))


def check_pass(source: Portrait | Path, passes: Sequence[str]) -> None:
    """Raise PuppetError unless who shows these may drive a portrait."""
    if isinstance(source, Portrait) and (why := source.terms.refusal(passes)):
        raise PuppetError(f"{source.name}: {why}; give it with '--pass'")


def check_face(source: Portrait | Path, driver: Path, puppeteer: Puppeteer, is_clip: bool) -> None:
    """Raise PuppetError unless the driver's face, which has been calibrated, may drive a portrait."""
    if not isinstance(source, Portrait) or source.face_lock is None:
        return
    if not is_clip:
        raise PuppetError(f"{source.name}: moves for one face alone, and only a clip shows whose it is; give one as driver")
    if why := source.face_lock.refusal(puppeteer.resting, puppeteer.tracker_name):
        raise PuppetError(f"{source.name}: {driver}: {why}")


def prepared_for(engine: Engine, portrait: Portrait, output: Output) -> Any:
    """The portrait in the size that `output` needs."""
    side = MAX_SIDE if output.size is None else max(output.size)
    prepared = engine.prepare(portrait, side, side)
    if not output.transparent and output.behind is None:
        return prepared
    if not prepared.has_matte:
        why = (
            "the person cannot be told from the background"
            if engine.name == "mesh"
            else "only the mesh engine knows the background"
        )
        if output.transparent:
            raise PuppetError(f"{portrait.name}: {why}; leave '--transparent' out")
        log.warning("%s: %s, which stays as it is", portrait.name, why)
        return prepared
    if prepared.has_doubtful_matte:
        log.warning("%s: the body hardly stands out from the background, some of which may be left; look at it", portrait.name)
    if output.behind is None:
        return prepared
    height, width = prepared.still.shape[:2]
    return prepared.over(covering(output.behind, width, height))


def alone(prepared: Any, seen: Any, image: Image) -> Image:
    """(h, w, 4) of the person in `image`, colours times coverage."""
    height = image.shape[0]
    stacked = cv2.cvtColor(prepared.cut_out(seen, planar(image)), cv2.COLOR_YUV2RGB_I420)
    return np.dstack([stacked[:height], stacked[height:, :, :1]])


def labelled(image: Image, prepared: Any, output: Output, time_s: float = 0.0) -> Image:
    """The picture, (h, w, 3 or 4), of a time, with the label that `output` wants."""
    label = output.label
    return image if label is None or not label.shows(time_s) else label.drawn(image, prepared.face_box)


def straight(image: Image) -> Image:
    """(h, w, 4) with colours as they are, as files have them, of colours times coverage; another picture is itself."""
    if image.shape[2] < 4:
        return image
    coverage = np.maximum(image[..., 3:], 1).astype(np.float32)
    return np.dstack([np.minimum(image[..., :3] * (255 / coverage), 255).astype(np.uint8), image[..., 3]])


def _paced(
    shown: Iterator[tuple[Step, Any]], rate: Fraction, total: int | None, output: Output
) -> tuple[Iterator[tuple[Step, Any]], Fraction, int | None]:
    """What is shown at which times, how often a second, and in all, where that is known."""
    fps = rate_of(output.path, rate, output.fps)
    if fps is not None:
        shown, total, rate = at_rate(shown, fps, rate), None if total is None else count_at_rate(total, fps, rate), fps
    if output.max_frames is not None:
        shown, total = islice(shown, output.max_frames), min(total or output.max_frames, output.max_frames)
    return shown, rate, total


def _animated(
    shown: Iterator[tuple[Step, Any]], puppeteer: Puppeteer, output: Output, total: int | None, progress: Progress
) -> Iterator[tuple[float, Image, bool]]:
    """Time, picture and whether a face was followed. All pictures have the size of the first."""
    sizes: list[tuple[int, int]] = []
    last: tuple[Any, Any, Image] | None = None
    for done, (step, source) in enumerate(shown, 1):
        if last is None or last[0] is not step.seen or last[1] is not source:  # the same again, at a higher rate
            image = puppeteer.render(source, step.seen)
            image = alone(source, step.seen, image) if output.transparent else image
            image = output.marker.marked_rgb(image) if output.side_by_side else image
            last = step.seen, source, image
        image = labelled(last[2], source, output, step.time_s or 0.0)
        beside = [step.image, source.at(step.time_s or 0.0).still] if output.side_by_side else []
        images = [i for i in (*beside, image) if i is not None]
        sizes = sizes or _side_by_side(images)
        fitted = np.hstack([_fitted(i, *size) for i, size in zip(images, sizes, strict=True)])
        made = straight(sized(np.asarray(fitted, np.uint8), output.size, step_of(output.path)))
        # In its last size, where that is the animated picture's alone.
        yield step.time_s or 0.0, made if output.side_by_side else output.marker.marked_rgb(made), step.followed
        progress(done, total)


def sized(image: Image, size: tuple[int, int] | None, step: int = 2) -> Image:
    """The picture in the size that is wanted. step: sides are multiples of it, where only one is given."""
    if size is None:
        return image
    height, width = image.shape[:2]
    share = size[0] / max(height, width)
    return _fitted(image, *(size if size[1] else (max(round(side * share / step) * step, step) for side in (width, height))))


def _side_by_side(images: list[Image]) -> list[tuple[int, int]]:
    """Width and height of each in the height of the last; widths even."""
    height = images[-1].shape[0]
    return [(round(i.shape[1] * height / i.shape[0] / 2) * 2, height) for i in images]


def _fitted(image: Image, width: int, height: int) -> Image:
    """Between bars, where its shape is another one: a clip may change that."""
    share = min(width / image.shape[1], height / image.shape[0])
    across, down = (max(round(share * side), 1) for side in (image.shape[1], image.shape[0]))
    method = cv2.INTER_AREA if share < 1 else cv2.INTER_CUBIC
    if width - across < 2 and height - down < 2:  # a pixel for evenness
        return np.asarray(cv2.resize(image, (width, height), interpolation=method), np.uint8)
    out = np.zeros((height, width, image.shape[2]), np.uint8)
    left, top = (width - across) // 2, (height - down) // 2
    out[top : top + down, left : left + across] = cv2.resize(image, (across, down), interpolation=method)
    return out


def _write_picture(prepared: Any, step: Step, output: Output, puppeteer: Puppeteer) -> Result:
    [(_, image, _)] = _animated(iter([(step, prepared)]), puppeteer, output, 1, lambda done, total: None)
    with finished(output.path) as part:
        Pillow.fromarray(image).save(part)
        output.sign(part, output.path)
    return Result(1, 1, puppeteer.tracker_name)
