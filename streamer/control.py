"""Typed commands, applied to streams between two frames; knows no transport."""

from __future__ import annotations

import asyncio
import json
import logging
from collections import Counter
from collections.abc import Coroutine, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model

from pipeline.engine import AUTO, ENGINES
from pipeline.errors import PuppetError
from pipeline.portrait import DEMO_CLIP, Portrait, load_portrait

from .changes import Changes
from .config import Config, Puppet
from .engines import Engines
from .errors import BadCommand, StreamerError, UnknownStream
from .gallery import Gallery
from .graph import SourceStatus, Stream
from .memory import Memory
from .outputs import Outputs
from .sources import base
from .sources.file import FileSource
from .state import DEMO, DeviceState, StreamState, device_of, state_of

log = logging.getLogger(__name__)

MAX_COMMAND = 16 * 1024  # characters


class Actions(BaseModel):
    """A command: what is to be changed; what is not named stays. All of it is checked before any of it is done."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    portrait: str | None = Field(None, description="Show this portrait of the gallery.")
    previous_portrait: Literal[True] | None = Field(None, description="Show the portrait from before.")
    engine: str | None = Field(None, description=f"Animate with this engine: {', '.join((AUTO, *ENGINES))}.")
    calibrate: Literal[True] | None = Field(None, description="Take a new neutral face.")
    next_face: Literal[True] | None = Field(None, description="Follow the next face to the right.")
    recording: bool | None = Field(None, description="Record the animated picture.")
    demo: bool | None = Field(None, description="Drive with the built-in clip.")


def _optional(name: str) -> tuple[Any, Any]:
    field = Puppet.model_fields[name]
    kind: Any = Annotated[(field.annotation, *field.metadata)] if field.metadata else field.annotation
    return kind | None, Field(None, description=field.description)


# What of a stream's puppet can be set is what the config has of it, with the same limits.
Change: type[Actions] = create_model(
    "Change", __base__=Actions, __doc__=Actions.__doc__, **{name: _optional(name) for name in Puppet.model_fields}
)  # type: ignore[call-overload]


def read_change(data: Any) -> Actions:
    """A command from JSON data; BadCommand says which key is wrong, and how."""
    try:
        return Change.model_validate(data)
    except ValidationError as exc:
        raise BadCommand(explain(exc.errors())) from exc


def explain(errors: Sequence[Any]) -> str:
    """Pydantic's errors in one line that names each key, what is wrong with it, and what was given."""
    parts = []
    for error in errors:
        key = ".".join(str(p) for p in error["loc"] if p != "body") or "command"
        if error["type"] == "extra_forbidden":
            parts.append(f"{key}: unknown; known: {', '.join(Change.model_fields)}")
        else:
            parts.append(f"{key}: {error['msg'].lower()} (given: {str(error['input'])[:80]!r})")
    return "; ".join(parts)


