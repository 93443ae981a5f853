"""Checkpoints of tiny networks in the official layout, with random weights: whatever goes through them means nothing, and
goes through in milliseconds."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from pipeline.liveportrait.networks import TINY, Sizes
from pipeline.liveportrait.weights import MAKERS, PREFIX, RETARGETING_KEYS


def make_checkpoints(folder: Path, sizes: Sizes = TINY) -> Path:
    """Write them into `folder`, the same ones every time."""
    bundle = {}
    for seed, (name, (stem, make)) in enumerate(MAKERS.items()):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            state = _lively(make(sizes)).state_dict()
        path = folder / f"{stem}.pth"
        path.parent.mkdir(parents=True, exist_ok=True)
        if name in RETARGETING_KEYS:
            bundle[RETARGETING_KEYS[name]] = {PREFIX + key: value for key, value in state.items()}
            state = bundle
        torch.save(state, path)
    return folder


# How strongly M's heads answer: what they say is then near what they say of a face, and moves with the picture.
HEADS = {"fc_kp": 0.3, "fc_exp": 0.6, "fc_t": 0.1, "fc_scale": 0.1, "fc_pitch": 4.0, "fc_yaw": 4.0, "fc_roll": 4.0}


@torch.no_grad()
def _lively(network: nn.Module) -> nn.Module:
    """Weights with which signals neither grow nor fade, and norms that do something."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d | nn.BatchNorm3d):
            assert module.running_mean is not None
            assert module.running_var is not None
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
    for name, parameter in network.named_parameters():
        if parameter.dim() > 1 and ".grn." not in name:
            gain = next((gain for head, gain in HEADS.items() if head in name), 1.4)
            parameter.normal_(0, gain * parameter[0].numel() ** -0.5)
        elif name.endswith("fc_scale.bias"):
            parameter.fill_(1.0)
        elif name.endswith((".gamma", ".beta", "bias")):
            parameter.normal_(0, 0.2)
    return network
