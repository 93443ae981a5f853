"""What a server holds its clients to holds through a fleet's front; the worker is a server of the test's own process."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

import httpx
import pytest
import yaml

from streamer.app import Server

from ..conftest import run_server
from ..peers import SDP, offer_of
from ..waiting import LIMIT_S, until, wait_until
from .local import Local

TOKENS = {"token": "rule of sixteen characters", "view_token": "look"}


def client(server: Server, address: str = "127.0.0.1", token: str = "", **headers: str) -> httpx.Client:
    """One at this address of the machine."""
    given = headers | ({"Authorization": f"Bearer {token}"} if token else {})
    return httpx.Client(base_url=server.url, headers=given, timeout=LIMIT_S, transport=httpx.HTTPTransport(local_address=address))


def fleet_of(server: Any) -> Local:
    return server.front


def test_each_client_is_counted_by_its_own_address_whatever_it_says_of_itself(model):
    with run_server(front=True, auth={"requests_per_minute": 2}) as server, ExitStack() as stack:
        one, two = (stack.enter_context(client(server, address)) for address in ("127.0.0.1", "127.0.0.2"))
        liar = stack.enter_context(client(server, **{"X-Forwarded-For": "192.0.2.9"}))
        statuses = [each.post("/live/live/whep", content="x", headers=SDP).status_code for each in (one, one, liar, two)]
    assert statuses == [400, 400, 429, 400]


def test_rights_pages_of_other_sites_and_names(model):
    with run_server(front=True, auth=TOKENS) as server, ExitStack() as stack:
        nobody, viewer, owner = (stack.enter_context(client(server, token=each)) for each in ("", "look", TOKENS["token"]))
        assert [each.get("/api/streams").status_code for each in (nobody, viewer, owner)] == [401, 200, 200]
        assert [each.post("/live/nothing/whip").status_code for each in (nobody, viewer, owner)] == [401, 403, 404]
        assert [each.get("/api/fleet").status_code for each in (nobody, viewer, owner)] == [401, 200, 200]
        for method in ("POST", "DELETE"):
            asked = [each.request(method, "/api/fleet/w9/drain").status_code for each in (nobody, viewer, owner)]
            assert asked == [401, 403, 404]
        assert viewer.get("/api/me").json()["server"] == "view"
        foreign, own = {"Origin": "https://a.example"}, {"Origin": server.url}
        for origin, status in ((foreign, 403), (own, 200)):
            assert owner.patch("/api/streams/live", json={"mirror": True}, headers=origin).status_code == status
        assert owner.get("/api/streams", headers={"Host": "evil.example"}).status_code == 421
        [at] = fleet_of(server).ask(fleet_of(server).director.workers())
        refused = httpx.get(f"{at.url}/api/streams", headers={"Authorization": f"Bearer {TOKENS['token']}"})
        assert (refused.status_code, refused.json()["code"]) == (403, "WrongKey"), "past the front"


async def test_a_full_fleet_refuses_new_streams_and_ends_nothing(model):
    with run_server(front=True, webrtc={"max_sessions": 1}) as server:
        async with httpx.AsyncClient(base_url=server.url, timeout=LIMIT_S) as http:
            offer = await offer_of("whep")
            session = (await http.post("/live/live/whep", content=offer, headers=SDP)).headers["location"]
            await until(lambda: not sessions_free(server))
            full = await http.put("/api/streams/more", json={})
            assert (full.status_code, full.json()["code"]) == (503, "FleetFull")
            refused = await http.post("/live/live/whep", content=offer, headers=SDP)
            assert (refused.status_code, refused.json()["code"]) == (503, "TooManySessions")
            assert all(int(reply.headers["retry-after"]) > 0 for reply in (full, refused))
            assert (await http.delete(session)).status_code == 200


def sessions_free(server: Server) -> int:
    fleet = fleet_of(server)
    [worker] = fleet.ask(fleet.director.state())["workers"]
    return int(worker["sessions_free"])


@pytest.fixture
def server(model):
    with run_server(front=True) as running:
        yield running


@pytest.fixture
async def http(server):
    async with httpx.AsyncClient(base_url=server.url, timeout=LIMIT_S) as client:
        yield client


async def test_a_front_of_another_fleet_gets_no_answers_and_does_no_harm(server, http):
    own = fleet_of(server)
    session = (await http.post("/live/live/whep", content=await offer_of("whep"), headers=SDP)).headers["location"]
    with Local(own.engine, own.config, 1, "another secret").running({}) as other:
        await until(lambda: other.ask(other.director.streams()))  # it has to see what runs there
        async with httpx.AsyncClient(base_url=other.url, timeout=LIMIT_S) as stranger:
            refused = await stranger.get("/live/live/snapshot.jpg")
            assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
            assert "w0" in refused.json()["detail"]
            assert (await stranger.head(session)).status_code == 503
    assert (await http.head(session)).status_code == 200
    assert (await http.delete(session)).status_code == 200


def test_a_worker_that_cannot_be_emptied_says_what_it_waits_for_and_may_be_kept(server, shell, tmp_path):
    config = tmp_path / "fleet.yaml"
    config.write_text(yaml.safe_dump({"http": {"port": httpx.URL(server.url).port}}))
    fleet = fleet_of(server)
    wait_until(lambda: fleet.ask(fleet.director.state())["workers"][0]["streams"])  # it is ready before its stream is placed
    draining = shell.start(["fleet", "drain", "w0", config])
    assert "worker w0 still has live" in wait_until(shell.said(draining).read_text)
    kept = shell.run(["fleet", "drain", "w0", "--undo", config])
    assert (kept.code, kept.said) == (0, "worker w0 takes streams\n")
    drained = shell.ended(draining)
    assert drained.code == 2
    assert "at most for 600 s; the others wait for room on another worker" in drained.said
    assert drained.said.endswith("error: worker w0 still has live: it is kept\n")


async def test_sessions_go_on_while_the_director_is_away(server, http):
    offer = await offer_of("whep")
    session = (await http.post("/live/live/whep", content=offer, headers=SDP)).headers["location"]
    stale = session.replace("w0.", "w0.f")
    assert (await http.head(stale)).status_code == 404, "of another process"
    fleet_of(server).end_director()
    refused = await http.post("/live/live/whep", content=offer, headers=SDP)
    assert (refused.status_code, refused.json()["code"], refused.headers["retry-after"]) == (503, "DirectorAway", "1")
    assert (await http.head(session)).status_code == 200
    assert (await http.delete(session)).status_code == 200
    assert [(await http.head(each)).status_code for each in (session, stale)] == [404, 404]
    assert (await http.get("/api/streams/live")).json()["name"] == "live", "its worker knows what it does"
    for unsure in (await http.get("/api/streams/other"), await http.patch("/api/streams/live", json={"mirror": True})):
        assert (unsure.status_code, unsure.json()["code"]) == (503, "DirectorAway")
