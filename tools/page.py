"""Makes the README's picture of the page: the first look at it, before anything drives.

python -m tools.page
"""

from __future__ import annotations

import io
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory

from PIL import Image as Pillow
from playwright.sync_api import sync_playwright

import puppetcast
from pipeline.portraits import DEFAULT

PAGE = Path("docs/images/page.webp")
PORTRAIT = DEFAULT
SHARP_MS = 5000  # until the bitrate has risen to what the picture needs
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
    """PNG of the page."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=ARGS)
        page = browser.new_page(viewport=WINDOW, color_scheme="dark", bypass_csp=True)  # type: ignore[arg-type]
        page.goto(url)
        page.wait_for_function("document.getElementById('puppet').videoWidth > 0")
        page.wait_for_timeout(SHARP_MS)
        return page.screenshot()


if __name__ == "__main__":
    main()
