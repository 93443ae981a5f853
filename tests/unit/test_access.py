"""Who may do what: tokens, rights on every route, wrong tokens, names of the server, other pages; asked in-process."""

from __future__ import annotations

import itertools
import ssl
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from pipeline.installation import command
from streamer.app import Server
from streamer.cli.token import _link
from streamer.config import Auth, Config, load_config
from streamer.control.workshop import MakingState
from streamer.errors import ConfigError
from streamer.http import phone, tokens
from streamer.http.access import Access
from streamer.http.front import POLICY
from streamer.http.qr import qr_code
from streamer.http.rights import DELAY_S, Of, Right
from streamer.http.server import create_app
from streamer.http.tokens import Grant, Tokens
from streamer.http.web import WebServer, address_for, check_certificate

from ..certificates import write_pem
from ..fakes import ManualTime
from ..strangers import routes, url

TOKENS = {
    "token": "rule", "view_token": "look", "streams": {"hall": {"token": "hall-rule", "view_token": "hall-look"}, "whep": {}},
}  # fmt: skip
STREAMS: dict[str, Any] = {"live": {}, "hall": {}, "whep": {}, "sessions": {}}
OPEN = {"/healthz": 200, "/docs": 200, "/view/{name}": 200, "/view": 307, "/view/": 307, "/view/{name}/": 307}


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """Not started: its streams do not live, its doors are those of one that was."""
    data = {"http": {"port": 0}, "downloads": {"fetch": False}, "portraits": {"keep": False}}
    server = Server(Config.model_validate(data))
    yield server
    server._listener.close()


@pytest.fixture
def asked(server):
    """A client of the server as it would be with another config; from any address."""

    def ask(address: str = "192.0.2.7", clock: ManualTime | None = None, auth: dict | None = None, **http: Any):
        data = {"http": http, "auth": TOKENS if auth is None else auth, "streams": STREAMS}
        config = Config.model_validate(data)
        access = Access(config.auth, clock or ManualTime())
        server.control.supervisor._looked_s = float("inf")  # it does not run: after a few seconds it would count as stalled
        app = create_app(server.control, server.sessions, server.sessions._ice, access, config, server.roster)
        return clients(app, address)

    return ask


def clients(app: Any, address: str) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app, client=(address, 1)), base_url="http://localhost")


def another(client: httpx.AsyncClient, address: str) -> httpx.AsyncClient:
    """A client of the same server, from another address."""
    transport = client._transport
    assert isinstance(transport, httpx.ASGITransport)
    return clients(transport.app, address)


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


async def test_without_a_token_every_route_but_the_pages_answers_401(server, asked):
    """Those of sessions too, where no such session is; and what is no route is the page's files, which have no secrets."""
    refused = 0
    async with asked() as client:
        for method, path, need in routes(server.http):
            reply = await client.request(method, url(path))
            if path in OPEN:
                assert (reply.status_code, need.right) == (OPEN[path], None)
            else:
                assert reply.status_code == 401, (method, path)
                assert reply.headers["www-authenticate"] == "Bearer"
                refused += 1
        assert refused > 40
        for path in ("/redoc", "/api", "/live/x", "/openapi", "/metrics/"):
            assert (await client.get(path)).status_code in (307, 401, 404)


async def test_every_refusal_is_described_and_has_one_shape(server, asked):
    """Of every route, asked without a token, and with one for what is not there."""
    described = server.http.openapi()["paths"]
    async with asked() as client:
        for method, path, _ in routes(server.http):
            answers = described.get(path, {}).get(method.lower(), {}).get("responses")
            if answers is None or path == "/api/events":  # that one would never end
                continue
            for headers in ({}, bearer("rule")):
                reply = await client.request(method, url(path, "none"), headers=headers)
                assert str(reply.status_code) in answers, (method, path, reply.text)
                if reply.status_code >= 400 and "ready" not in reply.text and method != "HEAD":
                    assert {"detail", "code"} == reply.json().keys(), (method, path)


