"""What strangers can ask for too much of: bodies, connections, sessions, candidates, pictures."""

from __future__ import annotations

import asyncio
import json
import os
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from fractions import Fraction
from typing import Any

import av
import httpx
import pytest
from aiortc.jitterbuffer import JitterFrame
from fastapi import FastAPI, Request
from pyee.asyncio import AsyncIOEventEmitter

from streamer.config import Config, Http, Mqtt, WebRtc
from streamer.control.commands import read_envelope
from streamer.control.persistence import Memory
from streamer.errors import BadCommand, BadOffer, Overloaded, SinkError, TooLarge, TooManySessions, TooSlow
from streamer.http.access import Access
from streamer.http.bodies import Body
from streamer.http.refusals import STATUS, _handler
from streamer.http.rights import CONTROL, SERVER, Guarded, needs
from streamer.http.seats import Endless, Seats
from streamer.http.web import WebServer, listen
from streamer.jsontext import MAX_DEPTH, read_json
from streamer.mqtt.bridge import COMMANDS_WAITING, MAX_PAYLOAD, Bridge, _Session, read
from streamer.webrtc.broadcasts import Broadcasts
from streamer.webrtc.decoders import Measured, h264_sizes, vp8_sizes
from streamer.webrtc.ice import IceServers
from streamer.webrtc.offer import Offer
from streamer.webrtc.reach import Reach
from streamer.webrtc.sessions import Caller, Sessions
from streamer.webrtc.whip_push import WhipPush

from ..waiting import until

JSON = {"Content-Type": "application/json"}


def small_app(http: Http) -> FastAPI:
    """One route that takes JSON, one that takes a larger body."""
    app = FastAPI()
    app.state.access, app.state.http, app.state.uploads = Access(Config().auth), http, 0
    app.router.route_class = Guarded
    for kind in (TooLarge, TooSlow):
        app.add_exception_handler(kind, _handler(STATUS[kind]))

    @app.post("/small")
    @needs(CONTROL, SERVER)
    async def small(data: dict[str, Any]) -> int:
        return len(data)

    @app.post("/large")
    @needs(CONTROL, SERVER, 100_000)
    async def large(request: Request) -> int:
        return len(await request.body())

    return app


async def chunks(size: int, part: int = 1000) -> AsyncIterator[bytes]:
    for _ in range(0, size, part):
        yield b" " * part


async def test_a_body_has_a_limit_whether_or_not_it_tells_its_length():
    app = small_app(Http(max_body_kb=1))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as client:
        for path, size, code in (("/small", 3000, 413), ("/large", 3000, 200), ("/large", 200_000, 413)):
            for content in (b" " * size, chunks(size)):
                reply = await client.post(path, content=content, headers=JSON)
                assert reply.status_code == code, (path, size)
                if code == 413:
                    assert reply.json()["code"] == "TooLarge"
        assert (await client.post("/small", content=b'{"a": 1}', headers=JSON)).json() == 1


async def test_heads_and_forms_without_measure():
    """Ten thousand headers, an address of 100 KB, more fields than a form has: refused, or of no consequence."""
    app = small_app(Http())

    @app.post("/form")
    @needs(CONTROL, SERVER, 1_000_000)
    async def form(request: Request) -> int:
        return len(await request.form())

    async with serving(app) as port:
        for path, headers in (("/", 10_000), ("/" + "a" * 100_000, 1)):
            head = f"GET {path} HTTP/1.1\r\nHost: a\r\n" + "X-A: b\r\n" * headers + "\r\n"
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(head.encode())
            assert (await reader.readline()).split()[1] in (b"400", b"404", b"431")
            writer.close()
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as client:
        many = await client.post("/form", data={str(n): "x" for n in range(1100)}, files={"file": b"x"})
        assert many.status_code == 400


async def test_of_a_body_that_is_too_large_no_more_is_read():
    read = 0

    async def receive() -> dict[str, Any]:
        nonlocal read
        read += 1
        return {"type": "http.request", "body": b" " * 1000, "more_body": True}

    body = Body(Request({"type": "http", "headers": []}, receive), 5000, 10)
    with pytest.raises(TooLarge, match="larger than 4 KB"):
        await body.request.body()
    assert read == 6
    told = Request({"type": "http", "headers": [(b"content-length", b"5001")]}, receive)
    with pytest.raises(TooLarge):
        Body(told, 5000, 10)
    assert read == 6


