"""The page in a real browser, by real clicks and keys: the whole puppet is seen, and what was set is what counts."""

from __future__ import annotations

import io
import itertools
import json
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import httpx
import numpy as np
import pytest
from annotated_types import Ge, Gt, Le
from PIL import Image
from playwright.sync_api import Page, Route, expect

from pipeline.engine import ENGINES
from pipeline.face.canonical import five_points
from pipeline.follow.tuning import Region
from pipeline.portrait import bundled
from streamer.config import STEP, Puppet

from ..browser import as_new, unfold
from ..conftest import run_server
from ..devices import Device
from ..media import WALL, encoded
from ..waiting import LIMIT_S, wait_until

pytestmark = [pytest.mark.browser, pytest.mark.slow]

TOKEN, VIEW_TOKEN = "rule", "look"
WRONG_TOKEN = "The token in this page's address does not allow that. Ask the server's owner for another link."
ASPECTS = {"3:4": (480, 640), "1:1": (640, 640), "16:9": (1136, 640)}
WINDOWS = [(1366, 768), (768, 1024), (360, 740), (1920, 1080)]
AS_CONFIGURED = Puppet().model_dump(exclude={"recalibrate_after_s"}) | {"demo": False}
GAINS = ["pose_gain", "expression_gain", "mouth_gain", "eyes_gain", "brows_gain", "wrinkles_gain", "smoothing"]
CLICKS = 4 * len(GAINS)  # with 60 of them, it is the longest test of this file
# Where the picture itself is drawn, and what there is to see of it: the stage inside the window. Edges in CSS pixels.
BOXES = """() => {
  const video = document.getElementById('puppet');
  const [box, stage] = [video.getBoundingClientRect(), document.getElementById('stage').getBoundingClientRect()];
  const scale = Math.min(box.width / video.videoWidth, box.height / video.videoHeight);
  const [width, height] = [video.videoWidth * scale, video.videoHeight * scale];
  const [left, top] = [box.left + (box.width - width) / 2, box.top + (box.height - height) / 2];
  return {
    picture: [left, top, left + width, top + height],
    seen: [
      Math.max(stage.left, 0), Math.max(stage.top, 0),
      Math.min(stage.right, innerWidth), Math.min(stage.bottom, innerHeight),
    ],
  };
}"""
SLIDERS_IN_VIEW = "document.getElementById('sliders').scrollIntoView({ block: 'center' })"
# Tells what the user has set, and each time that the page has written something else over it.
WATCH = """() => {
  window.asked = {};
  window.overwritten = [];
  const own = Object.getOwnPropertyDescriptor(HTMLInputElement.prototype, 'value');
  for (const slider of document.querySelectorAll('#sliders input')) {
    const { key } = slider.dataset;
    slider.addEventListener('input', () => (asked[key] = Number(slider.value)), { capture: true });
    Object.defineProperty(slider, 'value', {
      get: () => own.get.call(slider),
      set: (value) => {
        if (key in asked && Number(value) !== asked[key]) overwritten.push([key, asked[key], Number(value)]);
        own.set.call(slider, value);
      },
    });
  }
}"""
NOTE_VIOLATIONS = (
    "window.broken = []; document.addEventListener('securitypolicyviolation', (event) => broken.push(event.blockedURI))"
)
LOOKS = 80  # the server looks at its streams four times a second; nothing is waited for so long but on a busy machine


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = str(tmp_path_factory.mktemp("recordings"))
    with run_server(auth={"token": TOKEN, "view_token": VIEW_TOKEN}, recording={"folder": folder}) as running:
        yield running


@pytest.fixture(scope="module")
def http(server) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.url, headers={"Authorization": f"Bearer {TOKEN}"}, timeout=LIMIT_S) as client:
        yield client


@pytest.fixture
def blank(tab, http) -> Iterator[Page]:
    http.patch("/api/streams/live", json=AS_CONFIGURED).raise_for_status()
    with as_new(tab, 1366, 768):
        yield tab


def opened(page: Page, url: str) -> Page:
    page.goto(url)
    page.wait_for_function("document.getElementById('puppet').videoWidth > 0", timeout=60_000)
    unfold(page)
    return page


@pytest.fixture
def page(blank, server) -> Page:
    return opened(blank, f"{server.url}/#token={TOKEN}")


def states(http: httpx.Client) -> Iterator[dict]:
    """The stream's states as the server tells them, LOOKS of them at most."""
    with http.stream("GET", "/api/events", timeout=LIMIT_S) as stream:
        told = (json.loads(line[6:]) for line in stream.iter_lines() if line.startswith("data: "))
        yield from itertools.islice(told, LOOKS)


def becomes(http: httpx.Client, puppet: dict) -> bool:
    """Whether the server comes to say so, without waiting for its next look at the stream."""

    def told() -> dict:
        return http.get("/api/streams/live").json()["puppet"]

    with suppress(AssertionError):
        return bool(wait_until(told, LOOKS / 4, lambda has: all(has[key] == value for key, value in puppet.items())))
    return False


