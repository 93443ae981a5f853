"""What animates: engines, their device, and how much of it each stream gets."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Literal

from pydantic import Field

from pipeline.budget import FrameBudget
from pipeline.cores import available
from pipeline.liveportrait.options import Build, Compile, MotionOptions, Precision, Settings
from pipeline.stage import AnimationStage

from .section import Section, default_of


class Engine(Section):
    """The animation engine."""

    name: str = Field(
        "auto",
        description="Engine of all streams that name none: mesh, liveportrait, or auto, which takes liveportrait where its "
        "checkpoints and a CUDA device are present and mesh elsewhere.",
    )
    max_side: int = Field(
        1080, ge=128, le=2048,
        description="Longest side of the animated picture, in pixels. The mesh engine measures at its start what a frame "
        "takes; on a machine that is too slow for budget.max_frames it takes a smaller side, at least 640, and logs which.",
    )  # fmt: skip
    max_crop: int = Field(
        864, ge=128, le=2048,
        description="Longest side, in pixels, of the part of the portrait around the face; larger portraits are scaled down. "
        "It shrinks with max_side. Mesh engine only.",
    )  # fmt: skip


class LivePortrait(Section):
    """The liveportrait engine. The mesh engine uses none of these settings."""

    checkpoints: Path | None = Field(
        Settings.checkpoints, description="Folder with the LivePortrait checkpoints. If not set, the folder of model files."
    )
    device: str | None = Field(
        Settings.device,
        description="Torch device to run on, such as cuda:1, cpu, mps (Apple) or xpu (Intel). If not set, CUDA's first, or the "
        "processor. Nobody has tried mps and xpu yet; they run in fp32 unless precision says otherwise, and without graphs.",
    )
    precision: Precision | None = Field(
        Settings.precision,
        description="Number format of the networks: fp16, bf16 or fp32. If not set, the fastest one that gives finite values.",
    )
    channels_last: bool | None = Field(
        Build.channels_last,
        description="Whether convolutions use the channels-last memory layout. If not set, they do where that is faster.",
    )
    compile: Compile | None = Field(
        Build.compile,
        description="Whether the networks are compiled: off, on, or auto (compiled where that succeeds). "
        "If not set, auto on CUDA and off elsewhere.",
    )
    graph: bool | None = Field(
        Build.graph, description="Whether all work on a frame is captured as one CUDA graph. If not set, it is where CUDA is."
    )
    max_batch: Literal[1, 2, 4, 8] = Field(
        default_of(Settings, "max_batch"), description="Largest number of streams animated in one batch."
    )
    still_px: float = Field(
        Settings.still_px, ge=0, le=2,
        description="A frame shows the picture before again while no keypoint of the face has moved further than so many pixels "
        "of the 512² crop since that was painted, which saves most of the work. 0 paints every frame.",
    )  # fmt: skip
    relative: bool = Field(
        MotionOptions.relative,
        description="true adds the driver's motion to the portrait's own pose and expression, false puts it in their place.",
    )
    multiplier: float = Field(
        MotionOptions.multiplier, ge=0, le=3, description="Strength of all motion; 1 is as strong as the driver's."
    )
    stitching: bool = Field(
        MotionOptions.stitching, description="Whether shoulders and background stay in place while the head moves."
    )
    close_lips: bool = Field(
        MotionOptions.close_lips, description="Whether a mouth that is open in the portrait is closed before it is animated."
    )

    def settings(self) -> Settings:
        """For the engine."""
        motion = {
            field.name: getattr(self, field.name) for field in fields(MotionOptions) if field.name in type(self).model_fields
        }
        build = Build(channels_last=self.channels_last, compile=self.compile, graph=self.graph)
        own = self.checkpoints, self.device, self.precision
        return Settings(*own, motion=MotionOptions(**motion), build=build, max_batch=self.max_batch, still_px=self.still_px)


class Budget(Section):
    """How many frames of each stream are animated, measured over a rolling window."""

    window_s: float = Field(
        default_of(FrameBudget, "window_s"), gt=0, le=10, description="Length of the rolling window, in seconds."
    )
    max_frames: int = Field(
        default_of(FrameBudget, "max_frames"), ge=1, le=240, description="Largest number of frames animated per window."
    )
    max_busy: float = Field(
        default_of(FrameBudget, "max_busy"), gt=0, le=1,
        description="Largest share of the window that may be spent animating, from 0 to 1.",
    )  # fmt: skip
    max_age_ms: float = Field(
        default_of(FrameBudget, "max_age_ms"), gt=0, le=5000,
        description="Age, in milliseconds since capture, beyond which a driving frame is skipped.",
    )  # fmt: skip


class Device(Section):
    """The device that animates for all streams, and how many streams may be driven at the same time."""

    cores: float = Field(
        0, ge=0, le=1024,
        description="Processor cores that are counted on. 0 takes those that this process may use, by its affinity and its "
        "container's quota.",
    )  # fmt: skip
    min_fps: float = Field(
        10, gt=0, le=120,
        description="Lowest frame rate, in frames per second, that driven streams keep: a driver that comes later and would "
        "leave each of them less is refused (HTTP 503).",
    )  # fmt: skip
    max_streams: int = Field(
        0, ge=0, le=1000, description="Largest number of streams driven at the same time. 0 leaves the decision to min_fps alone."
    )
    max_busy: float = Field(
        0.9, gt=0, le=1,
        description="Share of the device's and the processor's time, from 0 to 1, that is counted on when a new driver is "
        "checked against min_fps.",
    )  # fmt: skip
    watchdog_s: float = Field(
        default_of(AnimationStage, "watch_s"), ge=0, le=600,
        description="Longest time, in seconds, that a device other than the processor may take for a batch of frames before it "
        "is taken to be lost. 0 waits for ever.",
    )  # fmt: skip
    on_loss: Literal["mesh", "exit"] = Field(
        "mesh",
        description="What happens when the device is lost: mesh lets its streams go on with the mesh engine until the next "
        "start, exit ends the process with exit code 75, for a supervisor that starts it again.",
    )
    gather_ms: float = Field(
        1000 * default_of(AnimationStage, "gather_s"),
        ge=0,
        le=50,
        description="Longest time, in milliseconds, that a batch waits for frames of more streams.",
    )

    def usable(self) -> float:
        """Cores; may be no whole number."""
        return self.cores or available()
