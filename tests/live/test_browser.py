"""End to end: a real browser whose camera is a real clip publishes, watches, and is checked by eye of the landmarker."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import cv2
import httpx
import pytest
from playwright.sync_api import Page, expect

from pipeline.portraits import DEFAULT

from ..browser import unfold
from ..conftest import run_server
from ..faces import two_faces
from ..followed import CAMERA_FPS, CLIP, assert_no_camera, follows, recorded
from ..media import busy_camera
from ..peers import watched
from ..waiting import LIMIT_S, until_state, wait_until

pytestmark = [pytest.mark.browser, pytest.mark.slow]

PUBLISH = """async ([codec]) => {
  const {publish} = await import('/rtc.js');
  const original = RTCPeerConnection.prototype.addTransceiver;
  RTCPeerConnection.prototype.addTransceiver = function (...args) {
    const transceiver = original.apply(this, args);
    const all = RTCRtpSender.getCapabilities('video').codecs;
    transceiver.setCodecPreferences(all.filter((c) => c.mimeType === 'video/' + codec));
    return transceiver;
  };
  const stream = await navigator.mediaDevices.getUserMedia({video: {width: 512, height: 512, frameRate: 30}});
  window.link = await publish('/live/live/whip', stream, () => {});
}"""


def started(page: Page, url: str, http: httpx.Client) -> None:
    """Open the page, start its camera, and wait until the face is followed."""
    page.set_viewport_size({"width": 640, "height": 480})
    page.goto(url)
    page.wait_for_function("document.getElementById('puppet').videoWidth > 0", timeout=60_000)
    page.click("#start")
    until_state(http, lambda state: state["face"] == "tracking")


def test_the_page_puppeteers_a_portrait_from_its_camera(page, camera, clip, model):
    camera("d10", CLIP, fps=CAMERA_FPS)
    with run_server(engine={"max_side": 384}) as server, httpx.Client(base_url=server.url, timeout=LIMIT_S) as http:
        arrived = watched(server.control.stream("live").intake)
        source: Any = server.control.stream("live").shown.prepared
        started(page, server.url, http)
        frames = recorded(page, source)
        page.click("#start")
        state = until_state(http, lambda state: not state["publisher"])
    assert (state["tracker"], state["errors"]) == ("mediapipe", 0)
    assert follows(frames, arrived, "mouth", model) >= 0.8
    assert_no_camera(frames, source, clip("d10"))


@pytest.fixture(scope="module")
def busy(tmp_path_factory) -> Path:
    return busy_camera(tmp_path_factory.mktemp("busy") / "camera")


@pytest.mark.long
@pytest.mark.parametrize("codec", ["VP8", "H264"])
def test_a_busy_camera_arrives_whole(codec, page, chromium_of_all, busy):
    """Chromium gives a plain answer so little that it sends 256 pixels, or one picture a second."""
    chromium_of_all.play(busy)
    # A budget of one frame a second: this is about the way in, not about the animation.
    with run_server(budget={"max_frames": 1}) as server:
        arrived = watched(server.control.stream("live").intake)
        page.goto(server.url + "/icon.svg")
        page.evaluate(PUBLISH, [codec])
        wait_until(lambda: len(arrived) > 150)
        [sent] = page.evaluate("async () => [...(await link.pc.getStats()).values()].filter((s) => s.type === 'outbound-rtp')")
    assert sent["targetBitrate"] >= 1_500_000
    assert sent["qualityLimitationDurations"]["bandwidth"] == 0
    assert {(f.frame.width, f.frame.height) for f in arrived if sent["qualityLimitationReason"] == "none"} <= {(512, 512)}


def test_the_page_controls_the_stream(page, camera, model, tmp_path):
    camera("d19", 60)
    elsewhere: list[str] = []
    with (
        run_server(recording={"folder": str(tmp_path / "r")}, streams={"live": {"puppet": {"max_fps": 10}}}) as server,
        httpx.Client(base_url=server.url, timeout=LIMIT_S) as http,
    ):
        own = (server.url, "data:", "blob:")
        page.on("request", lambda r: None if r.url.startswith(own) else elsewhere.append(r.url))
        started(page, server.url, http)
        unfold(page)
        page.set_viewport_size({"width": 1240, "height": 860})
        expect(page.locator("#ring")).to_be_hidden()
        settings_by_data_channel(page, http)
        presets_and_others(page, http)
        portraits_and_calibration(page, http)
        keys(page, http)
        uploads(page, http, tmp_path)
        meters_and_names(page)
        shot(page, "desktop-dark")
        a_phone(page)
        page.click("#start")
        until_state(http, lambda state: not state["publisher"])
    assert not elsewhere
    assert len(list((tmp_path / "r").iterdir())) == 1


def settings_by_data_channel(page: Page, http: httpx.Client) -> None:
    """Commands go by the data channel once it is open."""
    patches: list[str] = []
    page.on("request", lambda r: patches.append(r.url) if r.method == "PATCH" else None)
    page.locator("input[data-key=pose_gain]").fill("0.5")
    until_state(http, lambda state: state["puppet"]["pose_gain"] == 0.5)
    expect(page.locator("output[data-for=pose_gain]")).to_have_text("0.50")
    page.locator("[data-key=scale_lock]").check()
    until_state(http, lambda state: state["puppet"]["scale_lock"])
    page.select_option("#region", "lip")
    until_state(http, lambda state: state["puppet"]["region"] == "lip")
    page.locator("#limits summary").click()
    page.locator("[data-key=max_fps]").fill("12")
    page.keyboard.press("Tab")
    until_state(http, lambda state: state["puppet"]["max_fps"] == 12)
    assert page.locator("[data-key=eye_retargeting]").is_disabled(), "the mesh engine has none"
    assert not patches, "commands went by REST"


def presets_and_others(page: Page, http: httpx.Client) -> None:
    page.click("[data-preset=Calm]")
    until_state(http, lambda state: state["puppet"]["smoothing"] == 0.8)
    expect(page.locator("[data-preset=Calm]")).to_have_attribute("aria-pressed", "true")
    page.click("#preset-save")
    page.keyboard.type("Not this")
    page.keyboard.press("Escape")
    expect(page.locator("#preset-save")).to_be_focused()
    for way in ("click", "Delete"):
        page.locator("#preset-save").press("Enter")
        page.keyboard.type("Mine")
        page.keyboard.press("Enter")
        expect(page.locator("[data-preset=Mine]")).to_have_attribute("aria-pressed", "true")
        if way == "click":
            page.get_by_role("button", name="Remove the preset “Mine”").click()
        else:
            page.locator("[data-preset=Mine]").press("Delete")
        assert page.locator("[data-preset]").all_inner_texts() == ["Natural", "Calm", "Lively", "Face only"]
    page.click("[data-preset=Natural]")
    until_state(http, lambda state: state["puppet"]["region"] == "all")
    expressions(page, http)
    # The server's truth: what another says is seen here.
    http.patch("/api/streams/live", json={"mouth_gain": 1.5}).raise_for_status()
    expect(page.locator("output[data-for=mouth_gain]")).to_have_text("1.50")


def expressions(page: Page, http: httpx.Client) -> None:
    """A key shows one and lets it go; sliders make another, which is kept with a key, loaded and deleted."""
    page.locator("#stage").click()
    page.keyboard.press("1")
    until_state(http, lambda state: state["presets"] == ["Smile"])
    expect(page.locator("[data-expression=Smile]")).to_have_attribute("aria-pressed", "true")
    page.keyboard.press("0")
    until_state(http, lambda state: not state["presets"])
    expect(page.locator("#expressions-off")).to_be_hidden()
    page.click("#editor summary")
    page.locator("#pose-brows").press("ArrowRight")
    until_state(http, lambda state: state["shapes"].get("browInnerUp") == 0.02)
    page.locator("#pose-brows").press("Delete")
    until_state(http, lambda state: state["shapes"].get("browInnerUp", 0) == 0)
    page.locator("#pose-smile").fill("0.5")
    page.fill("#pose-name", "Grin")
    page.select_option("#pose-key", "2")
    page.keyboard.press("Tab")
    for wrong, words in (("grin?", "A name has letters, digits, spaces"), ("smile", "There is “Smile” already.")):
        page.fill("#pose-name", wrong)
        page.locator("#pose-name").press("Enter")
        expect(page.locator("#notice")).to_contain_text(words)
    page.fill("#pose-name", "Grin")
    page.locator("#pose-name").press("Enter")
    expect(page.locator("#pose-said")).to_have_text("Saved as “Grin”.")
    grin = http.get("/api/presets/Grin").json()
    assert (grin["shapes"]["mouthSmileLeft"], grin["regions"], grin["mode"], grin["hotkey"]) == (0.5, ["mouth"], "over", 2)
    page.click("#pose-reset")
    until_state(http, lambda state: not state["shapes"])
    page.select_option("#pose-from", "Grin")
    expect(page.locator("#pose-smile")).to_have_value("0.5")
    page.click("#pose-delete")
    page.click("#question-yes")
    expect(page.locator("[data-expression=Grin]")).to_have_count(0)
    until_state(http, lambda state: not state["shapes"])


def portraits_and_calibration(page: Page, http: httpx.Client) -> None:
    page.locator("#gallery button[title=Poster]").click()
    until_state(http, lambda state: state["portrait"] == "drawing")
    expect(page.locator("#gallery button[title=Poster]")).to_have_attribute("aria-pressed", "true")
    page.locator("#stage").click()
    page.keyboard.press("b")
    until_state(http, lambda state: state["portrait"] == DEFAULT)
    page.keyboard.press("c")
    until_state(http, lambda state: state["face"] == "calibrating")
    expect(page.locator("#ring")).to_be_visible()
    until_state(http, lambda state: state["face"] == "tracking")


def keys(page: Page, http: httpx.Client) -> None:
    for _ in range(2):
        page.keyboard.press("]")
    until_state(http, lambda state: abs(state["puppet"]["smoothing"] - 0.6) < 0.01)
    page.keyboard.press("m")
    until_state(http, lambda state: state["puppet"]["mirror"])
    page.keyboard.press(" ")
    until_state(http, lambda state: state["face"] == "paused")
    expect(page.locator("#notice")).to_contain_text("Paused")
    page.keyboard.press(" ")
    until_state(http, lambda state: state["face"] != "paused")
    page.keyboard.press("r")
    until_state(http, lambda state: (state["recording"] or {}).get("running"))
    expect(page.locator("#record")).to_have_text(re.compile("^Stop recording"))
    page.keyboard.press("r")
    until_state(http, lambda state: not state["recording"]["running"])
    page.keyboard.press("?")
    expect(page.locator("#shortcuts")).to_be_visible()
    shot(page, "shortcuts")
    page.keyboard.press("m")
    page.keyboard.press("Escape")
    expect(page.locator("#shortcuts")).to_be_hidden()
    assert http.get("/api/streams/live").json()["puppet"]["mirror"], "keys do nothing under a dialog"


def uploads(page: Page, http: httpx.Client, folder: Path) -> None:
    """Of a picture with two faces it is asked which one moves; Cancel leaves all as it was."""
    pair = folder / "pair.png"
    cv2.imwrite(str(pair), two_faces()[..., ::-1])
    shown, gallery = http.get("/api/streams/live").json()["portrait"], http.get("/api/portraits").json()
    page.set_input_files("#upload", pair)
    page.click("#cancel")
    expect(page.locator("#gallery [data-portrait]")).to_have_count(len(gallery))
    assert http.get("/api/portraits").json() == gallery
    assert http.get("/api/streams/live").json()["portrait"] == shown
    page.set_input_files("#upload", pair)
    expect(page.locator("#marker")).to_be_visible()
    box = page.locator("#canvas").bounding_box()
    assert box is not None
    page.mouse.click(box["x"] + 0.75 * box["width"], box["y"] + 0.4 * box["height"])
    portrait = until_state(http, lambda state: state["portrait"].startswith("upload-"))["portrait"]
    infos = {info["id"]: info for info in http.get("/api/portraits").json()}
    assert infos[portrait]["face"] == 1
    page.set_input_files("#upload", __file__)
    expect(page.locator("#notice")).to_contain_text("not a picture, clip or puppet")


def meters_and_names(page: Page) -> None:
    page.wait_for_function("document.querySelector('#spark-fps path').getAttribute('d').split('L').length > 10")
    assert "ms" in (page.locator("#spark-age svg").get_attribute("aria-label") or "")
    unnamed = page.evaluate(
        "[...document.querySelectorAll('button, input:not([hidden]), select')]"
        ".filter(e => !(e.textContent.trim() || e.labels?.length || e.ariaLabel || e.title || e.querySelector('img[alt]')))"
        ".map(e => e.outerHTML)"
    )
    assert not unnamed


def a_phone(page: Page) -> None:
    page.emulate_media(color_scheme="light")
    shot(page, "desktop-light")
    page.set_viewport_size({"width": 390, "height": 844})
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "nothing sticks out"
    page.emulate_media(color_scheme="dark")
    shot(page, "phone")


def shot(page: Page, name: str) -> None:
    """A picture of the page, where PUPPETCAST_SCREENSHOTS names a folder."""
    if folder := os.environ.get("PUPPETCAST_SCREENSHOTS"):
        page.screenshot(path=f"{folder}/{name}.png", full_page=True)
