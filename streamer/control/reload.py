"""What streams do when the config is read anew."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from pipeline.errors import PuppetError
from pipeline.face.faces import Faces
from pipeline.portrait import Portrait

from ..config import Config
from ..errors import StreamerError
from ..sources.base import Source
from ..sources.configured import make_source
from ..sources.driver import Driver
from ..stream.stream import Stream
from .commands import read_change
from .control import Control, load_portraits

log = logging.getLogger(__name__)

PICTURE = {"portrait", "face", "marks"}
ELSEWHERE = PICTURE | {"engine", "sinks", "puppet"}  # the other keys of a stream are its source's


@dataclass(frozen=True)
class Plan:
    """What is to change, checked. config: as it will be; keys: of it, by stream; portraits, sources: by stream, new ones."""

    config: Config
    keys: dict[str, set[str]]
    portraits: dict[str, Portrait]
    sources: dict[str, Source | None]


async def planned(config: Config, changed: Collection[str], faces: Faces) -> Plan:
    """ConfigError, PortraitError or SourceError for what cannot be used; nothing has been changed then."""
    keys = {name: {key.split(".")[2] for key in changed if key.startswith(f"streams.{name}.")} for name in config.streams}
    pictures = {name: stream for name, stream in config.streams.items() if keys[name] & PICTURE}
    portraits = await asyncio.to_thread(load_portraits, config.model_copy(update={"streams": pictures}), faces)
    sources: dict[str, Source | None] = {}
    for name, stream in config.streams.items():
        if keys[name] - ELSEWHERE:
            sources[name] = source = make_source(name, stream)
            if source is not None:
                await asyncio.to_thread(source.check)
    return Plan(config, keys, portraits, sources)


async def follow(control: Control, plan: Plan) -> None:
    """Do it, one stream after the other; what a stream cannot do is logged."""
    before = control.take(plan.config)
    for name, stream in control.streams.items():
        old, new = before.streams[name], plan.config.streams[name]
        stream.limit(plan.config.budget)
        change: dict[str, Any] = {
            key: value for key, value in new.puppet.model_dump(mode="json").items() if value != getattr(old.puppet, key)
        }
        if name in plan.portraits:
            moved = (new.face, new.marks) != (None, None)
            change["portrait"] = control.put_first(name, plan.portraits[name], moved)
        if (engine := new.engine or plan.config.engine.name) != (old.engine or before.engine.name):
            change["engine"] = engine
        try:
            if change:
                await control.apply(name, read_change(change))
        except (StreamerError, PuppetError) as exc:
            log.error("streams.%s: %s", name, exc)
        if name in plan.sources:
            await _drive(stream, plan.sources[name], new.stale_after_s)


async def _drive(stream: Stream, source: Source | None, stale_after_s: float) -> None:
    """Let another source drive; None for browsers."""
    before, stream.named = stream.named, None
    if before is not None and stream.driver is before:
        await stream.evict()
    if source is not None:
        stream.named = Driver(source, stream.intake, stale_after_s)
        if stream.driver is None:
            stream.claim(stream.named, named=True)
            stream.named.start()
