"""The networks put together anew so that they need fewer and better steps, which change nothing of what they compute.

Norms go into the convolutions before them, W's channels are padded, its largest convolution becomes plane; G is in `spade`.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import remove_spectral_norm
from torch.nn.utils.fusion import fuse_conv_bn_eval

from .networks import MOTIONS, DenseMotion, Hourglass, PortraitFeatures, ResBlock3d, SpadeGenerator
from .options import Precision
from .separable import sparse_motions
from .spade import FoldedGenerator, PhaseConv, PhasedModulation
from .weights import Networks

Conv = nn.Conv2d | nn.Conv3d
DTYPES = {Precision.FP32: torch.float32, Precision.FP16: torch.float16, Precision.BF16: torch.bfloat16}


@dataclass(frozen=True)
class Folding:
    """What pays on one kind of device alone. align: W's wide maps get channels of zeros up to a multiple of this, as matrix units
    want them; processors do not mind. gather: W and G have the fewest steps instead of the fewest multiplications.
    kernels: what W's hourglass is given, what becomes of its result, and the end of G's SPADEs are made by Triton kernels, see
    `kernels` and `spade_kernels`. sums: S's and R's layers are sums that the compiler joins to what is around them."""

    align: int = 1
    gather: bool = False
    kernels: bool = False
    sums: bool = False

    @classmethod
    def of(cls, device: torch.device) -> Folding:
        folding = FOLDINGS.get(device.type, cls())
        return replace(folding, kernels=_kernels_agree(device)) if folding.kernels else folding


FOLDINGS = {
    "cuda": Folding(align=8, gather=True, kernels=True, sums=True),
    "mps": Folding(gather=True),
    "xpu": Folding(gather=True),
}


@cache
def _kernels_agree(device: torch.device) -> bool:
    if importlib.util.find_spec("triton") is None:
        return False
    from .kernels import agree

    return agree(device)


def fold(networks: Networks, folding: Folding) -> Networks:
    """Put spectral and batch norms into their convolutions, pad W, and put G together anew; in place."""
    for root in networks.modules():
        fold_spectral(root)
        for module in list(root.modules()):
            if isinstance(module, nn.ModuleDict) and "norm" in module:
                module["conv"], module["norm"] = _folded(module["conv"], module["norm"]), nn.Identity()
            elif isinstance(module, ResBlock3d):
                module.conv1, module.norm2 = _folded(module.conv1, module.norm2), nn.Identity()  # type: ignore[assignment]
            elif isinstance(module, DenseMotion):
                module.compress, module.norm = _folded(module.compress, module.norm), nn.Identity()  # type: ignore[assignment]
    for network in (networks.stitching, networks.lip, networks.eye) if folding.sums else ():
        network.mlp = nn.Sequential(*(SummedLinear(part) if isinstance(part, nn.Linear) else part for part in network.mlp))
    networks.warping.dense_motion_network = FoldedDenseMotion(networks.warping.dense_motion_network, folding)
    assert isinstance(networks.generator, SpadeGenerator)
    return replace(networks, generator=FoldedGenerator(networks.generator, folding.gather, folding.kernels))


def fold_spectral(root: nn.Module) -> None:
    """Put its spectral norms into the weights; in place."""
    for module in list(root.modules()):
        if hasattr(module, "weight_orig"):
            remove_spectral_norm(module)


def cast(networks: Networks, precision: Precision) -> Networks:
    """Keep the weights of convolutions and of M's linear layers in `precision`, as autocast would cast them in every frame; in
    place."""
    face = [networks.appearance, networks.motion] if precision is Precision.FP16 else []
    for root in [*face, networks.warping, networks.generator]:
        for module in root.modules():
            if isinstance(module, (nn.Conv2d, nn.Conv3d, nn.Linear, PhaseConv, PhasedModulation)):
                module.to(DTYPES[precision])
    return networks


def _folded(conv: nn.Module, norm: nn.Module) -> nn.Module:
    return fuse_conv_bn_eval(conv, norm).requires_grad_(False)  # type: ignore[type-var,arg-type]


class SummedLinear(nn.Module):
    """A linear layer of a few rows in float32, for which libraries have no good matrix product: cuBLAS took 48 µs for one of 8
    rows on an H100."""

    def __init__(self, plain: nn.Linear) -> None:
        super().__init__()
        self.weight, self.bias = plain.weight, plain.bias

    def forward(self, x: Tensor) -> Tensor:
        """(B, I) -> (B, O)"""
        return (x[:, None] * self.weight).sum(dim=-1) + self.bias


class FoldedDenseMotion(DenseMotion):
    """`networks.DenseMotion` with channels of zeros after those of its widest maps."""

    def __init__(self, plain: DenseMotion, folding: Folding) -> None:
        nn.Module.__init__(self)
        self.compress, self.norm = plain.compress, plain.norm
        self.hourglass = plain.hourglass if folding.gather else PhasedHourglass(plain.hourglass)
        self.register_buffer("grid", plain.grid, persistent=False)
        first, last = self.hourglass.first, conv_of(self.hourglass.decoder)
        self._kernels: tuple[Callable[..., Tensor], Callable[..., Tensor]] | None = None
        if folding.kernels:
            from . import kernels

            self._kernels = kernels.sparse_motions, kernels.sample
        self._separable = not folding.gather  # the fewest steps are the kernels', or else the plain ones
        self._zeros: int = -first.in_channels % folding.align
        widen(first, first.in_channels + self._zeros, first.out_channels)
        wide = last.out_channels + -last.out_channels % folding.align
        widen(last, last.in_channels + self._zeros, wide)
        depth = plain.occlusion.in_channels // plain.mask.in_channels
        widen(plain.mask, wide, plain.mask.out_channels)
        by_slice = plain.occlusion.weight.reshape(1, -1, depth, 7, 7)  # 1, 142, D, 7, 7
        self.both = PlanarJudge(plain.mask, _padded(by_slice, 1, wide), plain.occlusion.bias, folding.align)

    def sparse_motions(self, portrait: PortraitFeatures, driving: Tensor, shifts: Tensor) -> Tensor:
        """(B, 112, D, H, W)"""
        first = self.hourglass.first
        given = portrait.compressed, portrait.keypoints, driving
        if self._kernels is not None:
            return self._kernels[0](*given, first.in_channels, first.weight.dtype).permute(0, 4, 1, 2, 3)
        if self._separable:
            return sparse_motions(*given, first.weight.dtype)
        x = super().sparse_motions(portrait, driving, shifts)
        return F.pad(x, (0, 0, 0, 0, 0, 0, 0, self._zeros)) if self._zeros else x

    def sample(self, feature: Tensor, mask: Tensor, shifts: Tensor) -> Tensor:
        """(B, C · D, H, W)"""
        if self._kernels is None:
            return super().sample(feature, mask, shifts)
        return self._kernels[1](feature, mask, shifts, self.both.conv.weight.dtype).permute(0, 3, 1, 2)

    def judge(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(B, 144, D, H, W) -> (B, 22, D, H, W), (B, 1, H, W)"""
        mask, occlusion = self.both(x)
        return mask, occlusion


