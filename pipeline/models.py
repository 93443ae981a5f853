"""Model files: where they lie, and how they get there."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from .errors import ModelError

Progress = Callable[[int, int], None]  # bytes so far, bytes in all

_CHUNK = 1 << 16


@dataclass(frozen=True)
class ModelFile:
    """A file that users download: checked against `size` and `sha256`."""

    name: str
    file: str
    url: str
    size: int
    sha256: str
    licence: str


FACE_LANDMARKER = ModelFile(
    name="face_landmarker",
    file="face_landmarker.task",
    url="https://storage.googleapis.com/mediapipe-models/face_landmarker/face_landmarker/float16/1/face_landmarker.task",
    size=3_758_596,
    sha256="64184e229b263107bc2b804c6625db1341ff2bb731874b0bcc2fe6544e0bc9ff",
    licence="Apache-2.0",
)
MODELS = {m.name: m for m in (FACE_LANDMARKER,)}


def folder() -> Path:
    """Where model files lie: `PUPPETCAST_MODELS`, or the user's cache folder."""
    override = os.environ.get("PUPPETCAST_MODELS")
    if override:
        return Path(override).expanduser()
    from platformdirs import user_cache_path

    return user_cache_path("puppetcast") / "models"


def path_of(model: ModelFile) -> Path:
    """Where `model` lies, or will."""
    return folder() / model.file


def is_good(model: ModelFile, path: Path) -> bool:
    """Whether the file is there, whole and unchanged."""
    try:
        return path.stat().st_size == model.size and sha256_of(path) == model.sha256
    except OSError:
        return False


def find(model: ModelFile) -> Path | None:
    """The path of a good copy of the model, if there is one."""
    path = path_of(model)
    return path if is_good(model, path) else None


def fetch(model: ModelFile, progress: Progress | None = None, timeout_s: float = 20.0) -> Path:
    """Download the model unless a good copy is there; goes on where an earlier try stopped.

    timeout_s: limit for connecting and for each read. Raises ModelError.
    """
    import httpx

    path = path_of(model)
    if is_good(model, path):
        return path
    part = path.with_suffix(path.suffix + ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _download(model, part, progress or (lambda done, total: None), timeout_s)
        if not is_good(model, part):
            part.unlink(missing_ok=True)
            raise ModelError(f"{model.url}: the file differs from the published one (SHA-256); nothing was kept")
        part.replace(path)
    except httpx.HTTPError as exc:
        problem = str(exc).partition("\n")[0] or type(exc).__name__
        raise ModelError(f"{model.url}: {problem}; the download goes on from here next time") from exc
    except OSError as exc:
        raise ModelError(f"{exc.filename or path}: {exc.strerror or exc}") from exc
    return path


def _download(model: ModelFile, part: Path, progress: Progress, timeout_s: float) -> None:
    import httpx

    have = part.stat().st_size if part.exists() else 0
    if have >= model.size:
        part.unlink()
        have = 0
    headers = {"Range": f"bytes={have}-"} if have else {}
    with httpx.stream("GET", model.url, headers=headers, timeout=timeout_s, follow_redirects=True) as response:
        response.raise_for_status()
        if response.status_code != httpx.codes.PARTIAL_CONTENT:
            have = 0  # the server sends it whole
        with part.open("ab" if have else "wb") as out:
            for chunk in response.iter_bytes(_CHUNK):
                out.write(chunk)
                have += len(chunk)
                progress(have, model.size)
                if have > model.size:  # not the published file; do not fill the disk with it
                    return


def sha256_of(path: Path) -> str:
    """The file's SHA-256 in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