def of_aspect(width: int, height: int) -> tuple[bytes, str]:
    """A PNG of the bundled portrait, cropped or longer to the right and below, and its face's five points as JSON."""
    portrait = bundled("astronaut")
    own_height, own_width = portrait.image.shape[:2]
    image = np.pad(portrait.image, ((0, height - own_height), (0, max(width - own_width, 0)), (0, 0)), mode="edge")
    left = (image.shape[1] - width) // 2
    out = io.BytesIO()
    Image.fromarray(image[:, left : left + width]).save(out, "PNG")
    return out.getvalue(), json.dumps((five_points(portrait.landmarks) + [-left, 0]).tolist())


@pytest.fixture(scope="module")
def portraits(http) -> dict[str, str]:
    """The ids of a portrait of each aspect ratio."""
    return {name: upload(http, *size)["id"] for name, size in ASPECTS.items()}


def upload(http: httpx.Client, width: int, height: int) -> dict:
    picture, marks = of_aspect(width, height)
    reply = http.post("/api/portraits", files={"file": (f"{width}.png", picture)}, data={"marks": marks})
    assert reply.status_code == 201, reply.text
    return reply.json()


def show(page: Page, http: httpx.Client, portraits: dict[str, str], aspect: str) -> None:
    width, height = ASPECTS[aspect]
    http.patch("/api/streams/live", json={"portrait": portraits[aspect]}, timeout=LIMIT_S).raise_for_status()
    shown = "([width, height]) => Math.abs(puppet.videoWidth / puppet.videoHeight / (width / height) - 1) < 0.02"
    page.wait_for_function(shown, arg=[width, height], timeout=60_000)


def cut(page: Page) -> str:
    """Which part of the picture is not seen; nothing for none."""
    boxes = page.evaluate(BOXES)
    picture, seen = boxes["picture"], boxes["seen"]
    inside = all(picture[k] >= seen[k] - 0.5 and picture[k + 2] <= seen[k + 2] + 0.5 for k in (0, 1))
    large = max((picture[2] - picture[0]) / (seen[2] - seen[0]), (picture[3] - picture[1]) / (seen[3] - seen[1]))
    return "" if inside and large > 0.98 else f"picture {picture}, seen {seen}"


def test_the_whole_puppet_is_seen(page, http, portraits):
    wrong: dict[tuple[int | str, ...], Any] = {}
    for aspect in ASPECTS:
        show(page, http, portraits, aspect)
        wrong |= {(aspect, *window): cut(page) for window in windows(page)}
        page.click("#fullscreen")
        page.wait_for_function("document.fullscreenElement")
        for window in windows(page):
            page.wait_for_function("stage.clientHeight === innerHeight")
            wrong[aspect, *window, "full screen"] = cut(page)
        page.click("#fullscreen")
        page.wait_for_function("!document.fullscreenElement")
    assert not {where: what for where, what in wrong.items() if what}


def windows(page: Page) -> Iterator[tuple[int, int]]:
    """The page in each of WINDOWS."""
    for width, height in WINDOWS:
        page.set_viewport_size({"width": width, "height": height})
        yield width, height


def test_a_low_window_shows_the_whole_puppet_and_then_the_controls(page, http, portraits):
    show(page, http, portraits, "3:4")
    for width, height in [(683, 384), (740, 360), (1366, 384)]:
        page.evaluate("scrollTo(0, 0)")
        page.set_viewport_size({"width": width, "height": height})
        assert not cut(page)
        page.locator("#slider-smoothing").evaluate("slider => slider.scrollIntoView({block: 'center'})")
        covered = page.evaluate("""() => {
          const [stage, aside] = ['#stage', 'aside'].map(e => document.querySelector(e).getBoundingClientRect());
          return stage.left < aside.right && aside.left < stage.right ? Math.max(Math.min(stage.bottom, innerHeight), 0) : 0;
        }""")
        assert covered == 0, f"the puppet lies over the controls at {width} x {height}"


def test_a_portrait_chosen_by_key_keeps_the_focus(page, http):
    """Portraits are gone through with Tab and Enter; a gallery made anew would begin from the top of the page."""
    button = page.locator("#gallery button[title=Poster]")
    button.focus()
    page.keyboard.press("Enter")
    assert any(state["portrait"] == "drawing" for state in states(http))
    expect(button).to_have_attribute("aria-pressed", "true")
    expect(button).to_be_focused()


def place(page: Page, key: str, share: float) -> tuple[float, float]:
    """A point of a slider's track."""
    box = page.locator(f"#slider-{key}").bounding_box()
    assert box
    return box["x"] + 8 + share * (box["width"] - 16), box["y"] + box["height"] / 2


def shares(count: int) -> Iterator[tuple[str, float]]:
    """Sliders in turn and places on them, left and right of the middle by turns: each click asks for something new."""
    for k in range(count):
        visit, slider = divmod(k, len(GAINS))
        yield GAINS[slider], 0.05 + 0.04 * ((7 * visit + 3 * slider) % 10) + 0.54 * (visit % 2)


def watch(page: Page) -> None:
    page.evaluate(SLIDERS_IN_VIEW)
    page.evaluate(WATCH)


def drive(page: Page, http: httpx.Client) -> None:
    page.click("#demo")
    assert any(state["face"] == "tracking" for state in states(http))