async def test_a_body_has_to_come_in_time():
    async def receive() -> dict[str, Any]:
        await asyncio.sleep(3600)
        raise AssertionError

    app = small_app(Http(body_timeout_s=0.01))
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http", "method": "POST", "path": "/small", "headers": [(b"content-type", b"application/json")],
        "query_string": b"", "client": ("192.0.2.1", 1), "http_version": "1.1", "scheme": "http", "server": ("localhost", 80),
    }  # fmt: skip
    await app(scope, receive, send)  # type: ignore[arg-type]
    assert sent[0]["status"] == 408
    assert json.loads(sent[1]["body"])["code"] == "TooSlow"


async def test_a_large_body_may_take_longer_as_long_as_it_comes():
    now = [0.0]

    async def receive() -> dict[str, Any]:
        now[0] += 5
        return {"type": "http.request", "body": b" " * size, "more_body": True}

    size = 100_000  # in five seconds
    body = Body(Request({"type": "http", "headers": []}, receive), 1_000_000, 10, lambda: now[0])
    with pytest.raises(TooLarge):
        await body.request.body()
    size, now[0] = 1000, 0.0
    slow = Body(Request({"type": "http", "headers": []}, receive), 1_000_000, 10, lambda: now[0])
    with pytest.raises(TooSlow):
        await slow.request.body()


@asynccontextmanager
async def serving(app: FastAPI, **http: float) -> AsyncIterator[int]:
    """A web server of its own; its port."""
    config = Http(**http)  # type: ignore[arg-type]
    web, ready, listener = WebServer(app, 0.1, config), asyncio.Event(), listen("127.0.0.1", 0)
    web.on_ready, web.on_shutdown = ready.set, lambda: None
    task = asyncio.create_task(web.serve(sockets=[listener]))
    await ready.wait()
    try:
        yield listener.getsockname()[1]
    finally:
        web.should_exit = True
        await task


async def test_connections_that_ask_for_nothing_end():
    """At once, after half a head, after an answer, and with a body that nobody reads any more; a patient answer goes on."""
    app = small_app(Http(max_body_kb=1))

    @app.get("/slow")
    @needs(CONTROL, SERVER)
    async def slow() -> int:
        await asyncio.sleep(0.6)
        return 7

    head = b"POST /small HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9000\r\n\r\n"
    begins = [b"", b"GET / HT", b"GET /nothing HTTP/1.1\r\nHost: localhost\r\n\r\n", head, head + b"x" * 100]
    async with serving(app, header_timeout_s=0.2, keep_alive_s=0.2) as port:
        kept = [await asyncio.open_connection("127.0.0.1", port) for _ in range(60)]
        for n, (_, writer) in enumerate(kept):
            writer.write(begins[n % len(begins)])
        async with asyncio.timeout(5), httpx.AsyncClient() as client:
            asked = asyncio.create_task(client.get(f"http://127.0.0.1:{port}/slow", timeout=5))
            for reader, writer in kept:
                with suppress(ConnectionResetError):
                    await reader.read()  # until the server ends it
                writer.close()
            assert (await asked).json() == 7


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[" * 12000, "nested deeper"), ("[" * 17 + "]" * 17, "nested deeper"), ('{"a":' * 20 + "1" + "}" * 20, "nested deeper"),
        ("NaN", "NaN is no number"), ('{"id": -Infinity}', "is no number"), ('"\\ud800"', "surrogates not allowed"),
        ("{", "Expecting"),
    ],
)  # fmt: skip
def test_json_that_cannot_be_meant(text, problem):
    with pytest.raises(ValueError, match=problem):
        read_json(text)


def test_json_that_can():
    deep = "[" * MAX_DEPTH + "]" * MAX_DEPTH
    assert read_json(deep) == json.loads(deep)
    assert read_json('{"a": "[[[[[[[[[[[[[[[[[[[[\\"["}') == {"a": '[[[[[[[[[[[[[[[[[[[["['}
    assert read_json('"\\ud83d\\ude00 \\u00e9"') == "😀 é"


async def test_deep_json_is_refused_on_every_way_in():
    deep = '{"id": ' + "[" * 5000 + "]" * 5000 + ', "change": {}}'
    with pytest.raises(BadCommand):
        read_envelope(deep)
    with pytest.raises(BadCommand):
        read_envelope('{"id": NaN, "change": {}}')
    app = small_app(Http())
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as client:
        reply = await client.post("/small", content=deep, headers=JSON)
    assert reply.status_code == 422