BOTH = ("live", "hall")
MAY = {
    "rule": {(right, of, name) for right in Right for of in Of for name in BOTH},
    "look": {(Right.VIEW, of, name) for of in Of for name in BOTH},
    "hall-rule": {(right, of, "hall") for right in Right for of in (Of.STREAM, Of.RECORDING)}
    | {(right, Of.ANY, name) for right in Right for name in BOTH},
    "hall-look": {(Right.VIEW, Of.STREAM, "hall")} | {(Right.VIEW, Of.ANY, name) for name in BOTH},
}


async def test_what_each_token_may(server, asked):
    """Every route of every method with every token: 403 with what lacks in words, or past the door."""
    async with asked() as client:
        for method, path, need in routes(server.http):
            if need.right is None or path == "/api/events":  # that one would never end
                continue
            for name, (token, may) in itertools.product(BOTH, MAY.items()):
                good = (need.right, need.of, name) in may
                about = f"{name}-2026-01-02T03-04-05.mp4" if need.of is Of.RECORDING else name
                reply = await client.request(method, url(path, about), params={"name": ""}, headers=bearer(token))
                assert (reply.status_code != 403) == good, (method, path, name, token, reply.text)
                if not good:
                    assert reply.headers["www-authenticate"] == 'Bearer error="insufficient_scope"'
                    words = f"the right to {need.right.name.lower()} "
                    words += f"stream '{name}'" if need.of in (Of.STREAM, Of.RECORDING) else need.of.value
                    assert method == "HEAD" or reply.json()["detail"].endswith(f"; {words} is needed"), reply.text


@pytest.mark.parametrize(("method", "url"), [("PATCH", "/api/streams/whep"), ("POST", "/live/sessions/whip")])
async def test_no_name_of_a_stream_makes_a_right_of_another(asked, method, url):
    async with asked() as client:
        for given in ({"headers": bearer("look")}, {"params": {"token": "look"}}, {"headers": {"Host": "x/?"}}):
            assert (await client.request(method, url, **given)).status_code in (401, 403, 421)


async def test_on_a_loopback_address_no_token_is_needed(asked):
    async with asked(auth={}) as client:
        assert (await client.get("/api/streams")).status_code == 200
        assert (await client.patch("/api/streams/x", json={})).status_code == 404


async def test_why_a_puppet_failed_is_not_for_viewers(server, asked, monkeypatch):
    """It may say where on the machine something lies."""
    problem = "me: cannot be kept in /home/her/puppets (No space left on device)"
    failed = MakingState(id="puppet-1", name="me", state="failed", problem=problem)
    monkeypatch.setitem(server.control.workshop._states, "puppet-1", failed)
    async with asked() as client:
        for token, told in (("rule", problem), ("look", "it could not be made"), ("hall-rule", "it could not be made")):
            [listed] = (await client.get("/api/puppets", headers=bearer(token))).json()
            assert listed == (await client.get("/api/puppets/puppet-1", headers=bearer(token))).json()
            assert (listed["state"], listed["problem"]) == ("failed", told)


async def test_wrong_tokens_are_counted_by_address(asked):
    """Ten in a minute, on any path; who was let in before is let in all the same, from there too: many may share an address."""
    clock = ManualTime()
    async with asked("192.0.2.7", clock) as guesser:
        paths = ["/api/streams", "/live/live/whep", "/api/recordings", "/metrics"]
        for good in ("rule", "look"):
            assert (await guesser.get("/api/streams", headers=bearer(good))).status_code == 200
        codes = [(await guesser.get(paths[n % 4], headers=bearer(f"guess-{n}"))).status_code for n in range(14)]
        assert codes == [401] * 10 + [429] * 4
        late = await guesser.get("/api/streams", params={"token": "rul"})
        assert (late.status_code, late.headers["retry-after"], late.json()["code"]) == (429, "60", "TooManyRequests")
        for good, path, code in (
            ("rule", "/api/streams", 200),
            ("hall-look", "/api/streams", 429),  # not looked at: it may be the next guess
            ("look", "/api/recordings", 403),
        ):
            for _ in range(15):
                assert (await guesser.get(path, headers=bearer(good))).status_code == code
        assert (await guesser.get("/api/streams")).status_code == 401, "who has no token guesses none"
        assert (await guesser.get("/healthz")).status_code == 200
        async with another(guesser, "192.0.2.8") as other:
            assert (await other.get("/api/streams", headers=bearer("wrong"))).status_code == 401
            assert (await other.get("/api/streams", headers=bearer("hall-look"))).status_code == 200
        assert (await guesser.get("/api/streams", headers=bearer("hall-look"))).status_code == 200, "it is known by now"
        clock.sleep(61)
        again = [(await guesser.get("/api/streams", headers=bearer(f"guess-{n}"))).status_code for n in range(14)]
        assert again == codes, "the same guesses count anew"
        clock.sleep(61)
        assert (await guesser.get("/api/streams", headers=bearer("wrong"))).status_code == 401


