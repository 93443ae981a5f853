"""Checkpoints in the official layout with random weights, the same ones every time: what goes through them means nothing,
and costs what it costs. Needs torch alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from pipeline.liveportrait.networks import FULL, Sizes
from pipeline.liveportrait.weights import MAKERS, PREFIX, RETARGETING_KEYS

# How strongly M's heads answer: what they say is then near what they say of a face, and moves with the picture.
HEADS = {"fc_kp": 0.3, "fc_exp": 0.6, "fc_t": 0.1, "fc_scale": 0.1, "fc_pitch": 4.0, "fc_yaw": 4.0, "fc_roll": 4.0}
POWER_STEPS = 8  # towards a weight's largest singular value


def make_checkpoints(folder: Path, sizes: Sizes) -> Path:
    """Write them into `folder`; full-size ones are 520 MB."""
    bundle: dict[str, Any] = {}
    for seed, (name, (stem, make)) in enumerate(MAKERS.items()):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network = _lively(make(sizes))
        if sizes == FULL:  # half precision must hold what goes through it; tiny pictures are the livelier without
            _measure_spectra(network)
        state: dict[str, Any] = network.state_dict()
        path = folder / f"{stem}.pth"
        path.parent.mkdir(parents=True, exist_ok=True)
        if name in RETARGETING_KEYS:
            bundle[RETARGETING_KEYS[name]] = {PREFIX + key: value for key, value in state.items()}
            state = bundle
        torch.save(state, path)
    return folder


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


@torch.no_grad()
def _measure_spectra(network: nn.Module) -> None:
    """Spectral norms divide by the largest singular value, as two vectors tell it; random ones tell next to nothing."""
    modules: list[Any] = [module for module in network.modules() if hasattr(module, "weight_orig")]
    for module in modules:
        weight = module.weight_orig.flatten(1)
        for _ in range(POWER_STEPS):
            module.weight_v.copy_(F.normalize(weight.T @ module.weight_u, dim=0))
            module.weight_u.copy_(F.normalize(weight @ module.weight_v, dim=0))