def test_no_click_on_a_slider_is_lost(page, http):
    """Each slider to the left and to the right, while nothing drives and then live."""
    watch(page)
    most = {key: float(page.locator(f"#slider-{key}").get_attribute("max") or 0) for key in GAINS}
    lost = []
    for k, (key, share) in enumerate(shares(CLICKS)):
        if k == CLICKS // 2:
            http.patch("/api/streams/live", json={"max_fps": 5}).raise_for_status()
            drive(page, http)
            page.evaluate(SLIDERS_IN_VIEW)
        page.wait_for_timeout(41 * k % 250)  # states come at such intervals: one may fall anywhere after the click
        page.mouse.click(*place(page, key, share))
        asked = page.evaluate("asked")
        assert asked[key] == pytest.approx(share * most[key], abs=0.11), "the click was where it was meant to be"
        if not becomes(http, {key: asked[key]}):
            lost.append((key, asked[key], http.get("/api/streams/live").json()["puppet"][key]))
    assert not lost, f"{len(lost)} of {CLICKS}"
    assert not page.evaluate("overwritten")
    puppet = http.get("/api/streams/live").json()["puppet"]
    for key, value in page.evaluate("asked").items():
        assert puppet[key] == value
        assert float(page.locator(f"#slider-{key}").input_value()) == value
        expect(page.locator(f"output[data-for={key}]")).to_have_text(f"{value:.2f}")


def test_sliders_moved_at_once_all_arrive(page, http):
    watch(page)
    for share in (0.1, 0.9, 0.35, 0.6, 0.2):
        for point in [place(page, key, share) for key in GAINS]:
            page.mouse.click(*point)
        asked = page.evaluate("asked")
        assert sorted(asked) == sorted(GAINS)
        assert becomes(http, asked)
    assert not page.evaluate("overwritten")


def test_a_slider_being_dragged_moves_the_puppet_and_stays_in_hand(page, http):
    http.patch("/api/streams/live", json={"pose_gain": 0}).raise_for_status()
    expect(page.locator("output[data-for=pose_gain]")).to_have_text("0.00")
    watch(page)
    x, y = place(page, "pose_gain", 0)
    end, _ = place(page, "pose_gain", 1)
    page.mouse.move(x, y)
    page.mouse.down()
    told = set()
    for step in range(1, 41):
        page.mouse.move(x + (end - x) * step / 40, y)
        told.add(http.get("/api/streams/live").json()["puppet"]["pose_gain"])
        page.wait_for_timeout(20)  # a hand is no faster; never still for as long as a command is put off
    assert len(told) > 3, "the puppet follows while the slider moves"
    page.mouse.up()
    assert becomes(http, {"pose_gain": 3})
    assert not page.evaluate("overwritten")


def test_no_step_of_a_key_is_lost(page, http):
    http.patch("/api/streams/live", json={"pose_gain": 0.4}).raise_for_status()
    expect(page.locator("output[data-for=pose_gain]")).to_have_text("0.40")
    watch(page)
    page.locator("#slider-pose_gain").focus()
    for pause_ms, reached in ((0, 1.6), (90, 2.8)):  # at once, and about as far apart as a command is put off
        for _ in range(24):
            page.keyboard.press("ArrowRight", delay=5)
            page.wait_for_timeout(pause_ms)
        assert becomes(http, {"pose_gain": reached})
        assert not page.evaluate("overwritten")
        assert page.locator("#slider-pose_gain").input_value() == str(reached)


def test_a_page_without_a_token_asks_for_one_and_shows_nothing_that_would_not_work(blank, server):
    blank.goto(f"{server.url}/")
    expect(blank.locator("#notice")).to_contain_text("This server asks for a token", timeout=60_000)
    expect(blank.locator("#start")).to_be_hidden()
    opened(blank, f"{server.url}/#token={TOKEN}")
    expect(blank.locator("#start")).to_be_visible()


@pytest.mark.parametrize("kind", ["drop", "paste"])
@pytest.mark.parametrize("name", ["me.png", "me.mp4"])
def test_a_guest_s_file_is_refused_before_anything_is_asked(blank, server, kind, name):
    page = opened(blank, f"{server.url}/#token={VIEW_TOKEN}")
    page.evaluate(
        """([kind, name]) => {
          const data = new DataTransfer();
          data.items.add(new File(['x'], name));
          const options = { dataTransfer: data, clipboardData: data, cancelable: true };
          if (kind === 'paste') return dispatchEvent(new ClipboardEvent(kind, options));
          for (const each of ['dragover', 'drop']) dispatchEvent(new DragEvent(each, options));
        }""",
        [kind, name],
    )
    why = page.locator("label:has(#upload)").get_attribute("title")
    assert why == "Only the owner of the server may do that."
    expect(page.locator("#notice")).to_have_text(why)
    expect(page.locator("dialog[open]")).to_have_count(0)


