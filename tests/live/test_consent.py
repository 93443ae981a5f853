"""Who may drive a portrait, on every way by which a driver comes, and whose face an upload is said to show."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import expect

from pipeline import passes
from pipeline.face.likeness import STRANGE
from pipeline.portrait import DEMO_CLIP, bundled, pack_puppet
from pipeline.puppetfile import About
from pipeline.terms import ANYBODY, NO_PASS, WRONG_PASS, OnlyFace, Terms

from ..conftest import run_server
from ..media import encoded
from ..peers import SDP, Camera, connected, negotiate, peer
from ..waiting import LIMIT_S, until, until_state, wait_until

PUPPET = "/api/portraits"


@pytest.fixture(scope="module")
def log(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("log") / "drives.jsonl"


@pytest.fixture(scope="module")
def server(model, log):
    streams = {"live": {}, "clip": {"source": "file", "path": str(DEMO_CLIP)}}
    with run_server(
        streams=streams,
        device={"min_fps": 0.1},
        portraits={"keep": False, "ask_whose": "page"},
        drives={"keep": True, "file": str(log)},
    ) as running:
        yield running


@pytest.fixture
def http(server) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.url, timeout=LIMIT_S) as client:
        yield client


def smaller(name: str, terms: Terms = ANYBODY) -> bytes:
    """A puppet file of a bundled portrait's picture."""
    portrait = bundled(name)
    small = replace(portrait, image=portrait.image[::2, ::2].copy(), landmarks=portrait.landmarks / 2, terms=terms)
    return pack_puppet(small, About(name))


def uploaded(http: httpx.Client, data: bytes, **fields: str) -> dict:
    reply = http.post(PUPPET, files={"file": ("me.puppet", data)}, data=fields)
    assert reply.status_code == 201, reply.text
    return reply.json()


def show(http: httpx.Client, portrait: str, stream: str = "live") -> dict:
    reply = http.patch(f"/api/streams/{stream}", json={"portrait": portrait})
    assert reply.status_code == 200, reply.text
    return reply.json()


async def test_who_has_no_pass_drives_in_no_way(server, http, log):
    given = passes.made()
    info = uploaded(http, smaller("mei", Terms(lock=passes.lock_of(given))), whose="consent")
    assert (info["whose"], info["needs_pass"], info["only_face"]) == ("consent", True, "any")
    show(http, info["id"])
    async with httpx.AsyncClient(base_url=server.url, timeout=LIMIT_S) as client, peer() as stranger, peer() as owner:
        for connection in (stranger, owner):
            connection.addTrack(Camera())
        await stranger.setLocalDescription(await stranger.createOffer())
        for query, why in (("", NO_PASS), ("?take_over=true", NO_PASS), (f"?pass={passes.made()}", WRONG_PASS)):
            reply = await client.post(f"/live/live/whip{query}", content=stranger.localDescription.sdp, headers=SDP)
            assert (reply.status_code, reply.json()["code"]) == (403, "DriverRefused")
            assert f"'live': {why}" in reply.json()["detail"]
        refused = http.patch("/api/streams/live", json={"demo": True})
        assert (refused.status_code, refused.json()["code"]) == (403, "DriverRefused")
        grant = passes.grant(given, 4e9)
        await negotiate(client, owner, f"/live/live/whip?pass={grant}")
        await connected(owner)
        await until(lambda: server.control.state("live").publisher)
        reply = await client.post("/live/live/whip?take_over=true", content=stranger.localDescription.sdp, headers=SDP)
        assert reply.status_code == 403, "and nobody is sent away for it"
        assert server.control.state("live").refused == ""
        other = uploaded(http, smaller("samuel", Terms(lock=passes.lock_of(passes.made()))))
        assert show(http, other["id"])["refused"] == WRONG_PASS
        assert show(http, "mei")["refused"] == "", "back at what everybody may drive"
    await until(lambda: not server.control.state("live").publisher)
    # The config's own source is let in, and moves nothing.
    state = show(http, info["id"], "clip")
    assert state["refused"] == NO_PASS
    animated = http.get("/api/streams/clip").json()["animated"]
    freed = http.patch(f"{PUPPET}/{info['id']}/drivers", json={"needs_pass": False})
    assert freed.json()["pass"] is None
    until_state(http, lambda state: state["refused"] == "" and state["animated"] > animated, "clip")
    made = http.patch(f"{PUPPET}/{info['id']}/drivers", json={"needs_pass": True}).json()
    assert made["portrait"]["needs_pass"]
    assert passes.lock_of(made["pass"]) != passes.lock_of(given), "the pass of before is good for nothing now"
    assert http.get("/api/streams/clip").json()["refused"] == NO_PASS, "at once, where it is on show"
    show(http, "mei", "clip")
    told = http.get("/api/drives", params={"stream": "live"}).json()
    assert [(drive["portrait"], drive["driver"]) for drive in told][:2] == [(info["id"], "camera")] + [
        (told[1]["portrait"], "camera")
    ]
    assert (told[0]["address"], told[1]["refused"], told[-1]["driver"]) == ("127.0.0.1", WRONG_PASS, "none")
    text = log.read_text()
    assert not any(secret in text for secret in (given, grant, made["pass"]))
    assert http.delete("/api/drives").status_code == 204
    assert http.get("/api/drives").json() == []


