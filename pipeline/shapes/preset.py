"""Presets: named poses that are kept as JSON, {"version": 1, "name", "shapes", "regions", "mode", "ease_s"}."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from ..errors import PuppetError
from .ease import Hold
from .names import REGION, REGIONS, SLIDERS
from .parse import parse, parse_regions
from .shapes import Shapes

VERSION = 1
EASE_S = 0.4
SHORTEST_S, LONGEST_S = 0.1, 10.0
MODES = {"over": True, "instead": False}
KEYS = ("version", "name", "shapes", "regions", "mode", "ease_s")
# It is a file's name too, on every system.
NAME = re.compile(r"\w(?:[\w '&+-]{0,22}[\w+])?")


@dataclass(frozen=True)
class Preset:
    """A pose by name. regions: where it holds; over: added to the driver's motion there, else instead of it."""

    name: str
    shapes: Shapes
    regions: frozenset[str]
    over: bool = False
    ease_s: float = EASE_S

    @classmethod
    def read(cls, data: Any) -> Preset:
        """From JSON data; PuppetError names the key that is wrong."""
        if isinstance(data, str | bytes):
            raise PuppetError("preset: a text came; send it as JSON, with the header 'Content-Type: application/json'")
        if not isinstance(data, dict):
            raise PuppetError("a preset is a JSON object: " + ", ".join(KEYS))
        if unknown := data.keys() - set(KEYS):
            raise PuppetError(f"preset: {min(map(str, unknown))[:40]}: unknown; known: {', '.join(KEYS)}")
        version = data.get("version", VERSION)
        if isinstance(version, bool) or version != VERSION:
            raise PuppetError(f"preset: version: this program reads version {VERSION}, not {version!r:.40}")
        name, mode, shapes = checked_name(data.get("name")), data.get("mode", "instead"), data.get("shapes")
        if not isinstance(mode, str) or mode not in MODES:
            raise PuppetError(f"preset '{name}': mode: {' or '.join(MODES)} is expected, not {mode!r:.40}")
        if not isinstance(shapes, dict):
            raise PuppetError(f"preset '{name}': shapes: numbers by name are expected, such as {{\"mouthSmileLeft\": 0.6}}")
        try:
            regions = parse_regions(data["regions"]) if "regions" in data else regions_of(shapes)
            return cls(name, parse(shapes).within(regions), regions, MODES[mode], _seconds(data.get("ease_s", EASE_S)))
        except PuppetError as exc:
            raise PuppetError(f"preset '{name}': {exc}") from exc

    def data(self) -> dict[str, Any]:
        """As `read` takes it."""
        mode = next(mode for mode, over in MODES.items() if over == self.over)
        regions = [region for region in REGIONS if region in self.regions]
        shapes = {name: round(value, 4) for name, value in self.shapes.values.items()}
        return {
            "version": VERSION, "name": self.name, "shapes": shapes, "regions": regions, "mode": mode, "ease_s": self.ease_s,
        }  # fmt: skip

    def hold(self) -> Hold:
        """What is to hold while it is on."""
        return hold_of(self.shapes, self.regions, self.over, self.ease_s)


def shipped() -> list[Preset]:
    """Those that come with the program."""
    return [Preset.read(data) for data in json.loads(files(__package__).joinpath("presets.json").read_text("utf-8"))]


def hold_of(shapes: Shapes, regions: frozenset[str], over: bool, ease_s: float = EASE_S) -> Hold:
    """Shapes of some regions, for `Easing`."""
    return Hold({region: dict(shapes.within({region}).values) for region in regions}, not over, ease_s)


def regions_of(shapes: Mapping[str, Any]) -> frozenset[str]:
    """Those that shapes and sliders of these names move, also where their number is 0; names that are unknown have none."""
    return frozenset(REGION[shape] for name in shapes for shape in SLIDERS.get(name, {name: 0.0}) if shape in REGION)


def checked_name(name: Any) -> str:
    """A preset's name; PuppetError for one that cannot be any."""
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise PuppetError(
            f"preset: name: 1 to 24 letters, digits, spaces or any of '&+-_ are expected, beginning with a letter or digit, "
            f"not {name!r:.40}"
        )
    return name


def _seconds(number: Any) -> float:
    if isinstance(number, bool) or not isinstance(number, int | float) or not SHORTEST_S <= number <= LONGEST_S:
        raise PuppetError(f"ease_s: a number of seconds from {SHORTEST_S:g} to {LONGEST_S:g} is expected, not {number!r:.40}")
    return float(number)
