"""A device path whose networks are simple: M finds one face in any picture, and G paints a portrait's own colour."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any, ClassVar

import numpy as np
import torch

from pipeline.frames import Driving, Image
from pipeline.liveportrait.crop import FaceBox
from pipeline.liveportrait.device import DevicePath
from pipeline.liveportrait.follow import Given, Seen, Sight
from pipeline.liveportrait.motion import Controllers, Face, FaceMotion, Ratios
from pipeline.liveportrait.networks import PortraitFeatures, eye_mlp, lip_mlp, stitching_mlp
from pipeline.liveportrait.options import MotionOptions
from pipeline.liveportrait.paste import to_nearest_bytes
from pipeline.liveportrait.planes import cut_planes
from pipeline.liveportrait.prepared import DevicePortrait
from pipeline.liveportrait.renderer import Renderer
from pipeline.liveportrait.steps import Step

from .happens_before import DEVICE


def face(generator: torch.Generator, batch: int) -> FaceMotion:
    def numbers(*shape: int) -> torch.Tensor:
        return torch.randn(batch, *shape, generator=generator) * 0.1

    turns = torch.linalg.qr(torch.eye(3) + numbers(3, 3)).Q
    return FaceMotion(numbers(21, 3), numbers(21, 3), turns, 1 + numbers(1), numbers(3))


def controllers() -> Controllers:
    torch.manual_seed(5)
    return Controllers(stitching_mlp().eval(), lip_mlp().eval(), eye_mlp().eval())


class Simple:
    """In the place of `Runtime`: M finds one face in any picture, and G paints it in the portrait's own colour."""

    device, graphs, compiles, settles, precision = DEVICE, False, False, True, "fp32"

    def __init__(self) -> None:
        self.controllers = controllers()
        self._motion = face(torch.Generator().manual_seed(1), 1)

    @property
    def ready(self) -> Simple:
        return self

    def compiled(self, function: Callable[..., Any]) -> Callable[..., Any]:
        return function if function is not cut_planes else lambda y, uv, *_: y[:, 0, 0, 0] + uv[:, 0, 0, 0]

    def on_device(self) -> AbstractContextManager[None]:
        return nullcontext()

    def synchronize(self) -> None: ...

    def motion(self, pictures: torch.Tensor) -> FaceMotion:
        return FaceMotion(*(part.expand(len(pictures), *part.shape[1:]) for part in self._motion))

    def render(self, features: PortraitFeatures, keypoints: torch.Tensor) -> torch.Tensor:
        return features[0][:, :, None, None].expand(-1, 3, 4, 4).contiguous()


COLOURS = {name: 20 * k for k, name in enumerate("abcdef", 1)}


class Streets:
    """A way for streams of one colour each, by name."""

    def __init__(self, streams: Any = None, runtime: Any = None, still_px: float = 0.0) -> None:
        self._still_px = still_px
        self.runtime: Any = runtime or Simple()
        self.face = Face(self.runtime.motion(torch.zeros(1)), Ratios(torch.zeros(1, 2), torch.zeros(1, 1)))
        self.portraits = {name: self.portrait(colour) for name, colour in COLOURS.items()}
        self.path = self.new_path(streams)

    def new_path(self, streams: Any = None) -> DevicePath:
        return DevicePath(self.runtime, MotionOptions(), 4, self.portraits["a"], 4, to_nearest_bytes, streams, self._still_px)

    def portrait(self, colour: int) -> DevicePortrait:
        canvas = torch.zeros(1, 4, 4, 2), torch.ones(1, 4, 4), torch.zeros(1, 3, 4, 4)
        features = PortraitFeatures(*[torch.full((1, 1), colour / 255, device=DEVICE)] * 4)
        return DevicePortrait(features, self.face, self.face.motion.keypoints(), *(t.to(DEVICE) for t in canvas))

    def submit(self, names: str, path: DevicePath | None = None, gap_s: float | None = 1 / 30) -> Any:
        """Start on a frame of each; the result says whose colours came out, with a dash for a picture that stays."""
        seen = Seen(FaceBox(np.zeros(2), 1.0, 0.0), np.array([0.3, 0.3, 0.1], np.float32), gap_s, 0.0)
        driving = Driving(np.full((16, 16, 3), 128, np.uint8), 0.0)
        work = [(self.portraits[n], Sight(driving, seen, self.face, ord(n))) for n in names]
        collect = (path or self.path).submit([(p, s._replace(row=s.row - ord("a"))) for p, s in work])
        return lambda: "".join(self._whose(picture) for picture, _ in collect())

    def _whose(self, picture: Image | None) -> str:
        return "-" if picture is None else next((n for n, colour in COLOURS.items() if colour == picture[2, 2, 0]), "?")


class Graphs:
    """In the place of `Captured`: plays what it was given, and finds no memory for more than `room` streams."""

    room = 8
    captured: ClassVar[list[int]] = []

    def __init__(self, function: partial[None], device: torch.device, *shared: object) -> None:
        step, batch = function.args
        if batch > self.room:
            raise torch.OutOfMemoryError("CUDA out of memory")
        if step is Step.SEE:
            self.captured.append(batch)
        self.replay = function


class Shown:
    """In the place of `LivePortraitPrepared`."""

    def __init__(self, streets: Streets, name: str, side: int = 4) -> None:
        self.still = np.zeros((side, side, 3), np.uint8)
        self._portrait = streets.portraits[name]

    def on_device(self, side: int) -> DevicePortrait:
        canvas = torch.zeros(1, side, side, 2), torch.ones(1, side, side), torch.zeros(1, 3, side, side)
        return self._portrait._replace(grid=canvas[0], mask=canvas[1], behind=canvas[2])


class Rendered:
    """A renderer whose builds wait until they are let go."""

    def __init__(self, max_batch: int = 8) -> None:
        self.builds: list[Any] = []
        self.overflowed: list[Any] = []
        self.streets = Streets()
        self.renderer = Renderer(MotionOptions(), max_batch, to_nearest_bytes, self.builds.append, self.overflowed.append)
        self.renderer.grow(4)
        self.shown = {name: Shown(self.streets, name) for name in COLOURS}

    def submit(self, runtime: Any, names: str) -> Any:
        given: Any = [(self.shown[n], Given(self.streets.face, self.streets.face, ord(n) - ord("a"))) for n in names]
        return self.renderer.submit(runtime, given)

    def colours(self, collect: Any) -> str:
        return "".join(self.streets._whose(picture) for picture, _ in collect())
