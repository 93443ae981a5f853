"""What streams do when the config changes while they run: read anew, or by request."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Coroutine
from dataclasses import dataclass
from typing import Any

from pipeline.errors import PuppetError
from pipeline.face.faces import Faces
from pipeline.portrait import Portrait

from ..config import Config
from ..config import Stream as StreamConfig
from ..errors import ConfigError, StreamerError
from ..sources.base import Source
from ..sources.configured import make_source
from ..sources.driver import Driver
from ..stream.stream import Stream
from .commands import read_change
from .control import Control
from .gallery import Gallery
from .portraits import check_portraits, load_portraits

log = logging.getLogger(__name__)

PICTURE = {"portrait", "face", "marks"}
ELSEWHERE = PICTURE | {"engine", "sinks", "puppet"}  # the other keys of a stream are its source's


@dataclass(frozen=True)
class Plan:
    """What is to change, checked. config: as it will be; portraits, sources: by stream, new ones."""

    config: Config
    portraits: dict[str, Portrait]
    sources: dict[str, Source | None]


async def planned(control: Control, config: Config, changed: Collection[str], faces: Faces) -> Plan:
    """changed: keys of the config, such as streams.live.portrait, or streams.live for one that comes. ConfigError,
    PortraitError or SourceError for what cannot be used; nothing has been changed then."""
    _check_uploads(config, control.gallery)
    check_portraits(config)
    new = {name: stream for name, stream in config.streams.items() if name not in control.streams}
    control.outputs.check(new)
    keys = {name: {key.split(".")[2] for key in changed if key.startswith(f"streams.{name}.")} for name in config.streams}
    pictures = {name: stream for name, stream in config.streams.items() if name in new or keys[name] & PICTURE}
    portraits = await _portraits(config, pictures, control.gallery, faces)
    sources: dict[str, Source | None] = {}
    for name, stream in config.streams.items():
        if name in new or keys[name] - ELSEWHERE:
            sources[name] = source = make_source(name, stream)
            if source is not None:
                await asyncio.to_thread(source.check)
    return Plan(config, portraits, sources)


def _check_uploads(config: Config, gallery: Gallery) -> None:
    for name, stream in config.streams.items():
        if (stream.face, stream.marks) != (None, None) and gallery.has(stream.portrait):
            raise ConfigError(
                f"streams.{name}: 'face' and 'marks' are for files; those of an upload are placed in the gallery "
                f"(PUT /api/portraits/{stream.portrait}/face)"
            )


async def _portraits(config: Config, streams: dict[str, StreamConfig], gallery: Gallery, faces: Faces) -> dict[str, Portrait]:
    """Each stream's: an upload by its id, or what a config names."""
    uploads = {name: await gallery.get(stream.portrait) for name, stream in streams.items() if gallery.has(stream.portrait)}
    rest = {name: stream for name, stream in streams.items() if name not in uploads}
    return uploads | await asyncio.to_thread(load_portraits, config.model_copy(update={"streams": rest}), faces)


async def follow(control: Control, plan: Plan, leave: Callable[[Stream], Coroutine[Any, Any, None]]) -> None:
    """Do it, one stream after the other; what a stream cannot do is logged. leave: ends a stream's sessions."""
    for name in [name for name in control.streams if name not in plan.config.streams]:
        await control.remove(name, leave)
    there = {name: stream for name, stream in plan.config.streams.items() if name in control.streams}
    before = control.take(plan.config.model_copy(update={"streams": there}))
    for name, new in plan.config.streams.items():
        try:
            if name not in there:
                await control.add(name, new, plan.portraits[name], plan.sources[name])
                continue
            control.streams[name].limit(plan.config.budget)
            await change(control, plan, name, before)
        except (StreamerError, PuppetError) as exc:
            log.error("streams.%s: %s", name, exc)


async def change(control: Control, plan: Plan, name: str, before: Config) -> None:
    """Have a stream do what its config says now. before: the config until now."""
    old, new, stream = before.streams[name], plan.config.streams[name], control.streams[name]
    commands: dict[str, Any] = {
        key: value for key, value in new.puppet.model_dump(mode="json").items() if value != getattr(old.puppet, key)
    }
    if name in plan.portraits:
        commands["portrait"] = control.put_first(name, new, plan.portraits[name])
    if (engine := new.engine or plan.config.engine.name) != (old.engine or before.engine.name):
        commands["engine"] = engine
    try:
        if commands:
            await control.apply(name, read_change(commands))
    finally:
        if name in plan.sources:
            await _drive(stream, plan.sources[name], new)


async def _drive(stream: Stream, source: Source | None, config: StreamConfig) -> None:
    """Let another source drive; None for browsers."""
    before, stream.named = stream.named, None
    if before is not None and stream.driver is before:
        await stream.evict()
    if source is not None:
        stream.named = Driver(source, stream.intake, config.stale_after_s, passes=(config.driver_pass,))
        if stream.driver is None:
            stream.claim(stream.named, named=True)
            stream.named.start()
