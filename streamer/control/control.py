"""Typed commands, applied to streams between two frames; knows no transport."""

from __future__ import annotations

import asyncio
import json
import logging
from collections import Counter
from collections.abc import Callable, Coroutine
from typing import Any

from pydantic import ValidationError

from pipeline.engine import AUTO, ENGINES, Engine
from pipeline.errors import PuppetError
from pipeline.face.faces import Faces
from pipeline.face.likeness import ROUGH, proportions
from pipeline.face.motion import Array
from pipeline.portrait import DEMO_CLIP, Portrait
from pipeline.portraits import DEFAULT
from pipeline.shapes.parse import parse
from pipeline.shapes.preset import Preset
from pipeline.stage import AnimationStage

from .. import systemd
from ..config import PICTURE, Config, Kind, Puppet
from ..config import Stream as StreamConfig
from ..deployment import Deployment
from ..errors import BadCommand, Overloaded, StreamerError, UnknownStream
from ..sinks.outputs import SWITCHED, Outputs
from ..sources.base import Source
from ..sources.driver import Driver
from ..sources.file import FileSource
from ..stream.admission import Admission
from ..stream.background import Background
from ..stream.poses import Poses
from ..stream.stages import Stages
from ..stream.stream import Shown, Stream
from ..stream.supervisor import Supervisor
from .backgrounds import Backgrounds
from .commands import Actions, explain, read_change, read_envelope, refusal
from .drives import DriveLog
from .events import Events
from .gallery import Gallery, PortraitInfo
from .persistence import Memory
from .presets import Presets
from .spec import Spec, spec_of
from .state import DeviceState, StreamState, device_of, is_demo, state_of
from .terms import DriversChange
from .workshop import Workshop

log = logging.getLogger(__name__)

Told = Callable[[StreamState], StreamState]
OF_A_FRAME = 0.45  # of a frame's time goes into its picture at most; the rest is for the tracker and the encoder


