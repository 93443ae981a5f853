"""Official checkpoints into networks: strictly, safely, with one message for all that is wrong."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from .. import models
from ..errors import ModelError
from ..installation import command
from . import networks
from .files import RETARGETING, STEMS, SUFFIXES, missing_files
from .networks import FULL, TINY, Sizes
from .spade import FoldedGenerator

State = dict[str, Tensor]

# S and R share a file; each has its key there, and every entry a prefix left by data-parallel training.
RETARGETING_KEYS = {"stitching": "retarget_shoulder", "lip": "retarget_mouth", "eye": "retarget_eye"}
PREFIX = "module."
# In the order of `Networks`: the stem of the file, and what is in it.
MAKERS: dict[str, tuple[str, Callable[[Sizes], nn.Module]]] = {
    "appearance_feature_extractor": (STEMS[0], networks.AppearanceFeatureExtractor),
    "motion_extractor": (STEMS[1], networks.MotionExtractor),
    "warping_module": (STEMS[2], networks.WarpingModule),
    "spade_generator": (STEMS[3], networks.SpadeGenerator),
    "stitching": (RETARGETING, lambda sizes: networks.stitching_mlp()),
    "lip": (RETARGETING, lambda sizes: networks.lip_mlp()),
    "eye": (RETARGETING, lambda sizes: networks.eye_mlp()),
}


@dataclass(frozen=True)
class Networks:
    """The networks by their letters in the paper; R is lip and eye. All in eval mode."""

    appearance: networks.AppearanceFeatureExtractor
    motion: networks.MotionExtractor
    warping: networks.WarpingModule
    generator: networks.SpadeGenerator | FoldedGenerator
    stitching: networks.Mlp
    lip: networks.Mlp
    eye: networks.Mlp

    def modules(self) -> list[nn.Module]:
        return [self.appearance, self.motion, self.warping, self.generator, self.stitching, self.lip, self.eye]

    def to(self, device: torch.device) -> Networks:
        """Move everything to `device`."""
        for module in self.modules():
            module.to(device)
        return self


def load_networks(folder: Path) -> Networks:
    """Load the five files of the official layout (`.pth` or `.safetensors`), of which the first tells the size.
    ModelError names what is wrong."""
    missing = missing_files(folder)
    if missing:
        cure = f"run '{command('models fetch liveportrait')}'"
        if folder != models.folder():
            cure = f"give the folder that has them, or leave it out and {cure}"
        raise ModelError(f"{folder}: lacks {', '.join(missing)}; {cure}")
    states: dict[Path, State] = {}
    modules: list[Any] = []
    sizes = FULL
    for name, (stem, make) in MAKERS.items():
        path = next(p for s in SUFFIXES if (p := folder / f"{stem}{s}").is_file())
        if path not in states:
            states[path] = read_state(path)
        state = states[path]
        if name in RETARGETING_KEYS:
            start = f"{RETARGETING_KEYS[name]}."
            state = {k.removeprefix(start): v for k, v in state.items() if k.startswith(start)}
        if not modules:
            sizes = sizes_of(state)
        modules.append(_fill(make, sizes, state, f"{path}: {name}"))
    return Networks(*modules)


def sizes_of(appearance: State) -> Sizes:
    """What all networks beside this F are to be, told by its first layer; FULL where it tells nothing."""
    first = appearance.get("first.conv.weight")
    return TINY if first is not None and len(first) == TINY.appearance[0] else FULL


def read_state(path: Path) -> State:
    """Tensors by name; nested mappings become dotted names and data-parallel prefixes go. No code is run."""
    try:
        state = load_file(path) if path.suffix == ".safetensors" else torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as exc:
        raise ModelError(f"{path}: {_what_it_is(path)}; nothing of it was run") from exc
    except (RuntimeError, EOFError, ValueError, KeyError, SafetensorError) as exc:
        raise ModelError(f"{path}: damaged or not whole{'' if str(exc) else ', as it is empty'}; download it again") from exc
    except OSError as exc:
        raise ModelError(f"{path}: {exc.strerror or exc}") from exc
    flat = _flat(state)
    if not flat:
        raise ModelError(f"{path}: holds no tensors; is it a checkpoint?")
    return flat


def _what_it_is(path: Path) -> str:
    with path.open("rb") as file:
        start = file.read(64).lstrip().lower()
    if start.startswith((b"<!doctype", b"<html", b"<?xml")):
        return "a web page, not a checkpoint; the download was answered by a page"
    return "not a plain checkpoint: it holds objects other than tensors, or is no pickle at all"


def _flat(state: object, prefix: str = "") -> State:
    flat: State = {}
    if isinstance(state, Mapping):
        for key, value in state.items():
            name = str(key).removeprefix(PREFIX)
            flat |= {prefix + name: value} if isinstance(value, Tensor) else _flat(value, f"{prefix}{name}.")
    return flat


class _Unset(TorchFunctionMode):
    """Layers made in it keep what their memory holds: no time for random weights that are replaced at once. The meta device
    would do that too, but there G's spectral norms import the compiler, which takes longer than the weights."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        random = func in (nn.init.kaiming_uniform_, nn.init.uniform_)
        return kwargs["tensor"] if random else func(*args, **(kwargs or {}))


def _fill(make: Callable[[Sizes], nn.Module], sizes: Sizes, state: State, where: str) -> nn.Module:
    with _Unset():
        module = make(sizes)
    wanted = module.state_dict()
    problems = []
    if lacking := sorted(wanted.keys() - state.keys()):
        problems.append(f"missing: {', '.join(lacking)}")
    if foreign := sorted(state.keys() - wanted.keys()):
        problems.append(f"unexpected: {', '.join(foreign)}")
    for key in sorted(wanted.keys() & state.keys()):
        if wanted[key].shape != state[key].shape:
            problems.append(f"{key} is {list(state[key].shape)}, expected {list(wanted[key].shape)}")
    if problems:
        raise ModelError(f"{where} does not fit: {'; '.join(problems)}")
    module.load_state_dict(state, strict=True, assign=True)
    return module.eval().requires_grad_(False)
