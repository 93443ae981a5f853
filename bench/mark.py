"""Whether the invisible mark is found after what becomes of pictures, how faint it is, what it costs: `puppetcast bench mark`."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import date
from fractions import Fraction
from functools import partial
from itertools import islice, product
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np

from pipeline.clips import Progress, open_clip, timed
from pipeline.engine import Engine
from pipeline.frames import Image, planar, yuv_planes
from pipeline.lane import Screen
from pipeline.mark.detect import USUAL, Finder
from pipeline.mark.marker import UNMARKED, Marker
from pipeline.mark.payload import Payload
from pipeline.portrait import Portrait

SIDE, FPS, KBPS = 512, 30, 300
WINDOW = 2 * FPS  # pictures
CALIBRATION = 20  # pictures, before those that are measured
EDITED = 6  # of so many pictures one is edited and looked at where no encoder comes: fewer are harder to find it in
EACH = 6  # windows of each portrait and clip
SAYS = Payload.of(0xBEEF, "live", date(2026, 8, 2))
CODECS: dict[str, tuple[str, dict[str, str]]] = {  # the decoder, and options as the server has them
    "libx264": ("h264", {"preset": "veryfast", "tune": "zerolatency", "profile": "baseline"}),
    "libvpx": (
        "vp8",
        {
            "minrate": f"{KBPS}k",
            "deadline": "realtime",
            "cpu-used": "-6",
            "lag-in-frames": "0",
            "static-thresh": "1",
            "overshoot-pct": "15",
            "undershoot-pct": "100",
            "qmin": "2",
            "qmax": "63",
        },
    ),
}
Series = list[Image]  # planar YUV
Lumas = list[Image]


def coded(codec: str, series: Series, fps: int = FPS) -> Series:
    """What a decoder gives after KBPS kilobits a second."""
    decoder, options = CODECS[codec]
    coder, reader = av.CodecContext.create(codec, "w"), av.CodecContext.create(decoder, "r")
    assert isinstance(coder, av.VideoCodecContext)
    assert isinstance(reader, av.VideoCodecContext)
    coder.height, coder.width = len(series[0]) * 2 // 3, series[0].shape[1]
    coder.pix_fmt, coder.time_base, coder.framerate = "yuv420p", Fraction(1, fps), Fraction(fps)
    coder.bit_rate, coder.gop_size, coder.thread_count = KBPS * 1000, 100 * FPS, 1
    coder.options = {**options, "maxrate": f"{KBPS}k", "bufsize": f"{KBPS}k"}
    packets = [packet for k, yuv in enumerate(series) for packet in coder.encode(_frame(yuv, k, fps))] + coder.encode(None)
    frames = [frame for packet in packets for frame in reader.decode(packet)] + reader.decode(None)
    return [np.asarray(frame.to_ndarray(format="yuv420p"), np.uint8) for frame in frames]


def _frame(yuv: Image, number: int, fps: int) -> av.VideoFrame:
    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(yuv), format="yuv420p")
    frame.pts, frame.time_base = number, Fraction(1, fps)
    return frame


def _lumas(series: Series) -> Lumas:
    return [yuv_planes(yuv)[0] for yuv in series]


def _scaled(share: float, luma: Image) -> Image:
    way = cv2.INTER_AREA if share < 1 else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(luma, None, fx=share, fy=share, interpolation=way), np.uint8)


def _cropped(luma: Image) -> Image:
    """A quarter of the area goes, from three sides."""
    h, w = luma.shape
    return np.ascontiguousarray(luma[round(h * 0.09) : round(h * 0.956), round(w * 0.134) :])


def _jpeg(luma: Image) -> Image:
    return np.asarray(cv2.imdecode(cv2.imencode(".jpg", luma, [cv2.IMWRITE_JPEG_QUALITY, 50])[1], cv2.IMREAD_GRAYSCALE), np.uint8)


def _toned(by: float, about: float, luma: Image) -> Image:
    return np.clip(about + by * (luma.astype(np.float32) - about), 0, 255).astype(np.uint8)


EDITS: dict[str, Callable[[Image], Image]] = {
    "none": lambda luma: luma,
    **{f"scaled to {share} %": partial(_scaled, share / 100) for share in (50, 75, 150, 200)},
    "cropped by 25 %": _cropped,
    "JPEG 50": _jpeg,
    **{f"brightness {by:+} %": partial(_toned, 1 + by / 100, 0.0) for by in (-20, 20)},
    **{f"contrast {by:+} %": partial(_toned, 1 + by / 100, 128.0) for by in (-20, 20)},
}


def attacked(series: Series) -> Iterator[tuple[str, Lumas, int]]:
    """Each attack's name, what becomes of the pictures, and how many of them are two seconds."""
    plain = _lumas(series)
    few = plain[::EDITED]
    for name, edit in EDITS.items():
        yield name, list(map(edit, few)), WINDOW // EDITED
    yield "15 fps", plain[::2], WINDOW // 2
    h264, vp8 = coded("libx264", series), coded("libvpx", series)
    yield "H.264", _lumas(h264), WINDOW
    yield "VP8", _lumas(vp8), WINDOW
    yield "H.264, then VP8", _lumas(coded("libvpx", h264)), WINDOW
    yield "VP8, then H.264", _lumas(coded("libx264", vp8)), WINDOW


