"""The outputs of the streams: recordings by command, and what the config names."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable, Coroutine
from typing import Any

from .config import Config
from .config import Sink as SinkConfig
from .errors import ConfigError
from .graph import Stream
from .redaction import redacted
from .sinks.base import Outlet, OutletState, Output
from .sinks.camera import VirtualCamera
from .sinks.jpeg import JpegFeed
from .sinks.push import Push
from .sinks.recording import Recording

log = logging.getLogger(__name__)

ABORT_S = 2.0  # when the server ends, an output has so long to end by itself; then it is made to
RECORDING_DEPTH, LIVE_DEPTH = 60, 3  # frames that may wait: a file is to have all of them, a server the newest


class Outputs:
    """All methods belong to the event loop's thread."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._outlets: dict[str, list[Outlet]] = {}
        self._recordings: dict[str, tuple[Outlet, Recording, float]] = {}
        self._feeds: dict[str, JpegFeed] = {}

    def check(self) -> None:
        """ConfigError if a sink of the config cannot be."""
        for name, stream in self._config.streams.items():
            for sink in stream.sinks:
                if sink.kind == "whip":
                    if not sink.target.startswith(("http://", "https://")):
                        raise ConfigError(f"'{redacted(sink.target)}': the address must begin with http:// or https://")
                else:
                    self._output(name, sink)

    def start(self, stream: Stream) -> None:
        """Open what the config names for a stream."""
        for sink in self._config.streams[stream.name].sinks:
            if sink.kind == "recording":
                self.record(stream)
            elif sink.kind != "whip":  # that one is a session
                self._outlets.setdefault(stream.name, []).append(self._run(stream, self._output(stream.name, sink), LIVE_DEPTH))

    def _output(self, name: str, sink: SinkConfig) -> Output:
        match sink.kind:
            case "push":
                return Push(sink.target, self._config.webrtc.bitrate_kbps * 1000)
            case "virtual_camera":
                return VirtualCamera(sink.target, self._config.budget.max_frames)
        return self._recording(name)

    def _recording(self, name: str, has_sound: Callable[[], bool] = lambda: False) -> Recording:
        limits = self._config.recording
        return Recording(limits.folder, name, limits.max_minutes, limits.max_mb, has_sound)

    def _run(self, stream: Stream, output: Output, depth: int) -> Outlet:
        loop = asyncio.get_running_loop()

        def over(outlet: Outlet) -> None:
            loop.call_soon_threadsafe(self._detach, stream, outlet)

        outlet = Outlet(output, depth, over)
        stream.sinks.add(outlet)
        if output.takes_sound:
            stream.audio.sinks.add(outlet)
        if stream.latest is not None:
            outlet.offer(stream.latest)
        return outlet

    @staticmethod
    def _detach(stream: Stream, outlet: Outlet) -> None:
        stream.sinks.discard(outlet)
        stream.audio.sinks.discard(outlet)

    def record(self, stream: Stream) -> None:
        """Begin a recording, unless one is running."""
        if self.is_recording(stream.name):
            return
        output = self._recording(stream.name, lambda: stream.audio.has_sound)
        self._recordings[stream.name] = self._run(stream, output, RECORDING_DEPTH), output, time.monotonic()

    async def stop_recording(self, stream: Stream) -> None:
        """Finish the recording, if there is one."""
        if not self.is_recording(stream.name):
            return
        outlet = self._recordings[stream.name][0]
        self._detach(stream, outlet)
        if not await asyncio.to_thread(outlet.stop):
            log.error("%s does not end", outlet.output.name)

    def is_recording(self, name: str) -> bool:
        running = (OutletState.STARTING, OutletState.LIVE, OutletState.WAITING)
        return name in self._recordings and self._recordings[name][0].status in running

    def recording(self, name: str) -> tuple[Outlet, Recording, float] | None:
        """The stream's last recording and when it began; None if there was none."""
        return self._recordings.get(name)

    def outlets(self, name: str) -> list[Outlet]:
        """What the config names for a stream, but recordings."""
        return self._outlets.get(name, [])

    def feed(self, stream: Stream) -> JpegFeed:
        """JPEG of a stream."""
        return self._feeds.setdefault(stream.name, JpegFeed(stream))

    def hang_up(self) -> Counter[str]:
        """Ask everything to finish, and let those who watch JPEG go; how many of each there were."""
        counts = Counter(
            viewer=sum(feed.state().viewers for feed in self._feeds.values()),
            output=sum(len(outlets) for outlets in self._outlets.values()),
            recording=sum(self.is_recording(name) for name in self._recordings),
        )
        for feed in self._feeds.values():
            feed.close()
        for outlet in self._all():
            outlet.finish()
        return counts

    def parts(self) -> list[tuple[str, Coroutine[Any, Any, None]]]:
        """What is to be waited for until all has finished, with its name."""
        return [(outlet.output.name, self._ended(outlet)) for outlet in self._all()]

    def _all(self) -> list[Outlet]:
        return [o for each in self._outlets.values() for o in each] + [r[0] for r in self._recordings.values()]

    @staticmethod
    async def _ended(outlet: Outlet) -> None:
        if not await asyncio.to_thread(outlet.stop, ABORT_S):
            log.error("%s does not end", outlet.output.name)
