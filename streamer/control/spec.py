"""A stream's state as it can be taken from one server and given to another: what it shows, how, and against which neutral."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, StrictFloat, model_validator

from pipeline.face.motion import Neutral, eye_distance

from ..config import Puppet
from ..sinks.base import OVER
from ..sinks.outputs import Outputs
from ..stream.stream import Stream
from .state import is_demo

LEAST_EYES = 0.005  # between the eyes, in longer sides of the picture; a face that is tracked has more
Coordinate = Annotated[float, Field(gt=-100, lt=100)]  # in longer sides of the driver's picture
Point = tuple[Coordinate, Coordinate, Coordinate]


class NeutralSpec(BaseModel):
    """The driver's resting face. tracker: that saw it; landmarks: 478 of [x, y, z], as it tells them; blink: how shut it took
    each eye for, where it says that."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    tracker: str
    landmarks: list[Point] = Field(min_length=478, max_length=478)
    blink: tuple[float, float] | None = None

    @classmethod
    def of(cls, tracker: str, neutral: Neutral) -> NeutralSpec:
        blink = None if neutral.blink is None else neutral.blink.tolist()
        return cls(tracker=tracker, landmarks=neutral.landmarks.tolist(), blink=blink)

    @model_validator(mode="after")
    def _is_a_face(self) -> Self:
        if eye_distance(np.array(self.landmarks)) < LEAST_EYES:
            raise ValueError("these landmarks are no face's: the eyes lie in one place")
        return self

    def neutral(self) -> Neutral:
        """What motion is measured against."""
        blink = None if self.blink is None else np.array(self.blink, np.float32)
        return Neutral.of(np.array(self.landmarks, np.float32), blink)


class Spec(BaseModel):
    """What a stream does beside its settings. portrait: its id; a server that is given it has to have the upload, whose id is the
    same everywhere. neutral: None where the engine measures otherwise, or none was taken yet."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    version: Literal[1] = 1
    portrait: str
    engine: str
    puppet: Puppet
    presets: list[str] = []
    shapes: dict[str, StrictFloat] = {}
    recording: bool = False
    demo: bool = False
    neutral: NeutralSpec | None = None

    def commands(self) -> list[dict[str, Any]]:
        """What brings a stream there, one after the other."""
        first: dict[str, Any] = {
            "portrait": self.portrait,
            "engine": self.engine,
            **self.puppet.model_dump(),
            "clear_shapes": True,
        }
        if self.recording:
            first["recording"] = True
        if self.demo:
            first["demo"] = True
        if self.shapes:
            first["shapes"] = self.shapes
        return [first, *({"preset": {"name": name, "on": True}} for name in self.presets)]


def spec_of(stream: Stream, outputs: Outputs) -> Spec:
    """That of a stream as it is now."""
    puppeteer, last = stream.lane.puppeteer, outputs.recording(stream.name)
    neutral = puppeteer.neutral
    return Spec(
        portrait=stream.shown.id, engine=stream.engine.name, puppet=stream.puppet, presets=stream.poses.presets,
        shapes=stream.poses.shapes, recording=last is not None and last[0].status.state not in OVER, demo=is_demo(stream),
        neutral=None if neutral is None else NeutralSpec.of(puppeteer.tracker_name, neutral),
    )  # fmt: skip
