"""The gallery over HTTP and in the page: uploads of every kind, placed by hand, chosen, renamed, deleted, and there again."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from http.client import HTTPConnection

import cv2
import httpx
import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Page, Request, Route, expect

from pipeline.face.canonical import five_points
from pipeline.portrait import bundled

from ..conftest import run_server
from ..faces import two_faces
from ..media import WALL, encoded
from ..waiting import LIMIT_S, until_state, wait_until

POINTS = [(0.35, 0.35), (0.65, 0.35), (0.5, 0.5), (0.4, 0.65), (0.6, 0.65)]
# Whether the strip, and what lies round the picture, show a portrait's thumbnail as the server has it now.
SHOWS_ITS_FACE = """async (url) => {
  const pixels = (image) => {
    const context = new OffscreenCanvas(192, 192).getContext('2d');
    context.drawImage(image, 0, 0, 192, 192);
    return context.getImageData(0, 0, 192, 192).data;
  };
  const now = pixels(await createImageBitmap(await (await fetch(`${url}?${performance.now()}`)).blob()));
  const ground = Object.assign(new Image(), { src: stage.style.getPropertyValue('--picture').slice(5, -2) });
  const shown = [document.querySelector('#gallery [aria-pressed=true] img'), ground];
  await Promise.all(shown.map((image) => image.decode()));
  return shown.map(pixels).every((seen) => seen.every((value, k) => value === now[k]));
}"""
# Gives the page a file, as if it was dropped, or pasted.
BRING = """async ([way, url, name]) => {
  const data = new DataTransfer();
  data.items.add(new File([await (await fetch(url)).blob()], name, { type: 'image/jpeg' }));
  const options = { dataTransfer: data, clipboardData: data, bubbles: true, cancelable: true };
  const target = document.activeElement;
  if (way === 'paste') target.dispatchEvent(new ClipboardEvent('paste', options));
  else for (const kind of ['dragover', 'drop']) target.dispatchEvent(new DragEvent(kind, options));
}"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("kept")


@pytest.fixture(scope="module")
def server(model, folder):
    with run_server(portraits={"keep": True, "folder": str(folder), "max_count": 6}) as running:
        yield running


@pytest.fixture
def http(server) -> Iterator[httpx.Client]:
    """With an empty gallery, and a bundled portrait on show."""
    with httpx.Client(base_url=server.url, timeout=LIMIT_S) as client:
        for portrait in ("drawing", "astronaut"):
            client.patch("/api/streams/live", json={"portrait": portrait}).raise_for_status()
        for info in client.get("/api/portraits").json():
            if info["uploaded"]:
                client.delete(f"/api/portraits/{info['id']}").raise_for_status()
        yield client


def post(http: httpx.Client, name: str, data: bytes, **fields) -> httpx.Response:
    return http.post("/api/portraits", files={"file": (name, data)}, data=fields)


def test_pictures_come_by_content_and_marks_win(http):
    image = bundled("astronaut").image
    upright = post(http, "a.tiff", encoded(image[::2, ::2], "TIFF")).json()
    lying = post(http, "b.jpg", encoded(np.rot90(image)[::2, ::2], "GIF")).json()
    assert upright["faces"] == [pytest.approx(box, abs=0.02) for box in lying["faces"]]
    assert post(http, "wall.png", encoded(WALL)).json()["code"] == "NoFaceError"
    seen = http.post("/api/portraits/preview", files={"file": ("wall.bmp", encoded(WALL, "BMP"))})
    assert (seen.headers["content-type"], float(seen.headers["x-scale"])) == ("image/jpeg", 1)
    marks = [[320 * x, 200 * y] for x, y in POINTS]
    placed = post(http, "wall.png", encoded(WALL), marks=json.dumps(marks))
    assert placed.status_code == 201, placed.text
    [[x, _, width, _]] = placed.json()["faces"]
    assert abs(x + width / 2 - 0.5) < 0.02
    own = five_points(bundled("astronaut").landmarks) + 40
    moved = post(http, "c.png", encoded(image), marks=json.dumps(own.tolist())).json()
    assert moved["faces"][0][0] > upright["faces"][0][0] + 0.02, "not where the model finds it"
    for wrong in ("[1]", "[" * 100_000, "[[1,2],[3,4]]", "[[NaN,1],[3,4],[5,6],[7,8],[9,9]]", json.dumps([[5, 5]] * 5)):
        refused = post(http, "wall.png", encoded(WALL), marks=wrong)
        assert refused.status_code == 422, refused.text
        assert "marks" in refused.json()["detail"]


