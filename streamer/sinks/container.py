"""An FFmpeg container with an H.264 track and an AAC one, which is silent where there is no sound."""

from __future__ import annotations

from fractions import Fraction

import av
from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.video.frame import PictureType
from av.video.stream import VideoStream

from pipeline.frames import CLOCK, DECLARE_RATE, Image

from ..stream.audio import CHUNK, silence

DECLARED_FPS = 30
RATE = 48_000
OFF = RATE // 20  # samples by which sound may be off its time before it is put right
QUIET = RATE  # samples that are missing, until silence goes with the pictures: players wait for a track that was announced
PRIMING = 1024  # samples by which AAC begins before its sound; FLV takes no time before that of the first picture
KEY_S = 1.0  # a key frame this often: a recording is whole up to the last one, a late viewer of a server sees soon


class Container:
    """Pictures are planar YUV 4:2:0 (h · 3 / 2, w). All of them have the size of the container."""

    def __init__(self, target: OutputContainer, width: int, height: int, coding: dict[str, str], bit_rate: int | None) -> None:
        video: VideoStream = target.add_stream(
            "libx264", rate=DECLARED_FPS, options={"tune": "zerolatency", **DECLARE_RATE, **coding}
        )
        video.width, video.height, video.pix_fmt = width, height, "yuv420p"
        video.codec_context.time_base = CLOCK
        video.codec_context.thread_count = 1
        if bit_rate is not None:
            video.bit_rate = bit_rate
        self._target, self._video = target, video
        self._audio: AudioStream = target.add_stream("aac", rate=RATE)
        self._heard = PRIMING  # samples
        self._sounds = False  # lately
        self._silent = True  # what was written last
        self.size = width, height
        self._start_s: float | None = None
        self._key_s = float("-inf")
        self._pts = -1

    def write(self, yuv: Image, time_s: float) -> None:
        """time_s: on any steady clock; the first picture is at 0."""
        self._start_s = time_s if self._start_s is None else self._start_s
        self._pts = max(self._pts + 1, round((time_s - self._start_s) / CLOCK))
        picture = av.VideoFrame.from_ndarray(yuv, format="yuv420p")
        picture.pts, picture.time_base = self._pts, CLOCK
        if time_s - self._key_s >= KEY_S:
            picture.pict_type, self._key_s = PictureType.I, time_s
        self._target.mux(self._video.encode(picture))
        now = round((time_s - self._start_s) * RATE)
        if now - self._heard > (QUIET if self._sounds else 0):
            self._sounds = False
            self._write_silence(now)

    def write_sound(self, chunk: av.AudioFrame, time_s: float) -> None:
        """48 kHz; before the first picture it is left out. What was missing before it is silence: the encoder knows no gaps."""
        if self._start_s is None:
            return
        at = round((time_s - self._start_s) * RATE)
        self._sounds = True  # it may come later than its picture: silence leaves room for it from now on
        off = CHUNK // 2 if self._silent else OFF  # where sound begins, it begins at its time
        if at < self._heard - off:
            return
        if at > self._heard + off:
            self._write_silence(at)
        self._silent = False
        self._encode(chunk)

    def _write_silence(self, until: int) -> None:
        self._silent = True
        while until - self._heard > CHUNK // 2:
            self._encode(silence())

    def _encode(self, chunk: av.AudioFrame) -> None:
        own = av.AudioFrame.from_ndarray(chunk.to_ndarray(), chunk.format.name, chunk.layout.name)  # others write `chunk`, too
        own.pts, own.time_base, own.sample_rate = self._heard, Fraction(1, RATE), RATE
        self._heard += own.samples
        self._target.mux(self._audio.encode(own))

    def close(self) -> None:
        try:
            self._target.mux(self._video.encode(None))
            if self._heard > PRIMING:
                self._target.mux(self._audio.encode(None))
        finally:
            self._target.close()