@dataclass
class Tally:
    """Of one attack. least: the power of ten of the chance of an error, in the least sure window that was found; scale: where the
    mark was found last, which is tried first, as `identify` does."""

    windows: int = 0
    found: int = 0
    wrong: int = 0
    least: float = -math.inf
    missed: list[str] = field(default_factory=list)
    scale: float | None = None

    def look(self, lumas: Lumas, says: Payload, name: str) -> None:
        """At one more window."""
        self.windows += 1
        finder = Finder()
        for luma in lumas:
            finder.add(luma)
        found = (finder.found([self.scale]) if self.scale else None) or finder.found(USUAL)
        if found is None:
            self.missed.append(name)
        elif found.payload != says:
            self.wrong += 1
        else:
            self.found += 1
            self.scale, self.least = found.scale, max(self.least, found.log10_chance)

    def data(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "windows": self.windows, "found": self.found, "wrong": self.wrong, "missed": self.missed,
            "least_log10_chance": round(self.least, 1) if self.found else None,
        }  # fmt: skip


def attacks(
    engine: Engine, portraits: Sequence[Portrait], clips: Sequence[Path], minutes: float,
    progress: Progress = lambda done, total: None,
) -> dict[str, Any]:  # fmt: skip
    """Portraits and clips in all pairs, in an order drawn once, until the time is up."""
    pairs = list(product(portraits, clips))
    random.Random(1).shuffle(pairs)
    tallies: dict[str, Tally] = {}
    decibels: list[float] = []
    costs: list[tuple[float, float, float]] = []
    end_s, done = time.monotonic() + 60 * minutes, 0
    for done, (portrait, clip) in enumerate(pairs, 1):
        plain, marked = _animated(engine, portrait, clip, costs)
        decibels += [_psnr(a, b) for a, b in zip(plain[::10], marked[::10], strict=True)]
        for name, lumas, window in attacked(marked):
            for at in range(0, len(lumas) - window + 1, window):
                tallies.setdefault(name, Tally()).look(lumas[at : at + window], SAYS, f"{portrait.name} {clip.stem} {at}")
        progress(done, len(pairs))
        if time.monotonic() > end_s:
            break
    animate, with_it, without = (float(np.median(column)) for column in zip(*costs, strict=True))
    return {
        "engine": engine.name, "pairs": done, "kbps": KBPS,
        "psnr_db": {"least": round(min(decibels), 2), "median": round(float(np.median(decibels)), 2)},
        "cost": {"ms": round(1e3 * (with_it - without), 2), "ratio": round((animate + with_it) / (animate + without), 3)},
        "attacks": {name: tally.data() for name, tally in tallies.items()},
    }  # fmt: skip


def _animated(
    engine: Engine, portrait: Portrait, clip: Path, costs: list[tuple[float, float, float]]
) -> tuple[Series, Series]:  # fmt: skip
    """Pictures of a portrait as they are and as a stream shows them, and what each costs: seconds of processor time of the
    engine, and of the stream's screen with the mark and without."""
    prepared = engine.prepare(portrait, SIDE, SIDE)
    plain: Series = []
    marked: Series = []
    with_it = Screen(prepared, lambda frame: marked.append(frame.yuv), Marker(lambda: SAYS))
    without = Screen(prepared, lambda frame: plain.append(frame.yuv), UNMARKED)
    with closing(engine.open()) as puppeteer, open_clip(clip) as opened:
        frames = timed(opened)
        puppeteer.calibrate(islice(frames, CALIBRATION))
        for at_s, frame in islice(frames, EACH * WINDOW):
            times = [time.process_time()]
            yuv = planar(puppeteer.animate(prepared, frame, at_s))
            times.append(time.process_time())
            for screen in (with_it, without):
                screen.animated(yuv, at_s, at_s, screen.gate.epoch, lambda yuv=yuv: yuv)  # type: ignore[misc]
                times.append(time.process_time())
            costs.append((times[1] - times[0], times[2] - times[1], times[3] - times[2]))
    return plain, marked


def _psnr(plain: Image, marked: Image) -> float:
    error = yuv_planes(plain)[0].astype(np.float32) - yuv_planes(marked)[0]
    return float(10 * np.log10(255**2 / np.mean(error**2)))
