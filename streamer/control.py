"""Typed commands and state; knows no transport."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict
from pathlib import Path

import numpy as np
from pydantic import BaseModel

from pipeline.engine import Engine
from pipeline.portrait import DEMO_CLIP, Portrait, bundled, bundled_names, decode_picture, load_portrait, make_portrait
from pipeline.stage import AnimationStage

from .config import Config
from .errors import UnknownStream
from .graph import Shown, SinkState, SourceState, SourceStatus, Stream
from .outputs import Outputs
from .sinks.base import Outlet
from .sources import base
from .sources.file import FileSource

log = logging.getLogger(__name__)

MAX_UPLOADS = 24
DEMO = "demo"


class EncoderState(BaseModel):
    """One encoder of a stream; all viewers of its codec share it. Counts are of frames."""

    codec: str
    viewers: int
    bitrate_kbps: int
    encoded: int
    key_frames: int
    viewer_drops: int


class DriverState(BaseModel):
    """A driver that is no browser. detail: why it is not live."""

    name: str
    state: SourceState
    detail: str
    restarts: int


class RecordingState(BaseModel):
    """The last recording of a stream. file: that is written, or was last; detail: why it ended."""

    running: bool
    file: str
    seconds: float
    frames: int
    dropped: int
    detail: str


class OutletInfo(BaseModel):
    """A way out that the config names."""

    kind: str
    name: str
    state: str
    detail: str
    frames: int
    dropped: int


class StreamState(BaseModel):
    """What one stream does. Times in milliseconds; ages are from capture to the last packet sent."""

    name: str
    portrait: str
    engine: str
    tracker: str
    face: str
    mirror: bool
    muted: bool
    sound: bool
    publisher: bool
    demo: bool
    source: DriverState | None
    viewers: int
    encoders: list[EncoderState]
    recording: RecordingState | None
    outputs: list[OutletInfo]
    frames_in: int
    animated: int
    errors: int
    skipped: dict[str, int]
    rate_limit: float
    busy: float
    age_p50_ms: float | None
    age_p95_ms: float | None
    stage_p50_ms: float | None
    stage_p95_ms: float | None


class DeviceState(BaseModel):
    """What animates for all streams. frame_ms: of its time for one frame; batches: how many of each size.

    fps_with_one_more: what each driven stream would get if one more were driven; None before any measurement.
    """

    engine: str
    driven: int
    frame_ms: float | None
    fps_with_one_more: float | None
    batches: dict[int, int]


class PortraitInfo(BaseModel):
    """A portrait of the gallery."""

    id: str
    name: str
    bundled: bool


class Control:
    """The streams, the gallery and what can be done with them."""

    def __init__(self, config: Config, engines: dict[str, Engine], model: Path | None) -> None:
        """engines: by stream; those that share one share its device."""
        self._config = config
        self._engines = engines
        self._stages = {id(e): AnimationStage(e, config.device.gather_ms / 1000) for e in engines.values()}
        self._model = model
        self._portraits: OrderedDict[str, Portrait] = OrderedDict()
        self._prepared: dict[int, dict[str, Shown]] = {}  # by engine, then by portrait
        self._sources: dict[str, asyncio.Task[None]] = {}
        self._uploads = 0
        self.outputs = Outputs(config)
        self.streams: dict[str, Stream] = {}

    async def start(self, sources: dict[str, base.Source], portraits: dict[str, Portrait]) -> None:
        """Start every stream with its portrait, and the sources that are not browsers."""
        for name, config in self._config.streams.items():
            self._portraits.setdefault(config.portrait, portraits[name])
            shown = await self._prepare(name, config.portrait)
            stream = Stream(name, self._stages[id(self._engines[name])], shown, self._config.budget, self._config.device)
            stream.lane.mirror = config.mirror
            self.streams[name] = stream
            if name in sources:
                stream.claim(sources[name].name)
        await self._warm_up()
        for stage in self._stages.values():
            stage.start()
        for name, stream in self.streams.items():
            stream.start()
            self.outputs.start(stream)
            if name in sources:
                self._drive(stream, sources[name], self._config.streams[name].stale_after_s)

    async def _warm_up(self) -> None:
        for stage in self._stages.values():
            engine = stage.engine
            source = next(stream.shown.source for name, stream in self.streams.items() if self._engines[name] is engine)
            start = time.perf_counter()
            frame_s = await asyncio.to_thread(engine.warm_up, source, _Logged(engine.name))
            stage.measured(frame_s)
            log.info("engine %s warmed up in %.1f s: %.1f ms a frame", engine.name, time.perf_counter() - start, 1000 * frame_s)

    async def stop(self) -> None:
        """End sources and streams."""
        for name in list(self._sources):
            await self._end_source(name)
        await self.outputs.stop()
        await asyncio.gather(*(s.stop() for s in self.streams.values()))
        for stage in self._stages.values():
            if stage.started and not await asyncio.to_thread(stage.stop):
                log.error("the animation stage of engine %s did not stop", stage.engine.name)

    def stream(self, name: str) -> Stream:
        """The stream called `name`; UnknownStream says which there are."""
        if name not in self.streams:
            raise UnknownStream(f"no stream '{name}'; streams: {', '.join(self.streams)}")
        return self.streams[name]

    def state(self, name: str) -> StreamState:
        stream = self.stream(name)
        lane, stats = stream.lane, stream.lane.stats
        age, spent = list(stream.ages_s), list(stats.stage_s)
        encoders = [_encoder(state) for sink in stream.sinks if (state := sink.state()).viewers]
        return StreamState(
            name=name, portrait=stream.shown.id, engine=stream.engine_name, tracker=lane.tracker_name,
            face=lane.face.value, mirror=lane.mirror, muted=stream.audio.muted,
            sound=stream.audio.has_sound, publisher=stream.publisher is not None,
            demo=stream.publisher == DEMO, viewers=sum(e.viewers for e in encoders), encoders=encoders,
            source=None if stream.source is None else DriverState(**vars(stream.source)),
            recording=self._recording(name), outputs=self._outputs(stream),
            frames_in=stream.queue.received,
            animated=stats.animated, errors=stats.errors,
            skipped={r: stats.skipped[r] for r in ("rate", "busy", "stale")} | {"queue": stream.queue.dropped},
            rate_limit=lane.budget.rate, busy=round(lane.budget.busy, 3),
            age_p50_ms=percentile(age, 50), age_p95_ms=percentile(age, 95),
            stage_p50_ms=percentile(spent, 50), stage_p95_ms=percentile(spent, 95),
        )  # fmt: skip

    def devices(self) -> list[DeviceState]:
        return [self._device(stage) for stage in self._stages.values()]

    def _device(self, stage: AnimationStage) -> DeviceState:
        frame_s, fps = stage.frame_s(), stage.fps_with_one_more(self._config.device.max_busy)
        return DeviceState(
            engine=stage.engine.name, driven=sum(lane.driven for lane in stage.lanes),
            frame_ms=None if frame_s is None else round(1000 * frame_s, 2),
            fps_with_one_more=None if fps is None else round(fps, 1), batches=dict(stage.batches),
        )  # fmt: skip

    def _outputs(self, stream: Stream) -> list[OutletInfo]:
        own = [_outlet(outlet) for outlet in self.outputs.outlets(stream.name)]
        return own + [OutletInfo(**vars(status), frames=0, dropped=0) for status in stream.outputs]

    def _recording(self, name: str) -> RecordingState | None:
        last = self.outputs.recording(name)
        if last is None:
            return None
        outlet, output, since_s = last
        return RecordingState(
            running=self.outputs.is_recording(name), file=output.path.name, seconds=round(time.monotonic() - since_s, 1),
            frames=outlet.frames, dropped=outlet.dropped, detail=outlet.detail,
        )  # fmt: skip

    async def show(self, name: str, portrait: str) -> None:
        """Change the portrait of a stream; KeyError for an unknown one."""
        stream = self.stream(name)
        stream.show(await self._prepare(name, portrait))

    async def start_demo(self, name: str) -> None:
        """Drive a stream with the built-in clip; StreamBusy if it has a driver."""
        stream = self.stream(name)
        stream.claim(DEMO)
        self._drive(stream, FileSource(DEMO_CLIP))

    def _drive(self, stream: Stream, source: base.Source, stale_after_s: float = 5.0) -> None:
        stream.source = SourceStatus(source.name)
        reading = base.run(source, stream.queue, stream.source, stale_after_s)
        self._sources[stream.name] = asyncio.create_task(reading, name=f"source-{stream.name}")

    async def stop_demo(self, name: str) -> None:
        """End the demo; no effect if there is none."""
        if self.stream(name).publisher == DEMO:
            await self._end_source(name)

    async def _end_source(self, name: str) -> None:
        task = self._sources.pop(name)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        stream = self.streams[name]
        stream.source = None
        if stream.publisher is not None:
            stream.release(stream.publisher)

    def portraits(self) -> list[PortraitInfo]:
        """The gallery: bundled portraits first, then uploads, newest last."""
        names = bundled_names()
        infos = [PortraitInfo(id=n, name=n, bundled=True) for n in names]
        return infos + [PortraitInfo(id=i, name=p.name, bundled=False) for i, p in self._portraits.items() if i not in names]

    async def add_portrait(self, name: str, data: bytes, marks: list[list[float]] | None) -> PortraitInfo:
        """Take an uploaded picture; PortraitError if it cannot be used. The oldest of too many is forgotten."""
        portrait = await asyncio.to_thread(self._decode, name, data, marks)
        self._uploads += 1
        key = f"upload-{self._uploads}"
        self._portraits[key] = portrait
        uploads = [k for k in self._portraits if k.startswith("upload-")]
        in_use = {s.shown.id for s in self.streams.values()}
        for old in [k for k in uploads if k not in in_use][: max(len(uploads) - MAX_UPLOADS, 0)]:
            self._portraits.pop(old)
            for prepared in self._prepared.values():
                prepared.pop(old, None)
        return PortraitInfo(id=key, name=portrait.name, bundled=False)

    def _decode(self, name: str, data: bytes, marks: list[list[float]] | None) -> Portrait:
        points = None if marks is None else np.array(marks, np.float32)
        return make_portrait(name, decode_picture(data, name), self._model, points)

    def portrait(self, key: str) -> Portrait:
        """A portrait of the gallery; KeyError if there is none."""
        if key not in self._portraits and key in bundled_names():
            self._portraits[key] = bundled(key)
        return self._portraits[key]

    async def _prepare(self, name: str, key: str) -> Shown:
        """A portrait for the engine of the stream `name`."""
        engine = self._engines[name]
        prepared = self._prepared.setdefault(id(engine), {})
        if key not in prepared:
            limits = self._config.engine
            source = await asyncio.to_thread(engine.prepare, self.portrait(key), limits.max_side, limits.max_crop)
            prepared[key] = Shown(key, source)
        return prepared[key]


class _Logged:
    """Progress as lines of the log, one for each tenth at most."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._tenth = 0

    def __call__(self, done: int, total: int | None) -> None:
        tenth = 10 * done // total if total else 0
        if tenth > self._tenth and done != total:
            log.info("%s: warming up, %d of %d", self._what, done, total)
            self._tenth = tenth


def _outlet(outlet: Outlet) -> OutletInfo:
    return OutletInfo(
        kind=outlet.output.kind, name=outlet.output.name, state=outlet.status.value, detail=outlet.detail,
        frames=outlet.frames, dropped=outlet.dropped,
    )  # fmt: skip


def _encoder(state: SinkState) -> EncoderState:
    return EncoderState(
        codec=state.codec, viewers=state.viewers, bitrate_kbps=state.bitrate // 1000, encoded=state.frames,
        key_frames=state.key_frames, viewer_drops=state.dropped,
    )  # fmt: skip


def percentile(samples: list[float], share: int) -> float | None:
    """In milliseconds, of seconds; None without samples."""
    return round(float(np.percentile(samples, share)) * 1000, 1) if samples else None


def load_portraits(config: Config, model: Path | None) -> dict[str, Portrait]:
    """The portrait of each stream; PortraitError if one cannot be used."""
    return {name: load_portrait(stream.portrait, model) for name, stream in config.streams.items()}
