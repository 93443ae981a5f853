"""The official checkpoint files, and whether what runs them is installed. No torch here."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from ..errors import PuppetError
from ..installation import pip_install

REPOSITORY = "KwaiVGI/LivePortrait"
BASE = "liveportrait/base_models"
RETARGETING = "liveportrait/retargeting_models/stitching_retargeting_module"
NETWORKS = ("appearance_feature_extractor", "motion_extractor", "warping_module", "spade_generator")
# Of the published files, each name's content: what is downloaded has to be that.
SHA256 = {
    f"{BASE}/appearance_feature_extractor.pth": "5279bb8654293dbdf327030b397f107237dd9212fb11dd75b83dfb635211ceb5",
    f"{BASE}/motion_extractor.pth": "251e6a94ad667a1d0c69526d292677165110ef7f0cf0f6d199f0e414e8aa0ca5",
    f"{BASE}/warping_module.pth": "2f61a6f265fe344f14132364859a78bdbbc2068577170693da57fb96d636e282",
    f"{BASE}/spade_generator.pth": "4780afc7909a9f84e24c01d73b31a555ef651521a1fe3b2429bd04534d992aee",
    f"{RETARGETING}.pth": "3652d5a3f95099141a56986aaddec92fadf0a73c87a20fac9a2c07c32b28b611",
}
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
            f"the liveportrait engine needs PyTorch, which is not installed: {pip_install('liveportrait')} "
            "(in the source tree: make run ENGINE=liveportrait)"
        )
