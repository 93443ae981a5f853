"""The end of a recording as a file of its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av

from ..clips import open_clip, timed
from ..media.reader import file_url
from .animate import sized
from .drivers import EARLY_S
from .writers import Pictures, write_file

HURRY: Mapping[str, Mapping[str, str]] = {  # beside a live stream
    ".webm": {"crf": "30", "b": "0", "deadline": "realtime", "cpu-used": "7"},
}


@dataclass(frozen=True)
class Cut:
    """What is wanted of the end: so many seconds, at most so many even frames a second, the longer side in pixels; None for as
    it is."""

    seconds: float
    fps: int | None = None
    side: int | None = None


def write_cut(recording: Path, out: Path, cut: Cut) -> int:
    """Write the last seconds of an MP4 file, such as fragments that do not begin at 0, to a file of the kind that its suffix
    says. MP4 that is to be as it is is not coded anew, and begins up to a second earlier, at a key frame. How many pictures."""
    if out.suffix == ".mp4" and cut.fps is None and cut.side is None:
        return _copied(recording, out, cut.seconds)
    whole = out.with_name("whole.mp4")
    _copied(recording, whole, cut.seconds)
    with open_clip(whole) as clip:
        rate = clip.rate if cut.fps is None else Fraction(min(Fraction(cut.fps), clip.rate))
        written, _ = write_file(_shown(timed(clip), cut), out, rate, whole, HURRY.get(out.suffix))
    return written


def _shown(pictures: Pictures, cut: Cut) -> Pictures:
    """In their size, and of those that come too soon after another none."""
    next_s = 0.0
    for at, image in pictures:
        if cut.fps is None or at >= next_s - EARLY_S:
            next_s = max(next_s + 1 / cut.fps, at) if cut.fps else 0.0
            yield at, sized(image, None if cut.side is None else (min(cut.side, max(image.shape[:2])) // 2 * 2, 0))


def _copied(recording: Path, out: Path, seconds: float) -> int:
    with av.open(file_url(recording)) as given, av.open(file_url(out), "w", format="mp4") as target:
        tracks = {stream.index: target.add_stream_from_template(stream) for stream in given.streams}
        packets = [packet for packet in given.demux() if packet.dts is not None]
        start_s = _start([packet for packet in packets if packet.stream.type == "video"], seconds)
        count = 0
        for packet in packets:
            at_s = _due_s(packet) - start_s
            if at_s >= 0:
                count += packet.stream.type == "video"
                packet.pts = packet.dts = round(at_s / packet.time_base)  # neither coder gives pictures out of turn
                packet.stream = tracks[packet.stream_index]
                target.mux(packet)
    return count


def _due_s(packet: av.Packet) -> Fraction:
    return Fraction(packet.pts or 0) * packet.time_base


def _start(shown: list[av.Packet], seconds: float) -> Fraction:
    """When the last key frame comes that lies so long before the end."""
    keys = [_due_s(packet) for packet in shown if packet.is_keyframe]
    return max((at for at in keys if at <= _due_s(shown[-1]) - Fraction(seconds)), default=keys[0])