def test_an_upload_is_renamed_deleted_and_goes_on_while_it_is_shown(http, server, caplog):
    caplog.set_level("INFO", "streamer")
    info = post(http, "me.png", encoded(bundled("astronaut").image[:, ::-1])).json()
    key = f"/api/portraits/{info['id']}"
    http.patch("/api/streams/live", json={"portrait": info["id"]}).raise_for_status()
    assert http.patch(key, json={"name": "My face"}).json()["name"] == "My face"
    first = http.get(f"{key}/thumbnail")
    assert Image.open(io.BytesIO(first.content)).size == (192, 192)
    again = http.get(f"{key}/thumbnail", headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    changes = server.control.gallery.changes
    assert http.delete(key).status_code == 204
    assert server.control.gallery.changes == changes + 1
    said = [record.getMessage() for record in caplog.records]
    assert {"new in the gallery: 'me.png'", f"deleted from the gallery: '{info['id']}'"} <= set(said)
    assert info["id"] not in [each["id"] for each in http.get("/api/portraits").json()]
    assert http.patch("/api/streams/live", json={"mirror": True}).json()["portrait"] == info["id"], "the stream keeps it"
    changed = (http.delete(key), http.patch(key, json={"name": "x"}), http.put(f"{key}/face", json={"face": 0}))
    assert {(answer.status_code, answer.json()["code"]) for answer in changed} == {(404, "UnknownPortrait")}
    assert info["id"] not in [each["id"] for each in http.get("/api/portraits").json()]
    assert http.patch("/api/streams/live", json={"portrait": "drawing"}).json()["previous_portrait"] is None, "no way back"
    gone = http.patch("/api/streams/live", json={"portrait": info["id"]})
    assert (gone.status_code, gone.json()["code"]) == (404, "UnknownPortrait")
    for answer in (http.delete(key), http.patch(key, json={"name": "x"}), http.get(f"{key}/image"), http.get(f"{key}/thumbnail")):
        assert answer.status_code == 404
    for answer in (http.delete("/api/portraits/drawing"), http.patch("/api/portraits/drawing", json={"name": "x"})):
        assert (answer.status_code, answer.json()["code"]) == (422, "BadCommand")
    post(http, "me.png", encoded(bundled("astronaut").image[:, ::-1]))
    for portrait in (info["id"], "drawing"):
        state = http.patch("/api/streams/live", json={"portrait": portrait}).json()
    assert state["previous_portrait"] == info["id"]
    http.delete(key).raise_for_status()
    assert http.get("/api/streams/live").json()["previous_portrait"] is None, "what is deleted while it is not shown is gone"


def test_a_full_gallery_names_what_would_go(http, server):
    marks = json.dumps([[320 * x, 200 * y] for x, y in POINTS])
    infos = [post(http, f"{k}.png", encoded(WALL + np.uint8(k)), marks=marks).json() for k in range(6)]
    full = post(http, "more.png", encoded(WALL + np.uint8(9)), marks=marks)
    assert full.status_code == 409
    assert full.json()["goes"] == {infos[0]["id"]: "0.png"}
    assert post(http, "0 again.png", encoded(WALL), marks=marks).json()["id"] == infos[0]["id"], "it is there already"
    assert http.post("/api/puppets", content=b"x").json()["code"] == "GalleryFull", "told before a clip is sent"
    added = post(http, "more.png", encoded(WALL + np.uint8(9)), marks=marks, going=[infos[0]["id"]])
    assert added.status_code == 201
    assert infos[0]["id"] not in [each["id"] for each in http.get("/api/portraits").json()]


def test_an_upload_beyond_any_limit_is_refused_unread(server):
    form = {"Content-Type": "multipart/form-data; boundary=x"}
    for head in ({"Content-Length": "99999999999"}, {"Transfer-Encoding": "chunked"}):
        connection = HTTPConnection("127.0.0.1", httpx.URL(server.url).port, timeout=LIMIT_S)
        connection.putrequest("POST", "/api/portraits")
        for key, value in (form | head).items():
            connection.putheader(key, value)
        connection.endheaders()
        answer = connection.getresponse()
        assert (answer.status, json.loads(answer.read())["code"]) == (413, "TooLarge")
        connection.close()


def opened(page: Page, server) -> Page:
    page.goto(server.url)
    page.wait_for_selector("#gallery button")
    return page


def current(page: Page, name: str) -> None:
    expect(page.locator("#gallery [aria-pressed=true] img")).to_have_attribute("alt", name, timeout=20000)


@pytest.mark.browser
@pytest.mark.slow
def test_a_face_that_is_not_found_is_placed_by_hand(page, server, http):
    opened(page, server)
    wall = {"name": "wall.bmp", "mimeType": "image/bmp", "buffer": encoded(np.repeat(np.repeat(WALL, 2, 0), 2, 1), "BMP")}
    page.set_input_files("#upload", wall)
    expect(page.locator("#marker")).to_be_visible(timeout=20000)
    expect(page.locator("#ask")).to_have_text("1 of 5: click the middle of the eye on the left.")
    page.keyboard.press("Escape")
    expect(page.locator("#sending")).to_be_hidden()
    expect(page.locator("#notice")).to_be_hidden()  # who gives up knows it
    page.set_input_files("#upload", wall)
    expect(page.locator("#marker")).to_be_visible(timeout=20000)
    box = page.locator("#canvas").bounding_box()
    assert box
    for x, y in [POINTS[0], POINTS[1], (0.1, 0.1)]:
        page.mouse.click(box["x"] + x * box["width"], box["y"] + y * box["height"])
    page.keyboard.press("Backspace")
    expect(page.locator("#ask")).to_contain_text("3 of 5: click the tip of the nose")
    page.keyboard.press("+")  # about the middle, where the nose is
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.click("#farther")
    page.locator("#canvas").focus()
    for x, y in POINTS[3:]:
        page.keyboard.press("ArrowUp")  # the cross appears in the middle
        steps = [("ArrowLeft", (0.5 - x) * box["width"] / 12), ("ArrowDown", (y - 0.5) * box["height"] / 12 + 1)]
        for key, count in steps:
            for _ in range(abs(round(count))):
                page.keyboard.press(key if count > 0 else {"ArrowLeft": "ArrowRight"}[key])
        page.keyboard.press("Enter")
        page.locator("#canvas").blur()
        page.locator("#canvas").focus()
    page.click("#marked")
    current(page, "wall.bmp")
    [info] = [each for each in http.get("/api/portraits").json() if each["uploaded"]]
    seen = five_points(httpx_landmarks(http, info["id"]))
    assert np.abs(seen / (640, 400) - POINTS).max() < 0.02


@pytest.mark.browser
@pytest.mark.slow
def test_uploads_are_told_of_and_go_one_after_the_other(page, server, http):
    """Each when the one before has been dealt with; what is then asked of one waits for the dialog that somebody is at."""
    opened(page, server)
    held: list[Route] = []

    def is_upload(request: Request) -> bool:
        return request.method == "POST" and request.url.endswith("/api/portraits")

    page.route("**/api/portraits", lambda route: held.append(route) if is_upload(route.request) else route.fallback())
    line, image = page.locator("#sending"), bundled("astronaut").image
    pictures = {"wall.png": WALL, "b.png": image[::2, ::-2], "c.png": image[::3, ::-3]}
    files = [{"name": name, "mimeType": "image/png", "buffer": encoded(each)} for name, each in pictures.items()]
    with page.expect_request(is_upload):
        page.set_input_files("#upload", files[0])
    expect(line).to_have_text("Looking at “wall.png”…")
    for file in files[1:]:
        page.set_input_files("#upload", file)
    expect(line).to_have_text("Looking at “wall.png”… Then: “b.png”, “c.png”.")
    page.keyboard.press("?")
    with page.expect_response("**/preview"):
        held[0].continue_()
    page.keyboard.press("Escape")
    expect(page.locator("#shortcuts")).to_be_hidden()
    expect(page.locator("#marker-title")).to_have_text("No face was found in “wall.png”. Place it by hand")
    assert len(held) == 1
    with page.expect_request(is_upload):
        page.click("#cancel")
    expect(line).to_have_text("Looking at “b.png”… Then: “c.png”.")
    expect(page.locator("#notice")).to_be_hidden()
    assert len(held) == 2
    with page.expect_request(is_upload):
        held[1].continue_()
    expect(line).to_have_text("Looking at “c.png”…")
    held[2].continue_()
    current(page, "c.png")
    expect(line).to_be_hidden()
    assert [info["name"] for info in http.get("/api/portraits").json() if info["uploaded"]] == ["b.png", "c.png"]


@pytest.mark.browser
@pytest.mark.slow
def test_a_face_that_was_found_wrongly_is_placed_by_hand_later(page, server, http):
    info = post(http, "me.png", encoded(bundled("astronaut").image[:, ::-1])).json()
    http.patch("/api/streams/live", json={"portrait": info["id"]}).raise_for_status()
    opened(page, server)
    prepared = server.control.stream("live").shown.prepared

    def place() -> None:
        page.locator("#gallery .more").last.focus()
        page.keyboard.press("Enter")
        page.click("#details-place")
        expect(page.locator("#marked")).to_be_enabled()

    more = page.locator("#gallery .more")
    expect(more).to_have_count(1)  # the bundled ones lie as they should
    expect(more).to_have_css("opacity", "0.75")
    more.hover()
    expect(more).to_have_css("opacity", "1")
    found = np.array(http.get(f"/api/portraits/{info['id']}/face").json()["marks"])
    place()
    expect(page.locator("#undo")).to_be_disabled()
    page.click("#farther", click_count=3)
    box = page.locator("#canvas").bounding_box()
    x, y = (box["x"] + found[4][0] * box["width"], box["y"] + found[4][1] * box["height"])
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 20, y + 4, steps=4)
    page.mouse.up()
    page.keyboard.press("1")
    expect(page.locator("#ask")).to_contain_text("Point 1, the middle of the eye on the left")
    for key in ("ArrowLeft", "ArrowUp", "Enter"):
        page.keyboard.press(key)
    page.keyboard.press("Backspace")  # and that is taken back
    page.click("#marked")
    expect(page.locator("#details")).to_be_hidden()
    placed = np.array(http.get(f"/api/portraits/{info['id']}/face").json()["marks"])
    moved = (placed - found) * (box["width"], box["height"])
    assert np.abs(moved[4] - (20, 4)).max() < 1.5
    assert np.abs(moved[[0, 2, 3]]).max() < 2.5
    until_state(http, lambda state: server.control.stream("live").shown.prepared is not prepared)

    place()
    page.click("#anew")
    expect(page.locator("#ask")).to_contain_text("1 of 5: click the middle of the eye on the left")
    box = page.locator("#canvas").bounding_box()
    for x, y in (POINTS[1], POINTS[0], *POINTS[2:]):
        page.mouse.click(box["x"] + x * box["width"], box["y"] + y * box["height"])
    page.click("#marked")
    expect(page.locator("#marker-problem")).to_have_text(
        "The eyes are changed over; the one on the left of the picture comes first"
    )
    page.keyboard.press("Escape")
    page.keyboard.press("Escape")
    assert np.array_equal(http.get(f"/api/portraits/{info['id']}/face").json()["marks"], placed.tolist())
    for wrong in ({}, {"face": 0, "marks": placed.tolist()}, {"marks": placed.tolist()[:4]}):
        assert http.put(f"/api/portraits/{info['id']}/face", json=wrong).status_code == 422