class Control:
    """The streams, the gallery and what can be done with them."""

    def __init__(self, config: Config, engines: Engines, model: Path | None) -> None:
        self._config = config
        self._engines = engines
        self._sources: dict[str, asyncio.Task[None]] = {}
        self._turn: dict[str, asyncio.Lock] = {}
        self._memory = Memory(config.persistence.file)
        self._watching: asyncio.Task[None] | None = None
        self.outputs = Outputs(config)
        self.gallery = Gallery(config.engine, model, self._portraits_in_use)
        self.changes = Changes(self.states)
        self.streams: dict[str, Stream] = {}

    async def start(self, sources: dict[str, base.Source], portraits: dict[str, Portrait]) -> None:
        """Start every stream with its portrait, and the sources that are not browsers."""
        for name, config in self._config.streams.items():
            self.gallery.put(config.portrait, portraits[name])
            stage = self._engines.open(config.engine or self._config.engine.name)
            shown = await self.gallery.prepared(stage.engine, config.portrait)
            stream = Stream(name, stage, shown, self._config.budget, self._config.device, config.puppet)
            self.streams[name], self._turn[name] = stream, asyncio.Lock()
            if name in sources:
                stream.claim(sources[name].name, named=True)
            await self._engines.started(stage, shown.source)
        for name, stream in self.streams.items():
            stream.start()
            await self._remember(name)
            self.outputs.start(stream)
            if name in sources:
                self._drive(stream, sources[name], self._config.streams[name].stale_after_s)
        self._watching = asyncio.create_task(self.changes.run(), name="changes")

    async def _remember(self, name: str) -> None:
        """Go back to what was set before the last end, if that is kept."""
        before = self._memory.recall(name)
        for key, value in before.items():  # one by one: what has become impossible must not spoil the rest
            try:
                await self.apply(name, read_change({key: value}))
            except (StreamerError, PuppetError) as exc:
                log.warning("stream '%s': what was kept of '%s' cannot be used (%s)", name, key, exc)

    def hang_up(self) -> Counter[str]:
        """Let listeners and watchers go, and outputs begin to finish; how many of each there were."""
        pushes = sum(len(stream.outputs) for stream in self.streams.values())
        counts = Counter({"event listener": self.changes.listeners, "source": len(self._sources), "output": pushes})
        self.changes.close()
        return counts + self.outputs.hang_up()

    def parts(self) -> list[tuple[str, Coroutine[Any, Any, None]]]:
        """What is to be ended, with its name; all of it at once. Also after a start that failed."""
        sources = [(f"source of '{name}'", self._end_source(name)) for name in self._sources]
        return [*sources, *self.outputs.parts(), ("streams", self._stop_streams())]

    async def _stop_streams(self) -> None:
        if self._watching is not None:
            self._watching.cancel()
        await asyncio.gather(*(s.stop() for s in self.streams.values()))
        await self._engines.stop()

    def stream(self, name: str) -> Stream:
        """The stream called `name`; UnknownStream says which there are."""
        if name not in self.streams:
            raise UnknownStream(f"no stream '{name}'; streams: {', '.join(self.streams)}")
        return self.streams[name]

    def state(self, name: str) -> StreamState:
        """What a stream does now."""
        return state_of(self.stream(name), self.outputs)

    def states(self) -> list[StreamState]:
        """What all streams do now."""
        return [state_of(stream, self.outputs) for stream in self.streams.values()]

    def devices(self) -> list[DeviceState]:
        """What animates."""
        return [device_of(stage, self._config.device.max_busy) for stage in self._engines.stages if stage.started]

    async def apply(self, name: str, change: Actions) -> StreamState:
        """Do a command and tell the state after it. BadCommand, UnknownPortrait, StreamBusy, Overloaded, PuppetError."""
        stream = self.stream(name)
        async with self._turn[name]:  # of two commands the second finds the first one done
            puppet = self._checked(stream, change)
            stage = await self._engines.opened(change.engine) if change.engine else None
            key = stream.before if change.previous_portrait else change.portrait
            if stage is not None and stage.engine is not stream.engine:
                shown = await self.gallery.prepared(stage.engine, key or stream.shown.id)
                await self._engines.started(stage, shown.source)
                await stream.switch(stage, shown)
            elif key is not None:
                stream.show(await self.gallery.prepared(stream.engine, key))
            puppet = puppet.model_copy(update=dict.fromkeys(stream.engine.lacks, False))  # what a new engine has not
            if puppet != stream.puppet:
                stream.tune(puppet)
            await self._act(stream, change)
            self._keep(stream)
        self.changes.happened()
        return self.state(name)

    def _checked(self, stream: Stream, change: Actions) -> Puppet:
        """What the puppet is to be; raises before anything is done."""
        if change.portrait is not None:
            self.gallery.get(change.portrait)
        if change.previous_portrait and change.portrait is not None:
            raise BadCommand("portrait: either this or previous_portrait")
        if change.previous_portrait and stream.before is None:
            raise BadCommand("previous_portrait: there was none before")
        if change.engine is not None and change.engine not in (AUTO, *ENGINES):
            raise BadCommand(f"engine: '{change.engine}' is not known; engines: {AUTO}, {', '.join(ENGINES)}")
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
        if change.recording:
            self.outputs.record(stream)
        elif change.recording is False:
            await self.outputs.stop_recording(stream)

    def _keep(self, stream: Stream) -> None:
        """What is not as the config has it is kept, if anything is. Uploads end with the server."""
        config = self._config.streams[stream.name]
        state: dict[str, Any] = {}
        if stream.engine.name != self._engines.open(config.engine or self._config.engine.name).engine.name:
            state["engine"] = stream.engine.name
        if stream.shown.id != config.portrait and not stream.shown.id.startswith("upload-"):
            state["portrait"] = stream.shown.id
        default = config.puppet.model_dump(mode="json")
        state |= {key: value for key, value in stream.puppet.model_dump(mode="json").items() if value != default[key]}
        self._memory.keep(stream.name, state)

    async def _start_demo(self, stream: Stream) -> None:
        if stream.publisher != DEMO:
            stream.claim(DEMO)
            self._drive(stream, FileSource(DEMO_CLIP))

    async def _stop_demo(self, stream: Stream) -> None:
        if stream.publisher == DEMO:
            await self._end_source(stream.name)

    def _drive(self, stream: Stream, source: base.Source, stale_after_s: float = 5.0) -> None:
        stream.source = SourceStatus(source.name)
        reading = base.run(source, stream.queue, stream.source, stale_after_s)
        self._sources[stream.name] = asyncio.create_task(reading, name=f"source-{stream.name}")

    async def _end_source(self, name: str) -> None:
        task = self._sources.pop(name)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        stream = self.streams[name]
        stream.source = None
        if stream.publisher is not None:
            stream.release(stream.publisher)

    def _portraits_in_use(self) -> set[str]:
        return {key for s in self.streams.values() for key in (s.shown.id, s.before) if key is not None}


async def answer(control: Control, name: str, text: str) -> str:
    """A command as JSON text {"id": …, "change": {…}} -> {"id": …, "state": {…}}, or "error" and "code" instead: for
    transports that carry texts."""
    number: Any = None
    try:
        data = json.loads(text) if len(text) <= MAX_COMMAND else None
        if not isinstance(data, dict) or "change" not in data:
            raise BadCommand('a command is JSON: {"id": 1, "change": {"pose_gain": 1.2}}')
        number = data.get("id")
        state = await control.apply(name, read_change(data["change"]))
        return json.dumps({"id": number, "state": state.model_dump(mode="json")})
    except ValueError:
        problem: Exception = BadCommand("the command is not JSON")
    except (StreamerError, PuppetError) as exc:
        problem = exc
    return json.dumps({"id": number, "error": str(problem), "code": type(problem).__name__})


def load_portraits(config: Config, model: Path | None) -> dict[str, Portrait]:
    """The portrait of each stream; PortraitError if one cannot be used."""
    return {name: load_portrait(stream.portrait, model) for name, stream in config.streams.items()}
