"""The sound of a clip beside pictures that are written anew: copied where the file can hold it, encoded where not."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import suppress
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler
from av.audio.stream import AudioStream
from av.container import OutputContainer

from ..media.reader import Reader, open_file, video_of

RATE = 48_000
OFF = RATE // 20  # samples by which sound may be off its time before it is put right
PIECE = RATE  # samples of silence at once


class SoundTrack:
    """A track of `target` that gets the sound of a clip: its packets if their codec is one of `copied`, else coded by `coder`.
    note: what the user should know of it."""

    def __init__(self, clip: Path, target: OutputContainer, coder: str, copied: Collection[str]) -> None:
        self._clip = clip
        self.note = ""
        with open_file(clip) as container:
            given = container.streams.audio[0]
            self._copied = given.codec_context.name in copied
            self._track = target.add_stream_from_template(given) if self._copied else _coded(target, coder)
            if not self._copied and coder == "aac":  # in WebM nearly all become Opus
                self.note = f"{clip}: its sound ({given.codec_context.name}) becomes AAC, since MP4 and MOV do not hold it"

    def write(self, target: OutputContainer, until_s: float) -> None:
        """The sound from the clip's first picture on. A packet that is damaged costs itself alone."""
        with open_file(self._clip) as container:
            video = video_of(container)
            assert video is not None  # else it were no clip
            reader = Reader(container, video)
            if self._copied:
                _copy(reader, target, self._track, until_s)
            elif not _encode(reader, target, self._track, until_s):
                self.note = f"{self._clip}: its sound cannot be decoded and is left out"


def _coded(target: OutputContainer, coder: str) -> AudioStream:
    track = target.add_stream(coder, rate=RATE)
    assert isinstance(track, AudioStream)
    track.layout = "stereo"
    return track


def _from_first_picture(reader: Reader) -> Iterator[tuple[float, av.Packet]]:
    """Packets of sound, and when the first picture that can be decoded is due: their times count from there."""
    start_s: float | None = None
    early: list[av.Packet] = []
    with suppress(av.error.FFmpegError):  # a file that was cut off ends there
        for packet in reader.packets():
            if packet.stream.index != reader.video.index:
                early.append(packet)
            elif start_s is None:
                start_s = next((at for at, _ in reader.decode(packet)), None)
            if start_s is not None:
                yield from ((start_s, waiting) for waiting in early)
                early.clear()


def _copy(reader: Reader, target: OutputContainer, track: AudioStream, until_s: float) -> None:
    last: int | None = None
    for start_s, packet in _from_first_picture(reader):
        if packet.dts is None or packet.pts is None:
            continue
        shift = round(start_s / packet.time_base)
        packet.pts, packet.dts = packet.pts - shift, packet.dts - shift
        if float(packet.pts * packet.time_base) >= until_s:
            return
        if (last is None or packet.dts > last) and (packet.pts >= 0 or shift <= 0):  # priming stays, what was before goes
            last = packet.dts
            packet.stream = track
            with suppress(av.error.InvalidDataError):
                target.mux(packet)


def _encode(reader: Reader, target: OutputContainer, track: AudioStream, until_s: float) -> int:
    """How many samples were written."""
    resampler = AudioResampler(format="fltp", layout="stereo", rate=RATE)
    written, end = 0, round(until_s * RATE)
    for start_s, packet in _from_first_picture(reader):
        for at_s, frame in reader.decode(packet):
            at = round((at_s - start_s) * RATE)
            off = OFF if written else 0  # it begins at its time
            if not isinstance(frame, AudioFrame) or at < written - off:
                continue
            for chunk in (*(_silence(at - written) if at > written + off else ()), *_resampled(resampler, frame)):
                if written >= end:
                    break
                chunk.pts, chunk.time_base, chunk.sample_rate = written, Fraction(1, RATE), RATE
                written += chunk.samples
                target.mux(track.encode(chunk))
    if written:
        target.mux(track.encode(None))
    return written


def _silence(samples: int) -> Iterator[AudioFrame]:
    for begin in range(0, samples, PIECE):
        quiet = np.zeros((2, min(PIECE, samples - begin)), np.float32)
        yield AudioFrame.from_ndarray(quiet, format="fltp", layout="stereo")


def _resampled(resampler: AudioResampler, frame: AudioFrame) -> list[AudioFrame]:
    frame.pts = None  # gaps are filled above
    with suppress(ValueError, av.error.FFmpegError):  # the format has changed within the track
        return resampler.resample(frame)
    return []
