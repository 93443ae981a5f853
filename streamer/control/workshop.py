"""Puppets that are being made of clips, each by a process of its own beside the streams."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory, gettempdir
from typing import Literal, Self

from pydantic import BaseModel

from pipeline.errors import PuppetError
from pipeline.puppetfile import TEXTS, About

from ..errors import CannotKeep, Overloaded, StreamerError, TooLarge, UnknownPuppet
from .gallery import Gallery
from .helper import Helper

MAX_CLIP = 300_000_000  # bytes
KEPT = 16  # finished ones that are remembered


class MakingState(BaseModel):
    """A puppet in the making. state: receiving (the clip), making, done or failed. done, total: frames looked at, total 0
    where it is not known; portrait: its id in the gallery once it is done; problem: why it failed, in words, or to those who may
    only watch that it did; warnings: what may be wrong with its pictures, in words."""

    id: str
    name: str
    state: Literal["receiving", "making", "done", "failed"] = "receiving"
    done: int = 0
    total: int = 0
    portrait: str | None = None
    problem: str = ""
    warnings: list[str] = []

    def for_viewers(self) -> Self:
        """The same without why it failed: that may say where on this machine something lies."""
        return self.model_copy(update={"problem": "it could not be made" if self.problem else ""})


class Workshop:
    """All methods belong to the event loop's thread. One puppet at a time; of the clip nothing is kept."""

    def __init__(self, gallery: Gallery) -> None:
        self._gallery = gallery
        self._states: dict[str, MakingState] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._helpers: dict[str, Helper] = {}
        self._count = 0

    def states(self) -> list[MakingState]:
        """Oldest first."""
        return list(self._states.values())

    def state(self, key: str) -> MakingState:
        """UnknownPuppet if there is none."""
        if key not in self._states:
            raise UnknownPuppet(f"no puppet '{key[:80]}' is being made; GET /api/puppets lists them")
        return self._states[key]

    async def start(self, about: About, clip: AsyncIterator[bytes]) -> MakingState:
        """Take a clip, then make its puppet beside everything else. TooLarge; Overloaded while another is being made;
        GalleryFull; CannotKeep where there is no room for the clip."""
        if any(s.state in ("receiving", "making") for s in self._states.values()):
            raise Overloaded("a puppet is being made already; try again when it is done")
        self._gallery.room_for()
        with _room_for(about.name):
            folder = TemporaryDirectory(prefix="puppetcast-")
        self._count += 1
        state = MakingState(id=f"puppet-{self._count}", name=about.name)
        self._states[state.id] = state
        for old in list(self._states)[:-KEPT]:
            self._states.pop(old)
        try:
            with _room_for(about.name):
                await _receive(clip, Path(folder.name) / "clip")
            self.state(state.id)  # it may have been forgotten meanwhile
        except BaseException:  # a client that hangs up cancels this: whatever ends it, nothing of the clip stays
            folder.cleanup()
            self._states.pop(state.id, None)
            raise
        state.state = "making"
        self._helpers[state.id] = Helper()
        self._tasks[state.id] = asyncio.create_task(self._make(state, about, folder), name=state.id)
        return state

    async def forget(self, key: str) -> None:
        """End a making, or forget what has ended; what came of it stays in the gallery."""
        self.state(key)
        await self._end(key)
        self._states.pop(key, None)

    async def close(self) -> None:
        """End all that are being made."""
        await asyncio.gather(*(self._end(key) for key in list(self._tasks)))

    async def _end(self, key: str) -> None:
        task = self._tasks.get(key)
        if task is not None:
            self._helpers[key].kill()
            await asyncio.gather(task, return_exceptions=True)

    async def _make(self, state: MakingState, about: About, folder: TemporaryDirectory[str]) -> None:
        clip, out = Path(folder.name) / "clip", Path(folder.name) / "made.puppet"
        try:
            problem = await asyncio.to_thread(self._run, state, about, clip, out)
            if problem:
                state.problem, state.state = problem, "failed"
            else:
                data = await asyncio.to_thread(out.read_bytes)
                info = await self._gallery.add(about.name, data, None, whose=about.terms.whose)
                state.portrait, state.state = info.id, "done"
        except (PuppetError, StreamerError, OSError) as exc:
            state.problem, state.state = str(exc), "failed"
        finally:
            self._tasks.pop(state.id, None)
            self._helpers.pop(state.id, None)
            await asyncio.to_thread(folder.cleanup)

    def _run(self, state: MakingState, about: About, clip: Path, out: Path) -> str:
        """On a thread: let the process make the puppet; what is wrong, or nothing."""

        def told(first: str, rest: str) -> None:
            if first.isdigit():
                state.done, state.total = int(first), int(rest)
            elif first == "warning":
                state.warnings.append(rest)

        texts = {key: getattr(about, key) for key in TEXTS}
        return self._helpers[state.id].run({"clip": str(clip), "name": about.name, "out": str(out), "about": texts}, told)


@contextmanager
def _room_for(name: str) -> Iterator[None]:
    try:
        yield
    except OSError as exc:
        raise CannotKeep(f"{name}: the clip cannot be kept in {gettempdir()} ({exc.strerror or exc}); free some space") from exc


async def _receive(clip: AsyncIterator[bytes], path: Path) -> None:
    size = 0
    with path.open("wb") as file:
        async for part in clip:
            size += len(part)
            if size > MAX_CLIP:
                raise TooLarge(f"the clip is larger than {MAX_CLIP // 1_000_000} MB; a minute is enough")
            await asyncio.to_thread(file.write, part)
