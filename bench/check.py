"""Are figures as good as the committed ones of the same machine class?

Machines of a class are shared, and today's may run at half of yesterday's speed: figures that depend on it are taken as
if it were that of the committed ones, by a measure of it that stands in both. What is left may be worse by the factor
that stands beside the figure here before it counts.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

LESS, MORE = False, True
FIXED, BY_SPEED = False, True
# By benchmark: a figure's place ("*": every key), whether less or more is better, how many times worse it may be, and
# whether a slower machine makes it worse.
LIMITS: dict[str, dict[str, tuple[bool, float, bool]]] = {
    "mesh": {
        "track_p50_ms": (LESS, 1.3, BY_SPEED),
        "warp_p50_ms": (LESS, 1.3, BY_SPEED),
        "frames_per_s": (MORE, 1.3, BY_SPEED),
    },
    "live": {
        "server.fps": (MORE, 1.1, FIXED),
        "server.glass_p50_ms": (LESS, 1.5, BY_SPEED),
        "server.glass_p95_ms": (LESS, 2.0, BY_SPEED),
        "server.server_cpu_percent": (LESS, 1.3, BY_SPEED),
    },
    "viewers": {"viewers.*.fps": (MORE, 1.1, FIXED), "viewers.*.server_cpu_percent": (LESS, 1.3, BY_SPEED)},
    "outputs": {
        "recorded_fps": (MORE, 1.2, FIXED),
        "jpeg_fps": (MORE, 1.2, FIXED),
        "push_fps": (MORE, 1.2, FIXED),
        "sound_off_most_ms": (LESS, 2.0, FIXED),
        "memory_mb": (LESS, 1.2, FIXED),
        "lost_at_kill_s": (LESS, 2.0, FIXED),
    },
    "sessions": {"kept": (MORE, 1.0, BY_SPEED)},
    "stability": {
        "*.jitter_p95_px.0.5": (LESS, 1.1, FIXED),
        "*.delay_ms.0.5.to_90_percent": (LESS, 1.3, FIXED),
        "*.drift_px": (LESS, 2.0, FIXED),
        "*.recalibration_px.largest": (LESS, 1.1, FIXED),
        "*.swap_px.largest": (LESS, 1.1, FIXED),
    },
}
SAME = ("clip", "tracker")  # figures of different ones are not compared


@dataclass(frozen=True)
class Row:
    """A figure beside the committed one. worse: how many times, the machine's speed taken out; 1 or less is as good."""

    name: str
    now: float
    base: float
    worse: float
    limit: float

    @property
    def ok(self) -> bool:
        return self.worse <= self.limit


def compare(kind: str, figures: dict[str, Any], base: dict[str, Any]) -> Iterator[Row]:
    """A row for each figure of LIMITS that both have."""
    slower = base["speed"] / figures["speed"] if "speed" in base else 1.0  # older ones do not say
    for place, (more_is_better, limit, by_speed) in LIMITS[kind].items():
        then, allowed = dict(_at(base, place)), slower if by_speed else 1.0
        for name, now in _at(figures, place):
            if name in then and now > 0 and then[name] > 0:
                worse = then[name] / now if more_is_better else now / then[name]
                yield Row(name, now, then[name], worse / allowed, limit)


def unlike(figures: dict[str, Any], base: dict[str, Any]) -> list[str]:
    """What of SAME differs: then nothing can be compared."""
    return [key for key in SAME if figures.get(key) != base.get(key)]


def _at(value: Any, place: str, name: str = "") -> Iterator[tuple[str, float]]:
    """Names and numbers of the figures at a place; a key may have dots in it."""
    if not place:
        if isinstance(value, int | float):
            yield name, float(value)
    elif isinstance(value, dict):
        for key, inner in value.items():
            for part in (key, "*"):
                if place == part or place.startswith(f"{part}."):
                    yield from _at(inner, place[len(part) + 1 :], f"{name}.{key}".lstrip("."))
