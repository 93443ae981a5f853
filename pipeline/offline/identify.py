"""Whether pictures and clips carry the mark, and what it says: windows of two seconds, each looked at by itself."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import islice, takewhile
from pathlib import Path

import av
import cv2
import numpy as np

from ..clips import open_clip
from ..errors import PuppetError
from ..frames import Image
from ..mark.detect import Finder, Found
from ..mark.payload import Payload
from ..pictures.decode import decode_picture
from ..portrait import is_picture

WINDOW_S = 2.0
MOST_FPS = 30  # pictures of a clip beyond that are passed over
Timed = tuple[float, Image]  # seconds, and (h, w) brightness
Progress = Callable[[float], None]  # seconds that were looked at


@dataclass(frozen=True)
class Verdict:
    """windows: how many were looked at, 1 of a still picture; marked: in how many the mark was found; payload: what most of
    them say; log10_chance: how likely no mark at all looks like the surest of them, at most, as a power of ten, all windows
    counted as tries; scale: of the pictures against what was marked."""

    windows: int = 0
    marked: int = 0
    payload: Payload | None = None
    log10_chance: float = 0.0
    scale: float | None = None


def identify(path: Path, progress: Progress = lambda seconds: None, most_s: float = math.inf, most: int | None = None) -> Verdict:
    """Look at a file, a picture or a clip, of which the first `most_s` seconds and `most` pictures. PuppetError for neither."""
    if is_picture(path):
        try:
            data = path.read_bytes()
        except OSError as exc:
            raise PuppetError(f"{path}: {exc.strerror}") from exc
        return verdict([(0.0, _grey(decode_picture(data, str(path))))])
    with open_clip(path) as clip:
        return verdict(takewhile(lambda timed: timed[0] < most_s, lumas(islice(clip.moments(), most))), progress)


def lumas(moments: Iterable[tuple[float, object]]) -> Iterator[Timed]:
    """Brightness of the pictures among frames with their times."""
    next_s = 0.0
    for at, frame in moments:
        if isinstance(frame, av.VideoFrame) and at >= next_s:
            next_s = at + 0.9 / MOST_FPS  # times may tremble
            yield at, np.asarray(frame.to_ndarray(format="gray"), np.uint8)


def verdict(pictures: Iterable[Timed], progress: Progress = lambda seconds: None) -> Verdict:
    """What pictures with their times say."""
    said: list[Found] = []
    windows = 0
    for end_s, finder in _windows(pictures):
        windows += 1
        found = (finder.found([said[-1].scale]) if said else None) or finder.found()
        if found is not None:
            said.append(found)
        progress(end_s)
    if not said:
        return Verdict(windows)
    payload, _ = Counter(found.payload for found in said).most_common(1)[0]
    surest = min((found for found in said if found.payload == payload), key=lambda found: found.log10_chance)
    chance = surest.log10_chance + math.log10(windows)
    return replace(Verdict(windows, len(said), payload), log10_chance=round(chance, 1), scale=surest.scale)


def _windows(pictures: Iterable[Timed]) -> Iterator[tuple[float, Finder]]:
    """When each ends, and its pictures. Another size begins a new window."""
    finder, begun_s, at, size = Finder(), 0.0, 0.0, (0, 0)
    for at, luma in pictures:
        if finder.pictures and (luma.shape != size or at >= begun_s + WINDOW_S):
            yield at, finder
            finder = Finder()
        if not finder.pictures:
            begun_s, size = at, (luma.shape[0], luma.shape[1])
        finder.add(luma)
    if finder.pictures:
        yield at, finder


def _grey(image: Image) -> Image:
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), np.uint8)
