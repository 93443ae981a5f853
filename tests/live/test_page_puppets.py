"""Puppets made on the page, by real clicks: of oneself before the camera, of clips, and uploaded and downloaded as files."""

from __future__ import annotations

import base64
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import av
import httpx
import numpy as np
import pytest
from playwright.sync_api import Page, expect

from pipeline.portrait import DEMO_CLIP, Picture, bundled, pack_puppet
from pipeline.puppetfile import About, unpack
from streamer.control import workshop

from ..conftest import run_server
from ..waiting import until_state, wait_until

pytestmark = [pytest.mark.browser, pytest.mark.slow]

PATIENCE_MS = 60_000
WINDOWS = [(1366, 768), (768, 1024), (360, 740)]
# Remembers the tracks of every camera that the page opens; `window.late`, if it is set, is waited for first.
CAMERAS = """() => {
  window.tracks = [];
  const own = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
  navigator.mediaDevices.getUserMedia = async (asked) => {
    const stream = await own(asked);
    tracks.push(...stream.getTracks());
    await window.late;
    return stream;
  };
}"""
# Drops files of these names on the page, each with the bytes that are given as base64, or with so many zeros.
DROP = """async ([names, content]) => {
  const blob = typeof content === 'number' ? new Blob([new Uint8Array(content)])
    : await (await fetch(`data:application/octet-stream;base64,${content}`)).blob();
  const dataTransfer = new DataTransfer();
  for (const name of names) dataTransfer.items.add(new File([blob], name));
  for (const kind of ['dragover', 'drop']) dispatchEvent(new DragEvent(kind, { dataTransfer, cancelable: true }));
}"""


@pytest.fixture(scope="module")
def server(model):
    with run_server() as running:
        yield running


@pytest.fixture
def http(server) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.url, timeout=30) as client:
        client.patch("/api/streams/live", json={"portrait": "astronaut"}).raise_for_status()
        yield client
        for making in client.get("/api/puppets").json():
            client.delete(f"/api/puppets/{making['id']}")


@pytest.fixture(scope="module")
def tab(tab) -> Page:
    tab.add_init_script(f"({CAMERAS})()")
    return tab


@pytest.fixture
def opened(page, server, http) -> Page:
    page.goto(server.url)
    page.wait_for_selector("#gallery button")
    return page


def agree(page: Page) -> None:
    page.check("#studio-agreed")
    page.click("#studio-go")


def see_oneself(page: Page) -> None:
    page.click("#yourself")
    agree(page)
    page.wait_for_function("document.getElementById('mirror-picture').videoWidth > 0")


def record(page: Page, until: str) -> None:
    """Follow the guide up to a cue, and finish."""
    page.click("#begin")
    expect(page.locator("#cue")).to_have_text(until, timeout=PATIENCE_MS)
    page.click("#finish")
    expect(page.locator("#studio")).to_be_hidden()


def told(page: Page, text: str) -> None:
    """What is told of the making, at last."""
    expect(page.locator("#making-text")).to_contain_text(text, timeout=PATIENCE_MS)


def cameras(page: Page) -> list[str]:
    return page.evaluate("tracks.map((track) => track.readyState)")


def puppets(http: httpx.Client) -> list[dict]:
    return [info for info in http.get("/api/portraits").json() if info["pictures"] > 1]


@pytest.fixture
def puppet() -> bytes:
    """Of two pictures."""
    portrait = bundled("astronaut")
    more = (Picture(portrait.image[:600, :600], portrait.landmarks),)
    return pack_puppet(replace(portrait, more=more), About("two", label="made for a test"))


@pytest.fixture
def faceless(tmp_path) -> Path:
    path = tmp_path / "wall.mp4"
    with av.open(str(path), "w") as clip:
        video = clip.add_stream("mpeg4", rate=25)
        video.width, video.height, video.pix_fmt = 128, 128, "yuv420p"
        for k in range(12):
            clip.mux(video.encode(av.VideoFrame.from_ndarray(np.full((128, 128, 3), 9 * k, np.uint8), format="rgb24")))
        clip.mux(video.encode(None))
    return path


