"""Publishers that vanish, take over, or send what is no video."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import av
import numpy as np
from aiortc import MediaStreamTrack, RTCPeerConnection
from aiortc.codecs import get_capabilities

from pipeline.frames import CLOCK

from .house import FPS, House, fresh_connection, negotiate


def vanish(connection: RTCPeerConnection) -> None:
    for transceiver in connection.getTransceivers():
        ice = transceiver.sender.transport.transport._connection
        for protocol in ice._protocols:
            protocol.transport.abort()


async def vanishing_camera(house: House) -> None:
    """The camera's machine is gone, and another one comes to drive."""
    vanish(house.publisher)
    await asyncio.sleep(0.5)
    await house.publish()


async def camera_changes(house: House) -> None:
    """Another publisher takes over."""
    await house.publish()


class Garbage(MediaStreamTrack):
    """A camera whose packets are wrong. make: a packet's bytes from right ones."""

    kind = "video"

    def __init__(self, codec: str, make: Callable[[bytes, int], bytes], size: Callable[[int], int] = lambda k: 64) -> None:
        super().__init__()
        self._codec, self._make, self._size = codec, make, size
        self._number, self._began_s = 0, time.monotonic()
        self._encoder: Any = None

    async def recv(self) -> av.Packet:
        self._number += 1
        await asyncio.sleep(self._began_s + self._number / (4 * FPS) - time.monotonic())
        side = self._size(self._number)
        if self._encoder is None or self._encoder.width != side:
            self._encoder = av.CodecContext.create(self._codec, "w")
            self._encoder.width = self._encoder.height = side
            self._encoder.pix_fmt, self._encoder.time_base = "yuv420p", Fraction(1, 90_000)
            self._encoder.options = {"tune": "zerolatency"} if self._codec == "libx264" else {"lag-in-frames": "0"}
        frame = av.VideoFrame.from_ndarray(np.full((side * 3 // 2, side), self._number % 256, np.uint8), format="yuv420p")
        frame.pts, frame.time_base = self._number * 1500, CLOCK
        [packet] = self._encoder.encode(frame)
        wrong = av.Packet(self._make(bytes(packet), self._number))
        wrong.pts, wrong.time_base = frame.pts, CLOCK
        return wrong


def mutated(data: bytes, number: int) -> bytes:
    """A few of its bytes are others, or its end is missing."""
    rng = random.Random(number)
    changed = bytearray(data)
    for _ in range(rng.randint(1, 8)):
        changed[rng.randrange(len(changed))] = rng.randrange(256)
    return bytes(changed[: rng.randint(len(changed) // 2, len(changed))])


def huge(data: bytes, number: int) -> bytes:
    """A key frame of VP8 that says it is 16383 pixels wide and high."""
    return data[:3] + b"\x9d\x01\x2a\xff\x3f\xff\x3f" + data[10:] if data[0] & 1 == 0 else data


async def bad_camera(house: House, track: MediaStreamTrack, mime: str) -> None:
    """It drives the other stream for three seconds."""
    connection = fresh_connection()
    transceiver = connection.addTransceiver(track, direction="sendonly")
    transceiver.setCodecPreferences([c for c in get_capabilities("video").codecs if c.mimeType == mime])
    try:
        (await negotiate(house.http, connection, "/live/side/whip?take_over=true")).raise_for_status()
        await asyncio.sleep(3)
    finally:
        await connection.close()
