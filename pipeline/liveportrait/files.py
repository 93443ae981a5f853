"""The official checkpoint files, and whether what runs them is installed. No torch here."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from ..errors import PuppetError

REPOSITORY = "KwaiVGI/LivePortrait"
BASE = "liveportrait/base_models"
RETARGETING = "liveportrait/retargeting_models/stitching_retargeting_module"
NETWORKS = ("appearance_feature_extractor", "motion_extractor", "warping_module", "spade_generator")
STEMS = (*(f"{BASE}/{name}" for name in NETWORKS), RETARGETING)
FILES = tuple(f"{stem}.pth" for stem in STEMS)
SUFFIXES = (".safetensors", ".pth")


def missing_files(folder: Path) -> list[str]:
    """Checkpoint files that `folder` lacks, as paths inside it; `.safetensors` serve as well."""
    return [f"{stem}.pth" for stem in STEMS if not any((folder / f"{stem}{s}").is_file() for s in SUFFIXES)]


def is_installed() -> bool:
    """Whether the extra `liveportrait`, which is torch and the hub's client, is here."""
    return all(find_spec(name) is not None for name in ("torch", "huggingface_hub"))


def need_extra() -> None:
    """PuppetError, with the cure, where the extra is not here."""
    if not is_installed():
        raise PuppetError(
            "the liveportrait engine needs PyTorch, which is not installed: pip install 'puppetcast[liveportrait]' "
            "(in the source tree: make run ENGINE=liveportrait)"
        )
