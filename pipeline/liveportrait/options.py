"""What can be chosen about LivePortrait. No torch here: configuration reads it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

BATCHES = (1, 2, 4, 8)  # streams in one go, as they are compiled and captured


class Precision(StrEnum):
    """What the convolutions compute in; keypoints, S and R are always float32."""

    FP32 = "fp32"
    FP16 = "fp16"
    BF16 = "bf16"


@dataclass(frozen=True)
class MotionOptions:
    """How motion is transferred, for all of an engine's streams; what each can set for itself is `Tuning`.

    relative: the driver's motion against its reference frame is added to the source; otherwise its
    absolute pose and expression replace the source's. multiplier: scales the keypoints' whole motion.
    keep_place: in relative motion, scale and translation stay the source's; for a source that moves by itself.
    compat: the order of the published code, with the multiplier after stitching, which opens the seam.
    """

    relative: bool = True
    multiplier: float = 1.0
    stitching: bool = True
    close_lips: bool = True
    keep_place: bool = False
    compat: bool = False


class Compile(StrEnum):
    """Whether the networks are compiled. auto: where that fails, they go on as they are, and the log says so once."""

    OFF = "off"
    ON = "on"
    AUTO = "auto"


@dataclass(frozen=True)
class Build:
    """How the networks are made fast; all off, they are the plain ones. None: what pays on the device.

    fold: norms into convolutions, see `build`. channels_last: of convolutions. compile: by TorchInductor.
    graph: a frame's whole way is captured as one CUDA graph for each batch size.
    """

    fold: bool = True
    channels_last: bool | None = None
    compile: Compile | None = None
    graph: bool | None = None


PLAIN = Build(fold=False, channels_last=False, compile=Compile.OFF, graph=False)


@dataclass(frozen=True)
class Settings:
    """How an engine is set up. checkpoints: a folder in the official layout; None for the models' folder.
    device: such as "cuda:0"; None for the best one here. precision: None for the fastest that is finite.
    paste_back: the whole picture comes out, else the 512² crop. max_batch: streams in one go on the device.
    threads: of the processor, where it is the device; None for all. still_px: how many pixels of the 512² crop keypoints may be
    from where a live stream's last picture has them before there is another; 0 paints every frame."""

    checkpoints: Path | None = None
    device: str | None = None
    precision: Precision | None = None
    paste_back: bool = True
    motion: MotionOptions = MotionOptions()
    build: Build = Build()
    max_batch: int = 8
    threads: int | None = None
    still_px: float = 0.1
