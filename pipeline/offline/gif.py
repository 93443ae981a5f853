"""GIF with one palette, made of all pictures: colours that are chosen anew for each picture flicker.

The pictures wait in a lossless file meanwhile, as long clips do not fit into memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from fractions import Fraction
from itertools import chain
from pathlib import Path

import av
from av.container import InputContainer, OutputContainer
from av.filter import Graph
from av.filter.context import FilterContext

from ..media.reader import file_url
from ..outfile import scratch_beside
from .formats import GIF_CLOCK

SHORTEST = 2  # hundredths of a second; browsers show what is shorter for ten
DITHER = "dither=bayer:bayer_scale=4:diff_mode=rectangle"  # patterns that stay where they are


def write_gif(frames: Iterator[tuple[float, av.VideoFrame]], path: Path, rate: Fraction) -> int:
    """Write frames, RGB or RGBA, at their seconds, for ever again. How many are shown."""
    with scratch_beside(path, ".mkv") as waiting:
        palette, count = _keep(frames, waiting, rate)
        length = max(round(1 / rate / GIF_CLOCK), SHORTEST)
        with av.open(file_url(waiting)) as kept, av.open(
            file_url(path), "w", format="gif", options={"loop": "0", "final_delay": str(length)}
        ) as target:  # fmt: skip
            _paint(kept, palette, target, rate)
    return count


def _keep(frames: Iterator[tuple[float, av.VideoFrame]], waiting: Path, rate: Fraction) -> tuple[av.VideoFrame, int]:
    """The palette, and how many frames were kept."""
    colours: Graph | None = None
    count, last = 0, -SHORTEST
    with av.open(file_url(waiting), "w", format="matroska") as target:
        video = target.add_stream("ffv1", rate=rate)
        video.codec_context.time_base = GIF_CLOCK
        for time_s, frame in frames:
            at = round(time_s / GIF_CLOCK)
            if at - last < SHORTEST:
                continue
            frame.pts, frame.time_base = at, GIF_CLOCK
            if colours is None:
                video.width, video.height, video.pix_fmt = frame.width, frame.height, _kept(frame)
                colours = _palette_maker(frame)
            colours.push(frame)
            target.mux(video.encode(frame))
            count, last = count + 1, at
        target.mux(video.encode(None))
    assert colours is not None  # the caller has seen a first picture
    colours.push(None)
    palette = colours.pull()
    assert isinstance(palette, av.VideoFrame)
    return palette, count


def _kept(frame: av.VideoFrame) -> str:
    return "bgra" if frame.format.name == "rgba" else "bgr0"


def _palette_maker(frame: av.VideoFrame) -> Graph:
    graph = Graph()
    source = graph.add_buffer(width=frame.width, height=frame.height, format=frame.format, time_base=GIF_CLOCK)
    source.link_to(maker := graph.add("palettegen", "stats_mode=full"))
    maker.link_to(graph.add("buffersink"))
    graph.configure()
    return graph


def _paint(kept: InputContainer, palette: av.VideoFrame, target: OutputContainer, rate: Fraction) -> None:
    shown = kept.streams.video[0]
    video = target.add_stream("gif", rate=rate)
    video.width, video.height, video.pix_fmt = shown.width, shown.height, "pal8"
    video.codec_context.time_base = GIF_CLOCK
    for painted in _painted(kept, palette):
        painted.time_base = GIF_CLOCK
        target.mux(video.encode(painted))
    target.mux(video.encode(None))


def _painted(kept: InputContainer, palette: av.VideoFrame) -> Iterator[av.VideoFrame]:
    shown = kept.streams.video[0]
    graph = Graph()
    source = graph.add_buffer(width=shown.width, height=shown.height, format=shown.format, time_base=GIF_CLOCK)
    colours = graph.add_buffer(width=palette.width, height=palette.height, format=palette.format, time_base=GIF_CLOCK)
    painter, sink = graph.add("paletteuse", DITHER), graph.add("buffersink")
    for k, given in enumerate((source, colours)):
        given.link_to(painter, 0, k)
    painter.link_to(sink)
    graph.configure()
    for one in (palette, None):
        colours.push(one)
    for frame in chain(kept.decode(shown), [None]):
        if frame is not None:
            frame.pts, frame.time_base = round((frame.time or 0) / GIF_CLOCK), GIF_CLOCK
        source.push(frame)
        yield from _ready(sink)


def _ready(sink: FilterContext) -> Iterator[av.VideoFrame]:
    with suppress(av.error.BlockingIOError, av.error.EOFError):
        while isinstance(frame := sink.pull(), av.VideoFrame):
            yield frame
