"""The images of others that docker/ names, each by the digest that its tag has now: `make digests`.

For whoever reaches Docker's registry: a tag may be moved, a digest is the image itself.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path

import httpx

REGISTRY = "https://registry-1.docker.io/v2"
TOKENS = "https://auth.docker.io/token"
INDEX = "application/vnd.oci.image.index.v1+json, application/vnd.docker.distribution.manifest.list.v2+json"
IMAGE = re.compile(r"^(ARG BASE=| +image: )(?!puppetcast:)([\w./-]+):([\w.-]+)(?:@sha256:\w+)?$", re.MULTILINE)


def digest(http: httpx.Client, name: str, tag: str) -> str:
    """sha256:… of an image for all its machines, by the registry (OCI Distribution §3.2). httpx.HTTPError."""
    place = name if "/" in name else f"library/{name}"
    scope = {"service": "registry.docker.io", "scope": f"repository:{place}:pull"}
    token = http.get(TOKENS, params=scope).raise_for_status().json()["token"]
    headers = {"Authorization": f"Bearer {token}", "Accept": INDEX}
    answer = http.head(f"{REGISTRY}/{place}/manifests/{tag}", headers=headers).raise_for_status()
    return str(answer.headers["Docker-Content-Digest"])


def pinned(text: str, ask: Callable[[str, str], str]) -> str:
    """A Dockerfile or compose file with the digest behind each tag."""
    return IMAGE.sub(lambda found: f"{found[1]}{found[2]}:{found[3]}@{ask(found[2], found[3])}", text)


def main(folder: Path) -> None:
    """Write them into the files of a folder; all or none."""
    with httpx.Client(timeout=20, follow_redirects=True) as http:
        files = [*folder.glob("Dockerfile.*"), *folder.glob("compose*.yaml")]
        texts = {path: pinned(path.read_text("utf-8"), lambda name, tag: digest(http, name, tag)) for path in files}
    for path, text in texts.items():
        path.write_text(text, "utf-8")


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]))
    except httpx.HTTPError as exc:
        sys.exit(f"digests: {exc or type(exc).__name__}; nothing was written")
