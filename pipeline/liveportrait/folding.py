"""The networks put together anew so that they need fewer and better steps, which change nothing of what they compute.

Norms go into the convolutions before them, W's channels are padded, and each SPADE becomes fewer convolutions.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import remove_spectral_norm
from torch.nn.utils.fusion import fuse_conv_bn_eval

from .networks import MOTIONS, DenseMotion, PortraitFeatures, ResBlock3d, Spade, SpadeBlock, SpadeGenerator
from .options import Precision
from .weights import Networks

Conv = nn.Conv2d | nn.Conv3d
DTYPES = {Precision.FP32: torch.float32, Precision.FP16: torch.float16, Precision.BF16: torch.bfloat16}


@dataclass(frozen=True)
class Folding:
    """What pays on a kind of device. align: W's wide maps get channels of zeros up to a multiple of this, as matrix units want
    them. planar: W's two convolutions of 7 pixels and more are a plane one, see `PlanarJudge`."""

    align: int = 1
    planar: bool = False

    @classmethod
    def of(cls, device: torch.device) -> Folding:
        return FOLDINGS.get(device.type, cls())


FOLDINGS = {"cuda": Folding(align=8, planar=True)}


def fold(networks: Networks, folding: Folding) -> Networks:
    """Put spectral and batch norms into their convolutions, pad W, and fuse each SPADE; in place."""
    for root in networks.modules():
        for module in list(root.modules()):
            if hasattr(module, "weight_orig"):
                remove_spectral_norm(module)
            elif isinstance(module, nn.ModuleDict) and "norm" in module:
                module["conv"], module["norm"] = _folded(module["conv"], module["norm"]), nn.Identity()
            elif isinstance(module, ResBlock3d):
                module.conv1, module.norm2 = _folded(module.conv1, module.norm2), nn.Identity()  # type: ignore[assignment]
            elif isinstance(module, DenseMotion):
                module.compress, module.norm = _folded(module.compress, module.norm), nn.Identity()  # type: ignore[assignment]
    _fuse_spades(networks.generator)
    networks.warping.dense_motion_network = FoldedDenseMotion(networks.warping.dense_motion_network, folding)
    return networks


def cast(networks: Networks, precision: Precision) -> Networks:
    """Keep the weights of convolutions in `precision`, as autocast would cast them in every frame; in place."""
    face = [networks.appearance, networks.motion] if precision is Precision.FP16 else []
    for root in [*face, networks.warping, networks.generator]:
        for module in root.modules():
            if isinstance(module, (nn.Conv2d, nn.Conv3d, PhaseConv)):
                module.to(DTYPES[precision])
    return networks


def _folded(conv: nn.Module, norm: nn.Module) -> nn.Module:
    return fuse_conv_bn_eval(conv, norm).requires_grad_(False)  # type: ignore[type-var,arg-type]


class FoldedDenseMotion(DenseMotion):
    """`networks.DenseMotion` with channels of zeros after those of its widest maps."""

    def __init__(self, plain: DenseMotion, folding: Folding) -> None:
        nn.Module.__init__(self)
        self.compress, self.norm, self.hourglass = plain.compress, plain.norm, plain.hourglass
        self.register_buffer("grid", plain.grid, persistent=False)
        first, last = conv_of(self.hourglass.encoder["down_blocks"].get_submodule("0")), conv_of(self.hourglass.decoder)
        self._zeros: int = -first.in_channels % folding.align
        widen(first, first.in_channels + self._zeros, first.out_channels)
        wide = last.out_channels + -last.out_channels % folding.align
        widen(last, last.in_channels + self._zeros, wide)
        depth = plain.occlusion.in_channels // plain.mask.in_channels
        self.mask, self.occlusion = plain.mask, plain.occlusion
        widen(self.mask, wide, plain.mask.out_channels)
        by_slice = self.occlusion.weight.reshape(1, -1, depth, 7, 7)  # 1, 142, D, 7, 7
        self.occlusion.weight.data = _padded(by_slice, 1, wide).flatten(1, 2)
        self.occlusion.in_channels = wide * depth
        if folding.planar:
            self.planar = PlanarJudge(self.mask, self.occlusion, folding.align)
            self.judge = self.planar.forward  # type: ignore[method-assign]
            del self.mask, self.occlusion

    def sparse_motions(self, portrait: PortraitFeatures, driving: Tensor, shifts: Tensor) -> Tensor:
        """(B, 112, D, H, W)"""
        x = super().sparse_motions(portrait, driving, shifts)
        return F.pad(x, (0, 0, 0, 0, 0, 0, 0, self._zeros))