async def test_tokens_that_are_wrong_over_or_missing_are_told_apart_no_further(asked):
    """A link that has ended, one that was forged and a guess get the same words; who sent nothing is told to send one."""
    ours = Tokens(Auth(token="rule"), lambda: 1000.0)
    ended, good = ours.link(Right.VIEW, "live", 1), Tokens(Auth(token="rule")).link(Right.VIEW, "live", 1)
    async with asked() as client:
        told = [await client.get("/api/streams", headers=bearer(token)) for token in (ended, good[:-1] + "_", "guess")]
        assert {(reply.status_code, reply.text, reply.headers["www-authenticate"]) for reply in told} == {
            (401, '{"detail":"this token is not known here, or has ended","code":"UnknownToken"}', 'Bearer error="invalid_token"')
        }
        nothing = (await client.get("/api/streams")).json()
        assert nothing == {"detail": "a token is needed: 'Authorization: Bearer TOKEN'", "code": "Unauthorized"}


async def test_who_has_no_token_takes_no_requests_from_those_who_have_one(asked):
    """Where all come from one address, as through a proxy that is not known as one."""
    async with asked() as client:
        for _ in range(130):
            reply = await client.patch("/live/live/sessions/guessed")
        assert reply.status_code == 429
        offered = await client.post("/live/live/whep", headers=bearer("look"))
        assert (offered.status_code, offered.json()["code"]) == (404, "UnknownStream")


@pytest.mark.parametrize(
    ("http", "headers", "told"),
    [
        ({}, {"X-Forwarded-For": "203.0.113.5"}, "set http.trusted_proxies: [192.0.2.7]"),
        ({}, {"Forwarded": "for=203.0.113.5"}, "set http.trusted_proxies: [192.0.2.7]"),
        ({"trusted_proxies": ["10.0.0.1"]}, {"X-Forwarded-For": "203.0.113.5"}, "set http.trusted_proxies: [192.0.2.7]"),
        ({"trusted_proxies": ["192.0.2.0/24"]}, {"Forwarded": "for=203.0.113.5"}, "says by no X-Forwarded-For who asks"),
        ({"trusted_proxies": ["10.0.0.1"]}, {"X-Forwarded-For": "192.0.2.7"}, ""),  # uvicorn has put the client in its place
        ({}, {}, ""),
    ],
)
async def test_a_proxy_that_is_not_known_as_one_is_told_once(asked, caplog, http, headers, told):
    async with asked(**http) as client:
        for _ in range(3):
            await client.get("/healthz", headers=headers)
    assert [told in message for message in caplog.messages] == [True] * bool(told)


async def test_a_guess_that_is_one_too_many_is_refused_later(asked, monkeypatch):
    """So a guesser who waits for answers leaves the server to its viewers."""
    waits = []

    async def wait(seconds: float) -> None:
        waits.append(seconds)

    monkeypatch.setattr("asyncio.sleep", wait)
    async with asked() as client:
        codes = [(await client.get("/metrics", headers=bearer(f"guess-{n}"))).status_code for n in range(13)]
    assert (codes, waits) == ([401] * 10 + [429] * 3, [DELAY_S] * 3)


async def test_a_page_with_an_old_link_is_no_guesser(asked):
    """It asks for many things, and whoever has it open must be let in with the next link."""
    async with asked() as client:
        for _ in range(30):
            assert (await client.get("/api/streams", headers=bearer("old"))).status_code == 401
        assert (await client.get("/api/streams", headers=bearer("look"))).status_code == 200


