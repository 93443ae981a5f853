"""The broadcasts of all streams: one for each codec that a viewer has negotiated, with or without the background, for as long as
it has viewers."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from pipeline import malloc
from pipeline.clock import Clock, steady
from pipeline.label import Label

from ..config import Kind, WebRtc
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
        self._running: dict[tuple[str, str, bool, Label | None], Broadcast] = {}
        self._pool = ThreadPoolExecutor(threads, "encoder")

    def join(self, stream: Stream, mime: str, viewer: ViewerTrack, cut_out: bool = False, kind: Kind = Kind.VIEWERS) -> None:
        """Let a viewer have the packets of the stream's encoder for a codec, from a key frame on. cut_out: without the
        background, see `AnimatedFrame.cut_out`. kind: which label it sees; those who see the same one share an encoder."""
        label = stream.label_of(kind)
        key = (stream.name, mime, cut_out, label)
        if key not in self._running:
            self._running[key] = self._begun(stream, mime, cut_out, kind)
        self._running[key].join(viewer)
        if label is not None and label.seconds:  # which has gone for the others, whose picture may stand still
            self._offer_latest(stream, self._running[key])

    def leave(self, stream: Stream, mime: str, viewer: ViewerTrack, cut_out: bool = False, kind: Kind = Kind.VIEWERS) -> None:
        """The reverse of `join`."""
        key = (stream.name, mime, cut_out, stream.label_of(kind))
        viewer.stop()
        if self._running[key].leave(viewer):
            broadcast = self._running.pop(key)
            stream.sinks.discard(broadcast)
            broadcast.stop()
            self._pool.submit(malloc.give_back)

    def release(self) -> None:
        """Let the encoders' threads go; nothing is encoded after it."""
        self._pool.shutdown(wait=False)

    def _begun(self, stream: Stream, mime: str, cut_out: bool, kind: Kind) -> Broadcast:
        encoder = ENCODERS[mime](self._bitrates)
        broadcast = Broadcast(stream.name, encoder, self._shared_bitrate, self._pool, self._clock, cut_out, kind)
        stream.sinks.add(broadcast)
        self._offer_latest(stream, broadcast)
        return broadcast

    @staticmethod
    def _offer_latest(stream: Stream, broadcast: Broadcast) -> None:
        if (latest := stream.seen_by(broadcast)) is not None:
            broadcast.offer(latest)
