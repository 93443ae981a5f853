"""Helper process: a browser that publishes and watches for some seconds. Prints JSON of the seconds at which pictures
were shown."""

import sys
import time

import httpx
from playwright.sync_api import sync_playwright

from .browser import FLAGS

ARRIVALS = """async (seconds) => {
  const video = document.getElementById('puppet');
  const times = [];
  const end = performance.now() + seconds * 1000;
  await new Promise((resolve) => {
    const step = (now) => {
      times.push(now / 1000);
      now < end ? video.requestVideoFrameCallback(step) : resolve();
    };
    video.requestVideoFrameCallback(step);
  });
  return JSON.stringify(times);
}"""

executable, url, camera, seconds = sys.argv[1:]
with sync_playwright() as p:
    flags = [*FLAGS, f"--use-file-for-fake-video-capture={camera}", f"--unsafely-treat-insecure-origin-as-secure={url}"]
    browser = p.chromium.launch(executable_path=executable, headless=True, args=flags)
    page = browser.new_page(viewport={"width": 640, "height": 480})
    page.goto(url)
    page.click("#start")
    page.wait_for_function("document.getElementById('puppet').videoWidth > 0", timeout=30000)
    end = time.monotonic() + 30
    while httpx.get(f"{url}/api/streams/live", timeout=10).json()["face"] != "tracking":
        assert time.monotonic() < end, "no face was followed"
        page.wait_for_timeout(200)
    print(page.evaluate(ARRIVALS, float(seconds)))
    browser.close()