@pytest.mark.browser
@pytest.mark.slow
def test_whoever_places_a_face_sees_the_whole_picture_first(page, server, http):
    """What was found is small, and nowhere near the face."""
    marks = json.dumps([[320 * x / 8, 200 * y / 8] for x, y in POINTS])
    info = post(http, "wall.png", encoded(WALL), marks=marks).json()
    opened(page, server)
    page.locator("#gallery .more").last.focus()
    page.keyboard.press("Enter")
    page.click("#details-place")
    expect(page.locator("#marker")).to_be_visible()
    box = page.locator("#canvas").bounding_box()
    at = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in POINTS]
    page.mouse.click(*at[4])  # the nearest point goes there
    page.click("#nearer", click_count=3)
    page.click("#undo")
    page.click("#anew")
    for x, y in at:
        page.mouse.click(x, y)
    page.click("#undo")
    page.mouse.click(*at[4])
    page.click("#marked")
    expect(page.locator("#details")).to_be_hidden()
    assert np.abs(np.array(http.get(f"/api/portraits/{info['id']}/face").json()["marks"]) - POINTS).max() < 0.02


@pytest.mark.browser
@pytest.mark.slow
def test_the_face_that_moves_is_the_one_in_the_strip_and_round_the_picture(page, server, http):
    """When it was chosen among several, chosen again, placed by hand, and changed by another page."""
    opened(page, server)

    def shows_its_face() -> None:
        wait_until(lambda: page.evaluate(SHOWS_ITS_FACE, f"{at}/thumbnail"))

    data = cv2.imencode(".png", two_faces()[..., ::-1])[1].tobytes()
    page.set_input_files("#upload", {"name": "pair.png", "mimeType": "image/png", "buffer": data})
    expect(page.locator("#marker-title")).to_have_text("“pair.png” shows 2 faces")
    [info] = [each for each in http.get("/api/portraits").json() if each["uploaded"]]
    at = f"/api/portraits/{info['id']}"
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    current(page, "pair.png")
    shows_its_face()
    page.locator("#gallery .more").last.focus()
    page.keyboard.press("Enter")
    page.click("#details-face")
    expect(page.locator("#marker")).to_be_visible()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    expect(page.locator("#details")).to_be_hidden()
    shows_its_face()
    page.locator("#gallery .more").last.focus()
    page.keyboard.press("Enter")
    page.click("#details-place")
    expect(page.locator("#marker")).to_be_visible()
    for key in ("5", "ArrowDown", "ArrowDown", "ArrowDown", "ArrowDown", "Enter"):
        page.keyboard.press(key)
    page.click("#marked")
    expect(page.locator("#details")).to_be_hidden()
    shows_its_face()
    other = 1 - http.get("/api/portraits").json()[-1]["face"]
    http.put(f"{at}/face", json={"face": other}).raise_for_status()
    shows_its_face()


