"""The track that carries a stream's sound to one viewer."""

from __future__ import annotations

import asyncio
from collections import deque

import av
from aiortc import MediaStreamTrack
from aiortc.mediastreams import MediaStreamError

BACKLOG = 10  # packets of 20 ms; a viewer that is further behind loses the oldest


class SoundTrack(MediaStreamTrack):
    """Packets of Opus, as all viewers get them. A `SoundSink`."""

    kind = "audio"

    def __init__(self) -> None:
        super().__init__()
        self._queue: deque[av.Packet] = deque(maxlen=BACKLOG)
        self._ready = asyncio.Event()

    def hear(self, chunk: av.AudioFrame, packet: av.Packet | None) -> None:
        if packet is not None:
            self._queue.append(packet)
            self._ready.set()

    async def recv(self) -> av.Packet:
        while not self._queue:
            if self.readyState != "live":
                raise MediaStreamError
            self._ready.clear()
            await self._ready.wait()
        return self._queue.popleft()

    def stop(self) -> None:
        super().stop()
        self._ready.set()
