"""The own Triton kernel without a GPU: its numbers in Triton's interpreter, and that it becomes machine code of an H100.

Triton comes with the PyTorch for CUDA; where it is not, this is skipped.
"""

from __future__ import annotations

import importlib

import pytest
import torch

triton = pytest.importorskip("triton", reason="Triton is not here; it comes with the PyTorch for CUDA")
pytestmark = pytest.mark.filterwarnings("ignore:TRITON_DEFAULT_FP_FUSION")  # 3.9 announces what 3.10 will do

from pipeline.liveportrait import kernels  # noqa: E402
from pipeline.liveportrait.folding import Folding, fold  # noqa: E402
from pipeline.liveportrait.networks import TINY  # noqa: E402
from pipeline.liveportrait.weights import load_networks  # noqa: E402


def test_the_kernels_compute_what_pytorch_does():
    assert kernels.difference(torch.device("cpu")) < 1e-6
    assert kernels.sample_difference(torch.device("cpu")) < 1e-5


@torch.inference_mode()
def test_networks_with_the_kernel_are_traced_whole(tiny):
    results = []
    for kernel in (False, True):
        warping = fold(load_networks(tiny), Folding(align=8, gather=True, kernels=kernel)).warping
        torch.manual_seed(1)
        resting, moved = torch.rand(1, 21, 3) - 0.5, torch.rand(2, 21, 3) - 0.5
        portrait = warping.prepare(torch.rand(1, *TINY.volume, TINY.side, TINY.side), resting)
        traced = torch.compile(warping.forward, backend="aot_eager", fullgraph=True, dynamic=False)
        results.append(traced(portrait, moved))
    assert torch.allclose(results[0], results[1], atol=1e-5)


def test_a_kernel_that_is_wrong_is_told_of_and_not_used(monkeypatch, caplog):
    monkeypatch.setattr(kernels, "difference", lambda device: float("nan"))
    assert not kernels.agree(torch.device("cpu"))
    assert "wrong by nan" in caplog.text


def made_for_h100(kernel, types: list[str], numbers: list[float]) -> bytes:
    h100 = importlib.import_module("triton.backends.compiler").GPUTarget("cuda", 90, 32)
    kernel = triton.runtime.JITFunction(kernel.fn)
    signature = dict(zip(kernel.arg_names, types + ["constexpr"] * len(numbers), strict=True))
    constants = {(len(types) + k,): value for k, value in enumerate(numbers)}
    return triton.compile(triton.compiler.ASTSource(kernel, signature, constants), target=h100).asm["cubin"]


@pytest.mark.parametrize("half", [True, False])
def test_the_kernels_become_machine_code(half):
    kind = "*fp16" if half else "*fp32"
    types, numbers = [kind, "*fp32", "*fp32", kind, "i32", "i32", "i32"], [4, 16, 64, 64, 22, 50.0, 112, 128, kernels.BLOCK]
    assert len(made_for_h100(kernels.sparse_motions_kernel, types, numbers)) > 1000
    types, numbers = ["*fp32", "*fp32", "*fp32", kind, *["i32"] * 6], [32, 16, 64, 64, 22, 32, kernels.BLOCK]
    assert len(made_for_h100(kernels.sample_kernel, types, numbers)) > 1000