class PhasedHourglass(Hourglass):
    """`networks.Hourglass`, whose enlarged maps are computed at the size before; see `PhaseConv`."""

    def __init__(self, plain: Hourglass) -> None:
        nn.Module.__init__(self)
        self.channels, self.encoder, self.decoder = plain.channels, plain.encoder, plain.decoder
        blocks = self.decoder["up_blocks"].children()
        self.decoder["up_blocks"] = nn.ModuleList(PhaseConv(conv_of(block), 2) for block in blocks)

    def halved(self, x: Tensor) -> Tensor:
        """Slice by slice, which leaves the channels last; PyTorch's pooling of volumes would put them first, and back."""
        slices = F.avg_pool2d(x.transpose(1, 2).flatten(0, 1), 2)
        return slices.view(len(x), -1, *slices.shape[1:]).transpose(1, 2)

    def enlarged(self, block: nn.Module, x: Tensor) -> Tensor:
        out: Tensor = block(x)
        return out


class PlanarJudge(nn.Module):
    """Mask and occlusion of a volume by one plane convolution of its slices.

    The mask's 7³ convolution is seven of 7², a slice apart; the occlusion's weights differ from slice to slice, so that each
    slice is given all D and keeps its own. 7 · 22 + D = 170 results, the sums of which are taken in float32.
    """

    def __init__(self, mask: nn.Conv3d, by_slice: Tensor, occlusion_bias: Tensor | None, align: int) -> None:
        """by_slice: the occlusion's weights (1, 144, D, 7, 7)."""
        super().__init__()
        assert mask.bias is not None
        assert occlusion_bias is not None
        taps, depth = mask.kernel_size[0], by_slice.shape[2]
        weight = torch.cat([mask.weight.permute(2, 0, 1, 3, 4).flatten(0, 1), by_slice[0].transpose(0, 1)])
        bias = weight.new_zeros(len(weight))
        middle = taps // 2 * MOTIONS  # of each result exactly one of the terms carries the bias
        bias[middle : middle + MOTIONS], bias[taps * MOTIONS] = mask.bias, occlusion_bias[0]
        self.sizes = taps, depth
        self.conv = nn.Conv2d(mask.in_channels, len(weight), taps, padding=taps // 2)
        self.conv.weight, self.conv.bias = (nn.Parameter(t, requires_grad=False) for t in (weight, bias))
        widen(self.conv, mask.in_channels, len(weight) + -len(weight) % align)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(B, 144, D, H, W) -> (B, 22, D, H, W), (B, 1, H, W)"""
        taps, depth = self.sizes
        parts = self.conv(x.transpose(1, 2).flatten(0, 1)).unflatten(0, (-1, depth))  # B, D, 176, H, W
        groups = parts[:, :, : taps * MOTIONS].unflatten(2, (taps, MOTIONS))
        around = F.pad(groups, (0, 0, 0, 0, 0, 0, 0, 0, taps // 2, taps // 2))  # slices of zeros before and after
        mask = sum((around[:, k : k + depth, k].float() for k in range(1, taps)), around[:, :depth, 0].float())
        own = parts[:, :, taps * MOTIONS : taps * MOTIONS + depth].diagonal(dim1=1, dim2=2)  # B, H, W, D
        return mask.transpose(1, 2), own.float().sum(dim=-1)[:, None]


def conv_of(block: nn.Module) -> Conv:
    """Of a `networks.conv_bn`."""
    conv = block.get_submodule("conv")
    assert isinstance(conv, Conv)
    return conv


def widen(conv: Conv, channels_in: int, channels_out: int) -> None:
    """Give a convolution weights of zero for further channels, after those that it has; in place."""
    conv.weight.data = _padded(_padded(conv.weight, 0, channels_out), 1, channels_in)
    if conv.bias is not None:
        conv.bias.data = _padded(conv.bias, 0, channels_out)
    conv.in_channels, conv.out_channels = channels_in, channels_out


def _padded(weight: Tensor, dim: int, size: int) -> Tensor:
    zeros = weight.new_zeros(*weight.shape[:dim], size - weight.shape[dim], *weight.shape[dim + 1 :])
    return torch.cat([weight, zeros], dim)
