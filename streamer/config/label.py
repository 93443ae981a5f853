"""The visible label: what it says, where it stands, and on which outputs."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

from pydantic import Field, StringConstraints

from pipeline.label import TEXT, Corner
from pipeline.label import Label as Drawn

from ..errors import ConfigError
from .section import Section

Text = Annotated[str, StringConstraints(min_length=2, max_length=40, strip_whitespace=True)]
Size = Annotated[float, Field(ge=0.03, le=0.3)]
Seconds = Annotated[float, Field(ge=0, le=3600)]


class Kind(StrEnum):
    """Of outputs, by who looks at them. files: those of animate and pose."""

    VIEWERS = "viewers"
    SNAPSHOTS = "snapshots"
    RECORDINGS = "recordings"
    PUSH = "push"
    CAMERA = "camera"
    FILES = "files"


class LabelOf(Section):
    """The label of one kind of output. What is not set is as for all."""

    show: bool | None = Field(None, description="Whether this kind of output is labelled. If not set, as label.show.")
    text: Text | None = Field(None, description="What the label says there. If not set, as label.text.")
    corner: Corner | None = Field(None, description="Where the label stands there. If not set, as label.corner.")
    size: Size | None = Field(None, description="How high the label is there. If not set, as label.size.")
    seconds: Seconds | None = Field(None, description="How long the label shows there. If not set, as label.seconds.")


class Label(Section):
    """The visible label on the animated picture. Neither viewers nor publishers can change it."""

    show: bool = Field(True, description="Whether the picture is labelled as made with AI, in all outputs.")
    text: Text = Field(TEXT, description="What the label says, in 2 to 40 characters.")
    corner: Corner = Field(
        Corner.TOP_RIGHT,
        description="Corner where the label stands: top_right, top_left, bottom_right or bottom_left. If the face is there, "
        "the label goes to another one.",
    )
    size: Size = Field(
        0.06, description="Height of the label, as a share of the picture's shorter side. It is never less than 16 pixels."
    )
    seconds: Seconds = Field(
        0,
        description="How long the label shows, in seconds, to a new viewer and at the beginning of a recording, a push or a "
        "file; with 0, the default, all along. Snapshots and saved last seconds have it in any case.",
    )
    font: Path | None = Field(
        None,
        description="TrueType file with the letters of the text. If not set, a built-in one, which has Latin letters, Greek and "
        "Cyrillic ones.",
    )
    outputs: dict[Kind, LabelOf] = Field(
        default_factory=dict,
        description="What is otherwise for one kind of output: viewers (WebRTC, the page), snapshots (JPEG, PNG, MJPEG, MQTT), "
        "recordings (and saved last seconds), push (RTSP, RTMP, WHIP), camera (virtual) or files (animate, pose).",
    )

    def of(self, kind: Kind) -> Drawn | None:
        """What is drawn on a kind of output; None for nothing."""
        own = self.outputs.get(kind, LabelOf())
        given = self.model_dump() | own.model_dump(exclude_none=True)
        return Drawn(*(given[key] for key in ("text", "corner", "size", "seconds", "font"))) if given["show"] else None

    def checked(self, kind: Kind) -> Drawn | None:
        """As `of`, of a label that can be drawn. ConfigError."""
        self.check()
        return self.of(kind)

    def kinds(self) -> list[Kind]:
        """Those that are labelled."""
        return [kind for kind in Kind if self.of(kind) is not None]

    def check(self) -> None:
        """ConfigError for a font that cannot be used, or has not the letters."""
        for kind in Kind:
            if (drawn := self.of(kind)) is None:
                continue
            try:
                missing = drawn.missing()
            except OSError as exc:
                raise ConfigError(f"label.font: {self.font}: {exc.strerror or 'no TrueType font'}") from exc
            if missing:
                raise ConfigError(
                    f"label.text: '{drawn.text}': {self.font or 'the built-in font'} has no '{missing}'; "
                    "name a TrueType file that has, with label.font"
                )
