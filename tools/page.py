"""Makes the README's picture of the page: the demo drives a bundled portrait. The page tells its pictures a second, so that
nothing else may run beside it.

python -m tools.page
"""

from __future__ import annotations

import io
import shutil
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx
from PIL import Image as Pillow
from playwright.sync_api import sync_playwright

import puppetcast
from pipeline.portrait import DEFAULT

from .demo import FPS, SECONDS

PAGE = Path("docs/images/page.webp")
PORTRAIT = DEFAULT
MOMENT_S = 2 * SECONDS + 6.0  # since the demo has begun: she smiles, and the bitrate has risen to what the picture needs
WINDOW = {"width": 1240, "height": 800}
QUALITY = 80
ARGS = ["--no-sandbox", "--use-fake-device-for-media-stream"]  # the page finds a camera


def main() -> None:
    with TemporaryDirectory() as folder:
        kept = {"folder": folder, "keep": False}  # what the user has uploaded is nobody's business
        server = puppetcast.serve(puppetcast.Config(portraits=kept), portrait=PORTRAIT, port=0)
        try:
            shot = _shot(server.url)
        finally:
            server.stop()
    Pillow.open(io.BytesIO(shot)).convert("RGB").save(PAGE, quality=QUALITY, method=6)


def _shot(url: str) -> bytes:
    """PNG of the page at that moment."""
    with sync_playwright() as playwright, httpx.Client(base_url=url) as http:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=ARGS)
        page = browser.new_page(viewport=WINDOW, color_scheme="dark", bypass_csp=True)  # type: ignore[arg-type]
        page.goto(url)
        page.wait_for_function("document.getElementById('puppet').videoWidth > 0")
        page.click("#demo")
        while http.get("/api/streams/live").json()["frames_in"] < MOMENT_S * FPS:
            time.sleep(0.02)
        return page.screenshot()


if __name__ == "__main__":
    main()