async def test_wrong_tokens_of_ipv6_are_counted_by_network(asked):
    async with asked("2001:db8:0:1::1") as first:
        for n in range(10):
            async with another(first, f"2001:db8:0:1::{n:x}:1") as client:
                assert (await client.get("/metrics", headers=bearer(f"x{n}"))).status_code == 401
        async with another(first, "2001:db8:0:1:ffff::") as same, another(first, "2001:db8:0:2::1") as other:
            assert (await same.get("/metrics", headers=bearer("y"))).status_code == 429
            assert (await other.get("/metrics", headers=bearer("y"))).status_code == 401


async def test_a_good_token_without_the_right_is_no_guess(asked):
    async with asked() as client:
        for _ in range(20):
            assert (await client.patch("/api/streams/live", json={}, headers=bearer("look"))).status_code == 403
        assert (await client.get("/api/streams", headers=bearer("look"))).status_code == 200


@pytest.fixture
def phones(server, asked, monkeypatch):
    """What the server answers where the page asks for a phone's link. address: by which the page was opened."""
    monkeypatch.setitem(server.control.streams, "live", object())  # it is only looked for
    monkeypatch.setattr(phone, "lan_addresses", lambda: {"192.168.1.5": "wlan0", "10.9.0.2": "eth1"})

    async def ask(address: str, token: str = "rule", **http: Any) -> httpx.Response:
        async with asked(**http) as client:
            return await client.post(f"{address}/api/streams/live/phone", headers=bearer(token))

    return ask


async def test_a_phones_link_is_for_a_stream_and_an_address_that_it_reaches(phones):
    told = (await phones("https://localhost:8080", host="0.0.0.0")).json()
    assert (told["problem"], told["minutes"]) == ("", 720)
    first, second = told["links"]
    assert [each["url"].partition("/?")[0] for each in (first, second)] == ["https://192.168.1.5:8080", "https://10.9.0.2:8080"]
    assert (first["interface"], second["interface"]) == ("wlan0", "eth1")
    assert (np.array([[sign == "1" for sign in row] for row in first["code"]]) == qr_code(first["url"])).all()
    [grant] = Tokens(Auth(token="rule")).grants(first["url"].partition("#token=")[2])
    assert (grant.right, grant.stream) == (Right.CONTROL, "live")
    [one] = (await phones("https://192.168.1.5:8080", host="192.168.1.5")).json()["links"]
    assert one["url"].startswith("https://192.168.1.5:8080/?stream=live#token=link.control.live.")
    [named] = (await phones("https://puppet.example.org", names=["puppet.example.org"])).json()["links"]
    assert named["url"].startswith("https://puppet.example.org/?"), "as whoever asks has reached it"


async def test_what_keeps_phones_out_is_told(phones):
    assert (await phones("http://127.0.0.1:8080")).json()["problem"].endswith(f"start it with “{command('serve --lan')}”.")
    assert (
        (await phones("http://localhost:8080", host="0.0.0.0"))
        .json()["problem"]
        .startswith("Phones allow the camera only on https pages.")
    )
    own = Tokens(Auth(token="rule")).link(Right.CONTROL, "live", 9)
    for token in (own, "look"):
        assert (await phones("https://localhost", token)).status_code == 403, "a link makes no other that holds longer"


def test_links_hold_for_a_stream_a_right_and_a_while():
    now = [1000.0]
    ours = Tokens(Auth(token="rule"), lambda: now[0])
    link = ours.link(Right.PUBLISH, "hall", 60)
    [grant] = ours.grants(link)
    assert (grant.right, grant.stream) == (Right.PUBLISH, "hall")
    assert grant.allows(Right.VIEW, Of.STREAM, "hall")
    assert not grant.allows(Right.CONTROL, Of.STREAM, "hall")
    assert not grant.allows(Right.VIEW, Of.STREAM, "live")
    assert not grant.allows(Right.VIEW, Of.SERVER)
    forged = [
        link.replace("publish", "control"), link.replace("hall", "live"), link.replace("4600", "9600"), link[:-1] + "_",
        link + "x",
        Tokens(Auth(token="other"), lambda: now[0]).link(Right.PUBLISH, "hall", 60), link.replace("publish", "nothing"),
    ]  # fmt: skip
    assert [ours.grants(token) for token in forged] == [[]] * len(forged)
    now[0] += 3601
    assert ours.grants(link) == []


