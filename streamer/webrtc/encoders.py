"""Video encoders for aiortc senders: fast, steady, and with bitrates fit for a face.

aiortc calls `encode` in an executor, one call at a time per sender, and sets `target_bitrate` on REMB.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, cast

import av
from aiortc.codecs import get_encoder
from aiortc.codecs.base import Encoder
from aiortc.codecs.h264 import H264Encoder
from aiortc.codecs.vpx import Vp8Encoder
from aiortc.mediastreams import convert_timebase
from aiortc.rtcrtpparameters import RTCRtpCodecParameters
from av.video.frame import PictureType

CLOCK = Fraction(1, 90_000)
DECLARED_FPS = 30  # libx264 spends its bits by this; the real rate is corrected for
HEADROOM = 4  # the correction reaches down to DECLARED_FPS / HEADROOM frames per second
KEY_FRAME_S = 10  # a viewer that misses one asks for it, so the regular distance can be long
REBUILD_RATIO = 0.25  # libvpx cannot change its bitrate: rebuild on such a change
REBUILD_AFTER_S = 2.0


@dataclass(frozen=True)
class Bitrates:
    """Bits per second to one viewer."""

    start: int = 2_500_000
    least: int = 300_000
    most: int = 4_000_000


def encoder_for(codec: RTCRtpCodecParameters, bitrates: Bitrates) -> Encoder:
    """Ours for H.264 and VP8, aiortc's for anything else."""
    match codec.mimeType.lower():
        case "video/h264":
            return LiveH264Encoder(bitrates)
        case "video/vp8":
            return LiveVp8Encoder(bitrates)
    return get_encoder(codec)


class _LiveEncoder(Encoder):
    """What both codecs share: bitrate limits, size changes, picture types, timestamps."""

    def __init__(self, bitrates: Bitrates) -> None:
        self._bitrates = bitrates
        self._target = bitrates.start
        self._codec: av.VideoCodecContext | None = None
        self._opened_s = 0.0

    @property
    def target_bitrate(self) -> int:
        """Bits per second asked for; kept within the limits."""
        return self._target

    @target_bitrate.setter
    def target_bitrate(self, bitrate: int) -> None:
        self._target = max(self._bitrates.least, min(bitrate, self._bitrates.most))

    def encode(self, frame: Any, force_keyframe: bool = False) -> tuple[list[bytes], int]:
        """Packets' payloads and the RTP timestamp of a VideoFrame."""
        # The type a decoder left on a frame would make every picture a key frame.
        frame.pict_type = PictureType.I if force_keyframe else PictureType.NONE
        if self._codec is None or (frame.width, frame.height) != (self._codec.width, self._codec.height):
            self._open(frame)
        codec = self._fit(frame)
        data = b"".join(bytes(packet) for packet in codec.encode(frame))
        return self._payloads(data), convert_timebase(frame.pts, frame.time_base, CLOCK)

    def _open(self, frame: av.VideoFrame) -> None:
        self._codec = self._make(frame.width, frame.height)
        self._opened_s = time.monotonic()

    def _fit(self, frame: av.VideoFrame) -> av.VideoCodecContext:
        """Bring the codec to the target bitrate."""
        raise NotImplementedError

    def _make(self, width: int, height: int) -> av.VideoCodecContext:
        raise NotImplementedError

    def _payloads(self, data: bytes) -> list[bytes]:
        raise NotImplementedError


class LiveH264Encoder(_LiveEncoder):
    """x264, veryfast and without delay; its bitrate changes in place, without a key frame."""

    def __init__(self, bitrates: Bitrates) -> None:
        super().__init__(bitrates)
        self._packer = H264Encoder()
        self._last_s: float | None = None
        self._fps = float(DECLARED_FPS)

    def _make(self, width: int, height: int) -> av.VideoCodecContext:
        codec = _context("libx264", width, height)
        codec.framerate = Fraction(DECLARED_FPS)
        codec.time_base = CLOCK
        codec.profile = "Baseline"
        codec.gop_size = DECLARED_FPS * KEY_FRAME_S
        # libx264 follows later changes of bit_rate, without a key frame, if it is opened as constant
        # bitrate at the highest that will ever be set.
        codec.bit_rate = HEADROOM * self._bitrates.most
        limits = {"maxrate": str(codec.bit_rate), "bufsize": str(self._target // 2)}
        codec.options = {"preset": "veryfast", "tune": "zerolatency", **limits}
        codec.open()
        return codec

    def _fit(self, frame: av.VideoFrame) -> av.VideoCodecContext:
        assert self._codec is not None
        now_s = float((frame.pts or 0) * (frame.time_base or CLOCK))
        if self._last_s is not None:
            fps = 1 / min(max(now_s - self._last_s, 1 / 120), 1.0)
            self._fps += 0.05 * (fps - self._fps)
        self._last_s = now_s
        wanted = int(self._target * min(DECLARED_FPS / self._fps, HEADROOM))
        if abs(wanted - (self._codec.bit_rate or 1)) > 0.1 * wanted:
            self._codec.bit_rate = wanted
        return self._codec

    def _payloads(self, data: bytes) -> list[bytes]:
        return self._packer._packetize(self._packer._split_bitstream(data))

    def pack(self, packet: Any) -> tuple[list[bytes], int]:
        """Payloads and timestamp of a packet that is encoded already."""
        return self._packer.pack(packet)


class LiveVp8Encoder(_LiveEncoder):
    """libvpx in real-time mode; rebuilt, at most every two seconds, when the bitrate changes much."""

    def __init__(self, bitrates: Bitrates) -> None:
        super().__init__(bitrates)
        self._packer = Vp8Encoder()

    def _make(self, width: int, height: int) -> av.VideoCodecContext:
        codec = _context("libvpx", width, height)
        codec.bit_rate = self._target
        codec.framerate = Fraction(DECLARED_FPS)  # how long a frame lasts, for its rate control
        codec.time_base = CLOCK
        codec.gop_size = DECLARED_FPS * KEY_FRAME_S
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
        if off > REBUILD_RATIO and time.monotonic() - self._opened_s > REBUILD_AFTER_S:
            self._open(frame)
        return self._codec

    def _payloads(self, data: bytes) -> list[bytes]:
        payloads = self._packer._packetize(data, self._packer.picture_id)
        self._packer.picture_id = (self._packer.picture_id + 1) % (1 << 15)
        return payloads

    def pack(self, packet: Any) -> tuple[list[bytes], int]:
        """Payloads and timestamp of a packet that is encoded already."""
        return self._packer.pack(packet)


def _context(name: str, width: int, height: int) -> av.VideoCodecContext:
    codec = cast(av.VideoCodecContext, av.CodecContext.create(name, "w"))
    codec.width, codec.height, codec.pix_fmt = width, height, "yuv420p"
    codec.thread_count = 1  # a face is small; more threads only add delay
    return codec
