"""The reader of every container: files and streams, live and offline."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.stream import Disposition
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from .timeline import TICK_S, Timeline
from .upright import upright

Moment = tuple[float, VideoFrame | AudioFrame]  # seconds on the container's line of time, and what is due then
NO_CLOCK, MAY_JUMP = 0x80, 0x200  # FFmpeg's AVFMT_NOTIMESTAMPS and AVFMT_TS_DISCONT
FASTEST = 60  # frames per second; what claims more is counted, since its clock may be finer than its pictures
MOST = 240  # that a stream without a clock may claim
USUAL = Fraction(30)
MOST_PIXELS = (
    40_000_000  # of a picture: more than 8K has; FFmpeg looks before it decodes, as a small file may hold far larger ones
)
BOUNDS = {"max_pixels": str(MOST_PIXELS)}


def file_url(path: Path) -> str:
    """A path as FFmpeg takes it for one, whatever is in it: 'a:b.mp4' would be an address of the kind 'a'."""
    return f"file:{path}"


def open_file(path: Path) -> InputContainer:
    """FFmpegError, OSError. Titles and the like may be in any encoding, whatever the format says."""
    return av.open(file_url(path), options=BOUNDS, metadata_errors="replace")


def video_of(container: InputContainer) -> VideoStream | None:
    """The first video track for which there is a decoder; a cover is none."""
    covers = Disposition.attached_pic.value | Disposition.timed_thumbnails.value
    read = (s for s in container.streams.video if s.codec_context is not None)
    return next((s for s in read if not int(s.disposition) & covers), None)


class Reader:
    """Reads pictures and the first sound track, together on one line of time (see `Timeline`).

    A packet that cannot be decoded costs itself alone. live: the clock may jump, whatever the format.
    """

    def __init__(self, container: InputContainer, video: VideoStream, live: bool = False) -> None:
        flags = container.format.flags
        self.video = video
        video.codec_context.options |= BOUNDS
        self.audio: AudioStream | None = next(iter(container.streams.audio), None)
        self.has_clock = not flags & NO_CLOCK
        self.undecoded = 0  # packets of pictures since the last that gave one
        self._container = container
        self._timeline = Timeline(live or bool(flags & MAY_JUMP))
        self._last: dict[int, tuple[float, float]] = {}  # when each track's last frame began and ended

    @property
    def jumps(self) -> int:
        """How often the clock went back, or leapt."""
        return self._timeline.jumps

    @property
    def rate(self) -> Fraction:
        """Frames per second, as the stream says."""
        # Without a clock FFmpeg takes 25; what is coded is better, unless a stranger's encoder put its clock's rate there.
        coded = None if self.has_clock else self.video.codec_context.framerate
        return coded if coded and coded <= MOST else self.video.average_rate or USUAL

    def packets(self) -> Iterator[av.Packet]:
        """Packets of both tracks, with times on the line of time, and last an empty one of each track. FFmpegError."""
        tracks = [self.video] if self.audio is None else [self.video, self.audio]
        for packet in self._container.demux(tracks):
            if packet.time_base:
                self._put_right(packet)
            yield packet

    def _put_right(self, packet: av.Packet) -> None:
        base = packet.time_base
        due_s = None if packet.dts is None else float(packet.dts * base)  # pts go to and fro
        ticks = round(self._timeline.correction(packet.stream.index, due_s, float((packet.duration or 0) * base)) / base)
        packet.pts = None if packet.pts is None else packet.pts + ticks
        packet.dts = None if packet.dts is None else packet.dts + ticks

    def decode(self, packet: av.Packet) -> Iterator[Moment]:
        """What a packet completes; times of each track strictly increase."""
        if not packet.size and packet.dts is not None:
            return  # a picture that the encoder left out; without a time it is the end, for which decoders wait
        try:
            frames = packet.decode()
        except av.error.FFmpegError:
            frames = []
        if packet.stream.index == self.video.index:
            self.undecoded = 0 if frames else self.undecoded + 1
        for frame in frames:
            if isinstance(frame, VideoFrame):
                at = self._time(self.video.index, frame, 1 / float(self.rate))
                yield at, upright(frame, self.video.sample_aspect_ratio)
            elif isinstance(frame, AudioFrame):
                yield self._time(packet.stream.index, frame, frame.samples / frame.sample_rate), frame

    def _time(self, track: int, frame: VideoFrame | AudioFrame, length_s: float) -> float:
        began_s, ended_s = self._last.get(track, (None, 0.0))
        at = frame.time
        if at is None and frame.dts is not None and frame.time_base:
            at = float(frame.dts * frame.time_base)
        if at is None:
            at = ended_s
        if began_s is not None and at <= began_s:
            at = began_s + TICK_S
        self._last[track] = at, at + length_s
        return at