async def test_a_link_opens_its_stream(asked):
    link = Tokens(Auth(token="rule")).link(Right.VIEW, "hall", 5)
    async with asked() as client:
        for method, path, code in (
            ("GET", "/live/hall/whep", 404), ("GET", "/live/live/whep", 403), ("POST", "/live/hall/whip", 403),
            ("GET", "/api/streams", 200), ("GET", "/api/recordings", 403), ("GET", "/metrics", 403),
        ):  # fmt: skip
            reply = await client.request(method, path, params={"token": link})
            assert reply.status_code == code, path


@pytest.fixture
def recorded(server, asked, monkeypatch, tmp_path):
    """A server with recordings of two streams, one of which has the other's name in its own, and a file of somebody else's."""
    names = ["hall-2026-01-02T03-04-05.mp4", "hall-2-2026-01-02T03-04-05.mp4", "live-2026-01-02T03-04-05-1.mp4", "hall-own.mp4"]
    for name in names:
        (tmp_path / name).write_bytes(b"film")
    monkeypatch.setattr(server.control.outputs.library, "folder", tmp_path)
    return asked


async def test_a_link_gets_the_recordings_of_its_stream_alone(recorded, tmp_path):
    """With their names, not where they lie; and begins, plays and deletes them."""
    link = Tokens(Auth(token="rule")).link(Right.CONTROL, "hall", 5)
    own = "hall-2026-01-02T03-04-05.mp4"
    async with recorded() as client:
        owners = (await client.get("/api/recordings", headers=bearer("rule"))).json()
        assert {file["path"] for file in owners} == {str(path) for path in tmp_path.iterdir()}
        [seen] = (await client.get("/api/recordings", headers=bearer(link))).json()
        assert (seen["name"], seen["path"]) == (own, "")
        for token in ("look", "hall-look"):
            assert (await client.get("/api/recordings", headers=bearer(token))).status_code == 403
        for other in ("hall-2-2026-01-02T03-04-05.mp4", "live-2026-01-02T03-04-05-1.mp4", "hall-own.mp4", "hall"):
            for method in ("GET", "DELETE"):
                refused = await client.request(method, f"/api/recordings/{other}", headers=bearer(link))
                assert refused.status_code == 403, other
        assert len(list(tmp_path.iterdir())) == 4
        assert (await client.get(f"/api/recordings/{own}", params={"token": link})).content == b"film"
        assert (await client.delete(f"/api/recordings/{own}", headers=bearer(link))).status_code == 204
        assert not (tmp_path / own).exists()


async def test_who_asks_is_told_what_he_may(server, asked, monkeypatch):
    for name in BOTH:
        monkeypatch.setitem(server.control.streams, name, object())  # only its name is looked at
    link = Tokens(Auth(token="rule")).link(Right.PUBLISH, "hall", 5)
    async with asked() as client:
        for token, of_server, streams in (
            ("rule", "control", {"live": "control", "hall": "control"}), ("look", "view", {"live": "view", "hall": "view"}),
            (link, "none", {"hall": "publish"}), ("hall-rule", "none", {"hall": "control"}),
        ):  # fmt: skip
            assert (await client.get("/api/me", headers=bearer(token))).json() == {
                "server": of_server,
                "streams": streams,
                "asks_whose": True,
            }
    async with asked(auth={}) as client:
        assert (await client.get("/api/me")).json()["server"] == "control"


async def test_a_slash_leads_to_the_picture(asked):
    async with asked() as client:
        for path, page in (
            ("/view/", "/view/live"),
            ("/view", "/view/live"),
            ("/view/hall/?background=picture", "/view/hall?background=picture"),
        ):
            moved = await client.get(path)
            assert (moved.status_code, moved.headers["location"]) == (307, page)
            assert "clean.js" in (await client.get(moved.headers["location"])).text


def test_tokens_are_compared_in_the_same_time_whatever_is_given(monkeypatch):
    """All of them, and by nothing else."""
    compared = []
    monkeypatch.setattr("hmac.compare_digest", lambda *pair: compared.append(pair))
    assert Tokens(Auth.model_validate(TOKENS)).grants("rule") == []
    assert len(compared) == 4
    Tokens(Auth(token="rule")).grants(Tokens(Auth(token="other")).link(Right.VIEW, "hall", 5))
    assert len(compared) == 6


