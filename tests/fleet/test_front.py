"""The front, with workers that are processes of their own, and clients that know of one server."""

from __future__ import annotations

import json
from collections.abc import Iterator
from signal import SIGKILL
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from streamer.fleet.base import At
from streamer.http.key import KEY

from ..broker import Broker, broker
from ..waiting import LIMIT_S, until, until_state, wait_until
from .local import Local, fleet
from .workers import WORD, Workers

pytestmark = pytest.mark.long

WATCH_ANOTHER = """async () => {
  const {watch} = await import('/rtc.js');
  const video = Object.assign(document.createElement('video'), {muted: true, autoplay: true});
  document.body.append(video);
  window.another = {video, lost: false};
  another.link = await watch('/live/one/whep', video, () => (another.lost = true));
  await new Promise((shown) => video.requestVideoFrameCallback(shown));
}"""


@pytest.fixture(scope="module")
def mosquitto(tmp_path_factory) -> Iterator[Broker]:
    with broker(tmp_path_factory.mktemp("broker")) as started:
        yield started


@pytest.fixture(scope="module")
def running(tmp_path_factory, model, mosquitto) -> Iterator[tuple[Local, Workers]]:
    """Two workers and two fronts. Streams that somebody drives are spread: one is on one worker, two on the other."""
    folder = tmp_path_factory.mktemp("fleet")
    with fleet(folder, "w0", "w1", fronts=2, streams={"one": {}}, mqtt={"url": mosquitto.url}) as (local, workers):
        with httpx.Client(base_url=local.url, timeout=LIMIT_S) as http:
            assert http.patch("/api/streams/one", json={"demo": True}).status_code == 200
            wait_until(lambda: http.get("/api/load").json()["streams"]["one"]["share"])
            wait_until(lambda: shares(local)[local.ask(local.director.where("one")).worker])
            begin_two_apart(http, local)
        yield local, workers


def begin_two_apart(http: httpx.Client, local: Local) -> None:
    """On the worker that has not one; on a machine that is very busy it may leave it, as a worker is too slow to answer."""
    for _ in range(5):
        assert http.put("/api/streams/two", json={}).is_success
        if local.ask(local.director.where("two")) != local.ask(local.director.where("one")):
            return
        http.delete("/api/streams/two")
    raise AssertionError("both are on one worker")


@pytest.fixture
def local(running) -> Local:
    return running[0]


@pytest.fixture(params=[0, 1], ids=["a front", "another"])
def http(local, request) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=local.urls[request.param], timeout=LIMIT_S) as client:
        yield client


def shares(local: Local) -> dict[str, float]:
    return {each["worker"]: each["share"] for each in local.ask(local.director.state())["workers"]}


def told(http: httpx.Client, path: str) -> Any:
    reply = http.get(path)
    assert reply.status_code == 200, reply.text
    return reply.json()


def straight(at: At, method: str, path: str) -> httpx.Response:
    """Past the front."""
    return httpx.request(method, at.url + path, headers=at.headers(WORD), timeout=LIMIT_S)


def kept(at: At) -> dict[str, Any]:
    """A worker's portraits, by id."""
    return {portrait["id"]: portrait for portrait in straight(at, "GET", "/api/portraits").json()}


def test_what_is_asked_of_all_is_answered_for_all(http, local):
    assert [state["name"] for state in told(http, "/api/streams")] == ["one", "two"]
    me = told(http, "/api/me")
    assert (me["server"], me["streams"]) == ("control", {"one": "control", "two": "control"})
    load = told(http, "/api/load")
    assert (load["cores"], sorted(load["streams"])) == (16, ["one", "two"])
    assert [device["worker"] for device in told(http, "/api/devices")] == ["w0", "w1"]
    homes = {name: local.ask(local.director.where(name)).worker for name in ("one", "two")}
    assert sorted(homes.values()) == ["w0", "w1"]
    families = text_string_to_metric_families(http.get("/metrics").text)
    samples = {(sample.name, *sorted(sample.labels.items())) for family in families for sample in family.samples}
    assert {("puppetcast_viewers", ("stream", name), ("worker", homes[name])) for name in homes} <= samples
    assert ("puppetcast_fleet_worker_alive", ("worker", "w1")) in samples
    ids = [portrait["id"] for portrait in told(http, "/api/portraits")]
    assert len(set(ids)) == len(ids) > 1
    assert told(http, "/readyz") == {"ready": True}
    assert "default-src 'none'" in http.get("/").headers["content-security-policy"]


