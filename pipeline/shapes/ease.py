"""What of shapes is held at a time: what is pressed and released comes and goes smoothly, whatever the order."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from .shapes import Held, Shapes

MOST_STEP_S = 0.1  # of time in one step: after a stall it goes on slowly, not at once
SETTLED = 4.74  # time constants after which 95 % of the way is done
NEAR = 1e-3  # so much, of a shape or a degree, is not seen


@dataclass(frozen=True)
class Hold:
    """Shapes that are held. shapes: by region, values by name; instead: of the driver's motion there, else added to it. ease_s:
    how long it takes to come."""

    shapes: Mapping[str, Mapping[str, float]]
    instead: bool
    ease_s: float


@dataclass
class _Way:
    """One number on its way: a cascade of two equal low-pass filters, each step exact. It never leaves the range of what it
    is sent to, its speed is continuous, and no sequence of targets moves it faster than one alone would over the whole range:
    range / (e · time constant). (Of inputs within ±range/2, the step response's derivative, whose integral of absolute values
    is 2/e, makes no more.)"""

    ahead: float = 0.0
    value: float = 0.0

    def go(self, target: float, constants: float) -> None:
        """constants: the time that has passed, in time constants."""
        left = math.exp(-constants)
        ahead, value = self.ahead - target, self.value - target
        self.ahead, self.value = target + ahead * left, target + (value + ahead * constants) * left


@dataclass
class _Region:
    """instead: the share, on its way. top: what was on top here when it was last looked."""

    values: dict[str, _Way] = field(default_factory=dict)
    instead: _Way = field(default_factory=_Way)
    constant_s: float = 1.0
    top: Hold | None = None

    def go(self, region: str, top: Hold | None, passed_s: float) -> bool:
        """Towards what is on top here now; whether anything is still on its way."""
        if top is not None and top is not self.top:
            self.constant_s = top.ease_s / SETTLED
        self.top = top
        targets = {} if top is None else top.shapes[region]
        ways = {name: self.values.setdefault(name, _Way()) for name in {*self.values, *targets}}
        moves = [(way, targets.get(name, 0.0)) for name, way in ways.items()]
        moves.append((self.instead, float(top is not None and top.instead)))
        for way, target in moves:
            way.go(target, passed_s / self.constant_s)
        if any(max(abs(way.value - target), abs(way.ahead - target)) > NEAR for way, target in moves):
            return True
        for way, target in moves:
            way.ahead = way.value = target
        self.values = {name: way for name, way in ways.items() if name in targets}
        return False


class Easing:
    """Of one stream. holds: what is to hold, the oldest first, of which the newest wins in each region; set at any time from any
    thread. `at` belongs to one thread. moving: whether anything was still on its way there."""

    def __init__(self) -> None:
        self.holds: tuple[Hold, ...] = ()
        self.moving = False
        self._regions: dict[str, _Region] = {}
        self._time_s = float("-inf")

    def at(self, time_s: float) -> Held | None:
        """What holds then; None where nothing does. Times increase."""
        holds = self.holds
        passed_s = min(max(time_s - self._time_s, 0.0), MOST_STEP_S) if self.moving else 0.0
        self._time_s = time_s
        tops = {region: hold for hold in holds for region in hold.shapes}
        regions = {name: self._regions.get(name) or _Region() for name in {*self._regions, *tops}}
        moving = {name for name, region in regions.items() if region.go(name, tops.get(name), passed_s)}
        self.moving = bool(moving)
        self._regions = {name: region for name, region in regions.items() if name in moving or name in tops}
        if not self._regions:
            return None
        values = {name: way.value for region in self._regions.values() for name, way in region.values.items()}
        return Held(Shapes(values), {name: region.instead.value for name, region in self._regions.items()})
