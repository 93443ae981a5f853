"""`puppetcast animate`: offline, into files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from functools import partial
from pathlib import Path

import numpy as np

from pipeline.clips import Progress
from pipeline.engine import Engine
from pipeline.errors import LandmarksNeeded, NoFaceError, PuppetError
from pipeline.face.faces import Faces
from pipeline.follow.tuning import Tuning
from pipeline.frames import Image
from pipeline.liveportrait.options import MotionOptions, Settings
from pipeline.offline.animate import check_pass, check_paths, is_clip
from pipeline.offline.batch import Job, are_several, beside
from pipeline.offline.formats import check_alpha, is_sequence, numbered, parse_size
from pipeline.offline.mux import Result, Sound
from pipeline.pictures.colours import Colour, parse_colour
from pipeline.pictures.decode import decode
from pipeline.portrait import Portrait, find_portrait, load_portrait

from ..config import Config, Kind, load_config
from ..deployment import Deployment
from ..signing.signed import open_signer, sign_files
from .animate_options import (
    Audio,
    Background,
    BrowsGain,
    CalibrateAt,
    CloseLips,
    Drivers,
    EngineName,
    ExpressionGain,
    EyeRetargeting,
    EyesGain,
    Force,
    Fps,
    KindOption,
    LipRetargeting,
    MaxFrames,
    Mirror,
    MouthGain,
    Multiplier,
    Out,
    PassOption,
    PasteBack,
    PortraitArgument,
    PoseGain,
    RecalibrateAfterS,
    RecentreS,
    RegionOption,
    Relative,
    ScaleLock,
    SideBySide,
    Size,
    Smoothing,
    Stitching,
    Transparent,
    WrinklesGain,
)
from .console import (
    LP,
    Checkpoints,
    Device,
    Face,
    Marks,
    PrecisionOption,
    bar,
    console,
    log_to_console,
    one_line_errors,
    points_of,
    tidy_end,
    warn,
)
from .files import STANDARD, in_words, plan, read_standard_input, run_all, standard_streams, write_standard_output

MOSTLY = 0.5  # share of the frames in which a face should be followed
# Options that are given by their opposite.
_OFF = {"relative": "--absolute"} | {n: f"--no-{n.replace('_', '-')}" for n in ("paste_back", "stitching", "close_lips")}


def animate(
    portrait: PortraitArgument,
    drivers: Drivers,
    out: Out = None,
    force: Force = False,
    kind: KindOption = None,
    fps: Fps = None,
    size: Size = None,
    engine: EngineName = "auto",
    max_frames: MaxFrames = None,
    side_by_side: SideBySide = False,
    transparent: Transparent = False,
    audio: Audio = Sound.DRIVER,
    mirror: Mirror = False,
    region: RegionOption = Tuning.region,
    pose_gain: PoseGain = Tuning.pose_gain,
    expression_gain: ExpressionGain = Tuning.expression_gain,
    mouth_gain: MouthGain = Tuning.mouth_gain,
    eyes_gain: EyesGain = Tuning.eyes_gain,
    brows_gain: BrowsGain = Tuning.brows_gain,
    wrinkles_gain: WrinklesGain = Tuning.wrinkles_gain,
    calibrate_at: CalibrateAt = 0.0,
    recalibrate_after_s: RecalibrateAfterS = Tuning.recalibrate_after_s,
    recentre_s: RecentreS = Tuning.recentre_s,
    marks: Marks = None,
    face: Face = None,
    background: Background = None,
    given_pass: PassOption = None,
    smoothing: Smoothing = Tuning.smoothing,
    scale_lock: ScaleLock = Tuning.scale_lock,
    paste_back: PasteBack = True,
    relative: Relative = MotionOptions.relative,
    multiplier: Multiplier = MotionOptions.multiplier,
    stitching: Stitching = MotionOptions.stitching,
    eye_retargeting: EyeRetargeting = False,
    lip_retargeting: LipRetargeting = False,
    close_lips: CloseLips = True,
    checkpoints: Checkpoints = None,
    device: Device = None,
    precision: PrecisionOption = None,
) -> None:
    """Animate a portrait, or the face in a clip, and write the result to a file. Frame times are those of the driver.

    The driver should look straight ahead with a closed mouth at some time in its first three seconds, or after
    --calibrate-at: its motion is measured against that. A file that exists is not replaced without --force. GIF, WebP and
    PNG have no sound. Of several drivers, those that fail are told at the end, and the exit code is 1.

        puppetcast animate face.jpg talk.mp4 -o talk.gif --fps 15 --size 480

        puppetcast animate face.jpg clips/ -o puppets/ --format webm

        cat talk.mp4 | puppetcast animate face.jpg - -o - | ffplay -

    A clip as portrait: liveportrait takes its frames one by one until it ends; mesh takes its first ten seconds, as live, and
    goes through them for as long as the driver lasts.
    """
    from pipeline.engine import open_engine
    from pipeline.offline.animate import animate as animate_file
    from pipeline.offline.mux import Output

    log_to_console()
    with one_line_errors(), tidy_end(), standard_streams() as folder:
        named, *drivers = read_standard_input([Path(portrait), *drivers], folder)
        portrait = str(named) if portrait == str(STANDARD) else portrait
        where = find_portrait(portrait)
        jobs = plan(drivers, out, kind, where is None or not is_clip(where), folder)
        check = partial(check_paths, where, replace=force, transparent=transparent)
        if not are_several(drivers):
            check(jobs[0].driver, jobs[0].out)  # a user should not wait for models to hear of it
        elif transparent:
            for job in jobs:
                check_alpha(job.out)
        from ..app import find_faces

        config = load_config()
        label, signer = config.label.checked(Kind.FILES), open_signer(config.signing)
        faces = find_faces(config)
        ground, behind = background_of(background, config, transparent)
        source = source_of(portrait, where, faces, marks, face, ground)
        wanted = size_of(size)
        motion = MotionOptions(relative, multiplier, stitching, close_lips, keep_place=isinstance(source, Path))
        tuning = Tuning(
            pose_gain, expression_gain, mouth_gain, eyes_gain, brows_gain, region, smoothing, scale_lock, eye_retargeting,
            lip_retargeting, recalibrate_after_s=recalibrate_after_s, recentre_s=recentre_s, wrinkles_gain=wrinkles_gain,
        )  # fmt: skip
        settings = Settings(checkpoints, device, precision, paste_back, motion)
        opened = open_engine(engine, faces, settings)
        _refuse_foreign_options(opened, settings, tuning)
        if isinstance(source, Portrait) and source.eyes_shut:
            warn(f"the eyes of {source.name} are shut in the picture; they stay shut")
        rate = None if fps is None else Fraction(fps).limit_denominator(1001)
        output = Output(STANDARD, max_frames, side_by_side, audio, rate, wanted, transparent, behind, label)
        marker = Deployment(config.mark).marker("")
        output = replace(output, sign=sign_files(signer, opened.name, source, marker), marker=marker)

        passes = [] if given_pass is None else [given_pass]
        check_pass(source, passes)

        def run(job: Job, progress: Progress) -> Result:
            made = replace(output, path=job.out)
            return animate_file(opened, source, job.driver, made, progress, tuning, mirror, calibrate_at, passes)

        tell = partial(_tell, engine=opened, folder=folder)
        if are_several(drivers):
            run_all(jobs, check, run, tell, folder, beside(drivers))
            return
        with bar(drivers[0].name) as progress:
            result = run(jobs[0], progress)
        if out == STANDARD:
            write_standard_output(jobs[0].out)
        tell(jobs[0], result)


def _tell(job: Job, result: Result, engine: Engine, folder: Path) -> None:
    """What became of a driver."""
    driver, out = (in_words(str(path), folder) for path in (job.driver, job.out))
    if is_sequence(job.out) and result.frames > 1:
        out = f"{numbered(Path(out), 1)} to {numbered(job.out, result.frames).name}"
    if result.beside is not None and result.beside.parent != folder:  # what goes to standard output goes alone
        out = f"{out} and its signed statement {result.beside.name}"
    if not result.tracked:
        warn(f"no face was followed in {driver}; the portrait rests throughout")
    elif result.tracked < MOSTLY * result.frames:
        warn(f"{driver}: no face was followed in most of its frames; the portrait rests in them")
    for note in result.notes:
        warn(in_words(note, folder))
    followed = f"followed in {result.tracked} of {result.frames} frames"
    console.print(f"{out}: {followed}, engine {engine.name}, tracker {result.tracker}")


def size_of(text: str | None) -> tuple[int, int] | None:
    try:
        return None if text is None else parse_size(text)
    except ValueError as exc:
        raise PuppetError(f"--size: {exc}") from exc


def source_of(
    portrait: str, where: Path | None, faces: Faces, marks: Sequence[str] | None, face: int | None, ground: Colour
) -> Portrait | Path:
    """A portrait, or the path of a clip; PuppetError."""
    if where is not None and is_clip(where):
        if marks is not None or face is not None:
            raise PuppetError(f"{where}: a clip; '--marks' and '--face' are for pictures")
        return where
    points = points_of(marks)
    try:
        source = load_portrait(portrait, faces, None if points is None else np.array(points, np.float32), ground)
    except (NoFaceError, LandmarksNeeded) as exc:
        raise type(exc)(f"{exc}; or place it by hand with '--marks'") from exc
    return source if face is None else source.with_face(face)


def background_of(text: str | None, config: Config, transparent: bool) -> tuple[Colour, Image | None]:
    """What shows where a portrait is transparent, and what is put behind the person: (h, w, 3) RGB of any size."""
    ground = config.portraits.ground
    if text is None:
        return ground, None
    if transparent:
        raise PuppetError("--background: nothing is behind who is alone; leave it out, or '--transparent'")
    try:
        colour = parse_colour(text)
    except ValueError as exc:
        if not Path(text).is_file():
            raise PuppetError(f"--background: {exc}, or a picture's file") from exc
        return ground, decode(Path(text).read_bytes(), text, ground).image
    return colour, np.full((1, 1, 3), colour, np.uint8)


def _refuse_foreign_options(engine: Engine, settings: Settings, tuning: Tuning) -> None:
    """PuppetError for what is given but has no effect in the engine."""
    given = [name for name in engine.lacks if getattr(tuning, name) != getattr(Tuning, name)]
    if engine.name != LP:
        own = ("checkpoints", "device", "precision", "paste_back")
        given += [name for name in own if getattr(settings, name) != getattr(Settings, name)]
        motion = ("relative", "multiplier", "stitching", "close_lips")
        given += [name for name in motion if getattr(settings.motion, name) != getattr(MotionOptions, name)]
    if given:
        options = ", ".join(sorted(_OFF.get(name, f"--{name.replace('_', '-')}") for name in given))
        raise PuppetError(f"{options}: the engine {engine.name} has no such option; add '--engine {LP}' or leave it out")
