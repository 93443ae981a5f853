"""The networks of LivePortrait in data-flow order: F, M, S and R, W, G.

Guo et al., "LivePortrait: Efficient Portrait Animation with Stitching and Retargeting Control",
arXiv:2407.03168. Parameter names are those of the official checkpoints, which load strictly.
Plain eager code; precision, folding, compilation and capture are switched on by their users.
B is the batch, K = 21 keypoints; C, D, H, W = 32, 16, 64, 64 the feature volume. Numbers in comments are of `FULL`.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import spectral_norm

KEYPOINTS = 21
MOTIONS = KEYPOINTS + 1  # the background does not move
KEYPOINT_VARIANCE = 0.01
INPUT = 256  # side of the pictures that F and M are given


@dataclass(frozen=True)
class Sizes:
    """How large the networks are: FULL for the official checkpoints, TINY where it is enough that everything fits.

    appearance: F's channels, halved in height and width from each to the next, down to those of the feature volume;
    volume: its channels C and depth D. backbone: M's stages, (channels, blocks) each. compressed: channels of the volume
    that W moves by each keypoint. down, up: of the hourglass. spade: what γ and β are computed from.
    generator: G's channels before, between and after its two enlargements, and its blocks before them.
    """

    appearance: tuple[int, ...] = (64, 128, 256)
    volume: tuple[int, int] = (32, 16)
    backbone: tuple[tuple[int, int], ...] = ((96, 3), (192, 3), (384, 9), (768, 3))
    compressed: int = 4
    down: tuple[int, ...] = (64, 128, 256, 512, 1024)
    up: tuple[int, ...] = (512, 256, 128, 64, 32)
    warped: int = 256
    spade: int = 128
    generator: tuple[int, int, int] = (512, 256, 64)
    middle: int = 6

    @property
    def side(self) -> int:
        """Height and width of the feature volume; G's pictures have 8 times as much."""
        return INPUT >> len(self.appearance) - 1

    @property
    def flat(self) -> int:
        """Channels of the feature volume with its depth among them."""
        return self.volume[0] * self.volume[1]

    @property
    def seen(self) -> int:
        """Channels that the hourglass is given: a heat map and the compressed volume, moved, for each motion."""
        return MOTIONS * (1 + self.compressed)


FULL = Sizes()
TINY = Sizes((4, 4, 4, 4, 4), (4, 2), ((4, 1), (4, 1), (4, 1), (8, 1)), 1, (4, 8), (4, 2), 8, 4, (8, 4, 4), 1)