async def test_a_path_leads_to_the_page_s_files_and_nowhere_else(asked):
    async with asked(auth={}) as client:
        for path in ("/../Makefile", "/..%2fMakefile", "/%2e%2e/Makefile", "//etc/passwd", "/%00", "/app.js%00"):
            assert (await client.get(path)).status_code == 404, path


async def test_a_long_name_does_not_come_back_whole(asked):
    async with asked(auth={}) as client:
        for path in ("/api/streams/", "/api/puppets/"):
            assert len((await client.get(path + "x" * 50_000)).content) < 500, path
        assert len((await client.get("/api/portraits/" + "x" * 50_000 + "/image")).content) < 500


HOSTS = {
    200: [
        "localhost", "localhost:8080", "LOCALHOST", "127.0.0.1:80", "127.3.2.1", "[::1]:8080", "puppet.example",
        "puppet.example:8443",
    ],
    421: [
        "evil.test", "evil.test:80", "localhost.evil.test", "", "10.0.0.1", "0.0.0.0", "x/?", "localhost/?", "[::1",
        "localhost:99999", "localhost@evil.test",
    ],
}  # fmt: skip


async def test_names_that_the_server_goes_by(asked):
    """A name that an attacker lets point here is none (DNS rebinding)."""
    async with asked(auth={}, names=["puppet.example"]) as client:
        for code, host in ((code, host) for code, hosts in HOSTS.items() for host in hosts):
            assert (await client.get("/healthz", headers={"Host": host})).status_code == code, host
        own = {"Host": "evil.test", "Origin": "http://evil.test"}
        refused = await client.patch("/api/streams/live", json={}, headers=own)
        assert (refused.status_code, refused.json()["code"]) == (421, "UnknownHost")


async def test_the_address_that_a_request_came_to_is_a_name(server, asked):
    async with asked(auth={}) as client:
        app = client._transport.app
    own = "192.0.2.1"
    for arrived, host, code in ((own, f"{own}:8080", 200), (own, "192.0.2.2", 421), (f"::ffff:{own}", own, 200)):
        url = f"http://[{arrived}]" if ":" in arrived else f"http://{arrived}"
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=url) as client:
            assert (await client.get("/healthz", headers={"Host": host})).status_code == code, host


ORIGINS = {
    404: ["http://localhost", "http://127.0.0.1", "https://puppet.example", "https://friend.example"],
    403: [
        "http://evil.test", "null", "http://[", "http://localhost:3000", "file://", "http://puppet.example.evil.test",
        "http://localhost:x", "", "http://10.0.0.1",
    ],
}  # fmt: skip


async def test_pages_that_may_command(asked):
    """Those of this server and those that the config names; a service at another port of this machine is not this server."""
    async with asked(auth={}, names=["puppet.example"], allowed_origins=["https://friend.example"]) as client:
        for code, origin in ((code, origin) for code, origins in ORIGINS.items() for origin in origins):
            reply = await client.patch("/api/streams/nobody", json={}, headers={"Origin": origin})
            assert reply.status_code == code, origin
            assert (await client.get("/healthz", headers={"Origin": origin})).status_code == 200


async def test_answers_carry_what_protects_a_page(asked):
    async with asked() as client:
        for path in ("/", "/docs", "/healthz", "/api/streams", "/app.js", "/nothing"):
            headers = (await client.get(path)).headers
            assert (headers["x-content-type-options"], headers["referrer-policy"]) == ("nosniff", "no-referrer")
            assert "camera=(self)" in headers["permissions-policy"]
        for page in ("/", "/docs", "/index.html"):
            assert (await client.get(page)).headers["content-security-policy"] == POLICY
        assert "unsafe" not in POLICY
        assert "http" not in POLICY


def test_the_pages_have_nothing_inline():
    for page in (Path(__file__).parents[2] / "web").glob("*.html"):
        text = page.read_text()
        assert " style=" not in text
        assert "<style" not in text
        assert "<script>" not in text
        assert " onclick=" not in text


