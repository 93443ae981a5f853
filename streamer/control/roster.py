"""Which streams there are while the server runs: those of the config, and those that were put beside them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any

from pydantic import ValidationError

from pipeline.errors import PuppetError
from pipeline.face.faces import Faces

from .. import reload
from ..config import Config, with_stream
from ..config.section import in_words
from ..errors import BadCommand, StreamerError, TooManyStreams
from ..stream.stream import Stream
from .control import Control
from .reload import change, follow, planned
from .spec import Spec


class Roster:
    """One change at a time, by request or by a config that is read anew. leave: ends a stream's sessions."""

    def __init__(self, control: Control, faces: Faces, leave: Callable[[Stream], Coroutine[Any, Any, None]]) -> None:
        self._control = control
        self._faces = faces
        self._leave = leave
        self._put: set[str] = set()  # that no config has
        self._turn = asyncio.Lock()

    async def put(self, name: str, settings: dict[str, Any], partly: bool = False) -> bool:
        """Begin a stream by the settings that a config has for one, or let one that runs go by others; whether it is new.
        settings: "spec" among them is what it is to go on with, partly: as far as that can be. ConfigError, PuppetError,
        SourceError, TooManyStreams; BadCommand for what cannot change while it runs."""
        settings = dict(settings)
        unread = []
        try:
            spec = _spec_of(settings.pop("spec", None))
        except BadCommand as exc:  # perhaps of another version
            if not partly:
                raise
            spec, unread = None, [str(exc)]
        async with self._turn:
            new = await self._put_one(name, settings)
            try:
                if spec is not None:
                    await self._control.go_on(name, spec, partly)
                elif unread:
                    self._control.stream(name).left_out = unread
            except (StreamerError, PuppetError):
                if new:
                    await self._remove(name, keep=True)  # it was another's before
                raise
            return new

    async def _put_one(self, name: str, settings: dict[str, Any]) -> bool:
        control = self._control
        config = with_stream(control.config, name, settings)
        if name in control.streams:
            await self._change(name, config)
            return False
        if len(control.streams) >= config.http.max_streams:
            raise TooManyStreams(f"there are {len(control.streams)} streams, the limit (http.max_streams); delete one")
        plan = await planned(control, config, (), self._faces)
        await control.add(name, config.streams[name], plan.portraits[name], plan.sources[name])
        self._put.add(name)
        return True

    async def _change(self, name: str, config: Config) -> None:
        control, changed = self._control, set(reload.changes(self._control.config, config))
        if fixed := sorted(key.split(".")[2] for key in changed if not reload.is_live(key)):
            raise BadCommand(f"{', '.join(fixed)}: cannot change while the stream runs; delete the stream first")
        plan = await planned(control, config, changed, self._faces)
        await change(control, plan, name, control.take(config))

    async def delete(self, name: str, keep: bool = False) -> None:
        """End a stream and everything of it, but its background picture where that is kept; UnknownStream. One that the config
        has comes back when that is read anew."""
        async with self._turn:
            await self._remove(name, keep)

    async def _remove(self, name: str, keep: bool) -> None:
        await self._control.remove(name, self._leave, keep)
        self._put.discard(name)

    async def follow(self, given: Config, use: Callable[[Config], Config]) -> tuple[list[str], list[str]]:
        """Go by a config that was read anew, as far as that can be while running; which keys that are, and which others differ.
        use: takes it for what is not of streams, and says how it is then. ConfigError, PuppetError or SourceError where nothing
        was taken."""
        async with self._turn:
            before = self._control.config
            self._put -= given.streams.keys()
            kept = {name: before.streams[name] for name in self._put}
            fresh = given.model_copy(update={"streams": given.streams | kept})
            changed = set(reload.changes(before, fresh))
            live = {key for key in changed if reload.is_live(key)}
            config = reload.followed(before, fresh)
            plan = await planned(self._control, config, live, self._faces)
            await follow(self._control, replace(plan, config=use(config)), self._leave)
            return sorted(live), sorted(changed - live)


def _spec_of(data: Any) -> Spec | None:
    try:
        return None if data is None else Spec.model_validate(data)
    except ValidationError as exc:
        error = exc.errors()[0]
        raise BadCommand(f"spec.{'.'.join(str(part) for part in error['loc'])}: {in_words(error)}") from exc
