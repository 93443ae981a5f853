"""Helper process on another host: a browser that publishes and watches until it has shown some pictures.

python -m tests.drive_lossy CHROMIUM URL CAMERA PICTURES TOKEN
"""

import sys

from playwright.sync_api import sync_playwright

from .browser import FLAGS

SHOWN = """async (count) => {
  const video = document.getElementById('puppet');
  for (let shown = 0; shown < count; shown += 1) await new Promise((resolve) => video.requestVideoFrameCallback(resolve));
}"""

executable, url, camera, pictures, token = sys.argv[1:]
with sync_playwright() as p:
    flags = [*FLAGS, f"--use-file-for-fake-video-capture={camera}", f"--unsafely-treat-insecure-origin-as-secure={url}"]
    browser = p.chromium.launch(executable_path=executable, headless=True, args=flags)
    page = browser.new_page(viewport={"width": 640, "height": 480}, bypass_csp=True)
    page.goto(f"{url}/#token={token}")
    page.click("#start")
    page.wait_for_function("document.getElementById('puppet').videoWidth > 0", timeout=60_000)
    page.wait_for_function("document.getElementById('ring').hidden", timeout=60_000)
    page.evaluate(SHOWN, int(pictures))
    browser.close()
