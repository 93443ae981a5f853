"""Where no worker of a fleet is left: what clients, the page and the command line are told."""

from __future__ import annotations

from collections.abc import Iterator
from signal import SIGKILL

import httpx
import pytest
import yaml

from ..waiting import LIMIT_S, until_state, wait_until
from .local import Local, fleet
from .workers import Workers

pytestmark = pytest.mark.long

DARK = """() => {
  const video = document.getElementById("puppet");
  const canvas = new OffscreenCanvas(32, 32);
  const context = canvas.getContext("2d");
  context.drawImage(video, 0, 0, 32, 32);
  return Math.max(...context.getImageData(0, 0, 32, 32).data.filter((_, k) => k % 4 < 3));
}"""


@pytest.fixture
def running(tmp_path, model) -> Iterator[tuple[Local, Workers]]:
    with fleet(tmp_path, "w0", streams={"live": {}}) as started:
        yield started


def test_nobody_answers_for_nobody(running, shell, tmp_path):
    local, workers = running
    with httpx.Client(base_url=local.url, timeout=LIMIT_S) as http:
        assert http.get("/api/me").json()["server"] == "control"
        workers.signal("w0", SIGKILL)
        wait_until(lambda: http.get("/api/fleet").json()["waiting"])
        for path in ("/api/me", "/api/streams", "/api/portraits", "/api/presets", "/api/recordings", "/api/streams/live"):
            reply = http.get(path)
            assert (reply.status_code, reply.headers.get("retry-after")) == (503, "5" if "live" in path else "1"), path
        assert "none of the fleet answers" in http.get("/api/streams/live").json()["detail"]
        assert http.get("/readyz").json() == {"ready": False}
        assert 'puppetcast_fleet_worker_alive{worker="w0"} 0.0' in http.get("/metrics").text
        assert http.get("/api/load").json()["why"] == "no worker answers"
        config = tmp_path / "fleet.yaml"
        config.write_text(yaml.safe_dump({"http": {"port": int(local.url.rpartition(":")[2])}}))
        said = shell.run(["fleet", "status", config]).said
        assert "stream 'live' has no worker: no worker for 'live': none of the fleet answers" in " ".join(said.split())


@pytest.mark.browser
def test_the_page_keeps_the_last_picture_and_does_not_say_that_it_is_live(page, running):
    local, workers = running
    page.goto(f"{local.url}/?stream=live")
    page.wait_for_function("document.getElementById('puppet').videoWidth > 0", timeout=1000 * LIMIT_S)
    with httpx.Client(base_url=local.url, timeout=LIMIT_S) as http:
        assert http.patch("/api/streams/live", json={"demo": True}).status_code == 200
        until_state(http, lambda state: state["viewers"] and state["animated"] > 20)
    page.wait_for_function("document.getElementById('status-line').textContent.startsWith('Live')", timeout=1000 * LIMIT_S)
    assert page.evaluate(DARK) > 50
    workers.signal("w0", SIGKILL)
    page.wait_for_function("document.getElementById('notice').textContent.includes('none of the fleet')", timeout=1000 * LIMIT_S)
    assert page.evaluate(DARK) > 50, "the last picture"
    assert "Live" not in page.inner_text("#status-line")
    workers.start("w0")
    page.wait_for_function("document.getElementById('status-line').textContent.startsWith('Live')", timeout=1000 * LIMIT_S)