def test_a_refused_slider_goes_back_to_what_the_server_has(blank, server, http):
    http.patch("/api/streams/live", json={"mouth_gain": 1}).raise_for_status()
    blank.route("**/api/me", lambda route: route.abort())  # it does not know yet what it may not
    page = opened(blank, f"{server.url}/#token={VIEW_TOKEN}")
    expect(page.locator("output[data-for=mouth_gain]")).to_have_text("1.00")
    watch(page)
    page.mouse.click(*place(page, "mouth_gain", 0.9))
    shown = page.locator("#slider-mouth_gain")
    assert float(shown.input_value()) == pytest.approx(2.7, abs=0.11)
    refused = "overwritten.length ? [overwritten[0][2], notice.textContent] : null"
    assert page.wait_for_function(refused, timeout=60_000).json_value() == [1, WRONG_TOKEN]
    assert shown.input_value() == "1"
    assert http.get("/api/streams/live").json()["puppet"]["mouth_gain"] == 1
    page.unroute("**/api/me")
    expect(shown).to_be_disabled()
    assert shown.get_attribute("title") == "This link does not let you control the stream."
    expect(page.locator("#rights")).to_have_text(re.compile("This link lets you watch"))
    expect(page.locator("#start")).to_be_disabled()


def test_the_switch_of_the_virtual_camera_says_how_it_is(page, http, tmp_path, monkeypatch):
    device = Device(tmp_path / "video10").install(monkeypatch)
    page.locator("#calls summary").click()
    page.locator("#virtual_camera").check()
    line = page.locator("#virtual_camera-state")
    expect(line).to_have_text(re.compile(f"No device found at {device.node}; load one with .* It keeps trying."))
    device.node.touch()
    expect(line).to_have_text("On. Choose it in your call as the camera.")
    page.locator("#virtual_camera").uncheck()
    expect(line).to_have_text(re.compile("then list the puppet"))
    assert not http.get("/api/streams/live").json()["outputs"]


def test_who_only_this_machine_reaches_has_no_code_for_phones(page):
    page.locator("#phone").click()
    expect(page.locator("#phones-problem")).to_have_text(re.compile("start it with “.*puppetcast serve --lan”"))


@pytest.mark.parametrize(("until", "told"), [("1000", "This link has expired"), ("99999999999", "This link no longer works")])
def test_a_link_of_before_says_what_has_become_of_it(blank, server, until, told):
    blank.goto(f"{server.url}/#token=link.control.live.{until}.{'x' * 43}")
    expect(blank.locator("#notice")).to_have_text(re.compile(told))
    expect(blank.locator("aside")).to_be_hidden()
    blank.evaluate("token => (location.hash = `#token=${token}`)", TOKEN)
    expect(blank.locator("aside")).to_be_visible()


def test_the_editor_of_expressions_shows_what_is_held(page, http):
    """When the page is opened again, where its sliders may be there before the server's first report, and of others later."""
    page.click("#editor summary")
    hold(http, smile=0.5, yaw=-10)
    reports: list[Route] = []
    page.route("**/api/events*", lambda route: reports.append(route))
    page.reload()
    expect(page.locator("#pose-smile")).to_have_value("0")
    for report in reports:
        report.continue_()
    expect(page.locator("#pose-smile")).to_have_value("0.5")
    expect(page.locator("[data-pose=yaw]")).to_have_text("−10°")
    hold(http, frown=0.4)
    expect(page.locator("#pose-frown")).to_have_value("0.4")
    expect(page.locator("#pose-smile")).to_have_value("0")
    page.locator("#pose-brows").press("ArrowRight")
    held = wait_until(lambda: held_now(http), holds=lambda shapes: shapes.get("browInnerUp") == 0.02)
    assert held["mouthFrownLeft"] > 0, "it goes on from what was held"
    page.click("#expressions-off")
    expect(page.locator("#pose-frown")).to_have_value("0")
    hold(http, smile=0.3)
    expect(page.locator("#pose-smile")).to_have_value("0.3")
    page.click("#pose-reset")
    wait_until(lambda: not held_now(http))
    expect(page.locator("#pose-smile")).to_have_value("0")


def test_a_background_is_uploaded_as_other_files_are(page, http):
    held: list[Route] = []
    line = page.locator("#sending")
    page.route("**/background", lambda route: held.append(route))
    with page.expect_request("**/background"):
        page.set_input_files("#background-picture", {"name": "wall.png", "mimeType": "image/png", "buffer": encoded(WALL)})
    expect(line).to_have_text("Looking at “wall.png”…")
    held[0].continue_()
    assert becomes(http, {"background": "picture"})
    expect(line).to_be_hidden()


def test_a_fold_of_the_editor_lets_go_and_keeps_the_sliders(page, http):
    page.click("#editor summary")
    page.locator("#pose-smile").fill("0.5")
    wait_until(lambda: held_now(http))
    page.click("#editor summary")
    wait_until(lambda: not held_now(http))
    page.click("#editor summary")
    assert page.locator("#pose-smile").input_value() == "0.5"


