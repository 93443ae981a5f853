"""Shapes and regions from what people and programs write."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ..errors import PuppetError
from .names import RANGES, REGIONS, SLIDERS, slider_range
from .shapes import Shapes


def parse(mapping: Mapping[str, Any]) -> Shapes:
    """Shapes of numbers by the names of shapes and sliders; what moves one shape twice is added up, as far as it can go.
    PuppetError names what is unknown, no number, or out of range."""
    shapes = Shapes()
    for name, number in mapping.items():
        shapes = shapes.plus(Shapes(dict(_parts(name, number))))
    return shapes


def _parts(name: str, number: Any) -> Iterator[tuple[str, float]]:
    if name not in RANGES and name not in SLIDERS:
        raise PuppetError(f"shape '{name}' is not known; sliders: {', '.join(SLIDERS)}; or a shape such as mouthSmileLeft")
    low, high = slider_range(name) if name in SLIDERS else RANGES[name]
    if isinstance(number, bool) or not isinstance(number, int | float) or not low <= number <= high:
        raise PuppetError(f"shape '{name}': a number from {low:g} to {high:g} is expected, not {number!r:.40}")
    for shape, factor in SLIDERS.get(name, {name: 1.0}).items():
        least, most = RANGES[shape]
        part = min(max(factor * number, least), most)
        if part:
            yield shape, part


def parse_regions(names: Any) -> frozenset[str]:
    """Regions by name; PuppetError names one that is unknown."""
    if not isinstance(names, list | tuple | set | frozenset):
        raise PuppetError(f"regions: a list of {', '.join(REGIONS)} is expected, not {names!r:.40}")
    for name in names:
        if name not in REGIONS:
            raise PuppetError(f"region {name!r:.40} is not known; regions: {', '.join(REGIONS)}")
    return frozenset(names)
