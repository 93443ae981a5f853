"""Pictures of publishers are measured before they are decoded: a kilobyte can say that it is 16,000 pixels wide and high."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable

import aiortc.rtcrtpreceiver
from aiortc.codecs import get_decoder
from aiortc.codecs.base import Decoder
from aiortc.jitterbuffer import JitterFrame
from aiortc.rtcrtpparameters import RTCRtpCodecParameters
from av.frame import Frame

log = logging.getLogger(__name__)

Size = tuple[int, int]  # width, height
START = re.compile(rb"\x00\x00\x01")
SPS = 7  # sequence parameter set (H.264 §7.4.1)
# Profiles whose parameter set tells of chroma and scaling matrices (H.264 §7.3.2.1.1).
HIGH = {100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135}
MAX_BITS = 8 * 1024


def install(max_pixels: int) -> None:
    """From now on, in this process, no picture of more pixels is decoded."""

    def limited(codec: RTCRtpCodecParameters) -> Decoder:
        measure = {"VP8": vp8_sizes, "H264": h264_sizes}.get(codec.name.upper())
        decoder = get_decoder(codec)
        return decoder if measure is None else Measured(decoder, measure, max_pixels)

    aiortc.rtcrtpreceiver.get_decoder = limited  # type: ignore[attr-defined]


class Measured(Decoder):
    """A decoder that passes over what is too large, and what builds on it."""

    def __init__(self, decoder: Decoder, measure: Callable[[bytes], list[Size]], max_pixels: int) -> None:
        self._decoder = decoder
        self._measure = measure
        self._max_pixels = max_pixels
        self._refusing = False

    def decode(self, encoded_frame: JitterFrame) -> list[Frame]:
        try:
            sizes = self._measure(encoded_frame.data)
        except ValueError:
            sizes = [(0, 0)]
        if sizes:
            wrong = next((size for size in sizes if not 0 < size[0] * size[1] <= self._max_pixels), None)
            if wrong is not None and not self._refusing:
                log.warning(
                    "a publisher sends pictures of %dx%d pixels; at most %d pixels are taken (webrtc.max_frame_pixels)",
                    *wrong, self._max_pixels,
                )  # fmt: skip
            self._refusing = wrong is not None
        return [] if self._refusing else self._decoder.decode(encoded_frame)


def vp8_sizes(data: bytes) -> list[Size]:
    """Of a key frame's header (RFC 6386 §9.1); none for other frames. ValueError for a header that is none."""
    if not data or data[0] & 1:
        return []
    if len(data) < 10 or data[3:6] != b"\x9d\x01\x2a":
        raise ValueError("no VP8 key frame")
    width, height = (int.from_bytes(data[k : k + 2], "little") & 0x3FFF for k in (6, 8))
    return [(width, height)]


def h264_sizes(data: bytes) -> list[Size]:
    """Of every sequence parameter set in an access unit with start codes; ValueError for one that cannot be read."""
    starts = [found.end() for found in START.finditer(data)]
    units = [data[a:b] for a, b in zip(starts, [*starts[1:], len(data)], strict=True)]
    return [_sps_size(unit[1:]) for unit in units if unit and unit[0] & 0x1F == SPS]


def _sps_size(payload: bytes) -> Size:
    """Width and height in whole macroblocks, as they are allocated (H.264 §7.3.2.1.1)."""
    bits = _Bits(payload.replace(b"\x00\x00\x03", b"\x00\x00"))
    profile = bits.take(8)
    bits.take(16)  # constraints, level
    bits.unsigned()  # seq_parameter_set_id
    if profile in HIGH:
        if (chroma := bits.unsigned()) == 3:
            bits.take(1)
        bits.unsigned(), bits.unsigned()  # bit depths
        bits.take(1)
        if bits.take(1):
            _pass_scaling(bits, 8 if chroma != 3 else 12)
    bits.unsigned()  # log2_max_frame_num_minus4
    order = bits.unsigned()  # pic_order_cnt_type
    if order == 0:
        bits.unsigned()
    elif order == 1:
        bits.take(1)
        bits.unsigned(), bits.unsigned()
        for _ in range(min(bits.unsigned(), 255)):
            bits.unsigned()
    bits.unsigned()  # max_num_ref_frames
    bits.take(1)
    width, rows = bits.unsigned() + 1, bits.unsigned() + 1
    return width * 16, rows * 16 * (1 if bits.take(1) else 2)  # frame_mbs_only_flag


def _pass_scaling(bits: _Bits, count: int) -> None:
    """Pass over scaling matrices (H.264 §7.3.2.1.1.1)."""
    for k in range(count):
        if bits.take(1):
            last = following = 8
            for _ in range(16 if k < 6 else 64):
                if following:
                    code = bits.unsigned()
                    following = (last + (code + 1 >> 1 if code & 1 else -(code >> 1))) % 256
                last = following or last


class _Bits:
    """Reads from the most significant bit on; ValueError at the end."""

    def __init__(self, data: bytes) -> None:
        self._value = int.from_bytes(data[: MAX_BITS // 8], "big")
        self._left = len(data[: MAX_BITS // 8]) * 8

    def take(self, count: int) -> int:
        self._left -= count
        if self._left < 0:
            raise ValueError("cut off")
        return self._value >> self._left & (1 << count) - 1

    def unsigned(self) -> int:
        """Exp-Golomb code (H.264 §9.1)."""
        zeros = 0
        while not self.take(1):
            zeros += 1
        if zeros > 31:
            raise ValueError("no number")
        return (1 << zeros) - 1 + self.take(zeros)
