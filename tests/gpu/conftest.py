"""Fixtures of the tests for a GPU: nothing of the other tests', which need a camera's, a browser's and a server's libraries.

`PUPPETCAST_GPU_TESTS=cpu pytest tests/gpu` runs what a processor can of them, with tiny networks: are the tests themselves
right?
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from bench.gpu.setup import Setup


@pytest.fixture(scope="session")
def setup(tmp_path_factory) -> Setup:
    """Full-size networks with random weights on the first CUDA device."""
    from bench.gpu.setup import Setup

    device = os.environ.get("PUPPETCAST_GPU_TESTS", "cuda")
    return Setup(tmp_path_factory.mktemp("gpu"), device, tiny=device == "cpu")
