"""The portraits: bundled, named by the config, uploaded."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import math
import re
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ParamSpec, TypeVar

import numpy as np
from platformdirs import user_data_path
from pydantic import BaseModel

from pipeline import malloc, puppetfile
from pipeline.engine import Engine
from pipeline.errors import ClipError, PortraitError
from pipeline.face.canonical import five_points
from pipeline.face.faces import Faces
from pipeline.face.motion import Array
from pipeline.pictures.decode import Decoded, decode
from pipeline.pictures.formats import is_foreign, taken
from pipeline.portrait import Portrait, bundled, bundled_names, pack_puppet, read_portrait
from pipeline.puppet.moving import is_moving, kept, told
from pipeline.terms import OnlyFace, Terms, Whose

from ..config import Engine as Limits
from ..config import Portraits
from ..errors import BadCommand, GalleryFull, UnknownPortrait
from ..stream.stream import Shown
from .helper import Helper
from .preparing import Preparing
from .shelf import Box, Kept, Shelf, thumbnail
from .terms import DriversChange, changed, said

log = logging.getLogger(__name__)

MAX_LOADED = 4  # uploads in memory that no stream shows; a large one takes 12 MB, and a clip 150: none of those is kept
MAX_NAME = 80
FOREIGN = (
    "{}: not a picture, clip or puppet that can be read, or damaged; {} pictures are taken, and MP4, MOV, WebM, MKV and many "
    "other clips"
)
MEGA = 1_000_000
NOT_KEPT = Portraits(keep=False)
P = ParamSpec("P")
T = TypeVar("T")


class PortraitInfo(BaseModel):
    """A portrait of the gallery. faces: x, y, width, height of each face in it as shares of the picture, from left to
    right; face: which of them moves; eyes_shut: in the picture, so that no driver opens them. pictures: 1, or how many
    pictures of one face a puppet has; moves: it is a clip, which goes on while it is driven; label: what its maker wants
    viewers to be told. uploaded: it can be renamed and deleted. whose: face it shows, as whoever brought it says; needs_pass:
    only who has its pass may drive it; only_face: for whose face it moves."""

    id: str
    name: str
    bundled: bool
    uploaded: bool
    faces: list[Box]
    face: int
    eyes_shut: bool
    pictures: int
    moves: bool
    label: str
    whose: Whose
    needs_pass: bool
    only_face: OnlyFace


class Gallery:
    """All methods belong to the event loop's thread. in_use: ids that must not be forgotten; leave: lets go of one that is
    deleted, but where it is shown."""

    def __init__(
        self, limits: Limits, faces: Faces, in_use: Callable[[], set[str]], frame_s: float = math.inf,
        config: Portraits = NOT_KEPT, leave: Callable[[str], None] = lambda key: None,
    ) -> None:  # fmt: skip
        """frame_s: see `Preparing`. config: where uploads are kept, and how many."""
        self._faces = faces
        self._in_use, self._leave = in_use, leave
        self._config = config
        folder = (config.folder or user_data_path("puppetcast") / "portraits").expanduser()
        self._max_pixels = round(config.max_megapixels * MEGA)
        self._shelf = Shelf(folder if config.keep else None)
        self._preparing = Preparing(limits, in_use, frame_s)
        self._own: dict[str, Portrait] = {}  # of the config, and bundled ones of which another face was chosen
        self._loaded: OrderedDict[str, tuple[Kept | None, Portrait]] = OrderedDict()  # used last at the end
        self._thread = ThreadPoolExecutor(1, "uploads")
        self._helper = Helper()
        self._one_at_a_time = asyncio.Lock()  # of what decodes or writes: a large picture takes some 400 MB for a second
        self.changes = 0  # so many times something was added, changed or deleted

    def close(self) -> None:
        """Remove uploads that are not to be kept, and end what still looks at one."""
        self._helper.kill()
        self._thread.shutdown(wait=False, cancel_futures=True)
        self._shelf.close()

    def keys(self) -> list[str]:
        """The ids: bundled portraits first, then the config's, then uploads, newest last."""
        return list(dict.fromkeys([*bundled_names(), *self._own, *self._shelf.look()]))

    async def infos(self) -> list[PortraitInfo]:
        """All portraits, in the order of `keys`."""
        return await asyncio.to_thread(self._infos)

    def _infos(self) -> list[PortraitInfo]:
        kept = self._shelf.look()
        others = [key for key in dict.fromkeys([*bundled_names(), *self._own]) if key not in kept]
        return [self._info_of(key) for key in others] + [_of_upload(key, about) for key, about in kept.items()]

    def _info_of(self, key: str) -> PortraitInfo:
        return _of(key, self._own[key]) if key in self._own else _of_bundled(key)

    def info(self, key: str) -> PortraitInfo:
        """UnknownPortrait if there is none."""
        about = self._shelf.about(key)
        self.check(key)
        return self._info_of(key) if about is None else _of_upload(key, about)

    def check(self, key: str) -> None:
        """UnknownPortrait if there is none; what a stream still shows is there, if it was deleted or not."""
        if not (key in self._loaded and key in self._in_use()):
            self._check_listed(key)

    def _check_listed(self, key: str) -> None:
        """UnknownPortrait if there is none; what was deleted is not changed any more, if a stream still shows it or not."""
        if not self.is_here(key):
            raise UnknownPortrait(f"no portrait '{key[:80]}'; GET /api/portraits lists them")

    def is_here(self, key: str) -> bool:
        """Whether it may be chosen: it has not been deleted."""
        return key in self._own or key in bundled_names() or self.has(key)

    def lasts(self, key: str) -> bool:
        """Whether it is there after a restart."""
        return self._config.keep or self._shelf.about(key) is None

    async def get(self, key: str) -> Portrait:
        """UnknownPortrait if there is none, PortraitError if it is damaged."""
        self.check(key)
        if key in self._own:
            return self._own[key]
        about = self._shelf.about(key)
        before: Kept | None
        portrait: Portrait | None
        before, portrait = self._loaded.get(key, (None, None))
        if portrait is None or (about is not None and about != before):  # another process may have changed it
            portrait = await asyncio.to_thread(self._shelf.load if about is not None else bundled, key)
            if portrait is None:
                raise UnknownPortrait(f"no portrait '{key[:80]}'; it has just been deleted")
            self._preparing.forget(key)
        self._loaded[key] = about or before, portrait
        self._loaded.move_to_end(key)
        spare = [old for old in self._loaded if old not in self._in_use() and old != key]
        clips = [old for old in spare if self._loaded[old][1].loop is not None]
        for old in dict.fromkeys([*clips, *spare[: max(len(spare) - MAX_LOADED, 0)]]):
            self._loaded.pop(old)
        return portrait

    def put(self, where: str, portrait: Portrait, changed: bool = False) -> str:
        """Take a portrait that the config names, by a bundled one's name or a file's; its id, which tells nobody where the file
        lies. changed: it is not as it would be found again under that name."""
        key = where if where in bundled_names() or self.has(where) else _key_of_own(portrait)
        if changed or key != where:
            self._own.setdefault(key, portrait)
        return key

    def has(self, key: str) -> bool:
        """Whether an upload has that id."""
        return self._shelf.about(key) is not None

    def let_go(self, key: str) -> None:
        """The config names it no more; a stream that shows it goes on with it."""
        if key not in bundled_names() and key not in self._in_use():
            self._own.pop(key, None)
            self._preparing.forget(key)

    async def thumbnail(self, key: str) -> bytes:
        """A small JPEG around the face; UnknownPortrait."""
        self.check(key)
        if key in bundled_names() and key not in self._own:
            return await asyncio.to_thread(_thumbnail_of_bundled, key)
        small = await asyncio.to_thread(self._shelf.thumbnail, key)
        return await asyncio.to_thread(thumbnail, await self.get(key)) if small is None else small

    async def aside(self, work: Callable[[], T]) -> T:
        """Do what reads an upload, but keeps nothing of it, in its turn among the others."""
        async with self._one_at_a_time:
            return await self._beside(work)

    async def add(
        self, name: str, data: bytes, marks: list[list[float]] | None, going: Sequence[str] = (), whose: Whose | None = None
    ) -> PortraitInfo:
        """Take an uploaded picture, puppet or clip; PortraitError if it cannot be used, CannotKeep if it cannot be written,
        GalleryFull unless `going` names the ids of those that have to go for it, BadCommand if it has to be said whose face it
        is. The same one again keeps its name, and what is said now of whose face it is."""
        points = None if marks is None else np.array(marks, np.float32)
        name = named(name)
        async with self._one_at_a_time:
            portrait, packed, clip = await self._beside(partial(self._read, name, data, points, whose))
            key = _key(portrait, packed, points)
            if self._shelf.about(key) is None:
                gone = self.room_for(len(packed) + len(clip), going)
                await asyncio.to_thread(self._shelf.put, key, portrait, packed, clip)
                for old in gone:
                    await self._remove(old)
                self._preparing.forget(key)
                self._happened()
                log.info("new in the gallery: '%s'", name)
        info = self.info(key)
        return info if whose in (None, Whose.NOT_SAID, info.whose) else await self.say_whose(key, whose)

    async def preview(self, name: str, data: bytes) -> Decoded:
        """A picture as it is read; PortraitError."""
        async with self._one_at_a_time:
            return await self._beside(partial(_tidy, decode, data, name, self._config.ground, self._max_pixels))

    async def _beside(self, work: Callable[[], T]) -> T:
        """On the thread of the uploads: those of the others are for what viewers wait for."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    def _read(self, name: str, data: bytes, marks: Any, whose: Whose | None) -> tuple[Portrait, bytes, bytes]:
        """A portrait, and the puppet file in which it is kept: its own, or one of a single picture without what else came
        with that; and the clip that it is of."""
        clip = None if marks is not None else _tidy(self._read_clip, name, data)
        if clip is not None:
            portrait, packed = clip
            return replace(portrait, terms=said(portrait.terms, whose, self._config)), packed, data
        portrait = _tidy(read_portrait, name, data, self._faces, marks, self._config.ground, self._max_pixels)
        portrait = replace(portrait, terms=said(portrait.terms, whose, self._config))
        about = puppetfile.About(portrait.name, "one picture")
        return portrait, data if portrait.about is not None else pack_puppet(portrait, about), b""

    def _read_clip(self, name: str, data: bytes) -> tuple[Portrait, bytes] | None:
        """A clip as portrait, and the puppet file of its key pictures; None for anything else."""
        if puppetfile.is_puppet(data):
            return None
        with TemporaryDirectory(prefix="puppetcast-") as folder:
            path = Path(folder) / "clip"
            path.write_bytes(data)
            try:
                if not is_moving(path):
                    if is_foreign(path):
                        raise PortraitError(FOREIGN.format(name, taken()))
                    return None
            except ClipError as exc:
                raise PortraitError(str(exc).replace(str(path), name)) from exc
            if problem := self._follow(path, name):
                raise PortraitError(problem)
            return kept(name, path.parent)

    def _follow(self, clip: Path, name: str) -> str:
        """Let a process find the face in all its pictures, beside the clip; what is wrong, or nothing."""
        progress, self._helper = told(name), Helper()
        task = {"clip": str(clip), "name": name, "out": str(clip.parent), "tracker": self._faces.name}
        return self._helper.run(task, lambda done, total: progress(int(done), int(total)) if done.isdigit() else None)

    def room_for(self, size: int = 10 * MEGA, going: Sequence[str] = ()) -> list[str]:
        """Which uploads have to go for another of `size` bytes; GalleryFull unless all of them are among `going`."""
        kept, in_use = self._shelf.look(), self._in_use()
        count, total = len(kept) + 1 - self._config.max_count, sum(about.size for about in kept.values()) + size
        needed: list[str] = []
        for key in (key for key in kept if key not in in_use):
            if count <= len(needed) and total <= self._config.max_mb * MEGA:
                break
            needed.append(key)
            total -= kept[key].size
        if count > len(needed) or total > self._config.max_mb * MEGA:
            raise GalleryFull("the gallery is full of portraits that are shown; raise portraits.max_count or max_mb", {})
        if not set(needed) <= set(going):
            names = ", ".join(f"'{kept[key].name}'" for key in needed)
            raise GalleryFull(
                f"the gallery is full ({len(kept)} uploads): {names} would have to go for this one; delete some, or name them "
                "in 'going'", {k: kept[k].name for k in needed},
            )  # fmt: skip
        return needed

    async def choose_face(self, key: str, face: int) -> PortraitInfo:
        """Let another face of a picture move, when it is shown next; PortraitError if there is none."""
        return await self._face(key, lambda portrait: portrait.with_face(face))

    async def marks(self, key: str) -> list[list[float]]:
        """Where the face that moves lies: five points, see `pipeline.face.marks`, as shares of the picture."""
        portrait = await self.get(key)
        return (five_points(portrait.landmarks) / portrait.image.shape[1::-1]).tolist()

    async def place_face(self, key: str, marks: Sequence[Sequence[float]]) -> PortraitInfo:
        """Place the face that moves by hand, from when it is shown next. marks: as `marks` tells them. MarksError;
        PortraitError for a puppet."""
        return await self._face(key, lambda portrait: portrait.with_marks(np.array(marks) * portrait.image.shape[1::-1]))

    async def _face(self, key: str, work: Callable[[Portrait], Portrait]) -> PortraitInfo:
        async with self._one_at_a_time:
            self._check_listed(key)
            portrait = work(await self.get(key))
            if self._shelf.about(key) is None:
                self._own[key] = portrait
            else:
                await asyncio.to_thread(self._shelf.keep_face, key, portrait)
            self._preparing.forget(key)
            self._happened()
        return self.info(key)

    async def rename(self, key: str, name: str) -> PortraitInfo:
        """Call an upload otherwise; UnknownPortrait, BadCommand, CannotKeep."""
        self._check_uploaded(key)
        async with self._one_at_a_time:
            await asyncio.to_thread(self._shelf.rename, key, named(name))
            self._happened()
        return self.info(key)

    async def say_whose(self, key: str, whose: Whose) -> PortraitInfo:
        """Say whose face an upload shows; UnknownPortrait, BadCommand, CannotKeep."""
        info, _ = await self._restrict(key, lambda terms: (replace(terms, whose=whose), ""))
        return info

    async def restrict(self, key: str, change: DriversChange, enrolled: Array | None) -> tuple[PortraitInfo, str]:
        """Say who may drive an upload, from when it is shown next; its info, and the pass that was made, "" for none. enrolled:
        proportions of the face that must. UnknownPortrait, BadCommand, CannotKeep."""
        return await self._restrict(key, lambda terms: changed(terms, change, enrolled))

    async def _restrict(self, key: str, work: Callable[[Terms], tuple[Terms, str]]) -> tuple[PortraitInfo, str]:
        self._check_uploaded(key)
        async with self._one_at_a_time:
            terms, given = work((await self.get(key)).terms)
            await asyncio.to_thread(self._shelf.restrict, key, terms)
            self._happened()
        return self.info(key), given

    async def delete(self, key: str) -> None:
        """Delete an upload; a stream that shows it goes on with it. UnknownPortrait, BadCommand, CannotKeep."""
        self._check_uploaded(key)
        async with self._one_at_a_time:
            self._leave(key)
            if key in self._in_use():
                await self.get(key)
            await self._remove(key)
            self._happened()
            log.info("deleted from the gallery: '%s'", key)

    async def prepared(self, engine: Engine, key: str) -> Shown:
        """A portrait for an engine; prepared on a thread."""
        return await self._preparing.shown(engine, key, await self.get(key))

    async def _remove(self, key: str) -> None:
        await asyncio.to_thread(self._shelf.remove, key)
        if key not in self._in_use():
            self._loaded.pop(key, None)
            self._preparing.forget(key)

    def _check_uploaded(self, key: str) -> None:
        if self._shelf.about(key) is None:
            self._check_listed(key)
            raise BadCommand(f"'{key}' was not uploaded; only uploads can be renamed, restricted and deleted")

    def _happened(self) -> None:
        self.changes += 1


def named(name: str) -> str:
    """A name as it is kept; BadCommand if nothing is left of it."""
    name = " ".join("".join(letter if letter.isprintable() else " " for letter in name).split())[:MAX_NAME]
    if not name:
        raise BadCommand("name: a portrait's name has at least one letter")
    return name


def _key(portrait: Portrait, packed: bytes, marks: Any) -> str:
    """An id by the content: the same picture has the same one, and another one never has it."""
    content = hashlib.sha256(packed if portrait.about is not None else portrait.image.tobytes())
    if portrait.loop is not None:
        content.update(portrait.loop.yuv.tobytes())
    content.update(repr((portrait.image.shape, None if marks is None else marks.tolist())).encode())
    return f"upload-{content.hexdigest()[:16]}"


def _key_of_own(portrait: Portrait) -> str:
    """An id by the file's name and its content: two files may have one name, and the copies of one other marks."""
    content = hashlib.sha256()
    for image, landmarks in [(portrait.image, portrait.landmarks), *((each.image, each.landmarks) for each in portrait.more)]:
        content.update(image.tobytes() + landmarks.tobytes())
    if portrait.loop is not None:
        content.update(portrait.loop.yuv.tobytes())
    word = re.sub("[^a-z0-9]+", "-", Path(portrait.name).stem.lower()).strip("-")
    return f"{word or 'portrait'}-{content.hexdigest()[:8]}"


