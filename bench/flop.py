"""How many operations a frame needs, counted on the networks themselves without computing anything."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import torch
from torch.utils.flop_counter import FlopCounterMode

from pipeline.liveportrait.build import apply
from pipeline.liveportrait.networks import FULL, INPUT, KEYPOINTS, Sizes
from pipeline.liveportrait.options import PLAIN, Precision
from pipeline.liveportrait.weights import MAKERS, Networks


@cache
@torch.inference_mode()
def frame_tflop(folded: bool, sizes: Sizes = FULL) -> float:
    """10¹² operations of M, W and G for one frame; a multiply-add is two. folded: see `build.fold`."""
    with torch.device("meta"):
        modules = [make(sizes).eval().requires_grad_(False) for _, make in MAKERS.values()]
        build = replace(PLAIN, fold=folded)
        networks = apply(build, Networks(*modules), Precision.FP32, torch.device("meta"))  # type: ignore[arg-type]
        picture, keypoints = torch.zeros(1, 3, INPUT, INPUT), torch.zeros(1, KEYPOINTS, 3)
        features = networks.warping.prepare(networks.appearance(picture), keypoints)
        with FlopCounterMode(display=False) as counter:
            networks.motion(picture)
            networks.generator(networks.warping(features, keypoints))
    return counter.get_total_flops() / 1e12
