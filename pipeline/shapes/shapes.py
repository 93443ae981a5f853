"""What a face shows, as numbers by the names of `names.SHAPES`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from .names import RANGES, REGION


def _mixed(one: Mapping[str, float], other: Mapping[str, float], weight: float) -> dict[str, float]:
    """Numbers between two mappings; what is missing is 0, and what comes to be 0 is left out."""
    both = {name: one.get(name, 0.0) * (1.0 - weight) + other.get(name, 0.0) * weight for name in {**one, **other}}
    return {name: number for name, number in both.items() if number}


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

    def mixed(self, other: Shapes, weight: float, regions: Iterable[str] | None = None) -> Shapes:
        """On the way to `other`: 0 is these, 1 the other ones. regions: those that go there; None for all."""
        if regions is None:
            return Shapes(_mixed(self.values, other.values, weight))
        changed = self.within(regions)
        rest = {name: value for name, value in self.values.items() if name not in changed.values}
        return Shapes(rest | _mixed(changed.values, other.within(regions).values, weight))


@dataclass(frozen=True)
class Held:
    """What a stream shows beside its driver's motion. shapes: added to it; instead: by region, how much of the driver's own
    motion is left out for that, 0 (the default) to 1."""

    shapes: Shapes = Shapes()
    instead: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def of(cls, shapes: Shapes, regions: Iterable[str], over: bool) -> Held:
        """The shapes of some regions, over the driver's motion or instead of it."""
        regions = frozenset(regions)
        return cls(shapes.within(regions), {} if over else dict.fromkeys(regions, 1.0))

    def __bool__(self) -> bool:
        """Whether it changes anything."""
        return bool(self.shapes.values or self.instead)

    def keeps(self, region: str) -> float:
        """The share of the driver's motion that stays, 0..1."""
        return 1.0 - self.instead.get(region, 0.0)

    def mixed(self, other: Held, weight: float) -> Held:
        """On the way to `other`: 0 is this, 1 the other one."""
        return Held(self.shapes.mixed(other.shapes, weight), _mixed(self.instead, other.instead, weight))


NOTHING = Held()
