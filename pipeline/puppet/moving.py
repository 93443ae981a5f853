"""A clip as a portrait that moves: its pictures, where the face is in each, and key pictures of its lips and eyes."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from ..clips import Progress, open_clip, timed
from ..errors import ClipError, PortraitError
from ..face.faces import Faces
from ..face.motion import Array
from ..face.units import in_pixels
from ..frames import Image, planar
from ..loop import Loop
from ..media.animated import is_motion_jpeg
from ..pictures.colours import GROUND, Colour
from ..pictures.decode import MAX_PIXELS
from ..pictures.formats import DAMAGED, is_heic, moves, opened
from ..portrait import Picture, Portrait, find_portrait, load_portrait, named_as_given, pack_puppet, read_puppet
from ..puppetfile import About, is_puppet
from .make import Look, assemble, face_of, select

log = logging.getLogger(__name__)

LONGEST_S, FASTEST = 10.0, 30.0  # of a clip is taken, and pictures a second
LONGEST_SIDE = 720  # pixels
MOST_PIXELS = 100_000_000  # of all pictures together, which take one and a half times as many bytes
FEWEST = 8  # pictures: less is no clip
SEEN = 0.8  # share of its pictures that must show the face
KEYS = 24  # pictures of lips and eyes
QUICKTIME = (b"ftyp", b"moov", b"mdat", b"wide")  # what MP4 and MOV begin with; those before MP4 have no ftyp
MATROSKA = b"\x1aE\xdf\xa3"  # WebM too
PUPPET, LOOP = "portrait.puppet", "loop.npz"
STEADY = 1.0  # pictures, the time constant by which landmarks are smoothed, forward and back


def moving(path: Path, name: str, faces: Faces, progress: Progress = lambda done, total: None) -> Portrait:
    """The portrait of a clip's first LONGEST_S; PortraitError where it shows no face throughout, ClipError where it is none."""
    fps, yuv = loop_pictures(path, name)
    found: list[Array | None] = []
    with closing(faces.open_tracker()) as tracker:
        for k, each in enumerate(yuv):
            image = np.asarray(cv2.cvtColor(each, cv2.COLOR_YUV2RGB_I420), np.uint8)
            landmarks = tracker.track(image, k / fps)
            found.append(None if landmarks is None else in_pixels(landmarks, image))
            progress(k + 1, len(yuv))
    seen = [k for k, landmarks in enumerate(found) if landmarks is not None]
    if len(seen) < SEEN * len(found):
        raise PortraitError(
            f"{name}: a face is seen in {len(seen)} of its first {len(found)} pictures; a clip as portrait needs one throughout"
        )
    return portrait_of(name, fps, yuv, _steady(found))


def keep(portrait: Portrait, folder: Path) -> None:
    """Write what `moving` gives, for another process of this machine to read."""
    assert portrait.loop is not None
    (folder / PUPPET).write_bytes(pack_puppet(portrait, About(portrait.name, "a clip")))
    np.savez(folder / LOOP, **vars(portrait.loop))


def kept(name: str, folder: Path) -> tuple[Portrait, bytes]:
    """What `keep` has written, and the puppet file in which its key pictures are."""
    packed = (folder / PUPPET).read_bytes()
    with np.load(folder / LOOP) as read:
        loop = Loop(read["yuv"], read["landmarks"], float(read["fps"]), bool(read["closes"]))
    return replace(read_puppet(name, packed), about=None, loop=loop), packed


def is_moving(path: Path) -> bool:
    """Whether a file is a clip, or an animated picture of FEWEST pictures at least, by its content. ClipError where it says
    that it is a clip and is damaged."""
    with path.open("rb") as file:
        if is_puppet(file.read(8)):
            return False
    try:
        with opened(path, path.name) as picture:
            return (moves(picture) and getattr(picture, "n_frames", 1) >= FEWEST) or is_motion_jpeg(path)
    except (*DAMAGED, PortraitError):
        pass
    try:
        with open_clip(path) as clip:
            return clip.frames is None or clip.frames > 1 or _says_clip(path)
    except ClipError:
        if _says_clip(path):
            raise
        return False


def _says_clip(path: Path) -> bool:
    with path.open("rb") as file:
        head = file.read(12)
    kind = head[4:8], head[:4], head[:4] + head[8:]
    return (kind[0] in QUICKTIME and not is_heic(path)) or kind[1] == MATROSKA or kind[2] == b"RIFFAVI "


