"""Video encoders for live use: fast, steady, and with bitrates fit for a face. Frame in, packet out."""

from __future__ import annotations

import logging
from fractions import Fraction
from functools import cache
from typing import ClassVar, Self, cast

import av
import numpy as np
from av.video.frame import PictureType

from pipeline.frames import CLOCK

from ..limits import Bitrates

log = logging.getLogger(__name__)

DECLARED_FPS = 30  # libx264 spends its bits by this; the real rate is corrected for
HEADROOM = 4  # the correction reaches down to DECLARED_FPS / HEADROOM frames per second
KEY_FRAME_S = 10  # a viewer that misses one asks for it, so the regular distance can be long
REBUILD_RATIO = 0.25  # libvpx cannot change its bitrate: rebuild on such a change
REBUILD_AFTER_S = 2.0


class LiveEncoder:
    """What all codecs share: bitrate limits, size changes, picture types."""

    mime: ClassVar[str]

    def __init__(self, bitrates: Bitrates) -> None:
        self._bitrates = bitrates
        self._target = bitrates.start
        self._codec: av.VideoCodecContext | None = None
        self._opened_s = 0.0

    def fresh(self) -> Self:
        """Another one, with nothing of what this one has encoded."""
        return type(self)(self._bitrates)

    @property
    def target_bitrate(self) -> int:
        """Bits per second asked for; kept within the limits."""
        return self._target

    @target_bitrate.setter
    def target_bitrate(self, bitrate: int) -> None:
        self._target = max(self._bitrates.least, min(bitrate, self._bitrates.most))

    @property
    def least(self) -> int:
        """The lowest target, in bits per second."""
        return self._bitrates.least

    def encode(self, frame: av.VideoFrame, key: bool = False) -> av.Packet | None:
        """The frame as one packet; key: that can be decoded without those before it."""
        # The type a decoder left on a frame would make every picture a key frame.
        frame.pict_type = PictureType.I if key else PictureType.NONE
        if self._codec is None or (frame.width, frame.height) != (self._codec.width, self._codec.height):
            self._open(frame)
        packets = self._fit(frame).encode(frame)
        return packets[0] if packets else None

    def _open(self, frame: av.VideoFrame) -> None:
        self._codec = self._make(frame.width, frame.height)
        self._opened_s = _time_s(frame)

    def _fit(self, frame: av.VideoFrame) -> av.VideoCodecContext:
        """Bring the codec to the target bitrate."""
        raise NotImplementedError

    def _make(self, width: int, height: int) -> av.VideoCodecContext:
        raise NotImplementedError


class LiveH264Encoder(LiveEncoder):
    """NVENC where it opens, else x264; no delay, and a bitrate that changes in place, without a key frame."""

    mime = "video/H264"

    def __init__(self, bitrates: Bitrates) -> None:
        super().__init__(bitrates)
        self._last_s: float | None = None
        self._fps = float(DECLARED_FPS)

    def _make(self, width: int, height: int) -> av.VideoCodecContext:
        # libx264 follows later changes of bit_rate, without a key frame, if it is opened as constant
        # bitrate at the highest that will ever be set.
        highest = HEADROOM * self._bitrates.most
        return _h264(h264_encoder(), width, height, highest, self._target // 2)

    def _fit(self, frame: av.VideoFrame) -> av.VideoCodecContext:
        assert self._codec is not None
        now_s = _time_s(frame)
        if self._last_s is not None:
            fps = 1 / min(max(now_s - self._last_s, 1 / 120), 1.0)
            self._fps += 0.05 * (fps - self._fps)
        self._last_s = now_s
        wanted = int(self._target * min(DECLARED_FPS / self._fps, HEADROOM))
        if abs(wanted - (self._codec.bit_rate or 1)) > 0.1 * wanted:
            self._codec.bit_rate = wanted
        return self._codec


X264 = {"preset": "veryfast", "tune": "zerolatency"}
NVENC = {"preset": "p4", "tune": "ull", "rc": "cbr", "zerolatency": "1", "delay": "0", "forced-idr": "1"}


@cache
def h264_encoder() -> str:
    """The H.264 encoder of this machine: found out once, by encoding a picture."""
    try:
        frame = av.VideoFrame.from_ndarray(np.full((384, 256), 128, np.uint8), format="yuv420p")
        frame.pts, frame.time_base = 0, CLOCK
        _h264("h264_nvenc", 256, 256, 1_000_000, 500_000).encode(frame)
    except (av.FFmpegError, ValueError) as exc:
        log.info("H.264 is encoded by libx264; NVENC does not open here (%s)", str(exc).splitlines()[0])
        return "libx264"
    log.info("H.264 is encoded by NVENC")
    return "h264_nvenc"


def _h264(name: str, width: int, height: int, bit_rate: int, buffer_bits: int) -> av.VideoCodecContext:
    codec = _context(name, width, height)
    codec.profile = "Baseline"
    codec.bit_rate = bit_rate
    limits = {"maxrate": str(bit_rate), "bufsize": str(buffer_bits)}
    codec.options = {**(NVENC if name == "h264_nvenc" else X264), **limits}
    codec.open()
    return codec


class LiveVp8Encoder(LiveEncoder):
    """libvpx in real-time mode; rebuilt, at most every two seconds, when the bitrate changes much."""

    mime = "video/VP8"

    def _make(self, width: int, height: int) -> av.VideoCodecContext:
        codec = _context("libvpx", width, height)
        codec.bit_rate = self._target
        codec.qmin, codec.qmax = 2, 63
        rate = str(self._target)
        codec.options = {
            "bufsize": rate, "minrate": rate, "maxrate": rate, "deadline": "realtime", "cpu-used": "-6",
            "lag-in-frames": "0", "static-thresh": "1", "overshoot-pct": "15", "undershoot-pct": "100",
        }  # fmt: skip
        return codec

    def _fit(self, frame: av.VideoFrame) -> av.VideoCodecContext:
        assert self._codec is not None
        off = abs(self._target - (self._codec.bit_rate or 1)) / (self._codec.bit_rate or 1)
        if off > REBUILD_RATIO and _time_s(frame) - self._opened_s > REBUILD_AFTER_S:
            self._open(frame)
        return self._codec


def _time_s(frame: av.VideoFrame) -> float:
    return float((frame.pts or 0) * (frame.time_base or CLOCK))


def _context(name: str, width: int, height: int) -> av.VideoCodecContext:
    codec = cast(av.VideoCodecContext, av.CodecContext.create(name, "w"))
    codec.width, codec.height, codec.pix_fmt = width, height, "yuv420p"
    codec.framerate = Fraction(DECLARED_FPS)  # how long a frame lasts, for rate control
    codec.time_base = CLOCK
    codec.gop_size = DECLARED_FPS * KEY_FRAME_S
    codec.thread_count = 1  # a face is small; more threads only add delay
    return codec


ENCODERS = {kind.mime.lower(): kind for kind in (LiveH264Encoder, LiveVp8Encoder)}