class PlanarJudge(nn.Module):
    """Mask and occlusion of a volume by one plane convolution of its slices.

    The mask's 7³ convolution is seven of 7², a slice apart; the occlusion's weights differ from slice to slice, so that each
    slice is given all D and keeps its own. 7 · 22 + D = 170 results, the sums of which are taken in float32.
    """

    def __init__(self, mask: nn.Conv3d, occlusion: nn.Conv2d, align: int) -> None:
        super().__init__()
        assert mask.bias is not None
        assert occlusion.bias is not None
        taps, depth = mask.kernel_size[0], occlusion.in_channels // mask.in_channels
        by_slice = occlusion.weight.reshape(mask.in_channels, depth, *occlusion.kernel_size).transpose(0, 1)
        weight = torch.cat([mask.weight.permute(2, 0, 1, 3, 4).flatten(0, 1), by_slice])
        bias = weight.new_zeros(len(weight))
        middle = taps // 2 * MOTIONS  # of each result exactly one of the terms carries the bias
        bias[middle : middle + MOTIONS], bias[taps * MOTIONS] = mask.bias, occlusion.bias[0]
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


def _fuse_spades(generator: SpadeGenerator) -> None:
    for name, block in generator.named_children():
        if isinstance(block, SpadeBlock):
            scale = {"up_0": 2, "up_1": 4}.get(name, 1)
            for key, spade in block.named_children():
                if isinstance(spade, Spade):
                    setattr(block, key, FusedSpade(spade, scale))


class FusedSpade(nn.Module):
    """`networks.Spade` where seg is `scale` times smaller than x: γ and β by one convolution."""

    def __init__(self, spade: Spade, scale: int) -> None:
        super().__init__()
        shared = spade.mlp_shared[0]
        assert isinstance(shared, nn.Conv2d)
        self.shared = shared if scale == 1 else PhaseConv(shared, scale)
        gamma, beta = spade.mlp_gamma, spade.mlp_beta
        self.gain_shift = nn.Conv2d(gamma.in_channels, 2 * gamma.out_channels, 3, padding=1)
        self.gain_shift.weight = nn.Parameter(torch.cat([gamma.weight, beta.weight]), requires_grad=False)
        assert gamma.bias is not None
        assert beta.bias is not None
        self.gain_shift.bias = nn.Parameter(torch.cat([1 + gamma.bias, beta.bias]), requires_grad=False)

    def forward(self, x: Tensor, seg: Tensor) -> Tensor:
        gain, shift = self.gain_shift(F.relu(self.shared(seg))).chunk(2, dim=1)
        return torch.addcmul(shift, F.instance_norm(x).to(gain.dtype), gain)


class PhaseConv(nn.Module):
    """conv(nearest_upsample(x, scale)) for a 3×3 convolution, computed at the size of x.

    Every scale × scale block of the result sees at most 2 × 2 pixels of x, and all but its outer pixels
    just one: nine small convolutions whose taps are sums of the given ones, with 25 multiplications
    instead of 144 at scale 4, and 16 instead of 36 at scale 2.
    """

    def __init__(self, conv: nn.Conv2d, scale: int) -> None:
        super().__init__()
        self.scale = scale
        weight = conv.weight  # out, in, 3, 3
        # By phase of an axis: taps of the given kernel that meet one pixel of x, first pixel met, first and last place
        phases = [(((0,), (1, 2)), 0, (0, 1)), (((0, 1, 2),), 1, (1, scale - 1)), (((0, 1), (2,)), 1, (scale - 1, scale))]
        self.phases = [p for p in phases if p[2][0] < p[2][1]]
        self.bias = conv.bias
        self.weights = nn.ParameterList()
        for rows, _, _ in self.phases:
            for columns, _, _ in self.phases:
                taps = [torch.stack([weight[:, :, list(r)][..., list(c)].sum((2, 3)) for c in columns], -1) for r in rows]
                self.weights.append(nn.Parameter(torch.stack(taps, -2), requires_grad=False))

    def forward(self, x: Tensor) -> Tensor:
        batch, _, height, width = x.shape
        padded = F.pad(x, (1, 1, 1, 1))
        out: Tensor | None = None
        weights = iter(self.weights)
        for rows, top, (y0, y1) in self.phases:
            for columns, left, (x0, x1) in self.phases:
                seen = padded[:, :, top : top + height + len(rows) - 1, left : left + width + len(columns) - 1]
                part = F.conv2d(seen, next(weights), self.bias)
                if out is None:
                    out = part.new_empty(batch, part.shape[1], height, self.scale, width, self.scale)
                out[:, :, :, y0:y1, :, x0:x1] = part[:, :, :, None, :, None]
        assert out is not None
        return out.flatten(4, 5).flatten(2, 3)
