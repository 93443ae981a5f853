"""Checkpoints of tiny networks in the official layout, with random weights: whatever goes through them means nothing, and
goes through in milliseconds."""

from __future__ import annotations

from pathlib import Path

from bench import random_weights
from pipeline.liveportrait.networks import TINY, Sizes


def make_checkpoints(folder: Path, sizes: Sizes = TINY) -> Path:
    """Write them into `folder`, the same ones every time."""
    return random_weights.make_checkpoints(folder, sizes)