def load_any(where: str, faces: Faces, marks: Array | None = None, ground: Colour = GROUND) -> Portrait:
    """See `portrait.load_portrait`; and a clip by path. Marks make a still portrait of an animated picture."""
    path = find_portrait(where)
    if path is None or marks is not None or not is_moving(path):
        return load_portrait(where, faces, marks, ground)
    with named_as_given(path.name, where):
        return moving(path, path.name, faces, told(path.name))


def told(name: str) -> Progress:
    """Progress as lines of the log, four of them."""
    quarters = 0

    def progress(done: int, total: int | None) -> None:
        nonlocal quarters
        if total and done * 4 // total > quarters:
            quarters = done * 4 // total
            log.info("%s: the face is followed in %d of its %d pictures", name, done, total)

    return progress


def portrait_of(name: str, fps: float, yuv: Array, landmarks: Array) -> Portrait:
    """From what `loop_pictures` gives, and (N, 478, 3) landmarks in pixels."""
    loop = Loop.of(yuv, landmarks, fps)
    wanted = select([Look.at(loop.picture(k), landmarks[k]) for k in range(len(loop))], KEYS)
    pictures = [Picture(loop.picture(k), landmarks[k]) for k in wanted]
    puppet = assemble(name, pictures)
    return replace(puppet, more=(face_of(pictures[0]), *puppet.more), loop=loop)


def loop_pictures(path: Path, name: str) -> tuple[float, Array]:
    """Pictures a second, and those of a clip's first LONGEST_S at even times, (N, h * 3 / 2, w) planar YUV. PortraitError,
    ClipError."""
    with open_clip(path) as clip:
        fps = min(float(clip.rate), FASTEST)
        length = min(clip.seconds or LONGEST_S, LONGEST_S)
        most = MOST_PIXELS / max(length * fps, 1.0)
        yuv = [planar(_small(image, most, name)) for image in _evenly(timed(clip), fps)]
    if len(yuv) < FEWEST:
        raise PortraitError(f"{name}: {len(yuv)} pictures; a clip that is a portrait has at least {FEWEST}")
    if len({each.shape for each in yuv}) > 1:
        raise PortraitError(f"{name}: its pictures change their size; a clip that is a portrait has one")
    return fps, np.stack(yuv)


def _evenly(pictures: Iterator[tuple[float, Image]], fps: float) -> Iterator[Image]:
    """At each even time the picture that shows then, until LONGEST_S."""
    due, last = 0, None
    for time_s, image in pictures:
        while last is not None and due / fps < min(time_s, LONGEST_S) - 0.5 / fps:
            yield last
            due += 1
        last = image
        if time_s >= LONGEST_S:
            return
    if last is not None:
        yield last


def _small(image: Image, most: float, name: str) -> Image:
    """With even sides, of so many pixels and LONGEST_SIDE at most."""
    height, width = image.shape[:2]
    if height * width > MAX_PIXELS:
        raise PortraitError(f"{name}: {height * width / 1e6:.0f} megapixels; at most {MAX_PIXELS // 1_000_000} are taken")
    factor = min(LONGEST_SIDE / max(height, width), (most / (height * width)) ** 0.5, 1.0)
    size = tuple(max(int(side * factor) // 2 * 2, 2) for side in (width, height))
    return image if size == (width, height) else np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)


def _steady(found: list[Array | None]) -> Array:
    """(N, 478, 3) without gaps and without a tracker's tremble."""
    from scipy.ndimage import gaussian_filter1d  # only here: loading it takes as long as the start of most commands

    seen = [k for k, landmarks in enumerate(found) if landmarks is not None]
    known = np.stack([landmarks for landmarks in found if landmarks is not None]).reshape(len(seen), -1)
    everywhere = np.arange(len(found))
    after = np.clip(np.searchsorted(seen, everywhere), 0, len(seen) - 1)
    before = np.clip(after - (np.array(seen)[after] > everywhere), 0, None)
    first, last = np.array(seen)[before], np.array(seen)[after]
    share = np.clip((everywhere - first) / np.maximum(last - first, 1), 0, 1)[:, None]
    filled = known[before] * (1 - share) + known[after] * share
    return np.asarray(gaussian_filter1d(filled, STEADY, axis=0), np.float32).reshape(len(found), -1, 3)
