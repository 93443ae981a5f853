"""Clients without manners: HTTP that is too much, too slow, or not theirs to ask."""

from __future__ import annotations

import asyncio
import io
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

import httpx
from PIL import Image as Pillow

from .house import House, fresh_connection, negotiate

ATTACKER = "127.0.0.2"  # another address than that of the viewer, who is not to pay for it
GUESSER = "127.0.0.9"  # has to wait afterwards


def attacker(house: House, token: str = "rule", address: str = ATTACKER) -> httpx.AsyncClient:
    """A client from another address."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    transport = httpx.AsyncHTTPTransport(local_address=address, limits=httpx.Limits(max_connections=100))
    return httpx.AsyncClient(base_url=house.http.base_url, headers=headers, transport=transport, timeout=60)


def address(house: House) -> tuple[str, int]:
    parts = urlsplit(str(house.http.base_url))
    return str(parts.hostname), int(parts.port or 0)


async def wrong_tokens(house: House, count: int = 300) -> str:
    guesses = ({"Authorization": f"Bearer guess-{n}"} for n in range(count))
    async with attacker(house, "", GUESSER) as http:
        asked = (http.patch("/api/streams/live", json={"mirror": True}, headers=guess) for guess in guesses)
        replies = await asyncio.gather(*asked)
    answers = [reply.status_code for reply in replies]
    assert answers.count(401) <= 10, answers.count(401)
    return f"{answers.count(401)} of {count} wrong tokens got 401, the others 429"


async def idle_connections(house: House) -> None:
    """Three hundred that say nothing, or never end their request's head."""
    streams = []
    for n in range(300):
        with suppress(OSError):
            streams.append((await asyncio.open_connection(*address(house), local_addr=(ATTACKER, 0)))[1])
            if n % 2:
                streams[-1].write(b"GET / HTTP/1.1\r\nHost: localhost\r\nX: ")
    await asyncio.sleep(1)
    for writer in streams:
        writer.close()


async def never_read(house: House) -> None:
    """Listeners and watchers of MJPEG who ask and never read."""
    writers = []
    for n in range(100):
        _, writer = await asyncio.open_connection(*address(house), local_addr=(ATTACKER, 0), limit=1)
        path = "/api/events" if n % 2 else "/live/live/mjpeg"
        writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer rule\r\n\r\n".encode())
        writers.append(writer)
    await asyncio.sleep(1)
    for writer in writers:
        writer.transport.abort()


async def large_json(house: House) -> str:
    async with attacker(house) as http:
        reply = await http.patch("/api/streams/live", content=b'{"portrait": "' + b"x" * 20_000_000 + b'"}')
    assert reply.status_code == 413, reply.status_code
    return "413"


async def deep_json(house: House) -> str:
    async with attacker(house) as http:
        reply = await http.patch("/api/streams/live", content=b"[" * 12_000, headers={"Content-Type": "application/json"})
    assert reply.status_code == 422, reply.status_code
    return "422"


async def endless_upload(house: House) -> str:
    async def parts() -> Any:
        yield b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.png"\r\n\r\n'
        for _ in range(1200):
            yield bytes(100_000)

    with suppress(httpx.TransportError):
        async with attacker(house) as http:
            reply = await http.post(
                "/api/portraits", content=parts(), headers={"Content-Type": "multipart/form-data; boundary=b"}
            )
            return str(reply.status_code)
    return "cut off"


def bomb() -> bytes:
    """A PNG of 6,300² pixels in some 50 KB."""
    out = io.BytesIO()
    Pillow.new("1", (6300, 6300)).save(out, "PNG", optimize=True)
    return out.getvalue()


BOMB = bomb()


async def picture_bombs(house: House) -> str:
    async with attacker(house) as http:
        files = {"file": ("a.png", BOMB, "image/png")}
        replies = await asyncio.gather(*(http.post("/api/portraits", files=files) for _ in range(6)))
    codes = sorted({reply.status_code for reply in replies})
    assert set(codes) <= {422, 503}, codes
    return f"answers {codes}"


async def not_allowed(house: House) -> str:
    """Names that are not the server's, and pages of other sites."""
    async with attacker(house) as http:
        rebound = await http.patch("/api/streams/live", json={}, headers={"Host": "evil.test", "Origin": "http://evil.test"})
        foreign = await http.patch("/api/streams/live", json={}, headers={"Origin": "http://evil.test"})
        paths = [(await http.get(path)).status_code for path in ("/../etc/passwd", "/..%2f..%2fetc/passwd", "/%00")]
    assert (rebound.status_code, foreign.status_code) == (421, 403)
    assert 200 not in paths
    return "421 and 403"


async def out_of_descriptors(house: House) -> str:
    """As many connections as the process may have descriptors."""
    open_: list[asyncio.StreamWriter] = []
    codes: set[object] = set()
    try:
        for _ in range(100):
            with suppress(OSError, TimeoutError):
                async with asyncio.timeout(1):
                    open_.append((await asyncio.open_connection(*address(house), local_addr=(ATTACKER, 0)))[1])
            if len(open_) % 5 == 0:
                connection = fresh_connection()
                connection.addTransceiver("video", direction="recvonly")
                try:
                    async with asyncio.timeout(3):
                        codes.add((await negotiate(house.http, connection, "/live/live/whep")).status_code)
                except (httpx.TransportError, TimeoutError):
                    codes.add("waits")
                await connection.close()
    finally:
        for writer in open_:
            writer.close()
    assert 503 in codes, codes
    assert codes <= {201, 503, "waits"}, codes
    return "503"
