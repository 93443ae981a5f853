"""The page with the picture alone, in a real browser: what it shows through, and that it connects by itself."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Page, Route

from pipeline.mark.payload import Payload
from pipeline.mesh.prepared import MeshPrepared
from pipeline.offline.identify import identify

from ..browser import as_new
from ..conftest import run_server
from ..waiting import wait_until

pytestmark = [pytest.mark.browser, pytest.mark.slow]

TOKEN, VIEW_TOKEN = "rule", "look"
# What the page shows, coded again by the browser: VP8 in a WebM file.
RECORD = """async (seconds) => {
  const recorder = new MediaRecorder(document.querySelector('video').captureStream(), {mimeType: 'video/webm;codecs=vp8'});
  const parts = [];
  recorder.ondataavailable = (event) => parts.push(event.data);
  const stopped = new Promise((resolve) => { recorder.onstop = resolve; });
  recorder.start();
  setTimeout(() => recorder.stop(), 1000 * seconds);
  await stopped;
  const bytes = new Uint8Array(await new Blob(parts).arrayBuffer());
  return btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(''));
}"""


def coverage(page: Page) -> np.ndarray:
    """(h, w) 0..255 of the page, as whatever takes it into a scene sees it."""
    return np.asarray(Image.open(io.BytesIO(page.screenshot(omit_background=True))).getchannel("A"), np.float32)


def test_the_picture_alone_is_transparent_at_the_hair_line_and_connects_by_itself(tab):
    with run_server(auth={"token": TOKEN, "view_token": VIEW_TOKEN}) as server, as_new(tab, 256, 256):
        shown = server.control.stream("live").shown.prepared
        assert isinstance(shown, MeshPrepared)
        assert shown.still.shape == (256, 256, 3)
        tab.goto(f"{server.url}/view/live?background=transparent")
        tab.wait_for_function("document.getElementById('problem').textContent.startsWith('This server asks for a token')")
        refused = iter([True])  # the first time, as by a server that is starting

        def answer(route: Route) -> None:
            if next(refused, False):
                route.fulfill(status=503, json={"detail": "not yet"})
            else:
                route.continue_()

        tab.route("**/whep?cut_out=true", lambda route: answer(route) if route.request.method == "POST" else route.continue_())
        tab.goto(f"{server.url}/view/live?background=transparent&token={VIEW_TOKEN}")
        tab.wait_for_function("document.getElementById('problem').textContent === 'not yet'")
        tab.wait_for_function("document.getElementById('problem').hidden")
        alpha, clear = shown.cut.alpha, slice(shown.cut.alpha.shape[0] // 10, None)  # the label's corner is above
        found = wait_until(lambda: coverage(tab), holds=lambda seen: np.abs(seen[clear] - alpha[clear]).mean() < 3)
        found[: clear.start] = alpha[: clear.start]
        assert found[alpha == 0].mean() < 2
        assert found[alpha == 255].mean() > 253
        hair = (alpha > 40) & (alpha < 215)
        hair[100:] = False
        assert hair.sum() > 50
        assert np.corrcoef(found[hair], alpha[hair])[0, 1] > 0.8, "and half through where the hair is"


def test_a_background_picture_that_is_missing_is_told_and_shows_as_soon_as_it_is_there(tab):
    with run_server() as server, httpx.Client(base_url=server.url) as http, as_new(tab, 256, 256):
        tab.goto(f"{server.url}/view/live?background=picture")
        tab.wait_for_function("!document.getElementById('problem').hidden")
        told = "stream 'live' has no background picture; PUT /api/streams/live/background takes one"
        assert tab.inner_text("#problem") == told == http.get("/live/live/background.jpg").json()["detail"]
        blue = io.BytesIO()
        Image.new("RGB", (64, 64), (0, 0, 255)).save(blue, "PNG")
        http.put("/api/streams/live/background", content=blue.getvalue()).raise_for_status()
        tab.wait_for_function("document.getElementById('problem').hidden", timeout=60_000)
        corner = wait_until(lambda: np.asarray(Image.open(io.BytesIO(tab.screenshot())).convert("RGB"))[-1, 0], holds=is_blue)
        assert is_blue(corner), corner


def is_blue(pixel: np.ndarray) -> bool:
    return bool(pixel[2] > 200 and pixel[:2].max() < 60)


def test_a_screenshot_and_a_recording_of_the_page_still_say_what_they_are(tab, model, tmp_path: Path) -> None:
    with run_server() as server, httpx.Client(base_url=server.url) as http, as_new(tab, 400, 400):
        http.patch("/api/streams/live", json={"demo": True}).raise_for_status()
        tab.goto(f"{server.url}/view/live", timeout=60_000)
        tab.wait_for_function("document.querySelector('video').videoWidth > 0", timeout=60_000)
        (tmp_path / "page.webm").write_bytes(base64.b64decode(tab.evaluate(RECORD, 2)))
        tab.screenshot(path=tmp_path / "page.png")
        says = Payload.from_hex(http.get("/api/streams/live").json()["mark"])
    for name in ("page.png", "page.webm"):
        found = identify(tmp_path / name)
        assert (found.payload, found.marked) == (says, found.windows), name
