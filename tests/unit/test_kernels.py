"""The own Triton kernels without a GPU: their numbers in Triton's interpreter, and that they become machine code of GPUs.

Triton comes with the PyTorch for CUDA; where it is not, this is skipped.
"""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch

triton = pytest.importorskip("triton", reason="Triton is not here; it comes with the PyTorch for CUDA")
pytestmark = pytest.mark.filterwarnings("ignore:TRITON_DEFAULT_FP_FUSION")  # 3.9 announces what 3.10 will do

from pipeline.liveportrait import kernels, spade_kernels  # noqa: E402
from pipeline.liveportrait.folding import Folding, fold  # noqa: E402
from pipeline.liveportrait.networks import TINY  # noqa: E402
from pipeline.liveportrait.weights import load_networks  # noqa: E402

from ..conftest import ROOT  # noqa: E402


def test_the_kernels_compute_what_pytorch_does():
    assert kernels.difference(torch.device("cpu")) < 1e-6
    assert kernels.sample_difference(torch.device("cpu")) < 1e-5
    assert spade_kernels.tail_difference(torch.device("cpu")) < 5e-5


@pytest.mark.parametrize("count", [1, 2])
def test_the_end_of_a_spade_in_half_precision_has_float_s_statistics(count):
    """Where nothing is finite in half precision: squares of such values."""
    x = (torch.randn(2, 8, 6, 10) * 300 + 2000).half()
    maps = [torch.randn(2, 16, 12, 20).half() for _ in range(count)]
    biases = [torch.randn(16).half() for _ in maps]
    outs = spade_kernels.spade_tail(x, maps, biases, 2)
    wanted = spade_kernels.spade_tail(x.double().float(), [m.float() for m in maps], [b.float() for b in biases], 2)
    for got, want in zip(outs, wanted, strict=True):
        assert got.dtype is torch.float16
        assert torch.allclose(got.float(), want, atol=4e-3, rtol=2e-3)


@torch.inference_mode()
def test_networks_with_the_kernels_are_traced_whole(tiny):
    results, pictures = [], []
    for kernel in (False, True):
        networks = fold(load_networks(tiny), Folding(align=8, gather=True, kernels=kernel))
        warping = networks.warping
        torch.manual_seed(1)
        resting, moved = torch.rand(1, 21, 3) - 0.5, torch.rand(2, 21, 3) - 0.5
        portrait = warping.prepare(torch.rand(1, *TINY.volume, TINY.side, TINY.side), resting)
        traced = torch.compile(warping.forward, backend="aot_eager", fullgraph=True, dynamic=False)
        results.append(traced(portrait, moved))
        drawn = torch.compile(networks.generator.forward, backend="aot_eager", fullgraph=True, dynamic=False)
        pictures.append(drawn(results[0]))
    assert torch.allclose(results[0], results[1], atol=1e-5)
    assert torch.allclose(pictures[0], pictures[1], atol=1e-4)


def test_a_kernel_that_is_wrong_is_told_of_and_not_used(monkeypatch, caplog):
    monkeypatch.setattr(kernels, "difference", lambda device: float("nan"))
    assert not kernels.agree(torch.device("cpu"))
    assert "wrong by nan" in caplog.text


def test_the_kernels_become_machine_code(tmp_path):
    environment = {**os.environ, "TRITON_INTERPRET": "0", "TRITON_CACHE_DIR": str(tmp_path)}
    command = [sys.executable, "-W", "ignore", "-m", "tests.machine_code"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    made = [line.split() for line in done.stdout.splitlines()]
    assert len({tuple(words[:3]) for words in made}) == 4 * 3 * 2, "kernels, devices, types"
    assert all(int(words[3]) > 1000 for words in made)