def _tidy(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """What a picture took while it was decoded goes back to the system; each of the threads would keep as much."""
    try:
        return work(*args, **kwargs)
    finally:
        malloc.give_back()


@cache
def _of_bundled(name: str) -> PortraitInfo:
    return _of(name, bundled(name))


@cache
def _thumbnail_of_bundled(name: str) -> bytes:
    return thumbnail(bundled(name))


def _of(key: str, portrait: Portrait) -> PortraitInfo:
    return PortraitInfo(
        id=key, name=portrait.title or portrait.name, bundled=key in bundled_names(), uploaded=False, faces=portrait.boxes(),
        face=portrait.face, eyes_shut=portrait.eyes_shut, pictures=portrait.pictures,
        moves=portrait.loop is not None, label="" if portrait.about is None else portrait.about.label, **_terms(portrait.terms),
    )  # fmt: skip


def _of_upload(key: str, about: Kept) -> PortraitInfo:
    return PortraitInfo(
        id=key, name=about.name, bundled=False, uploaded=True, faces=about.faces, face=about.face, eyes_shut=about.eyes_shut,
        pictures=about.pictures, moves=about.moves, label=about.label, **_terms(about.terms),
    )  # fmt: skip


def _terms(terms: Terms) -> dict[str, Any]:
    return {"whose": terms.whose, "needs_pass": bool(terms.lock), "only_face": terms.face}
