"""The networks on a device, in the fastest precision whose results are finite."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .. import models
from ..errors import ModelError
from ..frames import Image
from .build import apply, autocast, autocast_face, best_device, compiled, complete, precisions
from .motion import Controllers, FaceMotion, face_motion
from .networks import PortraitFeatures
from .options import Precision, Settings
from .streams import synchronize
from .weights import load_networks

log = logging.getLogger(__name__)


class Runtime:
    """Shared by all streams of a process. ModelError where the checkpoints or the device cannot be used."""

    def __init__(self, settings: Settings) -> None:
        self._folder: Path = settings.checkpoints or models.folder()
        self.device = find_device(settings.device)
        self._build = complete(settings.build, self.device)
        if settings.threads is not None:
            torch.set_num_threads(settings.threads)
        self.loads = 0  # how often the networks were loaded: what was captured before is of no use any more
        fastest = [settings.precision, Precision.FP32] if settings.precision else precisions(self.device)
        self._ladder = list(dict.fromkeys(fastest))
        self._lock = threading.Lock()
        self._load()

    def _load(self) -> None:
        self._networks = apply(self._build, load_networks(self._folder), self.precision, self.device)
        self.loads += 1

    @property
    def precision(self) -> Precision:
        return self._ladder[0]

    @property
    def graphs(self) -> bool:
        """Whether a frame's whole way is to be captured."""
        return bool(self._build.graph)

    def compiled(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, compiled if the networks are."""
        return compiled(function, self._build.compile)

    def on_device(self) -> AbstractContextManager[Any]:
        """Makes the device the current one of this thread."""
        match self.device.type:
            case "cuda":
                return torch.cuda.device(self.device)
            case "xpu":
                return torch.xpu.device(self.device)
        return nullcontext()

    def synchronize(self) -> None:
        """Wait until the device has done everything."""
        synchronize(self.device)

    @property
    def controllers(self) -> Controllers:
        return Controllers(self._networks.stitching, self._networks.lip, self._networks.eye)

    def step_down(self, failed: Precision) -> None:
        """Go on in the next precision, as `failed` gave values that are not finite."""
        with self._lock:
            if self.precision is not failed:
                return  # another stream was first
            if len(self._ladder) == 1:
                raise ModelError(f"{self._folder}: the networks give values that are not finite; are the checkpoints whole?")
            del self._ladder[0]
            log.warning(
                "%s gives values that are not finite on %s; going on in %s, more slowly", failed, self.device, self.precision
            )
            self._load()

    def upload(self, images: list[Image]) -> Tensor:
        """RGB pictures of one size -> (B, 3, h, w) in 0..1 on the device."""
        batch = torch.from_numpy(np.stack(images))
        pinned = self.device.type == "cuda"  # elsewhere the copy is waited for, as its memory is free at once
        if pinned:
            batch = batch.pin_memory()
        return batch.to(self.device, non_blocking=pinned).permute(0, 3, 1, 2).float() / 255

    def motion(self, pictures: Tensor) -> FaceMotion:
        """(B, 3, 256, 256) -> B faces."""
        with autocast_face(self.device, self.precision):
            heads = self._networks.motion(pictures)
        return face_motion(heads)

    def features(self, picture: Tensor, keypoints: Tensor) -> PortraitFeatures:
        """(1, 3, 256, 256), (1, K, 3) -> what W needs of a portrait."""
        with autocast_face(self.device, self.precision):
            feature = self._networks.appearance(picture).float()
        with autocast(self.device, self.precision):
            return self._networks.warping.prepare(feature, keypoints)

    def render(self, portrait: PortraitFeatures, keypoints: Tensor) -> Tensor:
        """(B, K, 3) -> (B, 3, 512, 512) in 0..1, float32."""
        return self.generate(self.warp(portrait, keypoints))

    def warp(self, portrait: PortraitFeatures, keypoints: Tensor) -> Tensor:
        """W: (B, K, 3) -> (B, 256, 64, 64)."""
        with autocast(self.device, self.precision):
            out: Tensor = self._networks.warping(portrait, keypoints)
        return out

    def generate(self, warped: Tensor) -> Tensor:
        """G: (B, 256, 64, 64) -> (B, 3, 512, 512) in 0..1, float32."""
        with autocast(self.device, self.precision):
            out: Tensor = self._networks.generator(warped)
        return out.float()


def find_device(name: str | None) -> torch.device:
    """The device called `name`, or the best one; ModelError if it cannot be used."""
    if name is None:
        return best_device()
    try:
        torch.empty(1, device=name)
        return torch.device(name)
    except (RuntimeError, AssertionError, NotImplementedError) as exc:
        raise ModelError(f"device '{name}' cannot be used ({str(exc).splitlines()[0]}); leave it out for the best one") from exc