def test_a_server_for_others_has_a_token(tmp_path):
    path = tmp_path / "deep" / "token"
    config = Config.model_validate({"http": {"host": "0.0.0.0"}, "auth": {"token_file": path}})
    first, made = tokens.closed(config)
    assert made
    assert len(first.auth.token) == 32
    assert path.read_text() == first.auth.token + "\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    path.chmod(0o644)
    assert tokens.closed(config) == (first, False)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    path.write_text("\n")
    assert tokens.closed(config)[0].auth.token != first.auth.token, "an empty one is none"


@pytest.mark.parametrize(
    ("http", "is_open"),
    [
        ({}, False), ({"host": "::1"}, False), ({"host": "127.0.0.5"}, False), ({"host": "localhost"}, False),
        ({"host": "::"}, True),
        ({"host": "192.0.2.1"}, True), ({"host": "box"}, True), ({"names": ["a.example"]}, True),
        ({"trusted_proxies": ["10.0.0.1"]}, True),
    ],
)  # fmt: skip
def test_who_reaches_the_server(http, is_open):
    """Whoever uses a proxy on this machine comes from elsewhere, too."""
    assert tokens.is_open(Config.model_validate({"http": http})) == is_open


def test_a_token_that_cannot_be_kept_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    config = Config.model_validate({"http": {"host": "0.0.0.0"}, "auth": {"token_file": tmp_path / "file" / "token"}})
    with pytest.raises(ConfigError, match=r"token: Not a directory$"):
        tokens.closed(config)
    unread = config.auth.model_copy(update={"token_file": tmp_path})
    with pytest.raises(ConfigError, match="Is a directory"):
        tokens.kept_token(unread)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("auth: {view_token: look}", "view_token is set and token is not: everybody could control; set auth.token too"),
        ("auth: {streams: {live: {token: a}}}", "streams is set and token is not"),
        ("auth: {token: a, streams: {hall: {token: b}}}", "auth.streams: no stream 'hall'; streams: live"),
        ("http: {tls_key: k.pem}", "tls_certificate and tls_key go together"),
        ("http: {trusted_proxies: [nobody]}", "'nobody' is no IP address or network"),
    ],
)
def test_what_cannot_be_meant_is_refused(tmp_path, text, problem):
    path = tmp_path / "config.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as refused:
        load_config(path)
    assert problem in str(refused.value)
    assert "\n" not in str(refused.value)


def test_certificate_files(tmp_path):
    certificate, key = write_pem(tmp_path)
    config = Config.model_validate({"http": {"tls_certificate": certificate, "tls_key": key}})
    web = WebServer(None, 1, config.http)  # type: ignore[arg-type]
    assert isinstance(web.config.ssl, ssl.SSLContext)
    assert address_for(config, 8443) == "https://127.0.0.1:8443"
    (tmp_path / "no.pem").write_text("text")
    for wrong in ("no.pem", "none.pem"):
        changed = config.http.model_copy(update={"tls_certificate": tmp_path / wrong})
        with pytest.raises(ConfigError, match=rf"{wrong}, .*: not usable as certificate and key"):
            check_certificate(changed)
    engine = {"engine": {"name": "liveportrait"}, "liveportrait": {"checkpoints": tmp_path}}  # which has none
    with pytest.raises(ConfigError, match="not usable as certificate"):
        Server(Config.model_validate({"http": changed.model_dump(), **engine}))


def test_no_proxy_is_believed_by_default():
    config = Config().http
    assert not WebServer(None, 1, config).config.proxy_headers  # type: ignore[arg-type]
    trusting = config.model_copy(update={"trusted_proxies": ["10.0.0.0/24"]})
    web = WebServer(None, 1, trusting).config  # type: ignore[arg-type]
    assert (web.proxy_headers, web.forwarded_allow_ips) == (True, ["10.0.0.0/24"])


def proxied(app: Any, **forwarded: str) -> Any:
    """A proxy at 10.0.0.2: it asks with a Host of its own, and appends to what says for whom."""

    async def proxy(scope: Any, receive: Any, send: Any) -> None:
        client, host = scope["client"][0], dict(scope["headers"])[b"host"].decode()
        kept = [(key, value) for key, value in scope["headers"] if key not in (b"host", b"x-forwarded-host")]
        added = {"host": "127.0.0.1:8080", "x-forwarded-for": client, "x-forwarded-proto": "https", "x-forwarded-host": host}
        headers = [*kept, *((key.encode(), value.encode()) for key, value in (added | forwarded).items())]
        await app({**scope, "client": ("10.0.0.2", 5), "scheme": "http", "headers": headers}, receive, send)

    return proxy


