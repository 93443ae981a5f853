"""The front, with workers that are processes of their own and clients that know of one server."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from ..waiting import LIMIT_S
from .local import Local, fleet
from .workers import Workers


@pytest.fixture(scope="module")
def running(tmp_path_factory, model) -> Iterator[tuple[Local, Workers]]:
    with fleet(tmp_path_factory.mktemp("fleet"), "w0", "w1", fronts=2, streams={"one": {}, "two": {}}) as both:
        yield both


@pytest.fixture(params=[0, 1], ids=["a front", "another"])
def http(running, request) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=running[0].urls[request.param], timeout=LIMIT_S) as client:
        yield client


def test_what_is_asked_of_all(http):
    for path in (
        "/api/streams",
        "/api/me",
        "/api/load",
        "/api/devices",
        "/api/portraits",
        "/api/presets",
        "/api/recordings",
        "/api/fleet",
        "/metrics",
        "/readyz",
        "/healthz",
        "/openapi.json",
        "/",
        "/docs",
        "/view/one",
        "/api/portraits/ada/thumbnail",
        "/live/one/snapshot.jpg",
    ):
        r = http.get(path)
        print(path, r.status_code, r.text[:300] if "jpeg" not in r.headers["content-type"] else len(r.content), dict(r.headers))