def conv_bn(dims: int, channels_in: int, channels_out: int, size: int = 3) -> nn.ModuleDict:
    """A convolution and its batch norm under the names of the checkpoints: conv, norm."""
    conv, norm = (nn.Conv2d, nn.BatchNorm2d) if dims == 2 else (nn.Conv3d, nn.BatchNorm3d)
    return nn.ModuleDict({"conv": conv(channels_in, channels_out, size, padding=size // 2), "norm": norm(channels_out)})


def apply(block: nn.Module, x: Tensor) -> Tensor:
    """norm(conv(x))."""
    out: Tensor = block.get_submodule("norm")(block.get_submodule("conv")(x))
    return out


class ResBlock3d(nn.Module):
    """x + conv(relu(bn(conv(relu(bn(x)))))), 3³."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1, self.conv2 = (nn.Conv3d(channels, channels, 3, padding=1) for _ in range(2))
        self.norm1, self.norm2 = nn.BatchNorm3d(channels), nn.BatchNorm3d(channels)

    def forward(self, x: Tensor) -> Tensor:
        h = self.conv1(F.relu(self.norm1(x)))
        return x + self.conv2(F.relu(self.norm2(h)))


class AppearanceFeatureExtractor(nn.Module):
    """F: the portrait's appearance as a feature volume."""

    def __init__(self, sizes: Sizes = FULL) -> None:
        super().__init__()
        self._shape = (*sizes.volume, sizes.side, sizes.side)
        widths = sizes.appearance
        self.first = conv_bn(2, 3, widths[0])
        self.down_blocks = nn.ModuleList(conv_bn(2, a, b) for a, b in itertools.pairwise(widths))
        self.second = nn.Conv2d(widths[-1], sizes.flat, 1)
        self.resblocks_3d = nn.ModuleDict({f"3dr{k}": ResBlock3d(sizes.volume[0]) for k in range(6)})

    def forward(self, image: Tensor) -> Tensor:
        """(B, 3, 256, 256) RGB in 0..1 -> (B, C, D, H, W)."""
        x = F.relu(apply(self.first, image))  # B, 64, 256, 256
        for block in self.down_blocks:
            x = F.avg_pool2d(F.relu(apply(block, x)), 2)  # 128, 128² then 256, 64²
        x = self.second(x).reshape(-1, *self._shape)  # B, 32, 16, 64, 64
        for block in self.resblocks_3d.values():
            x = block(x)
        return x


class LayerNorm2d(nn.LayerNorm):
    """Layer norm over the channels of (B, C, H, W)."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class GlobalResponseNorm(nn.Module):
    """ConvNeXt V2 (Woo et al., arXiv:2301.00808), over (B, H, W, C)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gamma, self.beta = (nn.Parameter(torch.zeros(1, 1, 1, channels)) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        energy = x.norm(p=2, dim=(1, 2), keepdim=True)
        return self.gamma * (x * (energy / (energy.mean(dim=-1, keepdim=True) + 1e-6))) + self.beta + x


class ConvNextBlock(nn.Module):
    """Depthwise 7×7, then two pointwise layers with a global response norm between them."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.dwconv = nn.Conv2d(channels, channels, 7, padding=3, groups=channels)
        self.norm = nn.LayerNorm(channels, eps=1e-6)
        self.pwconv1 = nn.Linear(channels, 4 * channels)
        self.grn = GlobalResponseNorm(4 * channels)
        self.pwconv2 = nn.Linear(4 * channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        h = self.norm(self.dwconv(x).permute(0, 2, 3, 1))  # B, H, W, C
        h = self.pwconv2(self.grn(F.gelu(self.pwconv1(h))))
        return x + h.permute(0, 3, 1, 2)


class MotionHeads(NamedTuple):
    """What M says of a face. pitch, yaw, roll: (B, 66) bins; t: (B, 3); exp, kp: (B, 63); scale: (B, 1)."""

    pitch: Tensor
    yaw: Tensor
    roll: Tensor
    t: Tensor
    exp: Tensor
    scale: Tensor
    kp: Tensor


class ConvNextV2(nn.Module):
    """The backbone of M with its seven heads."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        dims = [channels for channels, _ in sizes.backbone]
        stem = nn.Sequential(nn.Conv2d(3, dims[0], 4, stride=4), LayerNorm2d(dims[0], eps=1e-6))
        pairs = itertools.pairwise(dims)
        downs = [nn.Sequential(LayerNorm2d(a, eps=1e-6), nn.Conv2d(a, b, 2, stride=2)) for a, b in pairs]
        self.downsample_layers = nn.ModuleList([stem, *downs])
        self.stages = nn.ModuleList(nn.Sequential(*(ConvNextBlock(dim) for _ in range(n))) for dim, n in sizes.backbone)
        self.norm = nn.LayerNorm(dims[-1], eps=1e-6)
        heads = {"pitch": 66, "yaw": 66, "roll": 66, "t": 3, "exp": 63, "scale": 1, "kp": 63}
        for name, size in heads.items():
            self.add_module(f"fc_{name}", nn.Linear(dims[-1], size))

    def forward(self, image: Tensor) -> MotionHeads:
        x = image
        for down, stage in zip(self.downsample_layers, self.stages, strict=True):
            x = stage(down(x))  # 96, 64² · 192, 32² · 384, 16² · 768, 8²
        x = self.norm(x.mean(dim=(2, 3)))  # B, 768
        return MotionHeads(*(self.get_submodule(f"fc_{name}")(x) for name in MotionHeads._fields))


class MotionExtractor(nn.Module):
    """M: head pose, canonical keypoints and expression of a face."""

    def __init__(self, sizes: Sizes = FULL) -> None:
        super().__init__()
        self.detector = ConvNextV2(sizes)

    def forward(self, image: Tensor) -> MotionHeads:
        """(B, 3, 256, 256) RGB in 0..1 -> raw heads; `motion.face_motion` gives them meaning."""
        heads: MotionHeads = self.detector(image)
        return heads


class Mlp(nn.Module):
    """S and R: linear layers with ReLU between them."""

    def __init__(self, *sizes: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for a, b in itertools.pairwise(sizes):
            layers += [nn.Linear(a, b), nn.ReLU()]
        self.mlp = nn.Sequential(*layers[:-1])

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.mlp(x)
        return out


def stitching_mlp() -> Mlp:
    """S: source and driven keypoints (126) -> offsets of all keypoints (63) and a shift (2)."""
    return Mlp(126, 128, 128, 64, 65)


def lip_mlp() -> Mlp:
    """R for the lips: keypoints (63), source and wanted lip ratio -> offsets (63)."""
    return Mlp(65, 128, 128, 64, 63)


def eye_mlp() -> Mlp:
    """R for the eyes: keypoints (63), both source eye ratios and the wanted one -> offsets (63)."""
    return Mlp(66, 256, 256, 128, 128, 64, 63)


class PortraitFeatures(NamedTuple):
    """What W needs of a portrait, computed once. feature: (B, C, D, H, W); compressed: (B, 4, D, H, W);
    keypoints: (B, K, 3); heat: (B, K, D, H, W)."""

    feature: Tensor
    compressed: Tensor
    keypoints: Tensor
    heat: Tensor


class Hourglass(nn.Module):
    """A 3-D U-Net that keeps the depth: every step halves or doubles height and width alone."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        skips = (sizes.seen, *sizes.down[:-1])  # joined to what comes up, the last first: (110, 64, 128, 256, 512)
        joined = [a + b for a, b in zip(sizes.up, reversed(skips), strict=True)]  # 1024, 512, 256, 128, 142
        self.channels = joined[-1]
        down, up = itertools.pairwise((sizes.seen, *sizes.down)), zip((sizes.down[-1], *joined), sizes.up, strict=False)
        self.encoder = nn.ModuleDict({"down_blocks": nn.ModuleList(conv_bn(3, a, b) for a, b in down)})
        self.decoder = conv_bn(3, self.channels, self.channels)
        self.decoder["up_blocks"] = nn.ModuleList(conv_bn(3, a, b) for a, b in up)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 110, D, H, W) -> (B, 142, D, H, W)."""
        skips = [x]
        for block in self.encoder["down_blocks"].children():
            skips.append(self.halved(F.relu(apply(block, skips[-1]))))
        x = skips.pop()  # B, 1024, 16, 2, 2
        for block in self.decoder["up_blocks"].children():
            x = torch.cat([self.enlarged(block, x), skips.pop()], dim=1)
        return F.relu(apply(self.decoder, x))

    @property
    def first(self) -> nn.Conv3d:
        """What it begins with."""
        conv = self.encoder["down_blocks"].get_submodule("0.conv")
        assert isinstance(conv, nn.Conv3d)
        return conv

    def halved(self, x: Tensor) -> Tensor:
        """(B, C, D, 2 · H, 2 · W) -> (B, C, D, H, W)"""
        return F.avg_pool3d(x, (1, 2, 2))

    def enlarged(self, block: nn.Module, x: Tensor) -> Tensor:
        """(B, I, D, H, W) -> (B, O, D, 2 · H, 2 · W)"""
        return F.relu(apply(block, F.interpolate(x, scale_factor=(1, 2, 2))))


class DenseMotion(nn.Module):
    """From keypoints to where each voxel of the result comes from, and what cannot be seen in the portrait."""

    grid: Tensor

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        (channels, depth), few = sizes.volume, sizes.compressed
        self.compress, self.norm = nn.Conv3d(channels, few, 1), nn.BatchNorm3d(few)
        self.hourglass = Hourglass(sizes)
        wide = self.hourglass.channels
        self.mask = nn.Conv3d(wide, MOTIONS, 7, padding=3)
        self.occlusion = nn.Conv2d(wide * depth, 1, 7, padding=3)
        self.register_buffer("grid", coordinate_grid(sizes), persistent=False)

    def heat(self, keypoints: Tensor) -> Tensor:
        """(B, K, 3) -> (B, K, D, H, W) Gaussians around the keypoints."""
        distance = self.grid - keypoints[:, :, None, None, None]
        return torch.exp(-0.5 / KEYPOINT_VARIANCE * distance.square().sum(-1))

    def forward(self, portrait: PortraitFeatures, driving: Tensor) -> tuple[Tensor, Tensor]:
        """driving: (B, K, 3) -> deformation (B, D, H, W, 3) in grid coordinates, occlusion (B, 1, H, W)."""
        mask, shifts, occlusion = self.motions(portrait, driving)
        return self.deformation(mask, shifts), occlusion

    def warp(self, portrait: PortraitFeatures, driving: Tensor) -> tuple[Tensor, Tensor]:
        """driving: (B, K, 3) -> the feature volume deformed and flattened (B, C · D, H, W), occlusion (B, 1, H, W)."""
        mask, shifts, occlusion = self.motions(portrait, driving)
        return self.sample(portrait.feature, mask, shifts), occlusion

    def motions(self, portrait: PortraitFeatures, driving: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """How much each motion counts, before softmax (B, 22, D, H, W), their shifts (B, 22, 3), and occlusion (B, 1, H, W)."""
        shifts = F.pad(portrait.keypoints - driving, (0, 0, 1, 0))  # the background first, unmoved
        mask, occlusion = self.judge(self.hourglass(self.sparse_motions(portrait, driving, shifts)))
        return mask, shifts, torch.sigmoid(occlusion)

    def sparse_motions(self, portrait: PortraitFeatures, driving: Tensor, shifts: Tensor) -> Tensor:
        """The hourglass's input (B, 110, D, H, W): for each motion its heat map and the compressed volume moved by it."""
        batch = driving.shape[0]
        motions = self.grid + shifts[:, :, None, None, None]  # B, 22, D, H, W, 3
        volume = portrait.compressed.float().expand(batch, -1, -1, -1, -1)  # half precision is too coarse for places
        moved = F.grid_sample(volume.repeat_interleave(MOTIONS, dim=0), motions.flatten(0, 1), align_corners=False).reshape(
            batch, MOTIONS, *volume.shape[1:]
        )  # B, 22, 4, D, H, W
        heat = F.pad(self.heat(driving) - portrait.heat, (0, 0, 0, 0, 0, 0, 1, 0))  # B, 22, D, H, W
        return torch.cat([heat[:, :, None], moved], dim=2).flatten(1, 2)

    def judge(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(B, 142, D, H, W) -> how much each motion counts (B, 22, D, H, W) and occlusion (B, 1, H, W), before softmax and
        sigmoid."""
        return self.mask(x), self.occlusion(x.flatten(1, 2))

    def deformation(self, mask: Tensor, shifts: Tensor) -> Tensor:
        """Σ mask · (grid + shift) = grid + Σ mask · shift, as the softmax of `mask` sums to one."""
        mask = mask.float().softmax(dim=1)
        # Autocast would round a matrix product, and with it the places, by up to a pixel. Sums by themselves join the softmax.
        moved = [(mask * shift[..., None, None, None]).sum(dim=1) for shift in shifts.unbind(dim=2)]
        return self.grid + torch.stack(moved, dim=-1)

    def sample(self, feature: Tensor, mask: Tensor, shifts: Tensor) -> Tensor:
        """(B or 1, C, D, H, W) deformed and flattened: (B, C · D, H, W)."""
        volume = feature.float().expand(len(shifts), -1, -1, -1, -1)
        return F.grid_sample(volume, self.deformation(mask, shifts), align_corners=False).flatten(1, 2)


class WarpingModule(nn.Module):
    """W: the portrait's feature volume, deformed to the driven keypoints and flattened."""

    def __init__(self, sizes: Sizes = FULL) -> None:
        super().__init__()
        self.dense_motion_network = DenseMotion(sizes)
        self.third = conv_bn(2, sizes.flat, sizes.warped)
        self.fourth = nn.Conv2d(sizes.warped, sizes.warped, 1)

    def prepare(self, feature: Tensor, keypoints: Tensor) -> PortraitFeatures:
        """Everything that depends on the portrait alone; (B, C, D, H, W) and (B, K, 3)."""
        motion = self.dense_motion_network
        return PortraitFeatures(feature, F.relu(motion.norm(motion.compress(feature))), keypoints, motion.heat(keypoints))

    def forward(self, portrait: PortraitFeatures, driving: Tensor) -> Tensor:
        """driving: (B, K, 3) -> (B, 256, H, W)."""
        x, occlusion = self.dense_motion_network.warp(portrait, driving)  # B, 512, H, W
        x = F.leaky_relu(apply(self.third, x), 0.01)
        return self.fourth(x) * occlusion


class Spade(nn.Module):
    """Spatially adaptive normalisation (Park et al., arXiv:1903.07291)."""

    def __init__(self, channels: int, sizes: Sizes) -> None:
        super().__init__()
        self.mlp_shared = nn.Sequential(nn.Conv2d(sizes.warped, sizes.spade, 3, padding=1))
        self.mlp_gamma, self.mlp_beta = (nn.Conv2d(sizes.spade, channels, 3, padding=1) for _ in range(2))

    def forward(self, x: Tensor, seg: Tensor) -> Tensor:
        h = F.relu(self.mlp_shared(F.interpolate(seg, size=x.shape[2:])))
        return F.instance_norm(x) * (1 + self.mlp_gamma(h)) + self.mlp_beta(h)


class SpadeBlock(nn.Module):
    """A residual block of two normalised convolutions; a third where the width changes."""

    def __init__(self, channels_in: int, channels_out: int, sizes: Sizes) -> None:
        super().__init__()
        middle = min(channels_in, channels_out)
        self.conv_0 = spectral_norm(nn.Conv2d(channels_in, middle, 3, padding=1))
        self.conv_1 = spectral_norm(nn.Conv2d(middle, channels_out, 3, padding=1))
        self.norm_0, self.norm_1 = Spade(channels_in, sizes), Spade(middle, sizes)
        self.learned_shortcut = channels_in != channels_out
        if self.learned_shortcut:
            self.conv_s = spectral_norm(nn.Conv2d(channels_in, channels_out, 1, bias=False))
            self.norm_s = Spade(channels_in, sizes)

    def forward(self, x: Tensor, seg: Tensor) -> Tensor:
        h = self.conv_0(F.leaky_relu(self.norm_0(x, seg), 0.2))
        h = self.conv_1(F.leaky_relu(self.norm_1(h, seg), 0.2))
        return h + (self.conv_s(self.norm_s(x, seg)) if self.learned_shortcut else x)


class SpadeGenerator(nn.Module):
    """G: the picture of a warped feature map."""

    def __init__(self, sizes: Sizes = FULL) -> None:
        super().__init__()
        first, second, last = sizes.generator
        self.fc = nn.Conv2d(sizes.warped, first, 3, padding=1)
        self._middle = [f"G_middle_{k}" for k in range(sizes.middle)]
        for name in self._middle:
            self.add_module(name, SpadeBlock(first, first, sizes))
        self.up_0, self.up_1 = SpadeBlock(first, second, sizes), SpadeBlock(second, last, sizes)
        self.conv_img = nn.Sequential(nn.Conv2d(last, 12, 3, padding=1), nn.PixelShuffle(2))

    def forward(self, seg: Tensor) -> Tensor:
        """(B, 256, 64, 64) -> (B, 3, 512, 512) RGB in 0..1."""
        x = self.fc(seg)
        for name in self._middle:
            x = self.get_submodule(name)(x, seg)  # B, 512, 64, 64
        x = self.up_0(F.interpolate(x, scale_factor=2), seg)  # B, 256, 128, 128
        x = self.up_1(F.interpolate(x, scale_factor=2), seg)  # B, 64, 256, 256
        return torch.sigmoid(self.conv_img(F.leaky_relu(x, 0.2)))


def coordinate_grid(sizes: Sizes = FULL) -> Tensor:
    """(D, H, W, 3) with x, y, z from -1 to 1 at the outermost voxels, although `grid_sample` is then
    called with align_corners=False: the networks were trained that way."""
    axes = [torch.arange(n) * (2 / (n - 1)) - 1 for n in (sizes.volume[1], sizes.side, sizes.side)]
    z, y, x = torch.meshgrid(*axes, indexing="ij")
    return torch.stack([x, y, z], dim=-1)
