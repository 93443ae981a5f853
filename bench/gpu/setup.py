"""What the steps share: where things lie, the networks, a portrait, and a driver's frames on their way to the device."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from bench.gpu.footage import FRAMES, Footage
from bench.random_weights import make_checkpoints
from pipeline.follow.tuning import Tuning
from pipeline.frames import Driving, Image
from pipeline.liveportrait.crop import FaceBox
from pipeline.liveportrait.device import DevicePath
from pipeline.liveportrait.files import missing_files
from pipeline.liveportrait.follow import Seen, Sight
from pipeline.liveportrait.motion import Face, Ratios
from pipeline.liveportrait.networks import FULL, INPUT, TINY, Sizes
from pipeline.liveportrait.options import PLAIN, Build, Compile, MotionOptions, Precision, Settings
from pipeline.liveportrait.paste import PasteBack
from pipeline.liveportrait.planes import TO_YUV, plane_encoder, to_planes
from pipeline.liveportrait.prepared import DevicePortrait, LivePortraitPrepared
from pipeline.liveportrait.runtime import Runtime, find_device

UNCOMPILED = Build(compile=Compile.OFF)
GAP_S = 1 / 30  # between frames


class StepFailed(Exception):
    """What was measured is not as it must be."""


@dataclass(frozen=True)
class Setup:
    """work: a folder for checkpoints and compiled kernels. device: None for the best one. tiny: small networks and short
    loops, which show that everything runs. crops: what `bench.gpu.footage` wrote. golden: the published results."""

    work: Path
    device: str | None = None
    tiny: bool = False
    crops: Path | None = None
    golden: Path | None = None

    @cached_property
    def where(self) -> torch.device:
        return find_device(self.device)

    @property
    def cuda(self) -> bool:
        return self.where.type == "cuda"

    @property
    def sizes(self) -> Sizes:
        return TINY if self.tiny else FULL

    @property
    def largest(self) -> int:
        """The largest batch."""
        return 2 if self.tiny else 8

    @property
    def measured(self) -> tuple[int, ...]:
        """The batches whose times are taken."""
        return (2,) if self.tiny else (1, self.largest)

    @property
    def side(self) -> int:
        """Of the portrait, whose crop it is."""
        return 64 if self.tiny else 512

    def count(self, full: int) -> int:
        """How often to repeat something that is repeated `full` times in earnest."""
        return min(full, 2) if self.tiny else full

    @cached_property
    def footage(self) -> Footage:
        if self.crops is not None:
            return Footage.read(self.crops)
        return Footage.synthetic(6 if self.tiny else FRAMES)

    def checkpoints(self) -> Path:
        """Made where they are not there yet: no step depends on another."""
        folder = self.work / ("tiny" if self.tiny else "checkpoints")
        if not folder.is_dir() or missing_files(folder):
            self.work.mkdir(parents=True, exist_ok=True)
            shutil.rmtree(folder, ignore_errors=True)
            make_checkpoints(Path(part := tempfile.mkdtemp(dir=self.work)), self.sizes)
            Path(part).rename(folder)
        return folder

    def settings(self, precision: Precision | None = None, build: Build = UNCOMPILED) -> Settings:
        return Settings(self.checkpoints(), str(self.where), precision, build=build, max_batch=self.largest)

    @cached_property
    def usual(self) -> Scene:
        """In the precision that pays here, not compiled; for all that leaves it as it is."""
        return self.scene()

    @cached_property
    def exact(self) -> Scene:
        """Plain networks in float32, which the others are held against."""
        return self.scene(Precision.FP32, PLAIN)

    def scene(self, precision: Precision | None = None, build: Build = UNCOMPILED) -> Scene:
        return Scene(Runtime(self.settings(precision, build)), self)


class Scene:
    """A runtime, the portrait prepared with it, and the driver's crops."""

    def __init__(self, runtime: Runtime, setup: Setup) -> None:
        self.runtime, self.setup = runtime, setup
        self.frames = [_driving(crop) for crop in setup.footage.crops]
        with torch.inference_mode(), runtime.on_device():
            self.prepared = self.prepare()
            seen = runtime.motion(runtime.upload([setup.footage.crops[0]]))
        self.reference = Face(seen._replace(expression=seen.expression * 0.9), _openings(runtime.device))

    def prepare(self) -> LivePortraitPrepared:
        """The portrait, as the engine prepares one; its crop is the whole picture."""
        side = self.setup.side
        picture = F.adaptive_avg_pool2d(self.runtime.upload([self.setup.footage.source]), INPUT)
        motion = self.runtime.motion(picture)
        still = np.ascontiguousarray(self.setup.footage.source[:side, :side])
        paste = PasteBack(still, FaceBox(np.full(2, side / 2), side, 0.0), self.runtime.device, feather=False)
        features = self.runtime.features(picture, motion.keypoints())
        face = Face(motion, _openings(self.runtime.device))
        return LivePortraitPrepared(still, features, face, motion.keypoints(), paste, (0.2, 0.2, 0.6, 0.6))

    @cached_property
    def portrait(self) -> DevicePortrait:
        return self.prepared.on_device(self.setup.side)

    def sight(self, frame: int, row: int = 0, gap_s: float = 0.0) -> Sight:
        """A frame of the driver for a stream's row. gap_s: 0 lets the row's filter begin anew."""
        seen = Seen(FaceBox(np.zeros(2), 1.0, 0.0), np.full(3, 0.2, np.float32), gap_s, 0.0)
        return Sight(self.frames[frame % len(self.frames)], seen, self.reference, row, Tuning())

    def path(self, largest: int | None = None) -> DevicePath:
        """Not captured yet."""
        batch, encode = largest or self.setup.largest, plane_encoder(self.runtime.device)
        with torch.inference_mode(), self.runtime.on_device():
            return DevicePath(self.runtime, MotionOptions(), self.setup.side, self.portrait, batch, encode)

    @cached_property
    def ready(self) -> DevicePath:
        """Captured, for all who leave it as it is."""
        return self.captured()

    def captured(self, largest: int | None = None) -> DevicePath:
        path = self.path(largest)
        path.capture(lambda done, total: None)
        return path


def _openings(device: torch.device) -> Ratios:
    return Ratios(*(torch.zeros(1, n, device=device) for n in (2, 1)))


class _Planes:
    """A camera's picture that is planes already, in place of PyAV's."""

    def __init__(self, yuv: Image) -> None:
        self._yuv = yuv
        self.height, self.width = yuv.shape[0] * 2 // 3, yuv.shape[1]

    def reformat(self, width: int, height: int, pixels: str) -> _Planes:
        assert (width, height, pixels) == (self.width, self.height, "yuv420p")
        return self

    def to_ndarray(self) -> Image:
        return self._yuv


def _driving(crop: Image) -> Driving:
    picture = torch.from_numpy(crop).permute(2, 0, 1)[None].float() / 255
    frame: Any = _Planes(to_planes(picture, torch.tensor(TO_YUV))[0].numpy())
    return Driving(crop, 0.0, frame)
