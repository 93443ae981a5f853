"""What the server answers to somebody who has no token, route by route."""

from __future__ import annotations

import re
from collections import defaultdict

import httpx
from fastapi import FastAPI
from fastapi.routing import iter_route_contexts

from streamer.http.rights import Needs

from .conftest import ROOT

BLOCK = re.compile(r"<!-- begin: asked without a token -->\n(.*)<!-- end -->", re.DOTALL)
PAGE = ("/", "/app.js", "/icon.svg")


def routes(app: FastAPI) -> list[tuple[str, str, Needs]]:
    """Method, path and need of every route but the page's files."""
    found = []
    for context in iter_route_contexts(app.routes):
        endpoint = getattr(context.original_route, "endpoint", None)
        if endpoint is None:
            assert type(context.original_route).__name__ == "Mount", "the page's files"
            continue
        found += [(method, str(context.path), endpoint.needs) for method in sorted(context.methods or ())]
    return found


def url(path: str, name: str = "hall") -> str:
    """One that a route is for, whether or not there is such a thing."""
    return path.replace(":path", "").format(name=name, kind="whep", session="x" * 32, key="x")


def told() -> str:
    """The rows of docs/security.md."""
    found = BLOCK.search((ROOT / "docs" / "security.md").read_text())
    assert found is not None
    return found[1]


def rows(app: FastAPI, http: httpx.Client) -> str:
    """Those rows, as a server answers."""
    by_code: dict[int, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for method, path, _ in sorted(routes(app), key=lambda route: route[1]):
        by_code[http.request(method, url(path, "live")).status_code][path.replace(":path", "")].append(method)
    for path in PAGE:
        by_code[http.get(path).status_code]["the page's files"] = ["GET"]
    lines = (
        f"| {code} | " + "; ".join(f"{', '.join(methods)} `{path}`" for path, methods in paths.items()) + " |\n"
        for code, paths in sorted(by_code.items())
    )
    return "| Answer | Requests |\n|---|---|\n" + "".join(lines).replace("`the page's files`", "the page's files")