@pytest.mark.browser
@pytest.mark.slow
@pytest.mark.parametrize("way", ["drop", "paste"])
def test_a_file_that_comes_to_an_open_dialog_is_told_what_comes_first(page, server, http, way):
    opened(page, server)
    page.keyboard.press("?")
    told = page.locator("#shortcuts [role=alert]")
    expect(told).to_have_count(0)
    page.evaluate(BRING, [way, "/api/portraits/drawing/image", "one.jpg"])
    expect(told).to_have_text("The file was not taken. Finish here first; then drop it or paste it once more.")
    expect(told).to_be_in_viewport()
    page.keyboard.press("Escape")
    expect(told).to_have_count(0)
    page.evaluate(BRING, [way, "/api/portraits/drawing/image", "one.jpg"])
    current(page, "one.jpg")


def httpx_landmarks(http: httpx.Client, key: str) -> np.ndarray:
    from pipeline.puppetfile import unpack

    _, [(_, landmarks)] = unpack(http.get(f"/api/portraits/{key}/puppet").content, "p")
    return landmarks


@pytest.mark.browser
@pytest.mark.slow
@pytest.mark.parametrize("shown", [False, True])
def test_two_pages_see_each_others_changes(page, server, http, shown):
    opened(page, server)
    data = cv2.imencode(".png", two_faces()[..., ::-1])[1].tobytes()
    info = post(http, "pair.png", data).json()
    more = page.locator(f"#gallery div:has([data-portrait='{info['id']}']) .more")
    more.focus(timeout=10000)
    page.keyboard.press("Enter")
    page.fill("#details-name", "Two of us")
    page.click("#details-rename")
    expect(page.locator(f"[data-portrait='{info['id']}']")).to_have_attribute("title", "Two of us")
    if shown:
        http.patch("/api/streams/live", json={"portrait": info["id"]}).raise_for_status()
    more.focus()
    page.keyboard.press("Enter")
    page.click("#details-face")
    expect(page.locator("#marker")).to_be_visible()
    http.delete(f"/api/portraits/{info['id']}").raise_for_status()  # by the other page
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    expect(page.locator("#notice")).to_have_text("This portrait has been deleted meanwhile.")
    expect(page.locator("#details")).to_be_hidden()
    expect(page.locator(f"[data-portrait='{info['id']}']")).to_have_count(0)
    assert info["id"] not in [each["id"] for each in http.get("/api/portraits").json()]