def test_a_question_asked_as_another_closes_is_not_answered_by_that(page):
    page.evaluate("""async () => {
      const { ask } = await import("/ask.js");
      const dialog = document.getElementById("question");
      const shown = new Promise((resolve) => new MutationObserver(resolve).observe(dialog, { attributeFilter: ["open"] }));
      const first = ask("One?", "Yes");
      await shown;
      dialog.close();
      window.answers = Promise.all([first, ask("Two?", "Yes")]);
    }""")
    expect(page.locator("#question-text")).to_have_text("Two?")
    page.click("#question-yes")
    assert page.evaluate("answers") == [False, True]


def keep(page: Page, name: str, question: str, answer: str = "Replace it") -> None:
    """Save the sliders under a name, and answer what is asked, if anything is."""
    page.fill("#pose-name", name)
    page.locator("#pose-name").press("Enter")
    if question:
        expect(page.locator("#question-text")).to_have_text(f"There is an expression “{name}” already. {question}")
        page.get_by_role("button", name=answer).click()
    if answer == "Cancel":
        expect(page.locator("#question")).to_be_hidden()
    else:
        expect(page.locator("#pose-said")).to_have_text(f"Saved as “{name}”.")


def test_an_expression_is_not_replaced_without_a_question(page, http):
    """But where it was loaded to be edited."""
    back, lost = "Replace it? It comes back when you delete yours.", "Replace it? This cannot be undone."
    page.click("#editor summary")
    page.locator("#pose-frown").fill("0.5")
    keep(page, "Smile", back, "Cancel")
    assert not next(each for each in http.get("/api/presets").json() if each["name"] == "Smile")["own"]
    keep(page, "Smile", back)
    page.locator("#pose-frown").fill("0.6")
    keep(page, "Smile", "")
    page.click("#pose-reset")
    page.locator("#pose-frown").fill("0.7")
    keep(page, "Smile", lost, "Cancel")
    assert http.get("/api/presets/Smile").json()["shapes"]["mouthFrownLeft"] == 0.6
    page.select_option("#pose-from", "Smile")
    page.locator("#pose-frown").fill("0.8")
    keep(page, "Smile", "")
    assert http.get("/api/presets/Smile").json()["shapes"]["mouthFrownLeft"] == 0.8
    page.click("#pose-delete")
    page.click("#question-yes")
    expect(page.locator("#pose-delete")).to_be_hidden()


def test_a_preset_of_the_motion_is_not_replaced_without_a_question(page, http):
    for name, question in (("Natural", "It comes back when you delete yours."), ("Mine", ""), ("Mine", "This cannot be undone.")):
        page.click("#preset-save")
        page.fill("#naming-title", name)
        page.keyboard.press("Enter")
        if question:
            expect(page.locator("#question-text")).to_have_text(f"There is a preset “{name}” already. Replace it? {question}")
            page.click("#question-yes")
        expect(page.locator("#naming")).to_be_hidden()
        expect(page.locator(f"[data-preset={name}]")).to_have_attribute("aria-pressed", "true")


def hold(http: httpx.Client, **shapes: float) -> None:
    http.patch("/api/streams/live", json={"shapes": shapes}).raise_for_status()


def held_now(http: httpx.Client) -> dict[str, float]:
    return http.get("/api/streams/live").json()["shapes"]


def test_switches_and_numbers_keep_what_was_set(page, http):
    for key in ("mirror", "scale_lock"):
        for on in (True, False, True, False):
            page.locator(f"[data-key={key}]").click()
            assert becomes(http, {key: on})
            assert page.locator(f"[data-key={key}]").is_checked() == on
    for region in ("lip", "all"):
        page.select_option("#region", region)
        assert becomes(http, {"region": region})
    page.locator("#limits summary").click()
    page.locator("[data-key=max_fps]").click()
    page.keyboard.type("12", delay=300)  # states come in between
    page.locator("[data-key=max_age_ms]").click()
    assert becomes(http, {"max_fps": 12})
    page.locator("[data-key=recentre_s]").fill("45")
    page.keyboard.press("Tab")
    assert becomes(http, {"recentre_s": 45})
    page.locator("[data-key=max_fps]").fill("999")
    page.keyboard.press("Tab")
    expect(page.locator("#notice")).to_contain_text("max_fps")
    expect(page.locator("[data-key=max_fps]")).to_have_value("12")
    page.locator("[data-key=max_fps]").fill("")
    page.keyboard.press("Tab")
    assert becomes(http, {"max_fps": None})


def test_an_open_list_is_not_touched_while_it_agrees(page):
    """Writing even the same value moves the mark in a list that is open."""
    page.evaluate("""() => {
      window.written = 0;
      const own = Object.getOwnPropertyDescriptor(HTMLSelectElement.prototype, 'value');
      for (const list of document.querySelectorAll('#engine, #region')) {
        Object.defineProperty(list, 'value', { get: () => own.get.call(list), set: (v) => (written++, own.set.call(list, v)) });
      }
      window.looks = 0;
      new EventSource('/api/events?token=rule').addEventListener('telemetry', () => looks++);
    }""")
    page.wait_for_function("looks >= 4")
    assert page.evaluate("written") == 0


# What the page's controls take, by key.
CONTROLS = """() => Object.fromEntries([...document.querySelectorAll('input[data-key], #region, #engine')].map((control) => [
  control.dataset.key ?? control.id,
  control.tagName === 'SELECT' ? [...control.options].map((option) => option.value)
    : control.type === 'checkbox' ? null : [control.min, control.max, control.step].map(Number),
]))"""


