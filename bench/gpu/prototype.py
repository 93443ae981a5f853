"""The prototype's table: see `bench.amp`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from bench.amp import measured, table
from bench.gpu.setup import Setup
from pipeline.liveportrait.networks import INPUT


def prototype(setup: Setup) -> Iterator[dict[str, Any]]:
    """148 frames and 20 of them; in this process, as peak memory of a CUDA device can be reset."""
    source = torch.from_numpy(setup.footage.source).permute(2, 0, 1)[None].float()
    small = F.adaptive_avg_pool2d(source, INPUT)[0].permute(1, 2, 0).round().to(torch.uint8)
    yield table(setup.settings(), np.ascontiguousarray(small.numpy()), setup.footage.crops, measured)
