"""What strangers can ask for too much of: bodies, connections, sessions, candidates, pictures."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import httpx
import pytest
from fastapi import FastAPI, Request

from streamer.config import Config, Http
from streamer.control.commands import read_envelope
from streamer.errors import BadCommand, TooLarge, TooSlow
from streamer.http.access import Access
from streamer.http.bodies import Body
from streamer.http.rights import CONTROL, SERVER, Guarded, needs
from streamer.http.server import STATUS, _handler
from streamer.http.web import WebServer, listen
from streamer.jsontext import MAX_DEPTH, read_json

JSON = {"Content-Type": "application/json"}


def small_app(http: Http) -> FastAPI:
    """One route that takes JSON, one that takes a larger body."""
    app = FastAPI()
    app.state.access, app.state.http = Access(Config().auth), http
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