def test_one_records_oneself_after_a_yes_and_only_the_key_pictures_stay(opened, http, camera, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    camera("d14", 60)
    before = len(puppets(http))
    opened.click("#yourself")
    expect(opened.locator("#studio-what")).to_contain_text("viewers will see them")
    expect(opened.locator("#studio-what")).to_contain_text("key pictures and nothing else")
    opened.click("#studio-go")
    assert cameras(opened) == [], "without a yes no camera opens"
    opened.fill("#studio-name", "me & my face")
    agree(opened)
    record(opened, until="Turn slowly to the right")
    opened.wait_for_function("tracks.map((track) => track.readyState).join() === 'ended'")
    assert opened.evaluate("tracks[0].kind") == "video", "no sound"
    told(opened, "Ready: “me & my face”")
    made = puppets(http)[before:]
    assert [each["name"] for each in made] == ["me & my face"]
    expect(opened.locator("#making-share")).to_contain_text(f"{made[0]['pictures']} key pictures")
    left = [path.name for path in tmp_path.rglob("*") if path.is_file()]
    assert not {"clip", "made.puppet"} & set(left), "nothing of the recording is left but what the gallery has"
    about, _ = unpack(http.get(f"/api/portraits/{made[0]['id']}/puppet").content, "me")
    assert "agreed" in about.consent
    opened.click("#making-show")
    until_state(http, lambda state: state["portrait"] == made[0]["id"])
    expect(opened.locator("#making")).to_be_hidden()
    expect(opened.locator("#gallery button[aria-pressed=true]")).to_have_attribute("title", "me & my face")


@pytest.mark.long
def test_a_camera_that_publishes_is_the_one_that_is_recorded_and_goes_on(opened, http, camera):
    camera("d14", 60)
    opened.click("#start")
    until_state(http, lambda state: state["publisher"] and state["animated"] > 5)
    see_oneself(opened)
    record(opened, until="Turn slowly to the left")
    told(opened, "Making")
    animated = http.get("/api/streams/live").json()["animated"]
    until_state(http, lambda state: state["animated"] > animated + 5)
    assert http.get("/api/puppets").json()[-1]["state"] == "making", "the stream moves meanwhile"
    assert cameras(opened) == ["live"], "one camera, opened once"
    opened.click("#making-end")
    opened.click("#start")
    opened.wait_for_function("tracks.map((track) => track.readyState).join() === 'ended'")


@pytest.mark.long
def test_escape_lets_the_camera_go_and_sends_nothing(opened, http, camera):
    camera("d14", 60)
    for at in ("mirror", "countdown", "recording"):
        see_oneself(opened)
        if at != "mirror":
            opened.click("#begin")
        if at == "recording":
            expect(opened.locator("#finish")).to_be_focused()
        opened.keyboard.press("Escape")
        expect(opened.locator("#studio")).to_be_hidden()
        expect(opened.locator("#yourself")).to_be_focused()
        opened.wait_for_function("tracks.every((track) => track.readyState === 'ended')")  # at the latest when it was granted
    opened.evaluate("() => { window.late = new Promise((resolve) => (window.answer = resolve)) }")
    opened.click("#yourself")
    agree(opened)
    opened.wait_for_function("tracks.length === 4")
    opened.keyboard.press("Escape")
    opened.click("#yourself")
    opened.evaluate("answer()")
    opened.wait_for_function("tracks[3].readyState === 'ended'")
    expect(opened.locator("#agreement")).to_be_visible()
    assert http.get("/api/puppets").json() == []


def test_a_camera_that_is_not_given_is_told_of_in_the_dialog(opened):
    opened.evaluate("""() => {
      navigator.mediaDevices.getUserMedia = async () => { throw new DOMException('', 'NotAllowedError') };
    }""")
    opened.click("#yourself")
    agree(opened)
    expect(opened.locator("#studio-problem")).to_have_text(
        "The browser was not allowed to use the camera. Allow it in the address bar, then start again."
    )
    expect(opened.locator("#studio-go")).to_be_focused()


def test_a_camera_that_is_lost_while_recording_is_told_of(opened, http, camera):
    camera("d14", 60)
    see_oneself(opened)
    opened.click("#begin")
    expect(opened.locator("#finish")).to_be_focused()
    opened.evaluate("tracks[0].stop()")
    expect(opened.locator("#studio-problem")).to_have_text(
        "The camera was unplugged, or another program took it.", timeout=PATIENCE_MS
    )
    assert http.get("/api/puppets").json() == []


def test_a_clip_is_followed_by_every_page_and_ended_midway(opened, http):
    before = puppets(http)
    opened.set_input_files("#clip", DEMO_CLIP)
    expect(opened.locator("#studio-name")).to_have_value("demo")
    agree(opened)
    expect(opened.locator("#making-end")).to_be_focused()
    expect(opened.locator("#making-share")).to_contain_text("of 360 checked", timeout=PATIENCE_MS)
    expect(opened.locator("#yourself")).to_be_disabled()
    opened.reload()
    told(opened, "Making “demo”")
    opened.click("#making-end")
    expect(opened.locator("#making")).to_be_hidden()
    expect(opened.locator("#yourself")).to_be_focused()
    assert wait_until(lambda: http.get("/api/puppets").json(), holds=lambda states: states == []) == []
    assert puppets(http) == before


def test_a_clip_is_itself_the_portrait_where_one_says_so(opened, http, short):
    """Of the same drop a puppet can be made; which of the two is asked."""
    opened.set_input_files("#upload", short)
    expect(opened.locator("#studio-what")).to_contain_text("the clip itself becomes the portrait")
    opened.click("#studio-itself")
    expect(opened.locator("#studio")).to_be_hidden()
    shown = wait_until(lambda: http.get("/api/streams/live").json()["portrait"], holds=lambda name: name != "astronaut")
    assert [info["moves"] for info in http.get("/api/portraits").json() if info["id"] == shown] == [True]


def test_a_clip_ended_while_it_is_sent_is_forgotten(opened, http):
    line = opened.context.new_cdp_session(opened)
    line.send("Network.emulateNetworkConditions", {
        "offline": False, "latency": 0, "downloadThroughput": -1, "uploadThroughput": 30_000,
    })  # fmt: skip
    opened.set_input_files("#clip", DEMO_CLIP)
    agree(opened)
    told(opened, "Sending")
    opened.click("#making-end")
    expect(opened.locator("#making")).to_be_hidden()
    assert wait_until(lambda: http.get("/api/puppets").json(), holds=lambda states: states == []) == []
    line.detach()


def test_a_clip_without_a_face_fails_in_one_line(opened, http, faceless):
    opened.set_input_files("#clip", faceless)
    agree(opened)
    told(opened, "Not made: wall: a face is seen in 0 of its frames; a puppet needs one that is seen throughout")
    opened.click("#making-end")
    expect(opened.locator("#making")).to_be_hidden()
    expect(opened.locator("#clip")).to_be_enabled()


def test_a_clip_that_is_too_large_is_told_of(opened, monkeypatch):
    monkeypatch.setattr(workshop, "MAX_CLIP", 1_000_000)
    opened.evaluate(DROP, [["long.mkv"], 40_000_000])  # most of it is never read: sockets hold less
    agree(opened)
    told(opened, "Not made: the clip is larger than 1 MB; a minute is enough")


@pytest.mark.parametrize("way", ["button", "drop"])
def test_a_puppet_file_is_shown_and_downloaded(opened, http, puppet, tmp_path, way):
    file = tmp_path / f"Zoë by {way}.puppet"
    file.write_bytes(puppet)
    if way == "button":
        opened.set_input_files("#upload", file)
    else:
        opened.evaluate(DROP, [[file.name], base64.b64encode(puppet).decode()])
    shown = until_state(http, lambda state: state["portrait"].startswith("upload-"))["portrait"]
    expect(opened.locator("#gallery button[aria-pressed=true]")).to_have_attribute("title", f"{file.name}: made for a test")
    with opened.expect_download() as download:
        opened.locator(f"#gallery a[href*='{shown}/']").click()
    assert download.value.suggested_filename == file.name
    about, pictures = unpack(httpx.get(download.value.url).content, file.name)
    assert (about.label, len(pictures)) == ("made for a test", 2)


def test_only_one_file_is_taken_at_a_time(opened):
    opened.evaluate(DROP, [["a.png", "b.png"], 1])
    expect(opened.locator("#notice")).to_have_text("One file at a time, please.")
    expect(opened.locator("#drop")).to_be_hidden()


def test_the_dialog_fits_every_window(opened, camera):
    camera("d14", 60)
    cut = """() => {
      const dialog = document.getElementById('studio');
      const { left, top, right, bottom } = dialog.getBoundingClientRect();
      const inside = left >= 0 && top >= 0 && right <= innerWidth && bottom <= innerHeight;
      return !inside || dialog.scrollHeight > dialog.clientHeight || dialog.scrollWidth > dialog.clientWidth;
    }"""
    opened.click("#yourself")
    wrong = [("words", size) for size in WINDOWS if in_window(opened, size).evaluate(cut)]
    agree(opened)
    opened.wait_for_function("document.getElementById('mirror-picture').videoWidth > 0")
    wrong += [("mirror", size) for size in WINDOWS if in_window(opened, size).evaluate(cut)]
    assert not wrong


def in_window(page: Page, size: tuple[int, int]) -> Page:
    page.set_viewport_size({"width": size[0], "height": size[1]})
    return page
