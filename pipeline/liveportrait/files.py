"""The official checkpoint files. No torch here."""

from __future__ import annotations

from pathlib import Path

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
