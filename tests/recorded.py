"""Clips as strangers' programs write them: any container, clock, orientation and damage, with a flash and a beep at once."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any, cast

import av
import numpy as np
from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.video.stream import VideoStream

FPS, WIDTH, HEIGHT = 30, 96, 64
FLASH_S, FLASHES_S = 0.5, 0.1  # when it begins, and how long it lasts
LIGHT, LOUD = 180, 0.15  # what counts as such, of 255 and of 1
APART_S = 0.2  # silence that ends a beep
BYTES = b"\xaa" * 40  # that no decoder takes


@dataclass
class Recorder:
    """Writes a clip of a second, or of pictures at `times_s`. Its left upper corner is dark.

    sound: a codec. start_s: the first time by its clock; clock: ticks of the encoder's a second. damaged, deaf: numbers of
    packets of pictures and of sound that are rubbish. matrix: as FFmpeg has it. pixel: width by height.
    """

    codec: str = "libx264"
    sound: str = ""
    format: str | None = None
    times_s: Sequence[float] = field(default_factory=lambda: [k / FPS for k in range(FPS)])
    start_s: float = 0.0
    clock: int = FPS
    options: dict[str, str] = field(default_factory=dict)
    damaged: Collection[int] = ()
    deaf: Collection[int] = ()
    matrix: tuple[int, ...] | None = None
    pixel: Fraction | None = None

    def write(self, path: Path) -> Path:
        with av.open(f"file:{path}", "w", format=self.format) as out:
            video = self._video(out)
            audio = self._audio(out)
            self._counts = {video.index: 0, 1 - video.index: 0}
            sounds = iter(()) if audio is None else self._sounds(audio)
            chunk = next(sounds, None)
            for time_s in self.times_s:
                self._mux(out, video.encode(self._picture(time_s, video.pix_fmt)))
                while audio is not None and chunk is not None and float(chunk.time or 0) - self.start_s <= time_s:
                    self._mux(out, audio.encode(chunk))
                    chunk = next(sounds, None)
            self._mux(out, video.encode(None))
            if audio is not None:
                self._mux(out, audio.encode(None))
        return path

    def _video(self, out: OutputContainer) -> VideoStream:
        video = cast(VideoStream, out.add_stream(self.codec, rate=FPS, options=self.options))
        video.width, video.height = WIDTH, HEIGHT
        video.pix_fmt = "yuvj420p" if self.codec == "mjpeg" else "yuv420p"
        if self.clock != FPS:
            video.codec_context.time_base = Fraction(1, self.clock)
        if self.pixel is not None:
            video.codec_context.sample_aspect_ratio = self.pixel
        if self.matrix is not None:
            video.set_display_matrix(self.matrix)
        return video

    def _audio(self, out: OutputContainer) -> AudioStream | None:
        if not self.sound:
            return None
        audio = cast(AudioStream, out.add_stream(self.sound, rate=8_000 if "law" in self.sound else 48_000))
        audio.layout = "mono" if "law" in self.sound else "stereo"
        return audio

    def _picture(self, time_s: float, pixels: str | None) -> av.VideoFrame:
        image = np.full((HEIGHT, WIDTH, 3), 235 if flashes(time_s) else 120, np.uint8)
        image[: HEIGHT // 2, : WIDTH // 2] -= 80
        frame = av.VideoFrame.from_ndarray(image, format="rgb24").reformat(format=pixels)
        frame.pts, frame.time_base = round((self.start_s + time_s) * 90_000), Fraction(1, 90_000)
        return frame

    def _sounds(self, audio: AudioStream) -> Iterator[av.AudioFrame]:
        rate, size = audio.rate, audio.codec_context.frame_size or 960
        time_s = np.arange(round((self.times_s[-1] + 1 / FPS) * rate)) / rate
        wave = np.where(flashes(time_s), 0.6 * np.sin(2 * np.pi * 1000 * time_s), 0).astype(np.float32)
        channels = len(audio.layout.channels)
        for at in range(0, wave.size - size, size):
            frame = av.AudioFrame.from_ndarray(np.tile(wave[at : at + size], (channels, 1)), "fltp", audio.layout.name)
            frame.sample_rate, frame.time_base = rate, Fraction(1, rate)
            for fitting in av.AudioResampler(audio.format.name, audio.layout.name, rate).resample(frame):
                fitting.pts = at + round(self.start_s * rate)
                yield fitting

    def _mux(self, out: OutputContainer, packets: list[av.Packet]) -> None:
        for packet in packets:
            number = self._counts[packet.stream_index]
            self._counts[packet.stream_index] += 1
            if number in (self.damaged if packet.stream_index == 0 else self.deaf):
                packet = _rubbish(packet)
            out.mux(packet)


def flashes(time_s: Any) -> Any:
    """Whether there is light, and sound, at a time, or at many."""
    return (time_s >= FLASH_S - 1e-4) & (time_s < FLASH_S + FLASHES_S - 1e-4)


def _rubbish(packet: av.Packet) -> av.Packet:
    spoilt = av.Packet(BYTES)
    spoilt.stream, spoilt.time_base = packet.stream, packet.time_base
    spoilt.pts, spoilt.dts, spoilt.duration = packet.pts, packet.dts, packet.duration
    return spoilt


def joined(out: Path, *parts: Path) -> Path:
    """Files one after the other, as `cat` does it."""
    out.write_bytes(b"".join(part.read_bytes() for part in parts))
    return out


class Edges:
    """When flashes and beeps begin, of what comes piece by piece."""

    def __init__(self) -> None:
        self.flashes_s: list[float] = []
        self.beeps_s: list[float] = []
        self._light = False
        self._loud_s = float("-inf")

    def see(self, brightness: float, time_s: float) -> None:
        """brightness: 0 to 255."""
        before, self._light = self._light, brightness > LIGHT
        if self._light and not before:
            self.flashes_s.append(time_s)

    def hear(self, frame: av.AudioFrame, time_s: float) -> None:
        for chunk in av.AudioResampler("fltp", "mono", frame.sample_rate).resample(frame):
            for k in np.flatnonzero(np.abs(chunk.to_ndarray()[0]) > LOUD):
                at_s = time_s + k / frame.sample_rate
                if at_s - self._loud_s > APART_S:
                    self.beeps_s.append(at_s)
                self._loud_s = at_s


def light_and_sound(path: Path) -> tuple[list[float], list[float]]:
    """When flashes and beeps begin, by the times of a file's pictures and samples."""
    edges = Edges()
    for frame in _decoded(path, "video"):
        edges.see(frame.to_ndarray(format="gray")[-4:].mean(), float(frame.time))
    for frame in _decoded(path, "audio"):
        edges.hear(frame, frame.time)
    return edges.flashes_s, edges.beeps_s


def _decoded(path: Path, kind: str) -> Iterator[Any]:
    """Frames of the first track of a kind; damage is passed over, as players do."""
    with av.open(f"file:{path}") as opened:
        for packet in opened.demux(**{kind: 0}):
            with suppress(av.error.InvalidDataError):
                yield from packet.decode()