@pytest.mark.browser
@pytest.mark.slow
@pytest.mark.parametrize("button", ["#details-rename", "#details-delete", "#details-face", "#details-place", "#details-show"])
def test_whatever_is_asked_of_a_deleted_portrait_says_so(page, server, http, button):
    opened(page, server)
    data = cv2.imencode(".png", two_faces()[..., ::-1])[1].tobytes()
    info = post(http, "pair.png", data).json()
    page.locator(f"#gallery div:has([data-portrait='{info['id']}']) .more").click()
    http.delete(f"/api/portraits/{info['id']}").raise_for_status()
    page.click(button)
    if button == "#details-delete":
        page.click("#question-yes")
    expect(page.locator("#notice")).to_have_text("This portrait has been deleted meanwhile.")
    expect(page.locator("#details")).to_be_hidden()


@pytest.mark.browser
@pytest.mark.slow
def test_a_pasted_picture_is_taken_and_a_full_gallery_asks_first(page, server, http):
    marks = json.dumps([[320 * x, 200 * y] for x, y in POINTS])
    for k in range(6):
        post(http, f"{k}.png", encoded(WALL + np.uint8(k)), marks=marks).raise_for_status()
    opened(page, server)
    page.evaluate(BRING, ["paste", "/api/portraits/drawing/image", "pasted.jpg"])
    expect(page.locator("#question-text")).to_have_text(
        "The gallery is full. Adding “pasted.jpg” deletes “0.png”.", timeout=20000
    )
    page.keyboard.press("Escape")
    assert len([info for info in http.get("/api/portraits").json() if info["uploaded"]]) == 6
    page.locator("#gallery .more").last.focus()
    page.keyboard.press("Enter")
    page.click("#details-delete")
    page.click("#question-yes")
    expect(page.locator("#details")).to_be_hidden()
    assert [info["name"] for info in http.get("/api/portraits").json() if info["uploaded"]] == [f"{k}.png" for k in range(5)]