PUBLIC, PRIVATE, LOCAL = "8.8.4.4", "192.168.1.7", "127.0.0.1"


@pytest.mark.parametrize(
    ("host", "takers"),
    [
        ("8.8.8.8", {PUBLIC, PRIVATE, LOCAL}), ("2001:4860::1", {PUBLIC, PRIVATE, LOCAL}), ("10.1.2.3", {PRIVATE, LOCAL}),
        ("192.168.1.8", {PRIVATE, LOCAL}), ("100.64.1.1", {PRIVATE, LOCAL}), ("fd00::1", {PRIVATE, LOCAL}),
        ("127.0.0.1", {LOCAL}), ("::1", {LOCAL}), ("::ffff:127.0.0.1", {LOCAL}), ("::ffff:10.0.0.1", {PRIVATE, LOCAL}),
        ("224.0.0.251", set()),
        ("ff02::fb", set()), ("255.255.255.255", set()), ("0.0.0.0", set()), ("::", set()), ("169.254.169.254", set()),
        ("fe80::1", set()), ("::ffff:169.254.169.254", set()), ("240.0.0.1", set()), ("64:ff9b::7f00:1", set()),
        ("2002:7f00:1::", set()), ("evil.test", set()), ("abc.local", set()), ("", set()),
    ],
)  # fmt: skip
def test_where_candidates_may_point(host, takers):
    assert {peer for peer in (PUBLIC, PRIVATE, LOCAL) if Reach(peer, 16).takes(host, 5000)} == takers


def test_how_many_places_candidates_may_name():
    reach = Reach("8.8.4.4", 3)
    assert [reach.takes("8.8.8.8", port) for port in (1, 2, 2, 3, 4, 1, 0, 70000)] == [True] * 4 + [False, True, False, False]
    reach.anew()
    assert reach.takes("8.8.8.8", 4)


SECTION = [
    "m=video 9 UDP/TLS/RTP/SAVPF 96", "c=IN IP4 0.0.0.0", "a=mid:0", "a=rtpmap:96 VP8/90000", "a=ice-ufrag:abcd", "a=rtcp-mux",
    "a=ice-pwd:0123456789012345678901", "a=fingerprint:sha-256 " + ":".join(32 * ["AB"]), "a=setup:actpass", "a=recvonly",
]  # fmt: skip


def offer(*lines: str) -> str:
    return "\r\n".join(["v=0", "o=- 1 1 IN IP4 0.0.0.0", "s=-", "t=0 0", *SECTION, *lines, ""])


def candidate(host: str, port: int = 5000) -> str:
    return f"a=candidate:1 1 udp 2113937151 {host} {port} typ host"


def test_an_offer_has_candidates_that_may_be_and_few_lines_and_codecs():
    hosts = (candidate(host) for host in ("8.8.8.8", "10.0.0.1", "224.0.0.1"))
    given = offer(*hosts, *(candidate("8.8.8.8", n) for n in range(1, 30)))
    kept = [line for line in Offer(given, "whep", Reach(PUBLIC, 5)).sdp.splitlines() if line.startswith("a=candidate")]
    assert kept == [candidate("8.8.8.8"), *(candidate("8.8.8.8", n) for n in range(1, 5))]
    for many, problem in (
        (["a=x"] * 2000, "2014 lines; at most 1500"),
        ([f"a=rtpmap:{n} x/90000" for n in range(70)], "more than 64 payload types"),
    ):  # fmt: skip
        with pytest.raises(BadOffer, match=problem):
            Offer(offer(*many), "whep")
    with pytest.raises(BadOffer, match="more than 64 payload types"):
        Offer(offer().replace("SAVPF 96", "SAVPF 96 " + " ".join(map(str, range(70)))), "whep")


def sessions(**rtc: int) -> Sessions:
    config = WebRtc(bind_addresses=["127.0.0.1"], **rtc)  # type: ignore[arg-type]
    return Sessions(config, IceServers([]), Broadcasts(config))


async def ask(seats: Sessions, caller: Caller, kind: str = "whep") -> str:
    """What becomes of an offer: "in", or the key of the limit."""
    try:
        await seats._new(kind, NOBODY, offer().replace("recvonly", "sendrecv"), caller)  # type: ignore[arg-type]
    except TooManySessions as exc:
        return str(exc).rpartition("webrtc.")[2].rstrip(")")
    return "in"


