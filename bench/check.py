"""Are figures as good as the committed ones of the same machine class?

Machines are shared and warm up, so a figure may be worse by the factor that stands beside it here before it counts.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

LESS, MORE = False, True
# By benchmark: a figure's place ("*": every key), whether less or more is better, and how many times worse it may be.
LIMITS: dict[str, dict[str, tuple[bool, float]]] = {
    "mesh": {"track_p50_ms": (LESS, 1.3), "warp_p50_ms": (LESS, 1.3), "frames_per_s": (MORE, 1.3)},
    "live": {
        "server.fps": (MORE, 1.1),
        "server.glass_p50_ms": (LESS, 1.5),
        "server.glass_p95_ms": (LESS, 2.0),
        "server.server_cpu_percent": (LESS, 1.3),
    },
    "viewers": {"viewers.*.fps": (MORE, 1.1), "viewers.*.server_cpu_percent": (LESS, 1.3)},
    "outputs": {
        "recorded_fps": (MORE, 1.1),
        "jpeg_fps": (MORE, 1.1),
        "push_fps": (MORE, 1.2),
        "sound_off_most_ms": (LESS, 2.0),
        "memory_mb": (LESS, 1.2),
        "lost_at_kill_s": (LESS, 2.0),
    },
    "sessions": {"kept": (MORE, 1.0)},
    "stability": {
        "*.jitter_p95_px.0.5": (LESS, 1.1),
        "*.delay_ms.0.5.to_90_percent": (LESS, 1.3),
        "*.drift_px": (LESS, 2.0),
        "*.recalibration_px.largest": (LESS, 1.1),
        "*.swap_px.largest": (LESS, 1.1),
    },
}
SAME = ("clip", "tracker")  # figures of different ones are not compared


@dataclass(frozen=True)
class Row:
    """A figure beside the committed one. worse: how many times; 1 or less is as good or better."""

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
    for place, (more_is_better, limit) in LIMITS[kind].items():
        then = dict(_at(base, place))
        for name, now in _at(figures, place):
            if name in then and now > 0 and then[name] > 0:
                yield Row(name, now, then[name], then[name] / now if more_is_better else now / then[name], limit)


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
