"""JPEG of the animated picture, for dashboards and OBS's browser source: encoded once, whoever asks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import cv2

from pipeline.frames import AnimatedFrame

from ..config import Kind
from ..stream.status import EncoderStatus
from ..stream.stream import Stream

QUALITY = 85
BOUNDARY = "frame"
STILL_S = 1.0  # a picture that does not change is sent again this often, so that a reader sees that we are there


class JpegFeed:
    """Of one stream. A sink while somebody watches. Its label shows all along: a snapshot has no beginning."""

    kind = Kind.SNAPSHOTS
    seen_s = None

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._watchers: set[asyncio.Event] = set()
        self._closed = False
        self._number = -1
        self._data: asyncio.Task[bytes] | None = None
        self._frames = 0

    def offer(self, frame: AnimatedFrame) -> None:
        """See `Sink`."""
        for watcher in self._watchers:
            watcher.set()

    @property
    def watchers(self) -> int:
        """How many watch."""
        return len(self._watchers)

    def encoder(self) -> EncoderStatus:
        """See `SharedSink`."""
        return EncoderStatus("image/jpeg", len(self._watchers), 0, self._frames, self._frames, 0)

    def close(self) -> None:
        """The server ends: let all watchers go."""
        self._closed = True
        for watcher in self._watchers:
            watcher.set()

    async def snapshot(self) -> bytes:
        """The newest picture."""
        frame = self._stream.labelled(self.kind)
        assert frame is not None
        if self._data is None or self._number != frame.number:
            self._number, self._frames = frame.number, self._frames + 1
            self._data = asyncio.create_task(asyncio.to_thread(encode, frame))
        return await asyncio.shield(self._data)

    async def parts(self) -> AsyncIterator[bytes]:
        """Parts of multipart/x-mixed-replace, until the server ends. A reader that is slow misses pictures and delays nobody."""
        changed = asyncio.Event()
        self._watchers.add(changed)
        self._stream.sinks.add(self)
        try:
            while not self._closed:
                changed.clear()
                data = await self.snapshot()
                head = f"--{BOUNDARY}\r\nContent-Type: image/jpeg\r\nContent-Length: {len(data)}\r\n\r\n"
                yield head.encode() + data + b"\r\n"
                try:
                    async with asyncio.timeout(STILL_S):
                        await changed.wait()
                except TimeoutError:
                    continue
        finally:
            self._watchers.discard(changed)
            if not self._watchers:
                self._stream.sinks.discard(self)


def encode(frame: AnimatedFrame) -> bytes:
    picture = cv2.cvtColor(frame.yuv, cv2.COLOR_YUV2BGR_I420)
    return bytes(cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1].tobytes())