@pytest.mark.parametrize("name", ["%00", "%1B[31m", "%7f", "b%3Fx", "b%23y", "ä", "NOPE"])
def test_a_name_that_no_stream_can_have_is_refused_before_it_is_kept(local, http, name):
    refused = http.put(f"/api/streams/{name}", json={})
    assert (refused.status_code, refused.json()["code"]) == (422, "ConfigError")
    assert "a name has up to 40 small letters" in refused.json()["detail"]
    assert sorted(local.ask(local.director.streams())) == ["one", "two"]


def test_a_recording_that_several_workers_have_is_one(running, http):
    (running[1].folder / "recordings").mkdir(exist_ok=True)
    recording = running[1].folder / "recordings" / "one-2026-01-01T12-00-00.mp4"
    recording.write_bytes(b"a recording")
    assert [each["name"] for each in told(http, "/api/recordings")].count(recording.name) == 1
    assert http.delete(f"/api/recordings/{recording.name}").status_code == 204
    assert recording.name not in {each["name"] for each in told(http, "/api/recordings")}


def test_a_client_that_says_it_is_of_the_fleet_is_a_client(http):
    """Its word in the place of the front's would make a worker answer that it is another fleet's, as if it were lost."""
    assert http.get("/api/streams/one", headers={KEY: "a guess"}).status_code == 200


def test_pictures_come_from_the_stream_s_worker_and_endless_ones_as_they_come(http):
    assert http.get("/live/two/snapshot.jpg").content[:2] == b"\xff\xd8"
    assert http.head("/live/two/mjpeg").status_code == 200
    with http.stream("GET", "/live/one/mjpeg") as reply:
        assert b"\xff\xd8" in next(reply.iter_bytes())


def test_what_is_uploaded_is_with_every_worker(local, picture):
    workers = local.ask(local.director.workers())
    with httpx.Client(base_url=local.urls[1], timeout=LIMIT_S) as http:
        uploaded = http.post("/api/portraits?name=me", content=picture("s1").read_bytes())
        assert uploaded.status_code == 201, uploaded.text
        key = uploaded.json()["id"]
        assert all(key in kept(at) for at in workers)
        assert http.patch(f"/api/portraits/{key}", json={"name": "you"}).json()["name"] == "you"
        for name in ("one", "two"):
            assert http.patch(f"/api/streams/{name}", json={"portrait": key}).status_code == 200
            assert http.patch(f"/api/streams/{name}", json={"previous_portrait": True}).status_code == 200
        locked = http.patch(f"/api/portraits/{key}/drivers", json={"needs_pass": True}).json()
        assert locked["pass"], "one pass, whichever worker it is shown to"
        assert all(kept(at)[key]["needs_pass"] for at in workers)
        assert http.delete(f"/api/portraits/{key}").status_code == 204
        assert not any(key in kept(at) for at in workers)
        assert (
            http.put("/api/presets/Wink", json={"version": 1, "shapes": {"eyeBlinkLeft": 1}, "mode": "over"}).status_code == 200
        )
        assert {straight(at, "GET", "/api/presets/Wink").status_code for at in workers} == {200}
        assert http.delete("/api/presets/Wink").status_code == 204


