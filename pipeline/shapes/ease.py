"""What of shapes is held at a time: what is pressed and released comes and goes smoothly, whatever the order."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from .shapes import NOTHING, Held, Shapes

# What there is to choose for what comes and goes: gets what will hold in the next picture if it has a share of its speed, 0..1,
# and tells the share that it may have.
Room = Callable[[Callable[[float], Held]], float]

MOST_STEP_S = 0.1  # of time in one step: after a stall it goes on slowly, not at once
RAMP = 0.2  # of a way, that its speed takes to rise, and to fall again
FASTEST = 1 / (1 - RAMP)  # speed in between, in ways a way's time


def free(ahead: Callable[[float], Held]) -> float:
    """All of it: nothing else moves."""
    return 1.0


@dataclass(frozen=True)
class Hold:
    """Shapes that are held. shapes: by region, values by name; instead: of the driver's motion there, else added to it. ease_s:
    how long it takes to come."""

    shapes: Mapping[str, Mapping[str, float]]
    instead: bool
    ease_s: float


def eased(way: float) -> float:
    """Of 0..1, at an even speed but for the ramps at both ends: no ease of the same time is much slower in its middle."""
    way = min(max(way, 0.0), 1.0)
    if way > 0.5:
        return 1 - eased(1 - way)
    return FASTEST * (way**2 / (2 * RAMP) if way < RAMP else way - RAMP / 2)


@dataclass
class _Way:
    """One number on its way. Each change of its target goes its own way, and they add up: so it never leaves the range of what
    it is sent to, its speed is continuous, and no sequence of targets moves it faster than FASTEST times that range in the
    time of a way. (It is the targets' past, averaged by weights that rise and fall once.) now: the time, in times of a way."""

    target: float = 0.0
    changes: list[tuple[float, float]] = field(default_factory=list)  # since when, and by how much

    def aim(self, target: float, now: float) -> None:
        if target != self.target:
            self.changes.append((now, target - self.target))
            self.target = target
        self.changes = [(since, change) for since, change in self.changes if now - since < 1]

    def at(self, now: float) -> float:
        return self.target - sum(change * (1 - eased(now - since)) for since, change in self.changes)


@dataclass
class _Region:
    """instead: the share, on its way. now: the time, in times of a way. top: what was on top here when it was last looked."""

    values: dict[str, _Way] = field(default_factory=dict)
    instead: _Way = field(default_factory=_Way)
    now: float = 0.0
    ease_s: float = 1.0
    top: Hold | None = None

    def aim(self, region: str, top: Hold | None) -> bool:
        """Towards what is on top here now; whether anything is still on its way."""
        if top is not None and top is not self.top:
            self.ease_s = top.ease_s
        self.top = top
        targets = {} if top is None else top.shapes[region]
        for name in targets:
            self.values.setdefault(name, _Way())
        for name, way in self.values.items():
            way.aim(targets.get(name, 0.0), self.now)
        self.instead.aim(float(top is not None and top.instead), self.now)
        self.values = {name: way for name, way in self.values.items() if way.changes or name in targets}
        return any(way.changes for way in (*self.values.values(), self.instead))


class Easing:
    """Of one stream. holds: what is to hold, the oldest first, of which the newest wins in each region; set at any time from any
    thread. `at` belongs to one thread. moving: whether anything was still on its way there."""

    def __init__(self) -> None:
        self.holds: tuple[Hold, ...] = ()
        self.moving = False
        self._regions: dict[str, _Region] = {}
        self._time_s = float("-inf")

    def at(self, time_s: float, room: Room = free) -> Held:
        """What holds then. Times increase. room: of its speed."""
        passed_s = min(max(time_s - self._time_s, 0.0), MOST_STEP_S)
        self._time_s = time_s
        if self.moving:
            share = room(lambda share: self._held(share * passed_s))
            for region in self._regions.values():
                region.now += share * passed_s / region.ease_s
        tops = {region: hold for hold in self.holds for region in hold.shapes}
        regions = {name: self._regions.get(name) or _Region() for name in {*self._regions, *tops}}
        moving = {name for name, region in regions.items() if region.aim(name, tops.get(name))}
        self.moving = bool(moving)
        self._regions = {name: region for name, region in regions.items() if name in moving or name in tops}
        return self._held(0.0)

    def _held(self, passed_s: float) -> Held:
        """What will hold so much later, if nothing else is to."""
        values, instead = dict[str, float](), dict[str, float]()
        for name, region in self._regions.items():
            now = region.now + passed_s / region.ease_s
            values |= {shape: way.at(now) for shape, way in region.values.items()}
            instead[name] = region.instead.at(now)
        return Held(Shapes(values), instead) if instead else NOTHING
