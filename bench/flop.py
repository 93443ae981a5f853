"""How many operations a frame needs, counted on the networks themselves without computing anything."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.flop_counter import FlopCounterMode

from pipeline.liveportrait.folding import Folding, fold
from pipeline.liveportrait.networks import FULL, INPUT, KEYPOINTS, Sizes
from pipeline.liveportrait.weights import MAKERS, Networks


@cache
@torch.inference_mode()
def frame_tflop(folding: Folding | None = None, sizes: Sizes = FULL) -> float:
    """10¹² operations of M, W and G for one frame; a multiply-add is two. folding: see `folding.fold`; None for the plain
    networks. Own kernels are not counted: they sample and add."""
    with torch.device("meta"):
        modules = [make(sizes).eval().requires_grad_(False) for _, make in MAKERS.values()]
        networks = Networks(*modules)  # type: ignore[arg-type]
        if folding is not None:
            networks = fold(networks, replace(folding, kernels=False))
    with FakeTensorMode(allow_non_fake_inputs=True):  # "meta" has no autocast, which the networks switch off in places
        for root in networks.modules():
            root.to_empty(device="cpu")
        picture, keypoints = torch.zeros(1, 3, INPUT, INPUT), torch.zeros(1, KEYPOINTS, 3)
        features = networks.warping.prepare(networks.appearance(picture), keypoints)
        with FlopCounterMode(display=False) as counter:
            networks.motion(picture)
            networks.generator(networks.warping(features, keypoints))
    return counter.get_total_flops() / 1e12