class Nobody:
    """A stream that nobody drives."""

    name = "live"

    def release(self, driver: object) -> None: ...

    def check_there(self) -> None: ...


NOBODY = Nobody()


@pytest.mark.parametrize(
    ("rtc", "callers", "told"),
    [
        ({"max_sessions": 3}, ["a", "b", "c", "d"], "max_sessions"),
        ({"max_connecting": 2}, ["a", "b", "c"], "max_connecting"),
        ({"max_sessions_per_address": 3}, ["a", "a", "b", "a", "a"], "max_sessions_per_address"),
        ({"max_connecting_per_address": 2}, ["a", "a", "b", "a"], "max_connecting_per_address"),
    ],
)
async def test_sessions_have_limits(rtc, callers, told):
    seats = sessions(**({"max_connecting_per_address": 1000} | rtc))
    answers = [await ask(seats, Caller(address)) for address in callers]
    assert answers == ["in"] * (len(callers) - 1) + [told]
    if "address" in told:
        assert await ask(seats, Caller("z")) == "in", "others have their seats"
    await seats.close_all()


async def test_a_token_that_many_have_does_not_take_all_seats():
    seats = sessions(max_sessions_per_token=3)
    guests = [await ask(seats, Caller(f"a{n}", token="link")) for n in range(4)]
    assert guests == ["in"] * 3 + ["max_sessions_per_token"]
    assert await ask(seats, Caller("owner", token="rule")) == "in"
    assert [await ask(seats, Caller(f"b{n}")) for n in range(4)] == ["in"] * 4, "where no token is needed nobody has one"
    await seats.close_all()


async def test_a_session_is_one_of_its_stream():
    """An address with another stream's name in it is that of no session."""
    seats = sessions()
    session, _ = await seats._new("whep", NOBODY, offer(), Caller())  # type: ignore[arg-type]
    assert [seats.knows(session.id, name) for name in ("live", "hall")] == [True, False]
    await seats.close_all()


async def test_who_offers_to_publish_again_has_given_up_the_offer_before():
    seats = sessions(max_connecting_per_address=2)
    for _ in range(5):
        assert await ask(seats, Caller("a"), "whip") == "in"
    assert len(seats) == 1
    assert await ask(seats, Caller("b"), "whip") == "in"
    assert len(seats) == 2, "another's stays: who connects first drives"
    await seats.close_all()


class Counting:
    """A decoder that says how often it was asked."""

    def __init__(self) -> None:
        self.asked = 0

    def decode(self, encoded_frame: object) -> list[Any]:
        self.asked += 1
        return []


def encoded(codec: str, width: int, height: int, **options: str) -> list[bytes]:
    """A key frame and one that builds on it."""
    encoder = av.CodecContext.create(codec, "w")
    assert isinstance(encoder, av.VideoCodecContext)
    encoder.width, encoder.height, encoder.pix_fmt, encoder.time_base = width, height, "yuv420p", Fraction(1, 30)
    encoder.options = {"tune": "zerolatency", "preset": "ultrafast", **options} if codec == "libx264" else {"lag-in-frames": "0"}
    packets: list[bytes] = []
    for n in range(2):
        frame = av.VideoFrame(width, height, "yuv420p")
        frame.pts = n
        packets += [bytes(packet) for packet in encoder.encode(frame)]
    return packets


@pytest.mark.parametrize(
    ("codec", "measure", "options", "size"),
    [
        ("libvpx", vp8_sizes, {}, (642, 482)), ("libx264", h264_sizes, {"profile": "baseline"}, (656, 496)),
        ("libx264", h264_sizes, {"profile": "high", "x264-params": "cqm=jvt"}, (656, 496)),
    ],
)  # fmt: skip
def test_pictures_are_measured_before_they_are_decoded(codec, measure, options, size):
    """By real encoders; H.264's size is that in macroblocks. A small one after a large one is taken again."""
    key, delta = encoded(codec, 642, 482, **options)
    assert (measure(key), measure(delta)) == ([size], [])
    decoder = Counting()
    measured = Measured(decoder, measure, 640 * 480)  # type: ignore[arg-type]
    small = encoded(codec, 64, 48, **options)
    for data, asked in ((key, 0), (delta, 0), (delta, 0), (small[0], 1), (small[1], 2), (key, 2), (delta, 2)):
        measured.decode(JitterFrame(data, 0))
        assert decoder.asked == asked


