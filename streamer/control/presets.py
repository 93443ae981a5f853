"""Presets that are kept: those that come with the program, and the user's own beside the uploaded portraits; nine have keys."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

from platformdirs import user_data_path

from pipeline.errors import PuppetError
from pipeline.outfile import finished
from pipeline.shapes.preset import Preset, shipped

from ..config import Portraits
from ..errors import BadPreset, CannotKeep, PresetsFull, UnknownPreset
from ..jsontext import read_json

log = logging.getLogger(__name__)

MAX_COUNT = 100
MAX_BYTES = 16 * 1024  # of one
KEYS = 9
HOTKEYS = "hotkeys.json"  # a list of names; no preset is called so, as no name has a point


class Presets:
    """A file for each, in a folder that others may change while none of it is read; it is read once. changes: counted."""

    def __init__(self, config: Portraits) -> None:
        folder = (config.folder or user_data_path("puppetcast") / "portraits").expanduser()
        self._folder = folder / "presets" if config.keep else None
        self.shipped = {preset.name: preset for preset in shipped()}
        self._own = self._read()
        self._hotkeys = self._read_hotkeys()
        self.changes = 0

    def all(self) -> dict[str, Preset]:
        """By name: the shipped ones, of which the user's own take the place where they have the same name, then the others."""
        return self.shipped | self._own

    def get(self, name: str) -> Preset:
        """The preset of that name; UnknownPreset."""
        found = self.all().get(name)
        if found is None:
            raise UnknownPreset(f"no preset '{name[:40]}'; presets: {', '.join(self.all())}")
        return found

    def is_own(self, name: str) -> bool:
        """Whether it is the user's."""
        return name in self._own

    def hotkey(self, name: str) -> int | None:
        """Its key, 1 to 9, if it has one."""
        return self._hotkeys.index(name) + 1 if name in self._hotkeys else None

    def put(self, name: str, data: Any, hotkey: int | None = None) -> Preset:
        """Keep a preset, JSON data, under a name. hotkey: which it gets; else it keeps the one that it has. BadPreset,
        PresetsFull, CannotKeep."""
        given = data.get("name", name) if isinstance(data, dict) else name
        if given != name:
            raise BadPreset(f"preset: name: '{str(given)[:40]}' is not the name in the address, '{name[:40]}'")
        try:
            preset = Preset.read({**data, "name": name} if isinstance(data, dict) else data)
        except PuppetError as exc:
            raise BadPreset(str(exc)) from exc
        twin = next((other for other in self.all() if other.casefold() == name.casefold() and other != name), None)
        if twin is not None:
            raise BadPreset(f"preset: name: there is '{twin}' already, and not every disk tells '{name}' from it")
        if name not in self._own and len(self._own) >= MAX_COUNT:
            raise PresetsFull(f"preset '{name}': there are {MAX_COUNT} presets already, as many as are kept; delete one first")
        self._write(f"{name}.json", preset.data())
        self._own[name] = preset
        if hotkey is not None:
            self._assign(name, hotkey)
        self.changes += 1
        return preset

    def delete(self, name: str) -> Preset | None:
        """Delete one of the user's own; the shipped one that is there in its place again, if any. UnknownPreset, CannotKeep."""
        self.get(name)
        if name not in self._own:
            raise BadPreset(f"preset '{name}' comes with the program and cannot be deleted")
        self._change(name, lambda: self._path(f"{name}.json").unlink(missing_ok=True))
        del self._own[name]
        if name in self._hotkeys:
            self._assign(name, None)
        self.changes += 1
        return self.shipped.get(name)

    def _assign(self, name: str, hotkey: int | None) -> None:
        """Give a preset that key, or none, instead of the one that it has."""
        keys = ["" if other == name else other for other in self._hotkeys]
        if hotkey is not None:
            keys[hotkey - 1] = name
        keys = self._filled(keys)
        self._write(HOTKEYS, keys)
        self._hotkeys = keys

    def _filled(self, keys: list[str]) -> list[str]:
        """The same; a key that nobody has goes back to the shipped preset that had it first, unless that one has another."""
        return [key or ("" if first in keys else first) for key, first in zip(keys, self._first_hotkeys(), strict=True)]

    def _first_hotkeys(self) -> list[str]:
        return [*self.shipped, *[""] * KEYS][:KEYS]

    def _path(self, name: str) -> Path:
        return (self._folder or Path()) / name

    def _write(self, name: str, data: Any) -> None:
        def write() -> None:
            self._path(name).parent.mkdir(parents=True, exist_ok=True)
            with finished(self._path(name)) as part:
                part.write_text(json.dumps(data, indent=1), "utf-8")

        self._change(name.removesuffix(".json"), write)

    def _change(self, name: str, work: Callable[[], object]) -> None:
        if self._folder is None:
            return
        try:
            work()
        except (OSError, PuppetError) as exc:
            raise CannotKeep(f"preset '{name}': cannot be kept ({exc}); free some space, or set portraits.folder") from exc

    def _read(self) -> dict[str, Preset]:
        if self._folder is None:
            return {}
        found: dict[str, Preset] = {}
        for path in sorted(self._folder.glob("*.json")):
            if path.name == HOTKEYS:
                continue
            if len(found) == MAX_COUNT:
                log.warning("%s: more than %d presets; the rest is not read", self._folder, MAX_COUNT)
                break
            try:
                preset = Preset.read(_loaded(path))
                found[preset.name] = preset
            except (OSError, ValueError, PuppetError) as exc:
                log.warning("%s is left out: %s", path, exc)
        return found

    def _read_hotkeys(self) -> list[str]:
        default = self._first_hotkeys()
        path = self._path(HOTKEYS)
        if self._folder is None or not path.exists():
            return default
        try:
            keys = _loaded(path)
            if isinstance(keys, list) and len(keys) == KEYS and all(isinstance(name, str) for name in keys):
                return self._filled(keys)
            problem: object = f"a list of {KEYS} names is expected"
        except (OSError, ValueError) as exc:
            problem = exc
        log.warning("%s is left out: %s", path, problem)
        return default


def _loaded(path: Path) -> Any:
    if path.stat().st_size > MAX_BYTES:
        raise ValueError(f"larger than {MAX_BYTES // 1024} KB")
    return read_json(path.read_text("utf-8"))
