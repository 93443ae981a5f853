"""Chromium: one for all tests, whose camera plays the clip that a test puts in."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import av
from playwright.sync_api import Browser, Error, Page, expect, sync_playwright

from .media import WALL, write_camera
from .programs import program
from .waiting import LIMIT_S, wait_until

expect.set_options(timeout=1000 * LIMIT_S)
FLAGS = [
    "--no-sandbox", "--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream",
    "--allow-loopback-in-peer-connection", "--disable-background-networking", "--disable-component-update",
    "--disable-sync", "--no-first-run", "--disable-gpu", "--disable-quic",
    # A page that is opened stays in the process of the one before: a new process costs half as much again as the page does.
    # Nor has a window, which each context gets one of, the pages that would show what an address bar suggests: as much again.
    "--disable-site-isolation-trials",
    "--disable-features=IsolateOrigins,site-per-process,SpareRendererForSitePerProcess,WebUIOmniboxPopup,WebUIOmniboxAimPopup",
]  # fmt: skip
# Draws a square of each new picture of the page's video, given as shares of its size, with its RTP time: that of capture.
# A picture may have been replaced when its callback comes; `VideoFrame` says which one it is, but in Firefox, which calls as it
# shows and has no media time for what is live.
RECORD = """async ([count, seconds, x, y, width, height]) => {
  const video = document.getElementById('puppet');
  const canvas = document.createElement('canvas');
  canvas.width = canvas.height = 256;
  const context = canvas.getContext('2d', {willReadFrequently: true});
  const frames = [];
  let begin;
  await new Promise((resolve) => {
    const step = (now, metadata) => {
      const picture = new VideoFrame(video);
      if (!metadata.mediaTime || Math.abs(picture.timestamp - metadata.mediaTime * 1e6) < 2) {
        const [w, h] = [picture.displayWidth, picture.displayHeight];
        context.drawImage(picture, x * w, y * h, width * w, height * h, 0, 0, 256, 256);
        frames.push([metadata.rtpTimestamp / 90000, canvas.toDataURL('image/jpeg', 0.92).split(',')[1]]);
        begin ??= now;
      }
      picture.close();
      const enough = frames.length >= count && now - begin > 1000 * seconds;
      enough ? resolve() : video.requestVideoFrameCallback(step);
    };
    video.requestVideoFrameCallback(step);
  });
  return frames;
}"""


def chromium() -> str:
    """Its path."""
    return program("chromium", "chromium-browser", "google-chrome", cure="'make browser' installs it")


@contextmanager
def as_new(page: Page, width: int = 1240, height: int = 860) -> Iterator[None]:
    """Use a page again; what one test sets, stores or listens to is gone afterwards, but not a script added to the page. An
    error of the page's scripts is one of the test."""
    errors: list[str] = []

    def note(error: Error) -> None:
        errors.append(str(error))

    page.set_viewport_size({"width": width, "height": height})
    page.emulate_media(color_scheme="dark")
    page.on("pageerror", note)
    yield
    page.remove_listener("pageerror", note)
    page.unroute_all(behavior="ignoreErrors")
    if page.url.startswith("http"):
        page.evaluate("localStorage.clear(), sessionStorage.clear()")
    page.goto("about:blank")
    assert not errors


def unfold(page: Page) -> None:
    """Open the sliders' section."""
    page.evaluate("document.getElementById('motion').open = true")


class Chromium:
    """A running one. Playwright connects to it for each test: its own loop must not outlive a test, or no test could
    have an event loop."""

    def __init__(self, address: str, camera: Path) -> None:
        self._address = address
        self._camera = camera

    def play(self, clip: Path) -> None:
        """Let the camera show this Y4M file when it is next opened: Chromium reads the file anew each time."""
        fresh = self._camera.with_suffix(".new")
        shutil.copy(clip, fresh)
        os.replace(fresh, self._camera)

    @contextmanager
    def connected(self) -> Iterator[Browser]:
        """With Playwright."""
        with sync_playwright() as playwright:
            browser = playwright.chromium.connect_over_cdp(self._address)
            try:
                yield browser
            finally:
                browser.close()


@contextmanager
def running(folder: Path) -> Iterator[Chromium]:
    """Start it, with a profile in `folder`, and a camera that shows a wall."""
    camera = write_camera([av.VideoFrame.from_ndarray(WALL)], folder / "camera.y4m", 10)
    command = [
        chromium(), *FLAGS, "--headless", "--remote-debugging-port=0", f"--user-data-dir={folder / 'profile'}",
        f"--use-file-for-fake-video-capture={camera}", "about:blank",
    ]  # fmt: skip
    with (folder / "log").open("w") as log, subprocess.Popen(command, stderr=log) as process:
        try:
            told = folder / "profile" / "DevToolsActivePort"
            port, path = wait_until(lambda: _lines(told, process), holds=lambda lines: len(lines) == 2)
            yield Chromium(f"ws://127.0.0.1:{port}{path}", camera)
        finally:
            process.terminate()


def _lines(file: Path, process: subprocess.Popen[bytes]) -> list[str]:
    assert process.poll() is None, "Chromium has ended"
    return file.read_text().splitlines() if file.exists() else []
