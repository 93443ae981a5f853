"""The networks made fast without changing what they compute, in steps that can each be left out.

Plain → norms folded away, SPADE in fewer steps, half precision → channels-last → compiled → captured as a CUDA graph.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any

import torch

from ..errors import ModelError
from .folding import DTYPES, Folding, cast, fold
from .options import BATCHES, Build, Compile, Precision
from .weights import Networks

log = logging.getLogger(__name__)
# Kernels that were compiled once are found again at the next start. Here, as the first use of the compiler settles it.
with suppress(ImportError):  # a machine that only measures its GPU has no platformdirs; PyTorch then has a place of its own
    from platformdirs import user_cache_path

    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(user_cache_path("puppetcast") / "compiled"))


def precisions(device: torch.device) -> list[Precision]:
    """What pays on `device`, fastest first; where one gives values that are not finite, the next is taken."""
    match device.type:
        case "cuda":
            bf16 = [Precision.BF16] if torch.cuda.is_bf16_supported(including_emulation=False) else []
            return [Precision.FP16, *bf16, Precision.FP32]
        case "cpu" if torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported():
            return [Precision.BF16, Precision.FP32]
    return [Precision.FP32]


def best_device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def autocast(device: torch.device, precision: Precision) -> torch.autocast:
    """Mixed precision for W and G."""
    return torch.autocast(device.type, DTYPES[precision], enabled=precision is not Precision.FP32)


def autocast_face(device: torch.device, precision: Precision) -> torch.autocast:
    """Mixed precision for F and M: not in bf16, whose 8 bits would make keypoints jump by a quarter of a pixel."""
    return autocast(device, Precision.FP32 if precision is Precision.BF16 else precision)


def complete(build: Build, device: torch.device) -> Build:
    """What pays on `device` for everything left open."""
    cuda = device.type == "cuda"
    if build.graph and not cuda:
        raise ModelError(f"CUDA graphs need a CUDA device; the device is '{device}': leave --graph out")
    compiling = (Compile.AUTO if cuda else Compile.OFF) if build.compile is None else build.compile
    return replace(
        build,
        channels_last=cuda if build.channels_last is None else build.channels_last,
        compile=compiling,
        graph=cuda if build.graph is None else build.graph,
    )


def apply(build: Build, networks: Networks, precision: Precision, device: torch.device) -> Networks:
    """The networks on `device`, with every step of a complete `build` but the graph; in place."""
    if device.type == "cuda":
        torch.backends.cudnn.benchmark = True  # shapes never change
        torch.backends.cudnn.allow_tf32 = False  # fp32 is asked for where keypoints need it
    if build.fold:
        cast(fold(networks, Folding.of(device)), precision)
    if build.channels_last:
        channels_last(networks)
    networks.to(device)
    for root in (networks.motion, networks.warping, networks.generator):
        root.forward = compiled(root.forward, build.compile)  # type: ignore[method-assign]
    return networks


def channels_last(networks: Networks) -> Networks:
    """Convolutions whose channels lie together, as matrix units want them; in place."""
    for root in networks.modules():
        for parameter in root.parameters():
            if parameter.dim() in (4, 5):
                layout = torch.channels_last if parameter.dim() == 4 else torch.channels_last_3d
                parameter.data = parameter.data.contiguous(memory_format=layout)
    return networks


def compiled(function: Callable[..., Any], compile_: Compile | None) -> Callable[..., Any]:
    """The function, compiled at its first call unless that is off."""
    if compile_ in (None, Compile.OFF):
        return function
    return Compiled(function, auto=compile_ is Compile.AUTO)


# Kernels of one function that are kept side by side: batch sizes × ways, of which a step down or a rebuild makes another.
# PyTorch's own limit of 8 is for code that compiles without an end; here the sizes are few and known.
KEPT = len(BATCHES) * 16


class Compiled:
    """A function compiled by TorchInductor. ModelError where that fails, or with `auto` one warning and the function."""

    warned = False

    def __init__(self, function: Callable[..., Any], auto: bool) -> None:
        from torch._dynamo import config  # takes seconds, so not before it is needed

        config.recompile_limit = max(config.recompile_limit, KEPT)
        self._plain = function
        self._auto = auto
        self._run = torch.compile(function, fullgraph=True, dynamic=False)

    def __call__(self, *args: Any) -> Any:
        from torch._dynamo.exc import FailOnRecompileLimitHit, TorchDynamoException

        try:
            return self._run(*args)
        except (TorchDynamoException, FailOnRecompileLimitHit) as exc:  # the second is no kind of the first
            why = " ".join(str(exc).split("\n\n")[0].split())  # the rest is advice for the compiler's developers
            if not self._auto:
                raise ModelError(f"compilation failed ({why}); start with --compile off, or auto to go on without") from exc
            if not Compiled.warned:
                log.warning("compilation failed (%s); going on without, more slowly", why)
                Compiled.warned = True
            self._run = self._plain
            return self._plain(*args)


class Captured:
    """A function without arguments, which reads and writes tensors that stay where they are, as a CUDA graph."""

    WARM_UP = 3  # libraries choose their algorithms, and compilation happens, before the capture

    def __init__(self, function: Callable[[], object], device: torch.device, pool: Any = None) -> None:
        beside = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        beside.wait_stream(torch.cuda.current_stream(device))
        with torch.cuda.stream(beside):
            for _ in range(self.WARM_UP):
                function()
        torch.cuda.current_stream(device).wait_stream(beside)
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph, pool=pool, capture_error_mode="thread_local"):
            function()

    def replay(self) -> None:
        self._graph.replay()
