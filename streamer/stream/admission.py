"""Who may become a driver: streams that are driven already must not become too slow."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Protocol

from pipeline.stage import AnimationStage, Cost

from ..config import Device
from ..errors import Overloaded


class Drivable(Protocol):
    """What of a stream counts."""

    @property
    def driver(self) -> object | None:
        """Who drives it."""

    @property
    def stage(self) -> AnimationStage:
        """What animates it."""


class Admission:
    """Counts the streams that are driven, for each stage."""

    def __init__(self, limits: Device, streams: Mapping[str, Drivable]) -> None:
        self.limits = limits
        self._streams = streams

    def driven(self, stage: AnimationStage) -> int:
        """How many streams of a stage are driven."""
        return sum(stream.stage is stage and stream.driver is not None for stream in self._streams.values())

    def fps_with_one_more(self, stage: AnimationStage) -> float | None:
        """Frames per second that each driven stream would get if one more were driven; None before any measurement."""
        cost = stage.cost()
        return None if cost is None else fps_each(self.driven(stage) + 1, cost, self.limits)

    def refusal(self, stage: AnimationStage, fps: float = 0.0, free: float = math.inf) -> str:
        """See `refusal`, of the streams that there are."""
        return refusal(self.driven(stage), stage.cost(), self.limits, fps, free)

    def check(self, stage: AnimationStage) -> None:
        """Overloaded if one more driven stream would be too many."""
        if why := self.refusal(stage):
            raise Overloaded(f"{why}; try again later")


def fps_each(count: int, cost: Cost, limits: Device) -> float:
    """Frames per second that each of `count` streams would get of what may be used of device and cores."""
    whole = cost.share(count, limits.usable())
    return limits.max_busy / whole if whole else math.inf


def refusal(driven: int, cost: Cost | None, limits: Device, fps: float = 0.0, free: float = math.inf) -> str:
    """Why one more driven stream would be too many, in words; nothing where it would not. cost: of a frame, None before any
    measurement; fps: that it wants, where it wants more than the least; free: share of the device and the cores that is."""
    if limits.max_streams and driven >= limits.max_streams:
        return f"{driven} streams are driven already, the limit (device.max_streams)"
    if cost is None:
        return ""
    each = fps_each(driven + 1, cost, limits)
    if driven and each < limits.min_fps:
        return (
            f"one more driven stream would leave each of the {driven + 1} with {each:.1f} frames per second; "
            f"device.min_fps promises {limits.min_fps:g}"
        )
    if (share := cost.share(fps, limits.usable())) > free:
        return f"{fps:g} frames per second would take {share:.2f} of what animates, and {free:.2f} is free"
    return ""
