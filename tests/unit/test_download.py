"""The checkpoints' download against a server that answers as the Hugging Face hub does."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest

from pipeline.errors import ModelError
from pipeline.liveportrait.files import FILES

CONTENT = {f"/KwaiVGI/LivePortrait/resolve/main/{name}": name.encode() * 5000 for name in FILES}
FIRST = next(iter(CONTENT))
CONTENT[FIRST] *= 80  # 25 MB: the hub's library keeps what it has in pieces of 10 MB
CUT = 15_000_000


class Hub(BaseHTTPRequestHandler):
    """Files with ranges, tagged by their SHA-256. cut: how often the first file is cut short."""

    asked: ClassVar[list[tuple[str, str, str | None]]] = []
    cut: ClassVar[int] = 0

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def _answer(self, with_body: bool) -> None:
        asked = self.headers.get("Range")
        self.asked.append((self.command, self.path, asked))
        data = CONTENT.get(self.path)
        if data is None:
            self.send_error(404)
            return
        start = int(asked.removeprefix("bytes=").split("-")[0]) if asked else 0
        tag = hashlib.sha256(data).hexdigest()
        self.send_response(206 if start else 200)
        for key, value in {"ETag": f'"{tag}"', "X-Linked-Etag": f'"{tag}"', "X-Linked-Size": len(data)}.items():
            self.send_header(key, str(value))
        self.send_header("X-Repo-Commit", "0" * 40)
        self.send_header("Content-Length", str(len(data) - start))
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        self.end_headers()
        if with_body and self.path == FIRST and Hub.cut > 0:
            Hub.cut -= 1
            self.wfile.write(data[start : start + CUT])
        elif with_body:
            self.wfile.write(data[start:])

    def log_message(self, *args: object) -> None:
        """Quiet."""


@pytest.fixture
def hub() -> Iterator[str]:
    Hub.asked, Hub.cut = [], 0
    with ThreadingHTTPServer(("127.0.0.1", 0), Hub) as http:
        thread = threading.Thread(target=http.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{http.server_address[1]}"
        http.shutdown()
        thread.join()


@pytest.fixture
def fetch(monkeypatch, tmp_path) -> Callable[[str], list[Path]]:
    """Fetch from a hub, whose files are the published ones."""
    from huggingface_hub import constants

    from pipeline.liveportrait import download

    digests = {name: hashlib.sha256(CONTENT[f"/KwaiVGI/LivePortrait/resolve/main/{name}"]).hexdigest() for name in FILES}
    monkeypatch.setattr(download, "SHA256", digests)

    def run(endpoint: str) -> list[Path]:
        template = constants.HUGGINGFACE_CO_URL_TEMPLATE.replace(constants.ENDPOINT, endpoint)
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "ENDPOINT", endpoint)
        return list(download.fetch(tmp_path))

    return run


def test_only_the_files_that_are_needed_and_again_from_where_it_stopped(hub, tmp_path, fetch):
    Hub.cut = 1
    with suppress(ModelError):  # given up after the cut: the next try goes on
        fetch(hub)
    fetch(hub)
    for name in FILES:
        assert (tmp_path / name).read_bytes() == CONTENT[f"/KwaiVGI/LivePortrait/resolve/main/{name}"]
    got = [(path, asked) for method, path, asked in Hub.asked if method == "GET" and path in CONTENT]
    assert {path for path, _ in got} == set(CONTENT)
    assert [asked for path, asked in got if path == FIRST and asked], "with a range, not from the start"
    others = {path for _, path, _ in Hub.asked} - set(CONTENT)
    assert not [p for p in others if "LivePortrait" in p], "nothing else of the repository"

    Hub.asked = []
    fetch(hub)
    assert not [m for m, path, _ in Hub.asked if m == "GET" and path in CONTENT], "what is here is not fetched again"


def test_a_file_that_is_not_the_published_one_is_not_kept(hub, tmp_path, shell):
    """Whatever the hub says of it: its own tags are of what it sends."""
    done = shell.run(["models", "fetch", "liveportrait"], PUPPETCAST_MODELS=str(tmp_path), HF_ENDPOINT=hub)
    assert done.code == 2
    assert "differs from the published one (SHA-256)" in done.said
    assert not (tmp_path / FILES[0]).exists()


def test_offline_without_files(shell, tmp_path):
    told = {"PUPPETCAST_MODELS": str(tmp_path), "HF_ENDPOINT": "http://127.0.0.1:9", "HF_HUB_OFFLINE": "1"}
    done = shell.run(["models", "fetch", "liveportrait"], **told)
    assert done.code == 2
    [line] = [line for line in done.said.splitlines() if line.startswith("error:")]
    assert line.endswith(f"{FILES[0]}: HF_HUB_OFFLINE is set and it is not here")
