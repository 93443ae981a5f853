"""The networks on a device, in one precision."""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .. import models
from ..errors import ModelError
from ..frames import Image
from .build import apply, autocast, autocast_face, best_device, compiled, complete, keep_kernels, precisions, uncompiled
from .motion import Controllers, FaceMotion, face_motion
from .networks import PortraitFeatures
from .options import Compile, Precision, Settings
from .streams import synchronize
from .weights import load_networks

log = logging.getLogger(__name__)
SAID = 120  # characters: what PyTorch says in more of them is for those who build it


class Runtime:
    """Shared by all streams of a process, and kept by whatever was captured of it. ladder: precisions to use, of which the
    first is this one's; None for what pays on the device. ModelError where the checkpoints or the device cannot be used."""

    def __init__(self, settings: Settings, ladder: Sequence[Precision] | None = None) -> None:
        self._settings = settings
        self._folder: Path = settings.checkpoints or models.folder()
        self.device = find_device(settings.device)
        self._build = complete(settings.build, self.device)
        if self.compiles:
            keep_kernels(self._folder)
        if settings.threads is not None:
            torch.set_num_threads(settings.threads)
        fastest = [settings.precision, Precision.FP32] if settings.precision else precisions(self.device)
        self._ladder = list(dict.fromkeys(ladder or fastest))
        self._networks = apply(self._build, load_networks(self._folder), self.precision, self.device)

    @property
    def precision(self) -> Precision:
        return self._ladder[0]

    @property
    def compiles(self) -> bool:
        """Whether a batch size that was not seen before takes long."""
        return self._build.compile is not Compile.OFF

    @property
    def settles(self) -> bool:
        """Whether the first frame of a batch size takes longer than the next."""
        return self.compiles or self.device.type != "cpu"

    @cached_property
    def ready(self) -> Runtime:
        """These networks as they can run at once: uncompiled on a processor, where the compiler takes longer than many frames
        and makes them little faster; elsewhere as they are."""
        if not self.compiles or self.device.type != "cpu":
            return self
        twin = copy.copy(self)
        twin._build, twin._networks = replace(self._build, compile=Compile.OFF), uncompiled(self._networks)
        return twin

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

    def lower(self) -> Runtime:
        """The networks in the next precision, as this one gave values that are not finite; ModelError after the last."""
        if len(self._ladder) == 1:
            raise ModelError(f"{self._folder}: the networks give values that are not finite; are the checkpoints whole?")
        failed, *left = self._ladder
        log.warning("%s gives values that are not finite on %s; going on in %s, more slowly", failed, self.device, left[0])
        return Runtime(self._settings, left)

    def upload(self, images: list[Image]) -> Tensor:
        """RGB pictures of one size -> (B, 3, h, w) in 0..1 on the device."""
        batch = torch.from_numpy(np.stack(images))
        pinned = self.device.type == "cuda"  # elsewhere the copy is waited for, as its memory is free at once
        with self.on_device():  # memory is pinned for the current one
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
    """The device called `name`, or the best one, with its number where it has one; ModelError if it cannot be used."""
    try:
        return torch.empty(1, device=name or best_device()).device
    except (RuntimeError, AssertionError, NotImplementedError) as exc:
        said = str(exc).splitlines()[0]
        reason = said if len(said) < SAID else "PyTorch finds none of this name here; it knows such as cpu, cuda:1, mps and xpu"
        raise ModelError(f"device '{name}' cannot be used ({reason}); leave it out for the best one") from exc
