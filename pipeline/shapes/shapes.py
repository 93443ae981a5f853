"""What a face shows, as numbers by the names of `names.SHAPES`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from .names import RANGES, REGION


@dataclass(frozen=True)
class Shapes:
    """values: within `names.RANGES`; shapes that are left out are at rest."""

    values: Mapping[str, float] = field(default_factory=dict)

    def __getitem__(self, name: str) -> float:
        return self.values.get(name, 0.0)

    def within(self, regions: Iterable[str]) -> Shapes:
        """Those of some regions alone."""
        return Shapes({name: value for name, value in self.values.items() if REGION[name] in regions})

    def plus(self, other: Shapes) -> Shapes:
        """Both together, as far as each shape can go."""
        values = dict(self.values)
        for name, value in other.values.items():
            low, high = RANGES[name]
            values[name] = min(max(values.get(name, 0.0) + value, low), high)
        return Shapes(values)


@dataclass(frozen=True)
class Held:
    """What a stream shows beside its driver's motion. shapes: added to it; instead: by region, how much of the driver's own
    motion is left out for that, 0 (the default) to 1."""

    shapes: Shapes = Shapes()
    instead: Mapping[str, float] = field(default_factory=dict)

    def __bool__(self) -> bool:
        """Whether it changes anything."""
        return bool(self.shapes.values or self.instead)

    def keeps(self, region: str) -> float:
        """The share of the driver's motion that stays, 0..1."""
        return 1.0 - self.instead.get(region, 0.0)


NOTHING = Held()
