"""The page by axe-core, which finds what a screen reader, a keyboard or weak eyes stumble over; and by the Tab key."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest
from playwright.sync_api import Page, expect

from pipeline.portrait import bundled

from ..conftest import run_server
from ..media import WALL, encoded
from ..waiting import until_state

pytestmark = [pytest.mark.browser, pytest.mark.long]

# All of WCAG 2.2 up to AA, and what axe counts as good practice.
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
COLOURS = ["color-contrast", "link-in-text-block"]
CHECK = """async (runOnly) => (await axe.run(document, { runOnly })).violations.map(
  ({ id, help, nodes }) => `${id}: ${help}: ${nodes.map(({ target }) => target).join(', ')}`)"""
UNFOLD = "document.querySelectorAll('aside details').forEach((section) => (section.open = true))"
# What can be pressed or changed, and is seen; of radio buttons there are none.
CONTROLS = """() => [...document.querySelectorAll('button, select, input, a[href], summary')]
  .filter((each) => !each.disabled && each.checkVisibility() && !each.closest('dialog'))
  .map((each) => (each.id ||= `control-${Math.random()}`))"""


@pytest.fixture(scope="module")
def server(model, tmp_path_factory):
    with run_server(recording={"folder": str(tmp_path_factory.mktemp("recordings"))}) as running:
        yield running


@pytest.fixture
def http(server) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.url, timeout=30) as client:
        yield client


@pytest.fixture
def opened(page, server, installed) -> Page:
    page.goto(server.url)
    page.add_script_tag(path=installed / "node_modules" / "axe-core" / "axe.min.js")
    page.wait_for_selector("#slider-smoothing", state="attached")
    page.wait_for_selector("#gallery button")
    return page


def violations(page: Page, where: str) -> list[str]:
    """In the dark theme, and what colours can be wrong in the light one: all else is the same there."""
    found = []
    for scheme, rules in (("light", COLOURS), ("dark", RULES)):
        page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
        found += [f"{where}, {scheme}: {each}" for each in page.evaluate(CHECK, rules)]
    return found


def test_axe_finds_nothing_in_any_state_of_the_page(opened, http, camera):
    camera("d14", 60)
    found = violations(opened, "first look")
    opened.evaluate(UNFOLD)
    opened.click("[data-expression=Smile]")
    expect(opened.locator("[data-expression=Smile]")).to_have_attribute("aria-pressed", "true")
    opened.wait_for_selector("#pose-smile")
    found += violations(opened, "all sections open")
    opened.click("#start")
    until_state(http, lambda state: state["face"] == "tracking")
    opened.click("#record")
    until_state(http, lambda state: state["recording"] and state["recording"]["frames"])
    found += violations(opened, "live")
    opened.click("#record")
    expect(opened.locator("#recording-list li")).to_have_count(1)
    found += violations(opened, "a recording")
    opened.click("#start")
    opened.set_viewport_size({"width": 390, "height": 844})
    found += violations(opened, "phone")
    assert not found


def test_axe_finds_nothing_in_any_dialog(opened, http, camera):
    camera("d14", 60)
    picture = encoded(bundled("astronaut").image[:, ::-1])
    http.post("/api/portraits", files={"file": ("me.png", picture)}).raise_for_status()
    opened.locator("#gallery .more").focus()
    opened.keyboard.press("Enter")
    found = violations(opened, "details")
    opened.click("#details-delete")
    found += violations(opened, "question")
    opened.keyboard.press("Escape")
    opened.keyboard.press("Escape")
    opened.set_input_files("#upload", {"name": "wall.png", "mimeType": "image/png", "buffer": encoded(WALL)})
    expect(opened.locator("#marker")).to_be_visible()
    found += violations(opened, "marker")
    opened.keyboard.press("Escape")
    opened.keyboard.press("?")
    found += violations(opened, "shortcuts")
    opened.keyboard.press("Escape")
    opened.click("#take")
    expect(opened.locator("#snapshot")).to_be_visible()
    found += violations(opened, "picture")
    opened.keyboard.press("Escape")
    opened.click("#yourself")
    found += violations(opened, "agreement")
    opened.check("#studio-agreed")
    opened.click("#studio-go")
    expect(opened.locator("#begin")).to_be_visible()
    found += violations(opened, "studio")
    opened.keyboard.press("Escape")
    assert not found


def test_the_interface_is_described_by_nothing_but_the_server_itself(page, server, http, installed):
    elsewhere: list[str] = []
    page.on("request", lambda request: None if request.url.startswith(server.url) else elsewhere.append(request.url))
    page.goto(f"{server.url}/docs")
    requests = page.locator("details:not([id])")
    count = sum(len(operations) for operations in http.get("/openapi.json").json()["paths"].values())
    expect(requests).to_have_count(count)
    requests.filter(has_text="Command a stream").locator("summary").click()
    expect(page.get_by_role("rowheader", name="application/json")).to_be_visible()
    page.evaluate("document.querySelectorAll('details').forEach((section) => (section.open = true))")
    expect(page.locator("#type-Change")).to_contain_text("number or null, ≥ 0, ≤ 3")
    page.add_script_tag(path=installed / "node_modules" / "axe-core" / "axe.min.js")
    assert not violations(page, "interface")
    assert not elsewhere
    assert http.get("/redoc").status_code == 404


def test_every_control_is_reached_by_tab(opened):
    opened.evaluate(UNFOLD)
    opened.wait_for_selector("#pose-smile")
    wanted = set(opened.evaluate(CONTROLS))
    assert len(wanted) > 40
    reached = set()
    for _ in range(2 * len(wanted)):
        opened.keyboard.press("Tab")
        reached.add(opened.evaluate("document.activeElement.id"))
    assert wanted <= reached
