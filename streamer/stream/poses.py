"""What of presets and shapes is held on one stream, beside its driver's motion or instead of it."""

from __future__ import annotations

from collections.abc import Mapping

from pipeline.shapes.ease import Easing, Hold
from pipeline.shapes.parse import parse
from pipeline.shapes.preset import EASE_S, Preset, hold_of, regions_of

FOLLOWED_S = 0.15  # shapes that are held already go on to the next numbers within that: a slider, a program that drives


class Poses:
    """The newest wins in each region. easing: what the stream's lane asks."""

    def __init__(self) -> None:
        self.easing = Easing()
        self.shapes: dict[str, float] = {}  # those held by number
        self._holds: dict[str, Hold] = {}  # by preset, and "" for those; the oldest first

    @property
    def presets(self) -> list[str]:
        """The names of those that are on, the oldest first."""
        return [name for name in self._holds if name]

    def press(self, preset: Preset, on: bool | None = None) -> None:
        """Switch a preset on or off, or over."""
        was = self._holds.pop(preset.name, None)
        if on or (on is None and was is None):
            self._holds[preset.name] = preset.hold()
        self._tell()

    def take(self, preset: Preset) -> None:
        """Hold another preset of this name, if that one is on."""
        if preset.name in self._holds:
            self._holds[preset.name] = preset.hold()
            self._tell()

    def drop(self, name: str) -> None:
        """Switch a preset off that there is no more."""
        self._holds.pop(name, None)
        self._tell()

    def hold(self, shapes: Mapping[str, float]) -> None:
        """Hold these numbers, by shape or slider, instead of the driver's motion in the regions of all that are named, 0 for the
        rest; an empty mapping lets go. PuppetError."""
        regions, ease_s = regions_of(shapes), FOLLOWED_S if self.shapes else EASE_S
        held = hold_of(parse(shapes), regions, over=False, ease_s=ease_s)
        self.shapes = dict(shapes)
        self._holds.pop("", None)
        if regions:
            self._holds[""] = held
        self._tell()

    def clear(self) -> None:
        """Let go of everything."""
        self._holds, self.shapes = {}, {}
        self._tell()

    def _tell(self) -> None:
        self.easing.holds = tuple(self._holds.values())
