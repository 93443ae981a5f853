"""The outputs of all streams: recordings by command, and what the config names."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, defaultdict
from collections.abc import Callable, Coroutine, Iterable, Mapping
from pathlib import Path
from typing import Any

from pipeline.clock import Clock, steady
from pipeline.errors import PuppetError

from ..config import Config
from ..config import Sink as SinkConfig
from ..config import Stream as StreamConfig
from ..errors import ConfigError
from ..signing.manifest import Made
from ..signing.signed import Signer
from ..stream.stream import Stream
from .base import OVER, OutputStatus, Running
from .camera import CANVAS, VirtualCamera
from .jpeg import JpegFeed
from .library import Library
from .microphone import NAME, VirtualMicrophone
from .push import Push
from .recent import Recent
from .recording import Recording
from .runner import OutputRunner

log = logging.getLogger(__name__)

ABORT_S = 2.0  # when the server ends, an output has so long to end by itself; then it is made to
RECORDING_DEPTH, LIVE_DEPTH = 60, 3  # frames that may wait: a file is to have all of them, a server the newest
STEADY_S = 0.1  # a virtual camera never stands still for longer: call programs take one that does for broken
SWITCHED = ("virtual_camera", "virtual_microphone")  # kinds that a command opens and closes
Maker = Callable[[SinkConfig], Running]  # raises ConfigError


class Outputs:
    """All methods belong to the event loop's thread. makers: of kinds that this package does not know. signer: None for files
    that say nothing."""

    def __init__(self, config: Config, makers: Mapping[str, Maker], clock: Clock = steady, signer: Signer | None = None) -> None:
        self.signer = signer
        self.config = config
        self._clock = clock
        own = {"push": self._push, "virtual_camera": self._camera, "virtual_microphone": self._microphone}
        self._makers: dict[str, Maker] = {**own, **makers}
        self._running: defaultdict[str, list[Running]] = defaultdict(list)
        self._feeds: dict[str, JpegFeed] = {}
        kept = config.recording
        self.library = Library(kept.folder, kept.max_total_mb, kept.max_days, sign=self._sign)

    def check(self, streams: Mapping[str, StreamConfig]) -> None:
        """ConfigError if an output of these cannot be."""
        for name, stream in streams.items():
            for k, sink in enumerate(stream.sinks):
                try:
                    self._made(sink)
                except ConfigError as exc:
                    raise ConfigError(f"streams.{name}.sinks.{k}.target: {exc}") from exc

    def start(self, stream: Stream) -> None:
        """Open what the config names for a stream."""
        if self.config.recording.last_s:
            self._run(stream, OutputRunner(Recent(stream.name, self.config.recording.last_s), RECORDING_DEPTH, self._clock))
        for sink in self.config.streams[stream.name].sinks:
            if (output := self._made(sink)) is None:
                self.record(stream)
            else:
                self._run(stream, output)

    def record(self, stream: Stream) -> None:
        """Begin a recording, unless one is running."""
        last = self.recording(stream.name)
        if last is not None and last[0].status.state not in OVER:
            return
        if last is not None:
            self._running[stream.name].remove(last[0])
        limits = self.config.recording
        output = Recording(
            limits.folder,
            stream.name,
            limits.max_minutes,
            limits.max_mb,
            self.library.keep_limits,
            lambda: stream.made_of,
            self._sign,
        )
        self._run(stream, OutputRunner(output, RECORDING_DEPTH, self._clock))

    def _sign(self, part: Path, whole: Path, made: Iterable[tuple[str, str]]) -> bool:
        """See `recording.Sign`; for any thread. What cannot be signed is kept all the same."""
        if self.signer is None:
            return False
        try:
            self.signer.sign(part, Made.of(made), whole)
        except PuppetError as exc:
            log.warning("%s; it is kept unsigned", exc)
            return False
        return True

    def signed(self, stream: Stream, data: bytes, name: str) -> bytes:
        """A picture or clip of the stream, which says what it is; for any thread. What cannot be signed stays as it is."""
        if self.signer is None:
            return data
        try:
            return self.signer.signed(data, Made.of([stream.made_of]), name)
        except PuppetError as exc:
            log.warning("%s; it is given unsigned", exc)
            return data

    async def stop_recording(self, stream: Stream) -> None:
        """Finish the recording, if there is one."""
        if (last := self.recording(stream.name)) is not None:
            await last[0].stop()

    def recording(self, name: str) -> tuple[OutputRunner, Recording] | None:
        """The stream's last recording and who runs it; None if there was none."""
        for running in self._running[name]:
            if isinstance(running, OutputRunner) and isinstance(running.output, Recording):
                return running, running.output
        return None

    def recent(self, name: str) -> Recent | None:
        """The last seconds of a stream; None where they are not kept."""
        outputs = (running.output for running in self._running[name] if isinstance(running, OutputRunner))
        return next((output for output in outputs if isinstance(output, Recent)), None)

    async def switch(self, stream: Stream, kind: str, on: bool) -> None:
        """Open what a call takes for a camera or a microphone, one of SWITCHED, as the config has it, or close it. One that is
        open, or is tried again, goes on."""
        mine = self._running[stream.name]
        for running in [each for each in mine if each.status.kind == kind]:
            if on and running.status.state not in OVER:
                return
            await running.stop(ABORT_S)
            mine.remove(running)
        if on:
            named = (sink for sink in self.config.streams[stream.name].sinks if sink.kind == kind)
            self._run(stream, self._makers[kind](next(named, None) or SinkConfig(kind=kind)))  # type: ignore[arg-type]

    def statuses(self, name: str) -> list[OutputStatus]:
        """Of all outputs of a stream."""
        return [running.status for running in self._running[name]]

    def feed(self, stream: Stream) -> JpegFeed:
        """JPEG of a stream."""
        return self._feeds.setdefault(stream.name, JpegFeed(stream))

    def hang_up(self) -> Counter[str]:
        """Ask everything to finish, and let those who watch JPEG go; how many of each there were."""
        counts = Counter(viewer=sum(feed.watchers for feed in self._feeds.values()))
        for feed in self._feeds.values():
            feed.close()
        for running in self._all():
            if running.status.kind != Recent.kind:  # nobody has asked for those
                counts["recording" if running.status.kind == "recording" else "output"] += running.status.state not in OVER
            running.finish()
        return counts

    def parts(self) -> list[tuple[str, Coroutine[Any, Any, None]]]:
        """What is to be waited for until all has finished, with its name."""
        return [(running.status.name, running.stop(ABORT_S)) for running in self._all()]

    async def end(self, name: str) -> None:
        """Finish everything of a stream that is being removed, and forget it."""
        if (feed := self._feeds.pop(name, None)) is not None:
            feed.close()
        await asyncio.gather(*(running.stop(ABORT_S) for running in self._running.pop(name, [])))

    def _all(self) -> list[Running]:
        return [running for each in self._running.values() for running in each]

    def _run(self, stream: Stream, running: Running) -> None:
        self._running[stream.name].append(running)
        running.start(stream)

    def _made(self, sink: SinkConfig) -> Running | None:
        """None for a recording: those are made anew, by command too."""
        return None if sink.kind == "recording" else self._makers[sink.kind](sink)

    def _push(self, sink: SinkConfig) -> Running:
        return OutputRunner(Push(sink.target, self.config.webrtc.bitrate_kbps * 1000), LIVE_DEPTH, self._clock)

    def _camera(self, sink: SinkConfig) -> Running:
        camera = VirtualCamera(sink.target, self.config.budget.max_frames, sink.size or CANVAS)
        return OutputRunner(camera, LIVE_DEPTH, self._clock, STEADY_S)

    def _microphone(self, sink: SinkConfig) -> Running:
        return OutputRunner(VirtualMicrophone(sink.target or NAME), LIVE_DEPTH, self._clock)
