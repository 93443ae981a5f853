"""What the fleet is to do: its streams, and which workers are being emptied; and where workers were. It outlives the director."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

from .base import At, DirectorAway

log = logging.getLogger(__name__)

STREAM, DRAIN, WORKER = "stream:", "drain:", "worker:"
START = "start"


class Store(Protocol):
    """Texts by key, that are there after a restart. Every method may raise OSError."""

    async def read(self) -> dict[str, str]:
        """All of them."""

    async def keep(self, key: str, text: str) -> None: ...

    async def forget(self, key: str) -> None: ...


@dataclass(frozen=True)
class Stream:
    """settings: as a config has them; spec: what it did when it was last asked, None before."""

    settings: dict[str, Any] = field(default_factory=dict)
    spec: dict[str, Any] | None = None

    @property
    def waits(self) -> bool:
        """Whether only a browser can drive it: then moving it ends its driver's session."""
        return self.settings.get("source", "browser") == "browser" and not (self.spec or {}).get("demo")


class Wanted:
    """The streams by name. What is to be kept, and the store does not take now, holds all the same, and is given to it again with
    the next change: DirectorAway. draining: workers by their epochs, as another process of the same name is a fresh one. met:
    workers that the director before this one knew. start, configured: which start of the fleet was the last one, and the settings
    of the streams that its configuration had."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.streams: dict[str, Stream] = {}
        self._kept: dict[str, Stream] = {}
        self._lost: set[str] = set()  # that could not begin, and that the store may have
        self.draining: set[str] = set()
        self.met: list[At] = []
        self.start = ""
        self.configured: dict[str, dict[str, Any]] = {}

    async def read(self) -> None:
        """All that was kept."""
        for key, text in (await self._store.read()).items():
            if key.startswith(STREAM):
                self.streams[key.removeprefix(STREAM)] = self._kept[key.removeprefix(STREAM)] = Stream(**json.loads(text))
            elif key.startswith(DRAIN):
                self.draining.add(key.removeprefix(DRAIN))
            elif key.startswith(WORKER):
                self.met.append(At(**json.loads(text)))
            elif key == START:
                self.start, self.configured = json.loads(text)

    async def keep(self, name: str, stream: Stream) -> None:
        """From now on it is wanted so."""
        self.streams[name] = stream
        if self._kept.get(name) != stream:
            with _kept():
                await self._store.keep(STREAM + name, json.dumps({"settings": stream.settings, "spec": stream.spec}))
            self._kept[name] = stream
            await self._tidy()

    async def forget(self, name: str) -> None:
        """It is wanted no more. DirectorAway, and it is as before, where the store does not take that now."""
        self._kept.pop(name, None)  # what comes of a question that failed is not known
        with _kept():
            await self._store.forget(STREAM + name)
        self.streams.pop(name, None)

    async def take_back(self, name: str) -> None:
        """One that could not begin is not wanted, whatever the store says: that may have it, or get it yet, and is asked to
        forget it again with the next change."""
        self.streams.pop(name, None)
        self._kept.pop(name, None)
        self._lost.add(name)
        with suppress(DirectorAway):
            await self._tidy()

    async def _tidy(self) -> None:
        for name in self._lost - self.streams.keys():
            with _kept():
                await self._store.forget(STREAM + name)
        self._lost.clear()

    async def configure(self, start: str, streams: dict[str, dict[str, Any]]) -> None:
        """Go by the configuration of a start: nothing where that was the last one, which its director outlives. Else a stream
        whose settings are others than at the start before begins by them, and one that is missing now has ended."""
        if start == self.start:
            return
        for name in [name for name in self.configured if name in self.streams and name not in streams]:
            log.info("stream '%s' is not in the configuration any more: it has ended", name)
            await self.forget(name)
        for name, settings in streams.items():
            if name in self.streams and settings == self.configured.get(name):
                continue
            if name in self.streams:
                log.info("stream '%s' begins by what the configuration says of it now; what it did before is forgotten", name)
            await self.keep(name, Stream(settings))
        with _kept():
            await self._store.keep(START, json.dumps([start, streams]))
        self.start, self.configured = start, streams

    async def drain(self, epoch: str) -> None:
        """That process is to be emptied."""
        self.draining.add(epoch)
        with _kept():
            await self._store.keep(DRAIN + epoch, "1")

    async def meet(self, at: At) -> None:
        """A worker is there."""
        with _kept():
            await self._store.keep(WORKER + at.worker, json.dumps(asdict(at)))

    async def ended(self, epoch: str) -> None:
        """That process is no more, or not to be emptied after all."""
        if epoch in self.draining:
            self.draining.discard(epoch)
            with _kept():
                await self._store.forget(DRAIN + epoch)


@contextmanager
def _kept() -> Iterator[None]:
    try:
        yield
    except OSError as exc:
        raise DirectorAway(f"what the fleet is to do cannot be kept now: {exc}") from exc
