"""LivePortrait's device path on a GPU: every precision and batch, graphs, memory, waits, faults. See `bench.gpu.checks`."""

from __future__ import annotations

import os

import pytest
import torch

from bench.gpu.checks import CHECKS, parity
from bench.gpu.faults import FAULTS
from pipeline.liveportrait.options import BATCHES, Precision

if not torch.cuda.is_available() and "PUPPETCAST_GPU_TESTS" not in os.environ:
    pytest.skip("no CUDA device: graphs, half precision and copy streams are NOT TESTED here", allow_module_level=True)


def made(figures: dict) -> None:
    """Checks raise where something is not as it must be; what cannot be checked here is no success."""
    if "skipped" in figures:
        pytest.skip(figures["skipped"])
    assert figures


@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize("precision", list(Precision))
@torch.inference_mode()
def test_every_precision_and_batch_paints_what_float32_does(setup, precision, batch):
    made(parity(setup, precision, batch))


@pytest.mark.parametrize("check", CHECKS)
@torch.inference_mode()
def test_the_way_on_the_device(setup, check):
    made(CHECKS[check](setup))


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
@torch.inference_mode()
def test_faults_are_survived(setup, fault):
    made(fault(setup))