@pytest.mark.browser
@pytest.mark.slow
def test_a_picture_is_taken_with_the_camera(page, server, http, camera):
    camera("d14", 30)
    opened(page, server)
    page.click("#take")
    page.wait_for_function("document.getElementById('snapshot-picture').videoWidth > 0")
    page.click("#snapshot-take")
    current(page, "camera.png")
    until_state(http, lambda state: state["portrait"].startswith("upload-"))
    assert not page.evaluate("document.getElementById('snapshot-picture').srcObject")


def test_a_portrait_of_the_config_is_one_of_the_gallery_and_lies_where_its_marks_say(tmp_path):
    path = tmp_path / "deep" / "wall #1.png"
    path.parent.mkdir()
    path.write_bytes(encoded(WALL))
    marks = [[320 * x, 200 * y] for x, y in POINTS]
    with (
        run_server(streams={"live": {"portrait": str(path), "marks": marks}}) as server,
        httpx.Client(base_url=server.url, timeout=LIMIT_S) as http,
    ):
        key = http.get("/api/streams/live").json()["portrait"]
        assert key.startswith("wall-1-")
        assert "deep" not in http.get("/api/portraits").text, "nobody is told where it lies"
        at = f"/api/portraits/{key}"
        assert np.abs(np.array(http.get(f"{at}/face").json()["marks"]) - POINTS).max() < 0.02
        assert Image.open(io.BytesIO(http.get(f"{at}/thumbnail").content)).size == (192, 192)
        lower = [[x, y + 0.1] for x, y in POINTS]
        placed = http.put(f"{at}/face", json={"marks": lower}).json()
        assert (placed["uploaded"], placed["id"]) == (False, key)
        assert np.abs(np.array(http.get(f"{at}/face").json()["marks"]) - lower).max() < 0.02
        assert http.delete(at).json()["code"] == "BadCommand"


def test_what_was_uploaded_is_there_after_a_restart(model, tmp_path):
    kept = {"keep": True, "folder": str(tmp_path)}
    persistence = {"file": str(tmp_path / "state.json")}
    with (
        run_server(portraits=kept, persistence=persistence) as server,
        httpx.Client(base_url=server.url, timeout=LIMIT_S) as http,
    ):
        first = post(http, "a.png", encoded(bundled("astronaut").image[:, ::-1])).json()
        http.patch("/api/streams/live", json={"portrait": first["id"]}).raise_for_status()
        small = http.get(f"/api/portraits/{first['id']}/thumbnail").content
    with (
        run_server(portraits=kept, persistence=persistence) as server,
        httpx.Client(base_url=server.url, timeout=LIMIT_S) as http,
    ):
        assert http.get("/api/streams/live").json()["portrait"] == first["id"]
        second = post(http, "b.png", encoded(bundled("drawing").image[:, ::-1])).json()
        assert [info["id"] for info in http.get("/api/portraits").json() if info["uploaded"]] == [first["id"], second["id"]]
        assert http.get(f"/api/portraits/{first['id']}/thumbnail").content == small
        assert http.get(f"/api/portraits/{second['id']}/thumbnail").content != small
