"""Who may become a driver: streams that are driven already must not become too slow."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from pipeline.stage import AnimationStage

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
        return stage.fps(self.driven(stage) + 1, self.limits.max_busy)

    def check(self, stage: AnimationStage) -> None:
        """Overloaded if one more driven stream would be too many."""
        driven, fps = self.driven(stage), self.fps_with_one_more(stage)
        if self.limits.max_streams and driven >= self.limits.max_streams:
            raise Overloaded(f"{driven} streams are driven already, the limit (device.max_streams); try again later")
        if driven and fps is not None and fps < self.limits.min_fps:
            raise Overloaded(
                f"one more driven stream would leave each of the {driven + 1} with {fps:.1f} frames per second; "
                f"device.min_fps promises {self.limits.min_fps:g}; try again later"
            )
