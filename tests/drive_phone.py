"""Helper process on another host: a phone that opens a link, as from a QR code, and drives.

python -m tests.drive_phone CHROMIUM LINK CAMERA
"""

import sys

from playwright.sync_api import sync_playwright

from .browser import FLAGS

executable, link, camera = sys.argv[1:]
with sync_playwright() as p:
    flags = [*FLAGS, f"--use-file-for-fake-video-capture={camera}"]
    browser = p.chromium.launch(executable_path=executable, headless=True, args=flags)
    # Its owner goes on past the warning of the certificate.
    context = browser.new_context(
        viewport={"width": 390, "height": 664}, device_scale_factor=2, is_mobile=True, has_touch=True, bypass_csp=True,
        ignore_https_errors=True,
    )  # fmt: skip
    page = context.new_page()
    page.goto(link)
    page.wait_for_function("document.getElementById('puppet').videoWidth > 0", timeout=60_000)
    page.tap("#start")
    page.wait_for_function("!document.getElementById('camera').hidden", timeout=60_000)
    page.wait_for_function("/^Live · [1-9]/.test(document.getElementById('status-line').textContent)", timeout=60_000)
    browser.close()
