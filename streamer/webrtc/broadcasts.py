"""The broadcasts of all streams: one for each codec that a viewer has negotiated, with or without the background, for as long as
it has viewers."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from pipeline import malloc
from pipeline.clock import Clock, steady

from ..config import WebRtc
from ..limits import Bitrates
from ..stream.stream import Stream
from .broadcast import Broadcast
from .encoders import ENCODERS
from .tracks import ViewerTrack


class Broadcasts:
    """All methods belong to the event loop's thread."""

    def __init__(self, config: WebRtc, threads: int = 1, clock: Clock = steady) -> None:
        """threads: for encoders."""
        self._bitrates = Bitrates(config.bitrate_kbps * 1000, config.min_bitrate_kbps * 1000, config.max_bitrate_kbps * 1000)
        self._shared_bitrate = config.shared_bitrate_kbps * 1000
        self._clock = clock
        self._running: dict[tuple[str, str, bool], Broadcast] = {}
        self._pool = ThreadPoolExecutor(threads, "encoder")

    def join(self, stream: Stream, mime: str, viewer: ViewerTrack, cut_out: bool = False) -> None:
        """Let a viewer have the packets of the stream's encoder for a codec, from a key frame on. cut_out: without the
        background, see `AnimatedFrame.cut_out`."""
        key = (stream.name, mime, cut_out)
        if key not in self._running:
            self._running[key] = self._begun(stream, mime, cut_out)
        self._running[key].join(viewer)

    def leave(self, stream: Stream, mime: str, viewer: ViewerTrack, cut_out: bool = False) -> None:
        """The reverse of `join`."""
        key = (stream.name, mime, cut_out)
        viewer.stop()
        if self._running[key].leave(viewer):
            broadcast = self._running.pop(key)
            stream.sinks.discard(broadcast)
            broadcast.stop()
            self._pool.submit(malloc.give_back)

    def release(self) -> None:
        """Let the encoders' threads go; nothing is encoded after it."""
        self._pool.shutdown(wait=False)

    def _begun(self, stream: Stream, mime: str, cut_out: bool) -> Broadcast:
        encoder = ENCODERS[mime](self._bitrates)
        broadcast = Broadcast(stream.name, encoder, self._shared_bitrate, self._pool, self._clock, cut_out)
        stream.sinks.add(broadcast)
        if stream.latest is not None:
            broadcast.offer(stream.latest)
        return broadcast