def test_streams_come_and_go_and_events_say_so(http):
    assert http.put("/api/streams/three", json={"portrai": "x"}).status_code == 422
    assert http.put("/api/streams/no such name", json={}).status_code in (404, 422)
    with http.stream("GET", "/api/events") as events:
        lines = events.iter_lines()
        assert http.put("/api/streams/three", json={}).status_code == 201
        assert http.put("/api/streams/three", json={"puppet": {"mirror": True}}).status_code == 200
        next(line for line in lines if line.startswith("data: ") and json.loads(line[6:])["name"] == "three")
        assert http.delete("/api/streams/three").status_code == 204
        next(line for line in lines if line == "event: gone")
        assert json.loads(next(lines)[6:]) == {"name": "three"}
    assert http.delete("/api/streams/three").status_code == 404
    assert http.post("/live/three/whep", content="v=0").status_code == 404


async def test_mqtt_speaks_of_every_stream_once_and_goes_on_when_a_worker_is_killed(local, running, mosquitto):
    _, workers = running
    at = local.ask(local.director.where("two"))
    async with mosquitto.client() as client:
        for stream in ("one", "two"):
            assert await client.wait(f"puppetcast/{stream}/availability") == b"online"
            assert (await client.command(stream, "mirror", '{"value": true, "id": 7}'))["id"] == 7
        results = [message.topic for message in client.log if message.topic.endswith("/result")]
        assert sorted(results) == ["puppetcast/one/cmd/mirror/result", "puppetcast/two/cmd/mirror/result"]
        config = "homeassistant/device/puppetcast_two/config"
        assert f"servers/{at.worker}/" in (await client.wait(config)).decode()
        workers.signal(at.worker, SIGKILL)
        other = {"w0": "w1", "w1": "w0"}[at.worker]
        await client.wait(config, lambda payload: f"servers/{other}/" in payload.decode())
        await client.wait(f"puppetcast/servers/{at.worker}/availability", lambda payload: payload == b"offline")
        assert (await client.command("two", "mirror", "OFF"))["state"]["puppet"]["mirror"] is False
        # Whoever had it says late that it is gone: whoever has it contradicts.
        client.seen.pop("puppetcast/two/state")
        await client.mqtt.publish("puppetcast/two/availability", b"", qos=1, retain=True)
        await client.wait("puppetcast/two/state")
        await client.wait("puppetcast/two/availability", lambda payload: payload == b"online")
    workers.start(at.worker)
    await until(lambda: all(each["alive"] for each in local.ask(local.director.state())["workers"]))


@pytest.mark.browser
def test_the_page_has_a_picture_again_when_its_worker_is_killed_and_others_never_lose_theirs(page, camera, running):
    local, workers = running
    camera("d19", 60)
    with httpx.Client(base_url=local.url, timeout=LIMIT_S) as http:
        begin_two_apart(http, local)
        page.goto(f"{local.url}/?stream=two")
        page.wait_for_function("document.getElementById('puppet').videoWidth > 0", timeout=1000 * LIMIT_S)
        page.click("#start")
        until_state(http, lambda state: state["publisher"] and state["viewers"], stream="two")
        page.evaluate(WATCH_ANOTHER)
        at, other = (local.ask(local.director.where(stream)) for stream in ("two", "one"))
        assert at != other
        workers.signal(at.worker, SIGKILL)
        moved = wait_until(lambda: there(other, "two"), holds=lambda state: state and state["publisher"] and state["viewers"])
        assert moved["errors"] == 0
        for video in ("document.getElementById('puppet')", "another.video"):
            page.evaluate(f"new Promise((shown) => {video}.requestVideoFrameCallback(shown))")
        assert page.evaluate("another.lost") is False
        assert http.head(page.evaluate("another.link.location")).status_code == 200
        assert [state["name"] for state in told(http, "/api/streams")] == ["one", "two"]


def there(at: At, stream: str) -> Any:
    """A stream's state as its worker has it; None where it has none."""
    reply = straight(at, "GET", f"/api/streams/{stream}")
    return reply.json() if reply.status_code == 200 else None