@pytest.mark.parametrize(
    ("measure", "data"),
    [
        (vp8_sizes, b"\x10\x00\x00\x9d\x01\x2a\xff\x3f\xff\x3f"), (vp8_sizes, b"\x10\x00\x00\x9d\x01\x2a"),
        (vp8_sizes, b"\x10\x00\x00abc\x10\x00\x10\x00"), (h264_sizes, b"\x00\x00\x01\x67"),
        (h264_sizes, b"\x00\x00\x01\x67\x42\x00\x1e" + bytes(64)),
    ],
)  # fmt: skip
def test_what_cannot_be_measured_is_not_decoded(measure, data):
    decoder = Counting()
    Measured(decoder, measure, 4096 * 4096).decode(JitterFrame(data, 0))  # type: ignore[arg-type]
    assert decoder.asked == 0


def test_a_camera_of_4k_is_decoded():
    decoder, key = Counting(), b"\x10\x00\x00\x9d\x01\x2a" + struct.pack("<HH", 3840, 2160)
    Measured(decoder, vp8_sizes, Config().webrtc.max_frame_pixels).decode(JitterFrame(key, 0))  # type: ignore[arg-type]
    assert decoder.asked == 1


async def redirected(url: str, *hops: str) -> list[tuple[str, str | None]]:
    """Who was asked, and whether with the token, by a push to `url` that each of them but the last sends on."""
    asked: list[tuple[str, str | None]] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append((str(request.url), request.headers.get("authorization")))
        return httpx.Response(307, headers={"Location": hops[len(asked) - 1]}) if len(asked) <= len(hops) else httpx.Response(201)

    push = WhipPush(Broadcasts(WebRtc()), IceServers([]), url, "key")
    async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as http:
        await push._post(http, "offer")
        await push._delete(http, asked[-1][0])
    return asked[:-1] if asked[-1] == asked[-2] else asked


async def test_a_push_gives_its_token_to_no_other_server():
    ours = "Bearer key"
    home, away = "https://a.example/whip", "https://b.example/whip"
    assert await redirected(home, "/other") == [(home, ours), ("https://a.example/other", ours)]
    assert await redirected(home, away) == [(home, ours), (away, None)]
    assert await redirected(home, away, home) == [(home, ours), (away, None), (home, ours)]
    for other in ("https://a.example:8443/", "https://a.example.b.example/", "//b.example/"):
        assert (await redirected(home, other))[1][1] is None
    assert await redirected("http://a.example/whip", home) == [("http://a.example/whip", ours), (home, None)]


async def test_a_push_asks_the_first_address_again_when_a_redirects_target_is_gone():
    """It may have been one worker of many, and the front knows another."""
    home, targets, asked = "https://a.example/whip", iter(["https://b.example/", "https://c.example/"]), []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.host)
        if request.url.host == "b.example":
            raise httpx.ConnectError("refused")
        return (
            httpx.Response(307, headers={"Location": next(targets)}) if request.url.host == "a.example" else httpx.Response(201)
        )

    push = WhipPush(Broadcasts(WebRtc()), IceServers([]), home, "key")
    async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as http:
        with pytest.raises(httpx.ConnectError):
            await push._post(http, "offer")
        assert (await push._post(http, "offer")).status_code == 201
    assert asked == ["a.example", "b.example", "a.example", "c.example"]


@pytest.mark.parametrize(
    "place", ["http://a.example/whip", "http://b.example/", "ftp://a.example/", "file:///etc/passwd", "https://[/"]
)
async def test_a_push_does_not_leave_tls(place):
    with pytest.raises(SinkError):
        await redirected("https://a.example/whip", place)


def test_answers_by_mqtt_go_below_the_base_topic():
    plain, more = (_Session(None, Mqtt(**given), None) for given in ({}, {"response_topics": ["my/answers"]}))  # type: ignore
    for topic, good in (
        ("puppetcast/answers/7/result", True), ("puppetcast/availability", False), ("puppetcast/live/cmd/portrait", False),
        ("homeassistant/device/evil/config", False), ("puppetcasts/a/result", False), ("my/answers/7", False),
        ("puppetcast/" + "a/" * 400 + "result", False),
    ):  # fmt: skip
        assert plain._may_answer(topic) == good, topic
    assert more._may_answer("my/answers/7")
    assert not more._may_answer("my/answers")


