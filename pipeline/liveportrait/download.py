"""The official checkpoints from the Hugging Face hub; its own variables (HF_ENDPOINT, HF_HUB_OFFLINE, HF_TOKEN) hold."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from huggingface_hub import constants, hf_hub_download
from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled

from ..errors import ModelError
from ..models import sha256_of
from .files import FILES, REPOSITORY, SHA256


def fetch(folder: Path) -> Iterator[Path]:
    """Download the five files into `folder`, one by one, going on where an earlier try stopped. Raises ModelError."""
    for name in FILES:
        try:
            path = Path(hf_hub_download(REPOSITORY, name, local_dir=folder))
            _check(path, name)
        except LocalEntryNotFoundError as exc:
            reason = "HF_HUB_OFFLINE is set and it is not here" if constants.HF_HUB_OFFLINE else "no answer"
            raise ModelError(f"{constants.ENDPOINT}/{REPOSITORY}: {name}: {reason}") from exc
        except (HfHubHTTPError, OfflineModeIsEnabled, OSError, RuntimeError) as exc:
            reason = str(exc).strip().splitlines()[0] if str(exc).strip() else type(exc).__name__
            raise ModelError(
                f"{constants.ENDPOINT}/{REPOSITORY}: {name}: {reason}; the download goes on from here next time"
            ) from exc
        yield path


def _check(path: Path, name: str) -> None:
    if sha256_of(path) != SHA256[name]:
        path.unlink()
        raise ModelError(f"{path}: the file differs from the published one (SHA-256); it was removed, fetch it again")