class Control:
    """The streams, the gallery and what can be done with them."""

    def __init__(
        self, config: Config, engines: Stages, faces: Faces, outputs: Outputs, end: Callable[[int], None], deployment: Deployment
    ) -> None:
        """end: asks the process to end with an exit code. deployment: marks the streams' pictures."""
        self.config = config
        self.deployment = deployment
        self._engines = engines
        self._labels = {kind: config.label.of(kind) for kind in Kind}
        self.started = False
        self._first: dict[str, str] = {}  # ids of the portraits that the config names
        self._memory = Memory(config.persistence.file)
        self.beside: list[Background] = []  # tasks that belong to no stream
        self._supervising: asyncio.Task[None] | None = None
        self.outputs = outputs
        budget = config.budget
        frame_s = OF_A_FRAME * budget.max_busy * budget.window_s / budget.max_frames
        self.gallery = Gallery(config.engine, faces, self._portraits_in_use, frame_s, config.portraits, self._leave)
        self.workshop = Workshop(self.gallery)
        self.drives = DriveLog(config.drives)
        self.backgrounds = Backgrounds(config.portraits)
        self.presets = Presets(config.portraits)
        self.events = Events(self.states)
        self.streams: dict[str, Stream] = {}
        self.admission = Admission(config.device, self.streams)
        self.supervisor = Supervisor(
            config.device, engines, self.streams, self._prepared, end,
            lambda: (task.part() for task in self.beside), systemd.alive,
        )  # fmt: skip

    async def start(self, sources: dict[str, Source], portraits: dict[str, Portrait]) -> None:
        """Start every stream with its portrait, and the sources that are not browsers."""
        await asyncio.to_thread(self.outputs.library.finish_left_over)
        await asyncio.to_thread(self.outputs.library.keep_limits)
        for name, config in self.config.streams.items():
            self.streams[name] = await self._made(name, config, portraits[name], sources.get(name))
        if not self.streams:
            await self._warmed_up()
        for stream in self.streams.values():
            await self._begin(stream)
        self.beside.append(Background("news of the streams", self.events.run))
        self._supervising = asyncio.create_task(self.supervisor.run(), name="supervisor")
        self.started = True

    async def add(self, name: str, config: StreamConfig, portrait: Portrait, source: Source | None) -> None:
        """Begin one more stream. PuppetError if it cannot be; nothing has changed then."""
        stream = await self._made(name, config, portrait, source)
        self._use_streams(self.config.streams | {name: config})
        self.streams[name] = stream
        await self._begin(stream)
        self.events.happened()
        log.info("stream '%s' has been added", name)

    async def remove(self, name: str, leave: Callable[[Stream], Coroutine[Any, Any, None]], keep: bool = False) -> None:
        """End a stream and all that is of it, and forget it. leave: ends its sessions; keep: its background picture stays.
        UnknownStream."""
        stream = self.stream(name)
        async with stream.turn:
            stream.check_there()
            last = self.state(name)
            stream.removed, stream.named = True, None
            del self.streams[name]
            await asyncio.gather(leave(stream), stream.evict(), self.outputs.end(name))
            await stream.stop()
        self._use_streams({key: config for key, config in self.config.streams.items() if key != name})
        self.supervisor.forget(name)
        self._memory.forget(name)
        (self.backgrounds.let_go if keep else self.backgrounds.forget)(name)
        self._let_go(name)
        self.events.gone(last)
        log.info("stream '%s' has been removed", name)

    def spec(self, name: str) -> Spec:
        """What a stream does, as another server can go on with it. UnknownStream."""
        return spec_of(self.stream(name), self.outputs)

    async def go_on(self, name: str, spec: Spec, partly: bool = False) -> None:
        """Have a stream do what another did. partly: what cannot be is left out, and its state tells it. Overloaded; and where
        nothing may be left out UnknownPortrait, UnknownPreset, UnknownBackground, BadCommand, PuppetError."""
        left_out: dict[str, str] = {}
        for command in spec.commands():
            try:
                await self.apply(name, read_change(command))
            except (StreamerError, PuppetError) as exc:
                if not partly or isinstance(exc, Overloaded):
                    raise
                left_out |= await self._apply_each(name, command)
        stream = self.stream(name)
        stream.left_out = [f"{key}: {why}" for key, why in left_out.items()]
        if spec.neutral is not None and spec.neutral.tracker == stream.lane.puppeteer.tracker_name:
            stream.give(spec.neutral.neutral())

    def _use_streams(self, streams: dict[str, StreamConfig]) -> None:
        self.config = self.outputs.config = self.config.model_copy(update={"streams": streams})

    async def _made(self, name: str, config: StreamConfig, portrait: Portrait, source: Source | None) -> Stream:
        """A stream that has not begun."""
        key = self.put_first(name, config, portrait)
        try:
            stage = await self._engines.opened(config.engine or self.config.engine.name)
            shown = await self.gallery.prepared(stage.engine, key)
            shown = await self.backgrounds.behind(name, config.puppet.background, shown)
            await self._engines.started(stage, shown.prepared)
            puppeteer = await asyncio.to_thread(stage.engine.open)
        except BaseException:  # whatever it is, nothing of a stream that is not there is left
            self._let_go(name)
            raise
        budget, puppet = self.config.budget, config.puppet
        run, marker, told, label_of = self._engines.run, self.deployment.marker(name), self.drives.note, self._labels.get
        stream = Stream(
            name, stage, puppeteer, shown, budget, puppet, self.admission, run, marker, told=told, label_of=label_of
        )  # fmt: skip
        if source is not None:
            stream.named = Driver(source, stream.intake, config.stale_after_s, passes=(config.driver_pass,))
            stream.claim(stream.named, named=True)
        return stream

    async def _begin(self, stream: Stream) -> None:
        stream.start()
        await self._remember(stream.name)
        self.outputs.start(stream)
        if isinstance(stream.driver, Driver):
            stream.driver.start()

    async def _warmed_up(self) -> None:
        """Without a stream, so that the first one that is added need not wait for the engine."""
        stage = await self.stage()
        shown = await self.gallery.prepared(stage.engine, DEFAULT)
        await self._engines.started(stage, shown.prepared)

    def take(self, config: Config) -> Config:
        """Follow another config from now on; the one before. Its streams have the same names; what each of them is to do is
        not done."""
        before, self.config = self.config, config
        self.admission.limits = self.supervisor.limits = config.device
        self.outputs.config = config
        return before

    def put_first(self, name: str, config: StreamConfig, portrait: Portrait) -> str:
        """Take the portrait that the config names for a stream; its id."""
        placed = (config.face, config.marks) != (None, None)
        self._first[name] = self.gallery.put(config.portrait, portrait, placed)
        return self._first[name]

    def _let_go(self, name: str) -> None:
        """Forget the portrait that the config names for a stream, unless another has it."""
        key = self._first.pop(name)
        if key not in self._first.values():
            self.gallery.let_go(key)

    async def _remember(self, name: str) -> None:
        """Go back to what was set before the last end, if that is kept."""
        for key, why in (await self._apply_each(name, self._memory.recall(name))).items():
            log.warning("stream '%s': what was kept of '%s' cannot be used (%s)", name, key, why)

    async def _apply_each(self, name: str, commands: dict[str, Any]) -> dict[str, str]:
        """Do them one by one, as what has become impossible must not spoil the rest; which that are, and why. Overloaded."""
        refused = {}
        for key, value in commands.items():
            try:
                await self.apply(name, read_change({key: value}))
            except Overloaded:
                raise  # there is another time, or place, for it
            except (StreamerError, PuppetError) as exc:
                refused[key] = str(exc)
        return refused

    def hang_up(self) -> Counter[str]:
        """Let listeners and watchers go, and outputs begin to finish; how many of each there were."""
        counts = Counter({"event listener": self.events.listeners, "source": len(self._drivers())})
        self.events.close()
        if self._supervising is not None:
            self._supervising.cancel()  # what ends now has not died
        for stream in self.streams.values():
            stream.named = None  # nobody drives again
        return counts + self.outputs.hang_up()

    def parts(self) -> list[tuple[str, Coroutine[Any, Any, None]]]:
        """What is to be ended, with its name; all of it at once. Also after a start that failed."""
        sources = [(f"source of '{stream.name}'", stream.evict()) for stream, _ in self._drivers()]
        making = ("puppets being made", self.workshop.close())
        beside = [(task.name, task.stop()) for task in self.beside]
        return [*sources, *self.outputs.parts(), making, *beside, ("streams", self._stop_streams())]

    def _drivers(self) -> list[tuple[Stream, Driver]]:
        """The streams that a source drives."""
        return [(stream, stream.driver) for stream in self.streams.values() if isinstance(stream.driver, Driver)]

    async def _stop_streams(self) -> None:
        await asyncio.gather(*(s.stop() for s in self.streams.values()))
        await self._engines.stop()
        self.gallery.close()

    def stream(self, name: str) -> Stream:
        """The stream called `name`; UnknownStream says which there are."""
        if name not in self.streams:
            raise UnknownStream(f"no stream '{name[:80]}'; streams: {', '.join(self.streams) or 'none'}")
        return self.streams[name]

    def state(self, name: str) -> StreamState:
        """What a stream does now."""
        return state_of(self.stream(name), self.outputs, self.gallery.changes, self.presets.changes)

    def states(self) -> list[StreamState]:
        """What all streams do now."""
        return [self.state(name) for name in self.streams]

    async def stage(self) -> AnimationStage:
        """That of streams that name no engine. PuppetError."""
        return await self._engines.opened(self.config.engine.name)

    def devices(self) -> list[DeviceState]:
        """What animates."""
        return [device_of(stage, self.admission) for stage in self._engines.stages]

    async def apply(self, name: str, change: Actions) -> StreamState:
        """Do a command and tell the state after it. BadCommand, UnknownPortrait, StreamBusy, Overloaded, PuppetError."""
        stream = self.stream(name)
        async with stream.turn:
            stream.check_there()
            puppet = self._checked(stream, change)
            stage = await self._engines.opened(change.engine) if change.engine else None
            if stage is not None and stage.lost:
                raise BadCommand(f"engine: {stage.engine.name}: {stage.lost}; restart to use it again")
            key = stream.before if change.previous_portrait else change.portrait
            if stage is not None and stage.engine is not stream.engine:
                shown = await self._prepared(stage.engine, stream, key, puppet)
                await self._engines.started(stage, shown.prepared)
                await stream.switch(stage, shown)
            elif key is not None or puppet.background != stream.puppet.background:
                stream.show(await self._prepared(stream.engine, stream, key, puppet))
            if stream.before is not None and not self.gallery.is_here(stream.before):
                stream.before = None  # it was deleted while it was on show
            puppet = puppet.model_copy(update=dict.fromkeys(stream.engine.lacks, False))  # what a new engine has not
            if puppet != stream.puppet:
                stream.tune(puppet)
            await self._act(stream, change)
            self._keep(stream)
            stream.left_out = []
        self.events.happened()
        return self.state(name)

    async def restrict(self, key: str, change: DriversChange) -> tuple[PortraitInfo, str]:
        """Say who may drive an upload, at once where it is on show; its info, and the pass that was made. UnknownPortrait,
        UnknownStream, BadCommand, CannotKeep."""
        enrolled = self._enrolled(change.face_of) if change.face_of else None
        info, given = await self.gallery.restrict(key, change, enrolled)
        portrait = await self.gallery.get(key)
        for stream in list(self.streams.values()):
            async with stream.turn:  # which may just be about to show it as it was
                if stream.shown.id == key:
                    stream.keep_to(portrait.terms, portrait.face_lock)
        self.events.happened()
        return info, given

    def _enrolled(self, name: str) -> Array:
        """What the face of a stream's driver is like; nothing is kept of it here."""
        puppeteer = self.stream(name).lane.puppeteer
        if self.stream(name).driver is None or puppeteer.resting is None or puppeteer.tracker_name in ROUGH:
            raise BadCommand(f"face_of: nobody drives '{name}' whose face was measured; calibrate with the better tracker first")
        return proportions(puppeteer.resting)

    async def put_background(self, name: str, data: bytes) -> StreamState:
        """Take another picture as a stream's background, and show it where that is what is behind the person. BadBackground,
        CannotKeep."""
        stream = self.stream(name)
        await asyncio.to_thread(self.backgrounds.put, name, data)
        async with stream.turn:
            if stream.puppet.background == PICTURE and not stream.removed:
                stream.show(await self._prepared(stream.engine, stream))
        self.events.happened()
        return self.state(name)

    async def _prepared(self, engine: Engine, stream: Stream, key: str | None = None, puppet: Puppet | None = None) -> Shown:
        """A stream's portrait for an engine, or another one, before the background that it has, or is to have."""
        shown = await self.gallery.prepared(engine, key or stream.shown.id)
        return await self.backgrounds.behind(stream.name, (puppet or stream.puppet).background, shown)

    async def answer(self, name: str, change: Any, number: Any = None, told: Told = lambda state: state) -> dict[str, Any]:
        """Do a command that came as JSON data: {"id": …, "state": {…}}, or "error" and "code" instead of the state. told: what
        of the state is for whoever commands."""
        try:
            state = await self.apply(name, read_change(change))
        except (StreamerError, PuppetError) as exc:
            return refusal(number, exc)
        return {"id": number, "state": told(state).model_dump(mode="json")}

    async def answer_text(self, name: str, text: str, told: Told = lambda state: state) -> str:
        """`answer` for a transport that carries texts: see `read_envelope`."""
        try:
            number, change = read_envelope(text)
        except BadCommand as exc:
            return json.dumps(refusal(None, exc))
        return json.dumps(await self.answer(name, change, number, told))

    def _checked(self, stream: Stream, change: Actions) -> Puppet:
        """What the puppet is to be; raises before anything is done."""
        if change.portrait is not None:
            self.gallery.check(change.portrait)
        if change.previous_portrait and change.portrait is not None:
            raise BadCommand("portrait: either this or previous_portrait")
        if change.previous_portrait and stream.before is None:
            raise BadCommand("previous_portrait: there was none before")
        if change.engine is not None and change.engine not in (AUTO, *ENGINES):
            raise BadCommand(f"engine: '{change.engine}' is not known; engines: {AUTO}, {', '.join(ENGINES)}")
        if getattr(change, "background", None) == PICTURE:
            self.backgrounds.get(stream.name)
        if change.preset is not None:
            self.presets.get(change.preset.name)
        if change.shapes is not None:
            try:
                parse(change.shapes)
            except PuppetError as exc:
                raise BadCommand(f"shapes: {exc}") from exc
        wanted = change.model_dump(include=set(Puppet.model_fields), exclude_unset=True)
        lacks = sorted(key for key in stream.engine.lacks & wanted.keys() if wanted[key] and not change.engine)
        if lacks:
            raise BadCommand(f"{', '.join(lacks)}: the engine {stream.engine.name} has no such thing")
        try:
            return Puppet.model_validate({**stream.puppet.model_dump(), **wanted})
        except ValidationError as exc:
            raise BadCommand(explain(exc.errors())) from exc

    async def _act(self, stream: Stream, change: Actions) -> None:
        if change.demo is not None:
            await (self._start_demo if change.demo else self._stop_demo)(stream)
        if change.calibrate:
            stream.lane.recalibrate()
        if change.next_face:
            stream.lane.next_face()
        self._pose(stream, change)
        if change.recording:
            self.outputs.record(stream)
        elif change.recording is False:
            await self.outputs.stop_recording(stream)
        for kind in SWITCHED:
            if (on := getattr(change, kind)) is not None:
                await self.outputs.switch(stream, kind, on)

    def _pose(self, stream: Stream, change: Actions) -> None:
        if change.clear_shapes:
            stream.poses.clear()
        if change.preset is not None:
            stream.poses.press(self.presets.get(change.preset.name), change.preset.on)
        if change.shapes is not None:
            stream.poses.hold(change.shapes)
        stream.intake.wake()  # a lane at rest waits for nothing else

    async def put_preset(self, name: str, data: Any, hotkey: int | None = None) -> Preset:
        """Keep a preset, and show it where the one before it is on. BadPreset, PresetsFull, CannotKeep."""
        preset = await asyncio.to_thread(self.presets.put, name, data, hotkey)
        self._presets_changed(lambda poses: poses.take(preset))
        return preset

    async def delete_preset(self, name: str) -> None:
        """Delete a preset of the user's own, and let go of it where it is on. UnknownPreset, BadPreset, CannotKeep."""
        await asyncio.to_thread(self.presets.delete, name)
        self._presets_changed(lambda poses: poses.drop(name))

    def _presets_changed(self, tell: Callable[[Poses], None]) -> None:
        for stream in self.streams.values():
            tell(stream.poses)
            stream.intake.wake()
        self.events.happened()

    def _keep(self, stream: Stream) -> None:
        """What is not as the config has it is kept, if anything is."""
        config = self.config.streams[stream.name]
        state: dict[str, Any] = {}
        meant = not stream.problem  # else the engine is what was left when its device was lost
        if meant and stream.engine.name != self._engines.open(config.engine or self.config.engine.name).engine.name:
            state["engine"] = stream.engine.name
        if stream.shown.id != self._first[stream.name] and self.gallery.lasts(stream.shown.id):
            state["portrait"] = stream.shown.id
        default = config.puppet.model_dump(mode="json")
        state |= {key: value for key, value in stream.puppet.model_dump(mode="json").items() if value != default[key]}
        self._memory.keep(stream.name, state)

    async def _start_demo(self, stream: Stream) -> None:
        if not is_demo(stream):
            driver = Driver(FileSource(DEMO_CLIP), stream.intake, demo=True)
            stream.claim(driver)
            driver.start()

    async def _stop_demo(self, stream: Stream) -> None:
        if is_demo(stream):
            await stream.evict()

    def _leave(self, key: str) -> None:
        """The way back leads to no portrait that is deleted."""
        for stream in self.streams.values():
            if stream.before == key:
                stream.before = None

    def _portraits_in_use(self) -> set[str]:
        return {key for s in self.streams.values() for key in (s.shown.id, s.before) if key is not None}
