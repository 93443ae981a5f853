"""A long gallery: what it costs the server, and when the page shows it. `puppetcast bench gallery`."""

from __future__ import annotations

import io
import json
import shutil
import time
from collections.abc import Callable
from importlib.util import find_spec
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import httpx
import numpy as np
from PIL import Image as Pillow

from pipeline.clips import Progress
from pipeline.face.canonical import five_points
from pipeline.portrait import bundled, bundled_names

from .live import process, serve

WINDOW = {"width": 1366, "height": 768}
# Until each thumbnail that the window shows has come.
SHOWN = """(count) => {
  const strip = document.getElementById('gallery').getBoundingClientRect();
  const images = [...document.querySelectorAll('#gallery img')];
  const seen = images.filter((each) => each.getBoundingClientRect().left < strip.right);
  return images.length >= count && seen.every((each) => each.complete && each.naturalWidth);
}"""


def gallery(count: int, progress: Progress) -> dict[str, Any]:
    """Figures of a server with `count` uploads: times in ms, memory in MB."""
    with TemporaryDirectory() as folder:
        kept = {"portraits": {"keep": True, "folder": folder, "max_count": count}}
        with process(serve, 0.0, kept) as (url, usage), httpx.Client(base_url=url, timeout=60) as http:
            before = usage()[1]
            uploads = []
            for k in range(count):
                uploads.append(_ms(_upload, http, k))
                progress(k + 1, count)
            after = usage()[1]
        with process(serve, 0.0, kept) as (url, usage), httpx.Client(base_url=url, timeout=60) as http:
            started = usage()[1]
            listed = [_ms(_get, http, "/api/portraits") for _ in range(9)]
            ids = [info["id"] for info in http.get("/api/portraits").json()]
            small = [_ms(_get, http, f"/api/portraits/{key}/thumbnail") for key in ids]
            page = _page_ms(url, len(ids))
            size = len(http.get("/api/portraits").content)
            memory = {"without": before, "uploaded": after, "restarted": started, "all_seen": usage()[1]}
    return {
        "uploads": count, "upload_ms": round(median(uploads), 1), "list_ms": round(median(listed), 1),
        "list_kb": round(size / 1000), "thumbnail_ms": round(median(small), 1), "page_ms": page,
        "memory_mb": {when: round(mb) for when, mb in memory.items()},
    }  # fmt: skip


def _upload(http: httpx.Client, k: int) -> None:
    """A bundled portrait with a line of its own, its face placed, as finding it would be measured otherwise."""
    portrait = bundled(bundled_names()[k % len(bundled_names())])
    image = portrait.image.copy()
    image[:4] = np.random.default_rng(k).integers(0, 256, (4, *image.shape[1:]))
    data = io.BytesIO()
    Pillow.fromarray(image).save(data, "JPEG", quality=90)
    marks = json.dumps(five_points(portrait.landmarks).tolist())
    http.post("/api/portraits", files={"file": (f"{k}.jpg", data.getvalue())}, data={"marks": marks}).raise_for_status()


def _get(http: httpx.Client, path: str) -> None:
    http.get(path).raise_for_status()


def _ms(work: Callable[..., None], *args: Any) -> float:
    began = time.perf_counter()
    work(*args)
    return 1000 * (time.perf_counter() - began)


def _page_ms(url: str, count: int) -> dict[str, float] | None:
    """When a page that is opened shows the puppet, and when all thumbnails in view; None without a browser."""
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if chromium is None or find_spec("playwright") is None:
        return None
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport=WINDOW, bypass_csp=True)  # type: ignore[arg-type]
        began = time.perf_counter()
        page.goto(url)
        page.wait_for_function(SHOWN, arg=count)
        thumbnails = 1000 * (time.perf_counter() - began)
        page.wait_for_function("document.getElementById('puppet').videoWidth > 0")
        puppet = 1000 * (time.perf_counter() - began)
        browser.close()
    return {"thumbnails": round(thumbnails), "puppet": round(puppet)}
