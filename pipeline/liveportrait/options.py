"""What can be chosen about LivePortrait. No torch here: configuration reads it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path


class Region(StrEnum):
    """Which part of the driver's motion is used."""

    ALL = "all"
    EXPRESSION = "exp"
    POSE = "pose"
    LIP = "lip"
    EYES = "eyes"


class Precision(StrEnum):
    """What the convolutions compute in; keypoints, S and R are always float32."""

    FP32 = "fp32"
    FP16 = "fp16"
    BF16 = "bf16"


@dataclass(frozen=True)
class MotionOptions:
    """How motion is transferred.

    relative: the driver's motion against its reference frame is added to the source; otherwise its
    absolute pose and expression replace the source's. multiplier: scales the keypoints' whole motion.
    keep_place: in relative motion, scale and translation stay the source's; for a source that moves by itself.
    compat: the order of the published code, with the multiplier after stitching, which opens the seam.
    """

    relative: bool = True
    region: Region = Region.ALL
    pose_gain: float = 1.0
    expression_gain: float = 1.0
    multiplier: float = 1.0
    stitching: bool = True
    eye_retargeting: bool = False
    lip_retargeting: bool = False
    close_lips: bool = True
    keep_place: bool = False
    compat: bool = False


@dataclass(frozen=True)
class Settings:
    """How an engine is set up. checkpoints: a folder in the official layout; None for the models' folder.
    device: such as "cuda:0"; None for the best one here. precision: None for the fastest that is finite.
    paste_back: the whole picture comes out, else the 512² crop. fold: see `build`; off, the networks are plain ones."""

    checkpoints: Path | None = None
    device: str | None = None
    precision: Precision | None = None
    paste_back: bool = True
    motion: MotionOptions = MotionOptions()
    fold: bool = True