def limits(key: str) -> list[float]:
    """Least, highest and step, as the config's own type has them."""
    field: Any = Puppet.model_fields[key]
    step = 1 if field.annotation == int | None else field.json_schema_extra[STEP]
    has = {type(limit): limit for limit in field.metadata}
    return [has[Ge].ge if Ge in has else has[Gt].gt + step, has[Le].le, step]


def test_every_control_has_the_limits_and_choices_of_the_server(page):
    page.wait_for_selector("#slider-smoothing")
    controls = page.evaluate(CONTROLS)
    numbers = {key for key, field in Puppet.model_fields.items() if STEP in (field.json_schema_extra or ())} | {"max_fps"}
    assert {key: controls.pop(key) for key in numbers} == {key: limits(key) for key in numbers}
    assert controls.pop("region") == [region.value for region in Region]
    assert controls.pop("engine") == ["auto", *ENGINES]
    assert controls == dict.fromkeys(("mirror", "scale_lock", "eye_retargeting", "lip_retargeting")), "and switches"


def described(page: Page, server, change: Callable[[dict], None]) -> Page:
    """The page of a server that describes itself otherwise."""

    def answer(route: Route) -> None:
        reply = route.fetch()
        schema = reply.json()
        change(schema["components"]["schemas"])
        route.fulfill(response=reply, json=schema)

    page.route("**/openapi.json", answer)
    page.goto(f"{server.url}/#token={TOKEN}")
    unfold(page)
    page.wait_for_selector("#slider-smoothing")
    return page


def test_other_limits_choices_and_defaults_are_followed(blank, server, http):
    def change(schemas: dict) -> None:
        puppet = schemas["Puppet"]["properties"]
        puppet["pose_gain"] |= {"minimum": 0.5, "maximum": 1.5, "x-step": 0.25, "default": 0.75}
        puppet["max_fps"]["anyOf"][0] |= {"minimum": 5, "maximum": 60}
        puppet["max_age_ms"]["anyOf"][0] |= {"exclusiveMinimum": 20, "maximum": 100}
        puppet["region"]["default"] = "lip"
        schemas["Region"]["enum"] = ["lip", "nose"]
        schemas["Change"]["properties"]["engine"]["anyOf"][0]["enum"] = ["clay"]

    page = described(blank, server, change)
    controls = page.evaluate(CONTROLS)
    assert controls["pose_gain"] == [0.5, 1.5, 0.25]
    assert controls["mouth_gain"] == limits("mouth_gain")
    assert controls["max_fps"] == [5, 60, 1]
    assert controls["max_age_ms"] == [30, 100, 10]
    assert (controls["region"], controls["engine"]) == (["lip", "nose"], ["clay"])
    page.click("[data-preset=Natural]")
    assert becomes(http, {"pose_gain": 0.75, "region": "lip", "mouth_gain": 1})


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (lambda route: route.abort(), "The server does not answer"),
        (lambda route: route.fulfill(status=500, json={"detail": "out of order"}), "out of order"),
        (lambda route: route.fulfill(json={"openapi": "3.1.0"}), "/openapi.json does not describe them"),
    ],
    ids=["no answer", "an error", "another answer"],
)
def test_a_page_without_limits_says_so_and_works_otherwise(blank, server, http, answer, reason):
    page = blank
    page.route("**/openapi.json", answer)
    page.goto(f"{server.url}/#token={TOKEN}")
    unfold(page)
    line = f"The sliders and lists could not be loaded ({reason}). Reload the page to try again."
    expect(page.locator("#sliders")).to_have_text(line)
    page.locator("[data-key=mirror]").click()
    assert becomes(http, {"mirror": True})
    page.locator("#stage").click()
    page.keyboard.press("]")  # there is no step to move by
    page.wait_for_function("document.getElementById('puppet').videoWidth > 0", timeout=60_000)


def test_a_camera_that_is_stopped_while_it_reconnects_stays_away(page, http):
    with page.expect_response(lambda reply: reply.url.endswith("/whip") and reply.request.method == "POST") as published:
        page.click("#start")
    session = published.value.headers["location"]
    assert any(state["publisher"] for state in states(http))
    held: list[Route] = []
    page.route("**/live/live/whip", lambda route: held.append(route) if route.request.method == "POST" else route.fallback())
    with page.expect_request(lambda request: request.url.endswith("/whip") and request.method == "POST", timeout=60_000):
        http.delete(session).raise_for_status()
    page.click("#start")
    expect(page.locator("#start")).to_have_text("Start camera")
    with page.expect_request(lambda request: "/sessions/" in request.url and request.method == "DELETE", timeout=60_000):
        held[0].continue_()
    assert any(not state["publisher"] for state in states(http))