async def test_behind_a_proxy_everybody_is_who_they_are(server, asked):
    """It does not keep the Host: who is limited, and what a page is of, is the client's all the same."""
    public = {"Origin": "https://puppet.example", "Host": "puppet.example"} | bearer("rule")
    http = {"names": ["puppet.example"], "trusted_proxies": ["10.0.0.0/24"]}
    async with asked(auth=TOKENS | {"requests_per_minute": 2}, **http) as inner:
        app = proxied(WebServer(inner._transport.app, 1, Config.model_validate({"http": http}).http).config.loaded_app)
        one, other, spoofing = (clients(app, address) for address in ("192.0.2.7", "192.0.2.8", "192.0.2.9"))
        spoofing.headers["X-Forwarded-For"] = "192.0.2.7"
        codes = [(await one.post("/live/live/whip", headers=public)).status_code for _ in range(3)]
        assert codes == [404, 404, 429]
        assert (await other.post("/live/live/whip", headers=public)).status_code == 404, "not held against others"
        assert (await spoofing.post("/live/live/whip", headers=public)).status_code == 404, "who says to be another is not"
        foreign = await other.post("/live/live/whip", headers=public | {"Origin": "https://evil.example"})
        assert foreign.json()["code"] == "ForeignPage"
        lured = await other.get("/readyz", headers={"Host": "evil.example"})
        assert (lured.status_code, lured.json()["code"]) == (421, "UnknownHost")


async def test_a_phones_link_through_a_proxy_is_the_public_address(phones, asked):
    http = {"names": ["puppet.example"], "trusted_proxies": ["10.0.0.2"]}
    async with asked(**http) as inner:
        web = WebServer(inner._transport.app, 1, Config.model_validate({"http": http}).http)
        client = clients(proxied(web.config.loaded_app), "192.0.2.7")
        reply = await client.post("/api/streams/live/phone", headers=bearer("rule") | {"Host": "puppet.example"})
        assert [link["url"].partition("/?")[0] for link in reply.json()["links"]] == ["https://puppet.example"]
        stranger = proxied(web.config.loaded_app, **{"x-forwarded-host": "evil.example"})
        assert (await clients(stranger, "192.0.2.7").get("/healthz")).status_code == 421


def test_the_token_command(tmp_path, capsys):
    auth = {"token_file": tmp_path / "token"}
    config = Config.model_validate({"http": {"host": "192.0.2.9", "port": 81}, "auth": auth, "streams": STREAMS})
    nothing = dict.fromkeys(("view", "publish", "control"))
    with pytest.raises(ConfigError, match="there is no token, and on a loopback address none is needed"):
        _link(config, nothing, None, None)
    (tmp_path / "token").write_text("rule+1\n")
    with pytest.raises(ConfigError, match=r"--minutes: the owner's link holds for ever"):
        _link(config, nothing, 5, None)
    assert _link(config, nothing, None, None) == "http://192.0.2.9:81/#token=rule%2B1"
    assert "a server at http://192.0.2.9:81, as the configuration has it; of one that was started with" in capsys.readouterr().err
    link = _link(config, {**nothing, "view": "hall"}, None, "https://puppet.example/")
    assert not capsys.readouterr().err, "who gives an address knows which"
    page, _, token = link.partition("#token=")
    assert page == "https://puppet.example/?stream=hall"
    assert Tokens(Auth(token="rule+1")).grants(token) == [Grant(Right.VIEW, "hall")]
    with pytest.raises(ConfigError, match="--view and --control: each includes those before it; give one of them"):
        _link(config, nothing | {"view": "live", "control": "live"}, 60, None)
    assert "?stream=guest#token=" in _link(config, nothing | {"view": "guest"}, 60, None), "a stream that is begun later"
    assert "--view: the configuration has no stream 'guest' (streams: live, " in capsys.readouterr().err