def test_a_portrait_moves_for_one_face_alone(server, http):
    """The demo clip shows the astronaut, moved: it is neither Samuel's face nor one that is not known here."""
    samuel = uploaded(http, smaller("samuel"))["id"]
    until_state(http, lambda state: state["face"] == "tracking", "clip")
    assert http.patch(f"{PUPPET}/{samuel}/drivers", json={"face": "shown"}).json()["portrait"]["only_face"] == "shown"
    show(http, samuel, "clip")
    until_state(http, lambda state: state["refused"] == STRANGE, "clip")
    assert http.patch(f"{PUPPET}/{samuel}/drivers", json={"face": "shown", "face_of": "clip"}).status_code == 422
    show(http, "mei", "clip")
    enrol = partial(http.patch, f"{PUPPET}/{samuel}/drivers", json={"face_of": "clip"})
    answer = wait_until(enrol, holds=lambda answer: answer.status_code == 200)  # until the driver is measured again
    assert answer.json()["portrait"]["only_face"] == OnlyFace.ENROLLED
    show(http, samuel, "clip")
    animated = http.get("/api/streams/clip").json()["animated"]
    until_state(http, lambda state: state["refused"] == "" and state["animated"] > animated + 5, "clip")
    puppet = http.get(f"{PUPPET}/{samuel}/puppet").content
    assert b'"enrolled"' in puppet
    stranger = uploaded(http, puppet)["id"]
    assert show(http, stranger, "clip")
    until_state(http, lambda state: state["refused"].endswith("not known here"), "clip")
    assert not any(isinstance(value, float) for each in http.get(PUPPET).json() for value in each.values()), "nothing of a face"
    show(http, "mei", "clip")


def test_an_upload_may_have_to_say_whose_face_it_shows(model):
    picture = encoded(bundled("astronaut").image[::2, ::2])
    with (
        run_server(portraits={"keep": False, "ask_whose": "always"}) as running,
        httpx.Client(base_url=running.url, timeout=LIMIT_S) as http,
    ):
        silent = http.post(PUPPET, content=picture)
        assert (silent.status_code, silent.json()["code"]) == (422, "BadCommand")
        assert "whose: say whose face it is: mine, consent, public_domain, drawn" in silent.json()["detail"]
        assert http.post(f"{PUPPET}?whose=theirs", content=picture).status_code == 422
        info = http.post(f"{PUPPET}?whose=public_domain", content=picture).json()
        assert info["whose"] == "public_domain"
        assert http.patch(f"{PUPPET}/{info['id']}", json={"whose": "mine"}).json()["whose"] == "mine"
        again = http.post(f"{PUPPET}?name=again&whose=consent", content=picture).json()
        assert (again["id"], again["name"], again["whose"]) == (info["id"], info["name"], "consent"), "what was said last"
        assert http.patch(f"{PUPPET}/{info['id']}", json={}).status_code == 422
        assert http.get("/api/me").json()["asks_whose"] is True


@pytest.mark.browser
@pytest.mark.slow
def test_the_page_asks_whose_face_an_upload_shows(page, server, http):
    page.goto(server.url)
    page.wait_for_selector("#gallery button")
    file = {"name": "flight.png", "mimeType": "image/png", "buffer": encoded(bundled("astronaut").image[::2, ::-2])}
    page.set_input_files("#upload", file)
    expect(page.locator("#whose")).to_be_visible(timeout=20000)
    page.keyboard.press("Escape")
    expect(page.locator("#whose")).to_be_hidden()
    assert "flight.png" not in [each["name"] for each in http.get(PUPPET).json()], "who does not say uploads nothing"
    page.set_input_files("#upload", file)
    expect(page.locator("#whose input").first).to_be_focused()
    expect(page.get_by_role("radio", name="Nobody’s: a drawing, an animal, a figure")).to_be_visible()
    expect(page.locator("#whose input:checked")).to_have_count(0)  # nothing is said before one does
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    expect(page.locator("#gallery [aria-pressed=true] img")).to_have_attribute("alt", "flight.png", timeout=20000)
    [info] = [each for each in http.get(PUPPET).json() if each["name"] == "flight.png"]
    assert info["whose"] == "public_domain"
    page.set_input_files("#upload", file | {"name": "again.png"})
    expect(page.locator("#whose")).to_be_visible(timeout=20000)
    expect(page.locator("#whose input:checked")).to_have_count(0)  # another face may be another's
    page.keyboard.press("Escape")
    for name, kind, data in (
        ("notes.txt", "text/plain", b"nobody's face"),
        ("text.jpg", "image/jpeg", b"nor this"),
        ("no.png", "", b""),
    ):
        page.set_input_files("#upload", {"name": name, "mimeType": kind, "buffer": data})
        expect(page.locator("#notice")).to_contain_text(name, timeout=20000)  # refused, and nobody is asked
        expect(page.locator("#whose")).to_be_hidden()
