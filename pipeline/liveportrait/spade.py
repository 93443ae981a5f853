"""G in fewer steps than it was published in, computing the same.

What the SPADEs of one size see of the warped map is one convolution, computed at the map's own size; γ and β of each are one
more; the statistics of a picture that two of them normalise are taken once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .networks import Spade, SpadeBlock, SpadeGenerator

SLOPE = 0.2  # of the activation behind a SPADE
Taps = tuple[tuple[int, ...], ...]  # of a kernel's axis: those that are summed into each of another
Maps = tuple[Tensor, ...]
Both = Callable[[Callable[[], Any], Callable[[], Any]], tuple[Any, Any]]  # does two things of which neither needs the other


def in_turn(one: Callable[[], Any], other: Callable[[], Any]) -> tuple[Any, Any]:
    """See `streams.Fork`."""
    return one(), other()


class FoldedGenerator(nn.Module):
    """`networks.SpadeGenerator`."""

    def __init__(self, plain: SpadeGenerator, gather: bool, kernels: bool = False) -> None:
        """gather: see `GatheredConv`; kernels: see `TritonBlock`."""
        super().__init__()
        blocks = {name: block for name, block in plain.named_children() if isinstance(block, SpadeBlock)}
        up_0, up_1 = blocks.pop("up_0"), blocks.pop("up_1")
        self.fc, self.conv_img = plain.fc, plain.conv_img
        self.middle = Blocks(list(blocks.values()), 1, gather, kernels)
        self.up_0, self.up_1 = (Blocks([up], scale, gather, kernels) for up, scale in ((up_0, 2), (up_1, 4)))
        self.fork: Both = in_turn

    def forward(self, seg: Tensor) -> Tensor:
        """(B, 256, 64, 64) -> (B, 3, 512, 512) RGB in 0..1."""
        x, maps = self.fork(lambda: self.begin(seg), lambda: self.look(seg))
        return self.end(x, *maps)

    def begin(self, seg: Tensor) -> Tensor:
        """(B, 256, 64, 64) -> (B, 512, 64, 64)"""
        return self.middle(self.fc(seg), self.middle.maps(seg))

    def look(self, seg: Tensor) -> tuple[Maps, Maps]:
        """What the SPADEs of both enlargements see, which the picture before them has no part in."""
        return self.up_0.maps(seg), self.up_1.maps(seg)

    def end(self, x: Tensor, first: Maps, second: Maps) -> Tensor:
        """(B, 512, 64, 64) -> (B, 3, 512, 512)"""
        x = self.up_1(self.up_0(x, first), second)
        return torch.sigmoid(self.conv_img(F.leaky_relu(x, SLOPE)))


class Blocks(nn.Module):
    """SPADE blocks one after another, of pictures `scale` times larger than seg; unless that is 1, they enlarge what they are
    given to twice its size. gather, kernels: see `FoldedGenerator`."""

    def __init__(self, blocks: list[SpadeBlock], scale: int, gather: bool, kernels: bool = False) -> None:
        super().__init__()
        spades = [part for block in blocks for part in block.children() if isinstance(part, Spade)]
        shared = joined(*(conv for spade in spades for conv in spade.mlp_shared if isinstance(conv, nn.Conv2d)))
        self.parts = len(spades)
        self.seen: nn.Module = nn.Sequential(shared, nn.ReLU())
        if scale > 1:
            self.seen = GatheredConv(shared, scale, self.parts) if gather else PhaseConv(shared, scale)
        self.gather = gather
        kind = TritonBlock if kernels else FoldedBlock
        self.blocks = nn.ModuleList(kind(block, scale, gather) for block in blocks)

    def maps(self, seg: Tensor) -> Maps:
        """What each of the SPADEs sees of seg."""
        seen = self.seen(seg)
        return seen if isinstance(seen, tuple) else self._apart(seen)

    def forward(self, x: Tensor, maps: Maps) -> Tensor:
        left = iter(maps)
        for block in self.blocks:
            assert isinstance(block, FoldedBlock)
            x = block(x, *(next(left) for _ in range(block.spades)))
        return x

    def _apart(self, seen: Tensor) -> tuple[Tensor, ...]:
        if not self.gather:
            return seen.chunk(self.parts, dim=1)
        last = seen.permute(0, 2, 3, 1)  # one kernel of the compiler makes all parts, each whole and channels-last
        apart = last.reshape(*last.shape[:3], self.parts, -1).permute(3, 0, 1, 2, 4).contiguous()
        return tuple(part.permute(0, 3, 1, 2) for part in apart)


class FoldedBlock(nn.Module):
    """`networks.SpadeBlock`, given what each of its SPADEs sees of seg. scale, gather: see `Blocks`."""

    def __init__(self, plain: SpadeBlock, scale: int, gather: bool) -> None:
        super().__init__()
        self.enlarge, self.phased = scale > 1, scale == PhasedModulation.SCALE and not gather
        self.normal = F.instance_norm if gather else normalised
        modulation = PhasedModulation if self.phased else Modulation
        self.conv_0, self.conv_1 = plain.conv_0, plain.conv_1
        self.norm_0, self.norm_1 = modulation(plain.norm_0), modulation(plain.norm_1)
        self.learned_shortcut, self.spades = plain.learned_shortcut, 3 if plain.learned_shortcut else 2
        if self.learned_shortcut:
            self.conv_s, self.norm_s = plain.conv_s, modulation(plain.norm_s)

    def forward(self, x: Tensor, first: Tensor, second: Tensor, shortcut: Tensor | None = None) -> Tensor:
        normal = self.normal(x)  # the same before as after an enlargement, which repeats pixels
        if self.enlarge and not self.phased:  # that enlarges by itself
            normal = F.interpolate(normal, scale_factor=2)
        h = self.conv_0(F.leaky_relu(self.norm_0(normal, first), SLOPE, inplace=True))
        h = self.conv_1(F.leaky_relu(self.norm_1(self.normal(h), second), SLOPE, inplace=True))
        if self.learned_shortcut:
            return h + self.conv_s(self.norm_s(normal, shortcut))
        return h + (F.interpolate(x, scale_factor=2) if self.enlarge else x)


class TritonBlock(FoldedBlock):
    """`FoldedBlock` whose SPADEs end in own kernels, see `spade_kernels`."""

    def __init__(self, plain: SpadeBlock, scale: int, gather: bool) -> None:
        super().__init__(plain, scale, gather)
        from .spade_kernels import spade_tail

        self._tail, self._scale = spade_tail, 2 if scale > 1 else 1

    def forward(self, x: Tensor, first: Tensor, second: Tensor, shortcut: Tensor | None = None) -> Tensor:
        spades = [(self.norm_0, first), *([] if shortcut is None else [(self.norm_s, shortcut)])]
        h, *rest = self._ends(x, spades, self._scale)
        [h] = self._ends(self.conv_0(h), [(self.norm_1, second)], 1)
        h = self.conv_1(h)
        if rest:
            return h + self.conv_s(rest[0])
        return h + (F.interpolate(x, scale_factor=2) if self.enlarge else x)

    def _ends(self, x: Tensor, spades: Sequence[tuple[nn.Module, Tensor]], scale: int) -> list[Tensor]:
        convs = [spade.get_submodule("gain_shift") for spade, _ in spades]
        weights, biases = ([getattr(conv, name) for conv in convs] for name in ("weight", "bias"))
        maps = [F.conv2d(seen, weight, padding=1) for (_, seen), weight in zip(spades, weights, strict=True)]
        return [out.permute(0, 3, 1, 2) for out in self._tail(x, maps, biases, scale)]


def normalised(x: Tensor) -> Tensor:
    """`F.instance_norm`; of one picture it is a batch norm, which leaves the channels last where they are."""
    return F.batch_norm(x, None, None, training=True) if len(x) == 1 else F.instance_norm(x)


class Modulation(nn.Module):
    """The last step of a SPADE: normal · (1 + γ) + β."""

    def __init__(self, spade: Spade) -> None:
        super().__init__()
        self.gain_shift = joined(spade.mlp_gamma, spade.mlp_beta)
        assert self.gain_shift.bias is not None
        self.gain_shift.bias[: spade.mlp_gamma.out_channels] += 1

    def forward(self, normal: Tensor, seen: Tensor) -> Tensor:
        gain, shift = self.gain_shift(seen).chunk(2, dim=1)
        return torch.addcmul(shift, normal.to(gain.dtype), gain)


class PhasedModulation(nn.Module):
    """`Modulation` of pictures 4 times larger than seg, given what `PhaseConv` makes of it: of four rows or columns the two
    between are the same and come once.

    So a row of the first or last kind still sees three others, one between them only two: 100 multiplications instead of 144.
    The 16 kinds of pixels are a convolution each, and never lie in memory as one before they are put into the picture.
    """

    SCALE = 4
    # By place of an axis: taps of the given kernel that meet one row, whether the first row met is that of the second kind
    PLACES = ((((0,), (1,), (2,)), False), (((0,), (1, 2)), False), (((0, 1), (2,)), True), (((0,), (1,), (2,)), True))

    def __init__(self, spade: Spade) -> None:
        super().__init__()
        conv = Modulation(spade).gain_shift
        self.bias = conv.bias
        kernels = [summed(conv.weight, rows, columns) for rows, _ in self.PLACES for columns, _ in self.PLACES]
        self.weights = nn.ParameterList(nn.Parameter(kernel, requires_grad=False) for kernel in kernels)

    def forward(self, normal: Tensor, seen: Tensor) -> Tensor:
        """normal: (B, C, 4 · H, 4 · W), or half of that size to be enlarged; seen: (B, 128, 3 · H, 3 · W)."""
        shifted = {(y, x): F.pad(seen, (-x, x, -y, y)) for y in (0, 1) for x in (0, 1)}
        batch, (height, width) = len(seen), (n // 3 for n in seen.shape[2:])
        step = normal.shape[2] // height
        whole = normal.new_empty(batch, height, self.SCALE, width, self.SCALE, normal.shape[1], dtype=seen.dtype)
        weights = iter(self.weights)
        for y, (_, down) in enumerate(self.PLACES):
            for x, (_, across) in enumerate(self.PLACES):
                before = int(y == 0), int(x == 0)  # the first place begins with the last row of the pixel before
                part = F.conv2d(shifted[down, across], next(weights), self.bias, stride=3, padding=before)
                gain, shift = part.chunk(2, dim=1)
                at = normal[:, :, y * step // self.SCALE :: step, x * step // self.SCALE :: step]
                torch.addcmul(shift, at.to(gain.dtype), gain, out=whole[:, :, y, :, x].permute(0, 3, 1, 2))
        return whole.flatten(3, 4).flatten(1, 2).permute(0, 3, 1, 2)


def summed(weight: Tensor, rows: Taps, columns: Taps) -> Tensor:
    """A kernel whose rows and columns are sums of those of a given one (…, 3, 3)."""
    taps = [[weight[..., list(r), :][..., list(c)].sum((-2, -1)) for c in columns] for r in rows]
    return torch.stack([torch.stack(row, -1) for row in taps], -2)


class PhaseConv(nn.Module):
    """relu(conv(nearest_upsample(x, scale))) for a 3×3 convolution, computed at the size of x; or for one of 3³ in volumes whose
    depth stays. Of the rows and columns between the first and the last of a pixel, which are the same, one alone comes out.

    Every scale × scale block of the result sees at most 2 × 2 pixels of x: its first row and column the ones before, its last
    the ones after, those between one alone. So there are nine small convolutions whose taps are sums of the given ones, with 25
    multiplications instead of 144 at scale 4, and four with 16 instead of 36 at scale 2.
    """

    # By phase of an axis: taps of the given kernel that meet one pixel of x, first pixel met
    FIRST, BETWEEN, LAST = (((0,), (1, 2)), 0), (((0, 1, 2),), 1), (((0, 1), (2,)), 1)

    def __init__(self, conv: nn.Conv2d | nn.Conv3d, scale: int) -> None:
        super().__init__()
        self.bias = conv.bias
        self.phases = [self.FIRST, self.LAST] if scale == 2 else [self.FIRST, self.BETWEEN, self.LAST]
        kernels = [summed(conv.weight, rows, columns) for rows, _ in self.phases for columns, _ in self.phases]
        self.weights = nn.ParameterList(nn.Parameter(kernel, requires_grad=False) for kernel in kernels)

    def forward(self, x: Tensor) -> Tensor:
        """(B, I, …, H, W) -> (B, O, …, 2 · H, 2 · W), or 3 times for a scale of 3 or more."""
        *_, height, width = x.shape
        padded, count = F.pad(x, (1, 1, 1, 1)), len(self.phases)
        out: Tensor | None = None
        weights = iter(self.weights)
        for y, (rows, top) in enumerate(self.phases):
            for x_, (columns, left) in enumerate(self.phases):
                seen = padded[..., top : top + height + len(rows) - 1, left : left + width + len(columns) - 1]
                part = F.relu(self._convolved(seen, next(weights))).movedim(1, -1)  # B, …, H, W, O
                if out is None:
                    out = part.new_empty(*part.shape[:-2], count, width, count, part.shape[-1])
                out[..., y, :, x_, :] = part
        assert out is not None
        return out.flatten(-3, -2).flatten(-4, -3).movedim(-1, 1)

    def _convolved(self, x: Tensor, weight: Tensor) -> Tensor:
        return F.conv2d(x, weight, self.bias) if x.dim() == 4 else F.conv3d(x, weight, self.bias, padding=(1, 0, 0))


class GatheredConv(nn.Module):
    """`PhaseConv` for devices that mind each step more than each multiplication: one 2×2 convolution has all phases among its
    channels, 36 multiplications at scale 4, and one gather puts them into their places. `parts` of the channels come apart."""

    def __init__(self, conv: nn.Conv2d, scale: int, parts: int) -> None:
        super().__init__()
        self.scale, self.parts = scale, parts
        first, between, last = [[1, 0, 0], [0, 1, 1]], [[1, 1, 1], [0, 0, 0]], [[1, 1, 0], [0, 0, 1]]
        taps = conv.weight.new_tensor([first, last] if scale == 2 else [first, between, last])  # phase, pixel, given tap
        self.phases = len(taps)
        assert conv.bias is not None
        weight = torch.einsum("pah,qbw,oihw->pqoiab", taps, taps, conv.weight).flatten(0, 2)
        self.conv = holding(nn.Conv2d(conv.in_channels, len(weight), 2, padding=1), weight, conv.bias.repeat(self.phases**2))

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """(B, I, H, W) -> `parts` of (B, O / parts, scale · H, scale · W), channels-last."""
        out = F.relu(self.conv(x)).permute(0, 2, 3, 1)
        split = out.reshape(*out.shape[:3], self.phases, self.phases, self.parts, -1).permute(5, 0, 1, 2, 3, 4, 6)
        (y, down), (x_, across) = self._places(out.shape[1], x), self._places(out.shape[2], x)
        return tuple(part.permute(0, 3, 1, 2) for part in split[:, :, y[:, None], x_, down[:, None], across])

    def _places(self, size: int, like: Tensor) -> tuple[Tensor, Tensor]:
        """Of each row or column of the result: that of the convolution's result which holds it, and its phase."""
        at = torch.arange((size - 1) * self.scale, device=like.device)
        within = at % self.scale
        later = (within > 0).long()
        return at // self.scale + later, (later + (within == self.scale - 1)).clamp_max(self.phases - 1)


def joined(*convs: nn.Conv2d) -> nn.Conv2d:
    """3×3 convolutions of one map as one, with the channels of all."""
    weights, biases = zip(*((conv.weight, conv.bias) for conv in convs), strict=True)
    weight = torch.cat(weights)
    return holding(nn.Conv2d(weight.shape[1], len(weight), 3, padding=1), weight, torch.cat(biases))


def holding(conv: nn.Conv2d, weight: Tensor, bias: Tensor) -> nn.Conv2d:
    conv.weight, conv.bias = (nn.Parameter(t, requires_grad=False) for t in (weight, bias))
    return conv
