"""Helper process: works the page's controls as a user does and looks at what the server then says."""

import os
import sys
import time

import httpx
from playwright.sync_api import Page, expect, sync_playwright

from .browser import FLAGS

executable, url, camera, pair = sys.argv[1:]
http = httpx.Client(base_url=url)
SHOTS = os.environ.get("PUPPETCAST_SCREENSHOTS")


def state() -> dict:
    return http.get("/api/streams/live").json()


def until(holds, what: str, seconds: float = 10) -> None:
    end = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > end:
            sys.exit(f"{what}: did not come; {state()}")
        page.wait_for_timeout(50)


def shot(page: Page, name: str) -> None:
    if SHOTS:
        page.screenshot(path=f"{SHOTS}/{name}.png", full_page=True)


with sync_playwright() as p:
    flags = [*FLAGS, f"--use-file-for-fake-video-capture={camera}"]
    browser = p.chromium.launch(executable_path=executable, headless=True, args=flags)
    page = browser.new_page(viewport={"width": 1240, "height": 860}, color_scheme="dark")
    problems: list[str] = []
    elsewhere: list[str] = []
    patches: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("request", lambda r: None if r.url.startswith((url, "data:", "blob:")) else elsewhere.append(r.url))
    page.on("request", lambda r: patches.append(r.url) if r.method == "PATCH" else None)
    page.goto(url)
    page.wait_for_function("document.getElementById('puppet').videoWidth > 0", timeout=20000)

    page.click("#start")
    expect(page.locator("#ring")).to_be_visible(timeout=15000)
    until(lambda: state()["face"] == "tracking", "calibrated", 20)
    expect(page.locator("#ring")).to_be_hidden()

    # Commands go by the data channel once it is open.
    patches.clear()
    page.locator("input[data-key=pose_gain]").fill("0.5")
    until(lambda: state()["puppet"]["pose_gain"] == 0.5, "a gain")
    expect(page.locator("output[data-for=pose_gain]")).to_have_text("0.50")
    page.locator("[data-key=scale_lock]").check()
    until(lambda: state()["puppet"]["scale_lock"], "scale lock")
    page.select_option("#region", "lip")
    until(lambda: state()["puppet"]["region"] == "lip", "a region")
    page.locator("#limits summary").click()
    page.locator("[data-key=max_fps]").fill("12")
    page.keyboard.press("Tab")
    until(lambda: state()["rate_limit"] == 12, "a limit")
    page.locator("[data-key=max_fps]").fill("")
    page.keyboard.press("Tab")
    until(lambda: state()["puppet"]["max_fps"] is None, "no limit")
    assert page.locator("[data-key=eye_retargeting]").is_disabled(), "the mesh engine has none"
    assert not patches, f"commands went by REST: {patches}"

    page.click("[data-preset=Calm]")
    until(lambda: state()["puppet"]["smoothing"] == 0.8, "a preset")
    expect(page.locator("[data-preset=Calm]")).to_have_attribute("aria-pressed", "true")
    page.click("[data-preset=Natural]")
    until(lambda: state()["puppet"]["region"] == "all", "back to natural")

    # The server's truth: what another says is seen here.
    http.patch("/api/streams/live", json={"mouth_gain": 1.5})
    expect(page.locator("output[data-for=mouth_gain]")).to_have_text("1.50")

    page.locator("#gallery button[title=drawing]").click()
    until(lambda: state()["portrait"] == "drawing", "a portrait")
    expect(page.locator("#gallery button[title=drawing]")).to_have_attribute("aria-pressed", "true")
    page.locator("#stage").click()
    page.keyboard.press("b")
    until(lambda: state()["portrait"] == "astronaut", "the one before")
    page.keyboard.press("c")
    until(lambda: state()["face"] == "calibrating", "calibrates")
    expect(page.locator("#ring")).to_be_visible()
    shot(page, "desktop-dark")
    until(lambda: state()["face"] == "tracking", "calibrated", 15)
    for _ in range(2):
        page.keyboard.press("]")
    until(lambda: abs(state()["puppet"]["smoothing"] - 0.6) < 0.01, "smoothing by keys")
    page.keyboard.press("m")
    until(lambda: state()["puppet"]["mirror"], "mirror")
    page.keyboard.press(" ")
    until(lambda: state()["face"] == "paused", "paused")
    expect(page.locator("#notice")).to_contain_text("Paused")
    page.keyboard.press(" ")
    until(lambda: state()["face"] != "paused", "resumed")
    page.keyboard.press("r")
    until(lambda: (state()["recording"] or {}).get("running"), "records")
    expect(page.locator("#record")).to_have_text("Stop recording")
    page.keyboard.press("r")
    until(lambda: not state()["recording"]["running"], "recorded")
    page.keyboard.press("?")
    expect(page.locator("#shortcuts")).to_be_visible()
    shot(page, "shortcuts")
    page.keyboard.press("m")
    page.keyboard.press("Escape")
    expect(page.locator("#shortcuts")).to_be_hidden()
    assert state()["puppet"]["mirror"], "keys do nothing under a dialog"

    # A picture with two faces: which one moves is asked.
    page.set_input_files("#upload", pair)
    expect(page.locator("#marker")).to_be_visible()
    box = page.locator("#canvas").bounding_box()
    page.mouse.click(box["x"] + 0.75 * box["width"], box["y"] + 0.4 * box["height"])
    until(lambda: state()["portrait"].startswith("upload-"), "the upload is shown")
    infos = {i["id"]: i for i in http.get("/api/portraits").json()}
    assert infos[state()["portrait"]]["face"] == 1
    page.set_input_files("#upload", __file__)
    expect(page.locator("#notice")).to_contain_text("not a JPEG")

    page.wait_for_timeout(1500)
    assert page.locator("#spark-fps path").get_attribute("d").count("L") > 10
    label = page.locator("#spark-age svg").get_attribute("aria-label")
    assert "ms" in label, label
    unnamed = page.evaluate(
        "[...document.querySelectorAll('button, input:not([hidden]), select')]"
        ".filter(e => !(e.textContent.trim() || e.labels?.length || e.ariaLabel || e.title || e.querySelector('img[alt]')))"
        ".map(e => e.outerHTML)"
    )
    assert not unnamed, unnamed
    page.emulate_media(color_scheme="light")
    shot(page, "desktop-light")
    page.set_viewport_size({"width": 390, "height": 844})
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "nothing sticks out on a phone"
    page.emulate_media(color_scheme="dark")
    shot(page, "phone")
    page.click("#start")
    until(lambda: not state()["publisher"], "the camera is let go")
    browser.close()
    if problems or elsewhere:
        sys.exit(f"page errors: {problems}; requests to elsewhere: {elsewhere}")
