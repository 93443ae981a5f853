"""Streams: how each is driven, how its puppet follows, and where it goes."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from pipeline.follow.tuning import Region, Tuning
from pipeline.portraits import DEFAULT

from ..limits import STALE_AFTER_S, TRANSPORT, Timeouts, Transport
from .section import Section, written

STEP = "x-step"  # of a key in the JSON schema: what one step of its slider or number box changes
SLIDER: dict[str, Any] = {STEP: 0.05}
ORIGINAL, PICTURE = "original", "picture"  # backgrounds, beside colours
BACKGROUND = written("original|picture|#[0-9a-fA-F]{6}", "original, picture or a colour such as #00ff00")
Point = tuple[float, float]
Gain = Annotated[float, Field(ge=0, le=3, json_schema_extra=SLIDER)]


class Puppet(Section):
    """How the puppet follows its driver; all of it can be changed while live."""

    mirror: bool = Field(False, description="Whether the driver's left and right are swapped.")
    paused: bool = Field(Tuning.paused, description="Whether the driver's picture is ignored, so that the puppet rests.")
    muted: bool = Field(False, description="Whether the driver's sound is muted.")
    pose_gain: Gain = Field(Tuning.pose_gain, description="Strength of head motion; 1 is as strong as the driver's.")
    expression_gain: Gain = Field(
        Tuning.expression_gain, description="Strength of the whole expression; 1 is as strong as the driver's."
    )
    mouth_gain: Gain = Field(
        Tuning.mouth_gain, description="Strength of mouth motion, multiplied by that of the whole expression."
    )
    eyes_gain: Gain = Field(
        Tuning.eyes_gain, description="Strength of blinks and gaze, multiplied by that of the whole expression."
    )
    brows_gain: Gain = Field(
        Tuning.brows_gain, description="Strength of eyebrow motion, multiplied by that of the whole expression."
    )
    wrinkles_gain: float = Field(
        Tuning.wrinkles_gain, ge=0, le=3, json_schema_extra=SLIDER,
        description="Strength of the wrinkles drawn by a smile, a frown or raised brows; 0 draws none. "
        "Mesh engine only.",
    )  # fmt: skip
    region: Region = Field(
        Tuning.region,
        description="Part of the driver's motion that is used: all, exp (the expression), pose (head motion), lip or eyes.",
    )
    smoothing: Annotated[float, Field(ge=0, le=1, json_schema_extra=SLIDER)] = Field(
        Tuning.smoothing,
        description="How much motion is smoothed, from 0 (not at all) to 1 (most, for a noisy camera). More adds delay.",
    )
    scale_lock: bool = Field(
        Tuning.scale_lock, description="Whether the head keeps its size when the driver moves closer or away."
    )
    eye_retargeting: bool = Field(
        Tuning.eye_retargeting,
        description="Whether the eyes open as far as the driver's, whatever the portrait's own are. Engine liveportrait only.",
    )
    lip_retargeting: bool = Field(
        Tuning.lip_retargeting,
        description="Whether the lips open as far as the driver's, whatever the portrait's own are. Engine liveportrait only.",
    )
    recalibrate_after_s: float = Field(
        Tuning.recalibrate_after_s, ge=0, le=3600,
        description="A face that comes back after this many seconds is calibrated again. 0 turns this off.",
    )  # fmt: skip
    recentre_s: float = Field(
        Tuning.recentre_s, ge=0, le=3600, json_schema_extra={STEP: 1},
        description="Time constant, in seconds, with which the head returns to its usual size after the driver has leant "
        "back or forward; for its place, four times as long. 0 turns this off. Mesh engine only; the liveportrait engine "
        "follows its driver in "
        "20 seconds.",
    )  # fmt: skip
    idle: bool = Field(
        Tuning.idle,
        description="Whether the puppet blinks, breathes and looks about a little while nobody drives it. While it does, eight "
        "pictures a second are animated, more in a blink.",
    )
    background: Annotated[str, BACKGROUND] = Field(
        ORIGINAL,
        description='What is behind the person, in all outputs: original, a colour in quotes such as "#00ff00", or picture (the '
        "one that PUT /api/streams/{name}/background took). A portrait whose person cannot be separated from the background "
        "keeps it. Mesh "
        "engine only.",
    )
    max_fps: int | None = Field(
        None, ge=1, le=240, description="Highest frame rate, in frames per second. If not set, that of budget.max_frames."
    )
    max_age_ms: float | None = Field(
        None, gt=0, le=5000, json_schema_extra={STEP: 10},
        description="Age, in milliseconds since capture, beyond which a driving frame is skipped. If not set, "
        "budget.max_age_ms.",
    )  # fmt: skip

    def tuning(self) -> Tuning:
        """For the engine."""
        return Tuning(**{field.name: getattr(self, field.name) for field in fields(Tuning)})


class Sink(Section):
    """An output of a stream, in addition to its viewers."""

    kind: Literal["push", "whip", "virtual_camera", "virtual_microphone", "recording"] = Field(
        description="Where the animated picture goes: to an RTSP or RTMP server (push), to a WHIP endpoint (whip), "
        "to a camera device of this machine (virtual_camera), its sound alone to a microphone of this machine "
        "(virtual_microphone), or into a file (recording)."
    )
    target: str = Field(
        "",
        description="Address of the server (push: rtsp://, rtsps:// or rtmp://), address of the endpoint (whip: http:// or "
        "https://), device (virtual_camera: if empty, the first free one) or name (virtual_microphone: if empty, puppetcast). "
        "A recording has none.",
    )
    size: tuple[int, int] | None = Field(
        None,
        description="Width and height of a virtual camera's picture, in pixels. It stays so whatever the portrait's are, with "
        "black bars where the shapes differ. If not set, 1280 and 720.",
    )
    token: str = Field("", description="Bearer token for a WHIP endpoint.")

    @model_validator(mode="after")
    def _has_a_size_that_is_used(self) -> Self:
        if self.size is not None and self.kind != "virtual_camera":
            raise ValueError(f"size is for a virtual_camera; a {self.kind} has none: leave it out")
        if self.size is not None and any(side % 2 or not 16 <= side <= 4096 for side in self.size):
            raise ValueError(f"size is two even numbers from 16 to 4096, such as [1280, 720] (given: {list(self.size)})")
        return self


class Recording(Section):
    """Recordings of the animated picture."""

    folder: Path = Field(Path("recordings"), description="Folder for recordings.")
    max_minutes: float = Field(
        60, gt=0, le=1440, description="Length, in minutes, after which a recording continues in a new file."
    )
    max_mb: float = Field(
        2000, gt=0, le=100000, description="Size, in megabytes, after which a recording continues in a new file."
    )
    max_total_mb: float = Field(
        0, ge=0,
        description="Total size of all recordings, in megabytes, above which the oldest are deleted and named in the log. "
        "With 0, the default, none is deleted automatically.",
    )  # fmt: skip
    max_days: float = Field(
        0,
        ge=0,
        description="Age, in days, after which recordings are deleted and named in the log. With 0, the default, none is.",
    )
    last_s: int = Field(
        0, ge=0, le=60,
        description="Keeps the last seconds of each stream, this many, encoded in memory, so that they can be saved as GIF, "
        "WebM or MP4 afterwards: on the page, or from /live/STREAM/last.gif. Each second takes about 0.2 MB of memory; "
        "encoding takes 5 to 10 % of a core. With 0, the default, nothing is kept.",
    )  # fmt: skip


class Stream(Section):
    """One stream: a portrait, what drives it, and where it goes."""

    portrait: str = Field(
        DEFAULT, description="Name of a bundled portrait, or path of a picture, a .puppet file, or a clip, which goes on moving."
    )
    face: int | None = Field(
        None, ge=0,
        description="Which face of the portrait moves, if it shows several: 0 is the one on the left. If not set, the largest.",
    )  # fmt: skip
    marks: tuple[Point, Point, Point, Point, Point] | None = Field(
        None,
        description="Places the portrait's face by hand, if it is not found or found in the wrong place: five points [x, y] "
        "in pixels of the picture: the eye on the left, the eye on the right, the tip of the nose, the left and the right "
        "corner of the mouth.",
    )
    engine: str = Field("", description="Animation engine: auto, mesh or liveportrait. If empty, that of engine.name.")
    source: Literal["browser", "network", "file", "webcam", "pattern"] = Field(
        "browser",
        description="What drives the portrait: a camera published over WebRTC (browser), a stream on the network (network), "
        "a clip (file), a camera of this machine (webcam) or a test pattern (pattern).",
    )
    path: str = Field(
        "",
        description="Address (network: rtsp://, rtsps://, rtmp://, http:// or https://), path of the clip (file), or "
        "name, number or device of the camera (webcam: if empty, the first one).",
    )
    transport: Transport = Field(TRANSPORT, description="How packets of an rtsp:// source are sent: tcp or udp.")
    open_timeout_s: float = Field(
        Timeouts.open_s, gt=0, le=60, description="Longest time, in seconds, that a network source may take to open."
    )
    read_timeout_s: float = Field(
        Timeouts.read_s, gt=0, le=60, description="Longest time, in seconds, that a network source may send nothing."
    )
    stale_after_s: float = Field(
        STALE_AFTER_S, gt=0, le=600, description="A source that has sent no frame for this many seconds is reopened."
    )
    fps: int = Field(30, ge=1, le=120, description="Frame rate of a webcam or of the test pattern, in frames per second.")
    size: tuple[int, int] = Field((640, 480), description="Width and height asked of a webcam, in pixels.")
    driver_pass: str = Field(
        "", description="Pass or grant that the source shows, for a portrait that only who has its pass may drive."
    )
    puppet: Puppet = Puppet()
    sinks: list[Sink] = Field(default_factory=list, description="Outputs, in addition to viewers, that start with the server.")

    @model_validator(mode="after")
    def _has_a_path(self) -> Self:
        if self.source in ("file", "network") and not self.path:
            raise ValueError(f"'path' is missing: with 'source: {self.source}' it says where")
        return self