def test_a_session_that_the_server_has_no_more_is_posted_anew(page, http):
    """The picture stands still while something drives: the server is asked, long before ICE notices anything."""
    page.route("**/sessions/*", lambda route: route.fulfill(status=404) if route.request.method == "HEAD" else route.fallback())
    page.evaluate("puppet.getVideoPlaybackQuality = () => ({ totalVideoFrames: 1 })")
    with page.expect_request(lambda request: request.url.endswith("/whep") and request.method == "POST", timeout=60_000):
        http.patch("/api/streams/live", json={"demo": True}).raise_for_status()
    page.unroute("**/sessions/*")
    http.patch("/api/streams/live", json={"demo": False}).raise_for_status()


def test_a_page_waits_for_a_stream_that_comes_and_goes(blank, server, http):
    guest, notice = "/api/streams/guest", blank.locator("#notice")
    blank.goto(f"{server.url}/?stream=guest#token={TOKEN}")
    expect(notice).to_have_text("There is no stream “guest” here yet; streams: live.")
    for _ in range(2):  # an error on the page would fail the test
        http.put(guest, json={}).raise_for_status()
        expect(notice).to_be_hidden(timeout=60_000)
        http.patch(guest, json={"recording": True}).raise_for_status()
        expect(blank.locator("#record")).to_contain_text("Stop")
        http.delete(guest).raise_for_status()
        expect(notice).to_have_text("This stream was ended by its owner. The page goes on when it is there again.")
    for kept in http.get("/api/recordings").json():
        http.delete(f"/api/recordings/{kept['name']}").raise_for_status()


def test_what_was_recorded_is_played_saved_and_deleted(page, http, server):
    watching = httpx.get(f"{server.url}/api/recordings", headers={"Authorization": f"Bearer {VIEW_TOKEN}"})
    assert watching.status_code == 403, "who may watch now may not see what was recorded"
    page.click("#record")
    page.wait_for_function("/^Stop recording 0:0[1-9]$/.test(document.getElementById('record').textContent)", timeout=60000)
    page.click("#record")
    row = page.locator("#recording-list li")
    row.wait_for(timeout=60000)
    [made] = http.get("/api/recordings").json()
    page.get_by_role("button", name=f"Play {made['name']}").click()
    page.wait_for_function("document.getElementById('player-video').videoWidth > 0", timeout=60000)
    page.get_by_role("button", name="Close").click()
    with page.expect_download() as saved:
        page.get_by_role("link", name=f"Download {made['name']}").click()
    assert saved.value.path().stat().st_size == made["size"]
    page.get_by_role("button", name=f"Delete {made['name']}").click()
    page.click("#question-yes")
    page.locator("#recordings-none").wait_for(timeout=60000)
    assert http.get("/api/recordings").json() == []


def test_who_drives_is_told_and_can_be_taken_over(page, http, caplog):
    """By the page that takes over, and by the one that is taken over, whose camera goes off and stays off; and by the log."""
    caplog.set_level("INFO", "streamer")
    other = page.context.browser.new_page(bypass_csp=True)
    other.goto(page.url)
    first, second = page.locator("#start"), other.locator("#start")
    expect(second).to_have_text("Start camera")
    http.patch("/api/streams/live", json={"demo": True}).raise_for_status()
    expect(other.locator("#driver")).to_have_text("The demo drives.")
    expect(first).to_have_attribute("title", "Starts your camera in place of the demo")
    expect(first).to_have_text("Start camera")
    expect(page.locator("#mirror-view")).to_be_disabled()  # the demo's puppet is nobody's mirror
    first.click()
    expect(first).to_have_text("Stop")
    expect(page.locator("#driver")).to_be_hidden()
    expect(other.locator("#driver")).to_have_text("Another page or program drives.")
    expect(second).to_have_text("Take over")
    expect(page.locator("#mirror-view")).to_be_enabled()
    assert not http.get("/api/streams/live").json()["demo"]
    second.click()
    expect(second).to_have_text("Stop")
    expect(page.locator("#notice")).to_have_text("Another page or program has taken over; your camera is off.", timeout=15000)
    expect(first).to_have_text("Take over")
    assert not page.evaluate("document.getElementById('camera').srcObject")
    expect(second).to_have_text("Stop")
    second.click()
    expect(first).to_have_text("Start camera")
    other.close()
    said = [record.getMessage().removeprefix("stream 'live': a ") for record in caplog.records]
    assert [line for line in said if line.startswith("camera")] == ["camera started (WHIP)", "camera ended (WHIP)"] * 2
    assert any(line.startswith("viewer joined; ") for line in said)
    assert any(line.endswith("demo.mp4 is live") for line in said)
    assert any(line.endswith("demo.mp4 drives no more") for line in said)


# By how much the letters over the mirror differ from the picture's own, as they would be read there, in grey levels; and where
# they are against where they have to be, in pixels.
LETTERS = """([x, y, width, height]) => {
  const drawn = (source, ...from) => {
    const context = Object.assign(document.createElement('canvas'), {width, height}).getContext('2d');
    context.drawImage(source, ...from, 0, 0, width, height);
    return context.getImageData(0, 0, width, height).data;
  };
  const seen = drawn(letters, 0, 0, letters.width, letters.height);
  const own = drawn(puppet, x, y, width, height);
  const apart = seen.reduce((sum, value, k) => sum + Math.abs(value - own[k]), 0) / seen.length;
  const [video, over] = [puppet, letters].map((each) => each.getBoundingClientRect());
  const scale = Math.min(video.width / puppet.videoWidth, video.height / puppet.videoHeight);
  const left = video.left + (video.width - scale * puppet.videoWidth) / 2 + scale * (puppet.videoWidth - x - width);
  return [apart, Math.abs(over.left - left)];
}"""


