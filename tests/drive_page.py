"""Helper process: opens the page, starts the camera, records what the page shows. Prints JSON of [time, JPEG]."""

import os
import sys
import time
from collections.abc import Callable

import httpx
from playwright.sync_api import Page, sync_playwright

from .browser import FLAGS, RECORD


def until(page: Page, holds: Callable[[dict], bool], seconds: float = 20) -> None:
    """Wait for a state of the stream. Playwright's own waiting takes the promise of an async function for its answer."""
    end = time.monotonic() + seconds
    while not holds(httpx.get(f"{url}/api/streams/live").json()):
        assert time.monotonic() < end, "the stream's state did not come"
        page.wait_for_timeout(100)


executable, url, camera, *record = sys.argv[1:]
with sync_playwright() as p:
    browser = p.chromium.launch(
        executable_path=executable, headless=True, args=[*FLAGS, f"--use-file-for-fake-video-capture={camera}"]
    )
    page = browser.new_page(viewport={"width": 640, "height": 480})
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.goto(url)
    page.click("#start")
    page.wait_for_function("document.getElementById('puppet').videoWidth > 0", timeout=20000)
    until(page, lambda state: state["face"] == "tracking")
    page.wait_for_timeout(1000)  # the puppet wakes slowly
    print(page.evaluate(RECORD, [float(part) for part in record]))
    if os.environ.get("PUPPETCAST_SCREENSHOT"):
        page.set_viewport_size({"width": 1180, "height": 760})
        page.evaluate("document.querySelector('#cameras option').textContent = 'Camera 1'")  # the fake one's is its file's path
        page.wait_for_timeout(1500)
        page.screenshot(path=os.environ["PUPPETCAST_SCREENSHOT"])
    page.click("#start")  # stop: the publisher's place becomes free
    until(page, lambda state: not state["publisher"])
    browser.close()
    if problems:
        sys.exit("page errors: " + "; ".join(problems))
