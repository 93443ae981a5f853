"""The model download against a real HTTP server on this machine."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

import pytest

from pipeline import models
from pipeline.errors import ModelError

DATA = bytes(range(256)) * 2000


class Handler(BaseHTTPRequestHandler):
    """Serves DATA with ranges; /cut stops in the middle, /wrong sends something else, /plain knows no ranges."""

    asked: ClassVar[list[str | None]] = []

    def do_GET(self) -> None:
        asked = self.headers.get("Range")
        self.asked.append(asked)
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked and self.path != "/plain" else 0
        body = bytes(len(DATA)) if self.path == "/wrong" else DATA[start:]
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: len(body) // 3] if self.path == "/cut" else body)

    def log_message(self, *args: object) -> None:
        """Quiet."""


@pytest.fixture
def server(tmp_path, monkeypatch) -> Iterator[str]:
    monkeypatch.setenv("PUPPETCAST_MODELS", str(tmp_path))
    Handler.asked = []
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        thread = threading.Thread(target=http.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{http.server_port}"
        http.shutdown()
        thread.join()


def model(url: str) -> models.ModelFile:
    return models.ModelFile("test", "test.bin", url, len(DATA), hashlib.sha256(DATA).hexdigest(), "none")


def test_download_with_progress(server, tmp_path):
    steps: list[tuple[int, int]] = []
    path = models.fetch(model(server + "/whole"), lambda done, total: steps.append((done, total)))
    assert path == tmp_path / "test.bin"
    assert path.read_bytes() == DATA
    assert steps[-1] == (len(DATA), len(DATA))
    models.fetch(model(server + "/whole"))
    assert len(Handler.asked) == 1, "a good copy is not downloaded again"


@pytest.mark.parametrize("then", ["/whole", "/plain"])
def test_an_interrupted_download_goes_on(server, tmp_path, then):
    with pytest.raises(ModelError, match="goes on from here next time"):
        models.fetch(model(server + "/cut"))
    have = (tmp_path / "test.bin.part").stat().st_size
    assert 0 < have < len(DATA)
    models.fetch(model(server + then))
    assert Handler.asked[-1] == f"bytes={have}-"
    assert (tmp_path / "test.bin").read_bytes() == DATA


def test_a_wrong_file_is_not_kept(server, tmp_path):
    with pytest.raises(ModelError, match="SHA-256"):
        models.fetch(model(server + "/wrong"))
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_copy_is_found_and_replaced(server, tmp_path):
    (tmp_path / "test.bin").write_bytes(DATA[:-1] + b"x")
    given = model(server + "/whole")
    assert models.find(given) is None
    assert models.is_good(given, models.fetch(given))


def test_no_server(server):
    with pytest.raises(ModelError, match=r"127\.0\.0\.1:9"):
        models.fetch(replace(model(server), url="http://127.0.0.1:9/x"), timeout_s=1)