def test_the_view_is_a_mirror_while_the_own_camera_drives(page, http):
    """As its preview is. A puppet that moves as a mirror image agrees with that already; viewers' pictures are unchanged."""
    mirrored = "getComputedStyle(puppet).transform === 'matrix(-1, 0, 0, 1, 0, 0)'"
    assert page.locator("#mirror-view").is_checked()
    assert not page.evaluate(mirrored)
    page.click("#start")
    page.wait_for_function(mirrored)
    state = http.get("/api/streams/live").json()
    assert not state["puppet"]["mirror"]
    expect(page.locator("#letters")).to_be_visible()
    page.wait_for_function("letters.width !== 300")  # that of a canvas on which nothing was drawn
    apart, off = page.evaluate(LETTERS, state["label_at"])
    assert apart < 12, "it is read as everybody else reads it"
    assert off < 2
    page.locator("[data-key=mirror]").click()
    page.wait_for_function(f"!({mirrored})")
    expect(page.locator("#letters")).to_be_hidden()
    page.locator("[data-key=mirror]").click()
    page.wait_for_function(mirrored)
    page.locator("#mirror-view").uncheck()
    assert not page.evaluate(mirrored)
    page.click("#start")
    page.reload()
    assert not page.locator("#mirror-view").is_checked(), "it is remembered"


def test_nobody_is_told_to_close_their_mouth_but_the_one_before_the_camera(page, http):
    page.click("#demo")
    assert any(state["face"] == "calibrating" for state in states(http))
    expect(page.locator("#ring-text")).to_have_text("Getting to know the face…")


def test_where_nothing_drives_there_are_no_numbers_and_no_silent_buttons(page, http):
    drive(page, http)
    page.click("#demo")
    page.locator("#stats > summary").click()
    page.locator("#more-numbers > summary").click()
    told = "[...document.querySelectorAll('#numbers dd, #expert-numbers dd')].filter((dd) => dd.textContent === '–').length"
    expect(page.locator("#spark-age span")).to_have_text("Delay –")
    expect(page.locator("#spark-fps span")).to_have_text("Pictures –")
    page.wait_for_function(f"{told} === 3")
    page.click("#calibrate")
    expect(page.locator("#notice")).to_have_text("Nothing drives yet: start your camera, and then calibrate.")
    grey = page.locator("button:disabled").filter(visible=True)
    assert not grey.count()
    page.click("#start")
    expect(page.locator("#start")).to_have_text("Stop")
    expect(page.locator("#demo")).to_be_disabled()
    expect(page.locator("#why")).to_have_text("Stop your camera to see the demo.")
    page.click("#start")
    page.reload()
    expect(page.locator("#stats")).to_have_attribute("open", "")
    expect(page.locator("#make")).to_have_attribute("open", "")
    expect(page.locator("#limits")).not_to_have_attribute("open", "")


def test_what_the_config_names_drives_again_when_who_took_over_has_gone(blank):
    with (
        run_server(streams={"live": {"source": "pattern"}}) as server,
        httpx.Client(base_url=server.url, timeout=LIMIT_S) as http,
    ):
        page = opened(blank, server.url)
        expect(page.locator("#driver")).to_have_text("Test pattern drives.")
        page.click("#start")
        expect(page.locator("#start")).to_have_text("Stop")
        assert any(state["publisher"] and not state["source"] for state in states(http))
        page.click("#start")
        expect(page.locator("#driver")).to_have_text("Test pattern drives.")
        assert any(state["source"] and state["source"]["state"] == "live" for state in states(http))


def test_the_pages_keep_to_their_content_policy(browser, server):
    """The only page that is held to it: Playwright's own waiting is not allowed by it."""
    page = browser.new_page()
    page.add_init_script(NOTE_VIOLATIONS)
    page.goto(f"{server.url}/#token={TOKEN}")
    page.locator("#demo").click()
    shown = "puppet.videoWidth > 0 && [...document.querySelectorAll('#gallery img')].every((i) => i.naturalWidth > 0)"
    wait_until(lambda: page.evaluate(f"{shown} && stage.style.getPropertyValue('--picture') !== ''"))
    page.locator("#record").click()
    expect(page.locator("#record")).to_contain_text("Stop")
    page.locator("#record").click()
    page.locator("#recording-list button").first.click()
    wait_until(lambda: page.evaluate("document.getElementById('player-video').videoWidth > 0"))
    assert page.evaluate("broken") == []
    page.evaluate("fetch('https://elsewhere.example/').catch(() => {})")
    assert page.evaluate("broken") == ["https://elsewhere.example/"]
    page.goto(f"{server.url}/docs#token={TOKEN}")
    expect(page.locator("#interface")).to_contain_text("/api/streams")
    assert page.evaluate("broken") == []
    page.close()
