"""A frame's whole way on a device that is not the host, without one: PyTorch's fake tensors know where each lies and hold no
values, so that a tensor left on the host, or a look at a value, ends it. What a processor alone cannot show."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode

from bench.flop import frame_tflop
from bench.gpu.setup import Scene, Setup
from pipeline.errors import ModelError
from pipeline.liveportrait import build, motion, runtime
from pipeline.liveportrait.device import DevicePath
from pipeline.liveportrait.folding import FOLDINGS, Folding
from pipeline.liveportrait.options import Build, Compile, MotionOptions, Precision, Settings
from pipeline.liveportrait.planes import plane_encoder
from pipeline.liveportrait.runtime import Runtime
from pipeline.liveportrait.steps import Step
from pipeline.liveportrait.streams import streams_of

META = torch.device("meta")


@pytest.fixture(autouse=True)
def like_cuda(monkeypatch):
    """Tensors without values have no autocast, and run no kernel; the rest is as on CUDA."""
    monkeypatch.setitem(FOLDINGS, "meta", replace(FOLDINGS["cuda"], kernels=False))
    for name in ("autocast", "autocast_face"):
        monkeypatch.setattr(runtime, name, lambda device, precision: nullcontext())


def path_to(tiny: Path, options: MotionOptions = MotionOptions(), compile_: Compile = Compile.OFF) -> DevicePath:
    """Of the tiny networks, on the device of tensors without values."""
    networks = Runtime(Settings(tiny, "meta", Precision.FP32, build=Build(compile=compile_)))
    with torch.inference_mode():
        portrait = Scene(networks, Setup(tiny, "meta", tiny=True)).portrait
        path = DevicePath(networks, options, 64, portrait, 2, plane_encoder(META))
        path.steps.whole(1)  # constants are brought to the device once, before anything is captured
        return path


def run(path: DevicePath, batch: int) -> None:
    with FakeTensorMode(allow_non_fake_inputs=True), torch.inference_mode():
        for step in Step:
            path._run(step, batch)


@pytest.mark.parametrize("relative", [pytest.param(True, marks=pytest.mark.long), False])
def test_nothing_lies_on_the_host_and_no_value_is_looked_at(tiny, relative):
    run(path_to(tiny, MotionOptions(relative=relative)), 2)


def test_a_tensor_left_on_the_host_is_found(tiny):
    path = path_to(tiny)
    path._from_yuv = torch.zeros(3, 3)
    with pytest.raises(RuntimeError, match=r"two (different )?devices"):
        run(path, 2)


@pytest.mark.long
@pytest.mark.filterwarnings("ignore:Dynamo detected a call to a `functools.lru_cache`")
@pytest.mark.parametrize("relative", [True, False])
def test_what_is_compiled_makes_nothing_on_the_host(tiny, monkeypatch, relative):
    """The compiler looks through `cache`: what an eager run makes once, a compiled one makes in every frame. From the host it
    could not be captured."""
    compile_ = torch.compile
    traced: list[str] = []

    def looked_at(graph, inputs):
        tensors = [node.meta.get("example_value") for node in graph.graph.nodes]
        traced.extend(t.device.type for t in tensors if isinstance(t, torch.Tensor))
        return graph.forward

    monkeypatch.setattr(torch, "compile", lambda function, **how: compile_(function, backend=looked_at, **how))
    path_to(tiny, MotionOptions(relative=relative), Compile.ON)
    assert set(traced) == {"meta"}


@pytest.mark.parametrize("kind", ["mps", "xpu"])
def test_apple_s_and_intel_s_devices_are_waited_for_and_capture_nothing(kind, monkeypatch):
    """None is here; what would be asked of one."""
    device, waits = torch.device(kind), []
    monkeypatch.setattr(getattr(torch, kind), "synchronize", lambda *where: waits.append(where))
    assert build.complete(Build(), device) == Build(True, False, Compile.OFF, False)
    with pytest.raises(ModelError, match=f"CUDA graphs need a CUDA device; the device is '{kind}'"):
        build.complete(Build(graph=True), device)
    assert build.precisions(device) == [Precision.FP32]
    streams_of(device).record(None).synchronize()
    assert len(waits) == 1, "a picture is on the host when it is taken"
    with pytest.raises(ModelError, match=f"device '{kind}' cannot be used .*leave it out for the best one"):
        runtime.find_device(kind)


def test_a_look_at_a_value_is_found(tiny, monkeypatch):
    path = path_to(tiny)
    read = motion.face_motion

    def looking(heads):
        heads.scale.sum().item()
        return read(heads)

    monkeypatch.setattr(runtime, "face_motion", looking)
    with pytest.raises(DataDependentOutputException, match="local_scalar_dense"):
        run(path, 2)


@pytest.mark.long
def test_a_frame_s_operations_are_counted_on_the_networks_themselves():
    """What shares of a device's peak are counted by, and the documents say."""
    counted = [frame_tflop(), frame_tflop(Folding()), frame_tflop(FOLDINGS["cuda"])]
    assert counted == pytest.approx([1.245, 1.059, 1.167], abs=0.001), "plain, as on a processor, as on CUDA"
