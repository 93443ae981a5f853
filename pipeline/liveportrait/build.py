"""The networks made fast without changing what they compute, in steps that can each be left out.

Plain → norms folded away, SPADE in fewer steps, half precision → channels-last → compiled → captured as a CUDA graph.
"""

from __future__ import annotations

import copy
import logging
import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..errors import ModelError
from .folding import DTYPES, Folding, cast, fold
from .options import BATCHES, Build, Compile, Precision
from .spade import FoldedGenerator
from .streams import Fork, streams_of
from .weights import Networks

log = logging.getLogger(__name__)
# F's and M's float32 is whole on purpose: their keypoints need it.
warnings.filterwarnings("ignore", "TensorFloat32 tensor cores for float32 matrix multiplication available but not enabled")
# What is cached is made of constants, and the same however often it is traced.
warnings.filterwarnings("ignore", "Dynamo detected a call to a `functools.lru_cache`")


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
        channels_last=device.type in ("cuda", "cpu") if build.channels_last is None else build.channels_last,
        compile=compiling,
        graph=cuda if build.graph is None else build.graph,
    )


def apply(build: Build, networks: Networks, precision: Precision, device: torch.device) -> Networks:
    """The networks on `device`, with every step of a complete `build` but the graph; those given are used up."""
    if device.type == "cuda":
        torch.backends.cudnn.allow_tf32 = False  # fp32 is asked for where keypoints need it
    if build.fold:
        networks = cast(fold(networks, Folding.of(device)), precision)
    if build.channels_last:
        channels_last(networks)
    networks.to(device)
    if device.type == "cpu":  # it takes M's many small steps and G's phases faster as they are, and starts sooner
        _compile(networks.warping, build.compile)
        return networks
    generator = networks.generator
    if build.graph and isinstance(generator, FoldedGenerator):  # a compiled function is of one queue, so it becomes three
        generator.fork = Fork(streams_of(device))
        _compile(generator, build.compile, "begin", "look", "end")
    else:
        _compile(generator, build.compile)
    _compile(networks.warping, build.compile)
    _compile(networks.motion, build.compile)
    return networks


def _compile(root: nn.Module, compile_: Compile | None, *methods: str) -> None:
    for name in methods or ("forward",):
        setattr(root, name, compiled(getattr(root, name), compile_))


def uncompiled(networks: Networks) -> Networks:
    """The same networks, with the same weights, as they are without the compiler; what is given stays as it is."""
    return Networks(*map(_uncompiled, networks.modules()))


def _uncompiled(root: nn.Module) -> Any:
    twin = copy.copy(root)
    vars(twin).pop("forward", None)  # that of its class is behind it
    return twin


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


def keep_kernels(folder: Path) -> None:
    """What is compiled from now on is kept beside the checkpoints in `folder`, or in the user's cache where nothing can be
    written there, and found again at the next start; unless the environment says where, or it was settled before."""
    if not os.access(folder, os.W_OK):
        try:
            from platformdirs import user_cache_path
        except ImportError:
            return  # a machine that only measures its GPU; PyTorch then has a place of its own
        folder = user_cache_path("puppetcast")
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(folder / "compiled"))


@contextmanager
def searching() -> Iterator[None]:
    """Inside, cuDNN tries all its algorithms for a shape that it has not seen, which takes long, and keeps the best."""
    torch.backends.cudnn.benchmark = True
    try:
        yield
    finally:
        torch.backends.cudnn.benchmark = False


def reserved(device: torch.device) -> int:
    """Bytes of the device that this process holds; 0 where nobody counts them."""
    return torch.cuda.memory_reserved(device) if device.type == "cuda" else 0


def is_out_of_memory(problem: BaseException | None) -> bool:
    """Also where a library says so in its own words, or a capture that ended by it does."""
    if problem is None:
        return False
    found = isinstance(problem, torch.OutOfMemoryError) or "ALLOC_FAILED" in str(problem)
    return found or is_out_of_memory(problem.__context__)


def graph_memory(device: torch.device) -> tuple[Any, Any]:
    """For graphs of which one runs at a time: the pool that they share, and the stream on which they are captured."""
    return torch.cuda.graph_pool_handle(), torch.cuda.Stream(device)  # type: ignore[no-untyped-call]


class Captured:
    """A function without arguments, which reads and writes tensors that stay where they are, as a CUDA graph. beside: the
    stream that it is captured on; one for many graphs, as libraries keep workspace for each stream."""

    WARM_UP = 3  # libraries choose their algorithms, and compilation happens, before the capture

    def __init__(self, function: Callable[[], object], device: torch.device, pool: Any = None, beside: Any = None) -> None:
        with torch.cuda.device(device):
            beside = beside or torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
            beside.wait_stream(torch.cuda.current_stream(device))
            with torch.cuda.stream(beside), searching():
                for _ in range(self.WARM_UP):
                    function()
            torch.cuda.current_stream(device).wait_stream(beside)
            self._graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(self._graph, pool=pool, stream=beside, capture_error_mode="thread_local"):
                function()

    def replay(self) -> None:
        self._graph.replay()