async def test_a_message_by_mqtt_is_cut_and_few_wait():
    assert read(["live", "cmd", "portrait"], b"x" * 2_000_000).value == "x" * MAX_PAYLOAD
    with pytest.raises(BadCommand):
        read_envelope('{"change": {"portrait": "' + "x" * 2_000_000 + '"}}')
    client = Bridge(Mqtt(url="mqtt://127.0.0.1"), None)._client()  # type: ignore[arg-type]
    assert client._queue.maxsize == COMMANDS_WAITING


def test_changes_that_cannot_be_kept_leave_nothing_behind(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr("os.replace", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    Memory(tmp_path / "state.json").keep("live", {"mirror": True})
    assert "cannot be written (No space left on device); changes are not kept" in caplog.text
    assert not list(tmp_path.iterdir())


async def test_answers_without_an_end_have_seats():
    seats = Seats(Http(max_listeners=3, max_listeners_per_address=2))
    for address in ("a", "a", "b"):
        seats.take(address)
    with pytest.raises(TooManySessions, match=r"http\.max_listeners\)"):
        seats.take("c")
    seats.leave("b")
    with pytest.raises(TooManySessions, match=r"http\.max_listeners_per_address"):
        seats.take("a")
    seats.leave("a")
    seats.take("a")


async def test_a_seat_is_free_when_its_answer_has_ended():
    app = FastAPI()
    app.state.seats, free = Seats(Http(max_listeners=1)), asyncio.Event()
    app.add_exception_handler(TooManySessions, _handler(STATUS[TooManySessions]))

    async def parts() -> AsyncIterator[bytes]:
        yield b"1"
        await free.wait()

    @app.get("/endless")
    async def endless(request: Request) -> Endless:
        return Endless(request, parts(), "text/plain")

    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as client:
        first = asyncio.create_task(client.get("/endless"))
        await until(lambda: app.state.seats._taken)
        full = await client.get("/endless")
        assert (full.status_code, full.json()["code"], full.headers["retry-after"]) == (503, "TooManySessions", "10")
        free.set()
        assert (await first).text == "1"
        assert (await client.get("/endless")).status_code == 200


async def test_a_few_uploads_are_under_way_at_one_time():
    app, begun, free = small_app(Http(max_uploads=2)), [0], asyncio.Event()
    app.add_exception_handler(Overloaded, _handler(503))

    async def slow() -> AsyncIterator[bytes]:
        begun[0] += 1
        await free.wait()
        yield b"x"

    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as client:
        under_way = [asyncio.create_task(client.post("/large", content=slow())) for _ in range(2)]
        await until(lambda: begun[0] == 2)
        refused = await client.post("/large", content=b"x")
        assert (refused.status_code, refused.json()["code"]) == (503, "Overloaded")
        assert refused.json()["detail"] == "the server is busy with 2 other uploads; try again in a moment"
        assert (await client.post("/small", content=b"{}", headers=JSON)).status_code == 200
        free.set()
        assert [(await reply).status_code for reply in under_way] == [200, 200]
        assert (await client.post("/large", content=b"x")).status_code == 200


async def test_nobody_is_let_in_where_descriptors_are_few(monkeypatch, caplog):
    seats = sessions()
    monkeypatch.setattr("resource.getrlimit", lambda which: (len(os.listdir("/proc/self/fd")) + 10, 4096))
    with pytest.raises(TooManySessions, match=r"file descriptors left \(ulimit -n\)"):
        await seats._new("whep", NOBODY, offer().replace("recvonly", "sendrecv"), Caller())  # type: ignore[arg-type]
    assert "nobody is let in" in caplog.text


async def test_a_viewer_has_a_few_data_channels_that_are_listened_to():
    """Of three hundred."""
    seats, obeyed = sessions(), []

    class Channel(AsyncIOEventEmitter):
        readyState = "open"

        def send(self, answer: str) -> None:
            obeyed.append(answer)

    async def commands(stream: str, text: str) -> str:
        return text

    session, _ = await seats._new("whep", NOBODY, offer().replace("recvonly", "sendrecv"), Caller())  # type: ignore[arg-type]
    before = len(session.tasks)
    seats._obey(session, commands)
    channels = [Channel() for _ in range(300)]
    for channel in channels:
        session.connection.emit("datachannel", channel)
    assert len(session.tasks) == before + 4
    for k, channel in enumerate(channels):
        channel.emit("message", str(k))
    await until(lambda: obeyed == ["0", "1", "2", "3"])
    await seats.close_all()
