"""A server with a secret in every place that takes one; none of them is in anything that it shows, says or logs."""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from streamer.app import Server
from streamer.config import load_config
from streamer.errors import ConfigError

from ..broker import Broker, broker
from ..conftest import run_server
from ..fakes import FakeEngine, WallTime
from ..waiting import LIMIT_S, states, wait_until

LOGGERS = ("aioice", "aiomqtt", "aiortc", "asyncio", "httpcore", "httpx", "libav", "uvicorn", "uvicorn.error")
DENIED = b'%s 401 Unauthorized\r\n%sWWW-Authenticate: Basic realm="x"\r\nContent-Length: 0\r\n\r\n'
AWAY = b"HTTP/1.1 307 Temporary Redirect\r\nLocation: /elsewhere?key=%s\r\nContent-Length: 0\r\n\r\n"
ODD = b"HTTP/1.1 201 Created\r\nLocation: /%s\r\nContent-Type: application/sdp\r\nContent-Length: 3\r\n\r\nv=0"


class Secrets:
    """Makes them, each unlike all others."""

    def __init__(self) -> None:
        self.made: list[str] = []

    def __call__(self) -> str:
        self.made.append(f"S3cret{len(self.made):02}x")
        return self.made[-1]

    def shown(self, places: dict[str, str]) -> dict[str, list[str]]:
        """Which of them are in which texts."""
        found = {place: [secret for secret in self.made if secret in text] for place, text in places.items()}
        return {place: secrets for place, secrets in found.items() if secrets}


def answer(request: bytes, secret: bytes) -> bytes:
    """What servers say that refuse, and some that have secrets of their own."""
    line, *head = request.split(b"\r\n")
    if line.endswith(b"RTSP/1.0"):
        return DENIED % (b"RTSP/1.0", next(h for h in head if h.lower().startswith(b"cseq")) + b"\r\n")
    if line.startswith(b"POST /away"):
        return AWAY % secret
    if line.startswith(b"POST /odd"):
        return ODD % secret
    return DENIED % (b"HTTP/1.1", b"") if b"HTTP/" in line else b""


@contextmanager
def others(secret: str) -> Iterator[str]:
    """Cameras and servers that refuse; their host and port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve(connection: socket.socket) -> None:
            with connection:
                while (request := connection.recv(65_536)) and (said := answer(request, secret.encode())):
                    connection.sendall(said)

        def accept() -> None:
            while True:
                try:
                    threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()
                except OSError:
                    return

        threading.Thread(target=accept, daemon=True).start()
        yield f"127.0.0.1:{listener.getsockname()[1]}"
        listener.shutdown(socket.SHUT_RDWR)


def sections(secret: Secrets, at: str, mqtt: Broker, kept: Path) -> dict[str, Any]:
    """A config with a secret wherever there may be one. at: of `others`."""
    sources = [
        f"rtsp://{secret()}:{secret()}@{at}/x", f"rtsp://{at}/cam?token={secret()}",
        f"rtsp://{at}/user={secret()}&password={secret()}&channel=1&stream=0.sdp",
        f"rtsp://me:{secret()}%40%2F@127.0.0.1:9/x", f"rtsps://me:{secret()}@{at}/x", f"rtmp://{at}/app/{secret()}",
        f"rtmp://me:{secret()}@{at}/app/x?key={secret()}", f"http://{secret()}:{secret()}@{at}/video?auth={secret()}",
        f"http://{at}/token/{secret()}/live.m3u8", f"rtmps://{at}/app/{secret()}?key={secret()}",
    ]  # fmt: skip
    sinks = [
        {"kind": "push", "target": f"rtmp://{at}/app/{secret()}"},
        {"kind": "push", "target": f"rtsp://me:{secret()}@{at}/in?token={secret()}"},
        {"kind": "whip", "target": f"http://{secret()}:{secret()}@{at}/whip?key={secret()}", "token": secret()},
        {"kind": "whip", "target": f"http://{at}/away?key={secret()}", "token": secret()},
        {"kind": "whip", "target": f"http://{at}/odd/token/{secret()}", "token": secret()},
        {"kind": "whip", "target": f"http://127.0.0.1:9/whip?key={secret()}"},
    ]
    relays = [{"secret": secret()}, {"username": secret(), "credential": secret()}]
    times = {"open_timeout_s": 2, "read_timeout_s": 2}
    return {
        "streams": {
            "live": {"sinks": sinks},
            **{f"s{k}": {"source": "network", "path": url, **times} for k, url in enumerate(sources)},
        },
        "auth": {"token": secret(), "view_token": secret()},
        "mqtt": {"url": f"mqtt://{secret()}:{secret()}@127.0.0.1:{mqtt.port}", "picture_s": 0, "telemetry_s": 0.2},
        "webrtc": {"ice_servers": [{"url": f"turn:{at}?transport=tcp", **relay} for relay in relays]},
        "persistence": {"file": str(kept)},
    }


def answers(http: httpx.Client, given: str) -> Iterator[tuple[str, str]]:
    """What everything that can be asked says to who has this token. But for Link headers: they are to tell of the relays."""
    http.headers["Authorization"] = f"Bearer {given}"
    for path in http.get("/openapi.json").json().get("paths", {"/api/streams/{name}": None}):
        if not path.endswith(("events", "mjpeg")):
            path = path.replace("{name}", "live").replace("{kind}", "whip")
            yield f"GET {path}", http.get(path).text
    for body in ({"nothing": 1}, {"portrait": "x"}, {"demo": "x"}, {"mirror": True}):
        yield f"PATCH {body}", http.patch("/api/streams/live", json=body).text
    for kind in ("whip", "whep"):
        yield f"POST {kind}", http.post(f"/live/live/{kind}", content="v=0", headers={"Content-Type": "application/sdp"}).text


def everything(server: Server, http: httpx.Client, tokens: dict[str, str]) -> dict[str, str]:
    """What is shown, by place."""
    told = {f"{what} for {who}": said for who, token in tokens.items() for what, said in answers(http, token)}
    http.headers["Authorization"] = f"Bearer {tokens['who watches']}"
    events = states(http)
    told["events"] = str([next(events) for _ in range(3)])
    told["command lines"] = "".join(path.read_text() for path in Path("/proc").glob("[0-9]*/cmdline") if path.exists())
    told["threads"] = str(threading.enumerate())
    told["states"] = str([server.control.state(name) for name in server.control.streams])
    return told


def config_errors(given: dict[str, Any], path: Path) -> dict[str, str]:
    """What is said of each section with a mistake beside its secrets, and of addresses that cannot be."""
    told = {}
    wrong = [(section, {**given, section: {**values, "nothing": 1}}) for section, values in given.items()]
    for name, stream in given["streams"].items():
        spoilt = {**stream, "sinks": [{**sink, "kind": "x"} for sink in stream.get("sinks", [])], "path": stream.get("path", 1)}
        wrong.append((name, {**given, "streams": {name: {**spoilt, "nothing": 1}}}))
    for where, sections in wrong:
        path.write_text(yaml.safe_dump(sections))
        with pytest.raises(ConfigError) as refused:
            load_config(path)
        told[f"config error in {where}"] = str(refused.value)
    return told


async def published(mqtt: Broker) -> str:
    """What the broker was told."""
    async with mqtt.client() as client:
        await client.wait("puppetcast/s0/telemetry")
        return str(client.log)


def tried(server: Server) -> bool:
    """Whether everything that fails has, and said why."""
    live = server.control.state("live")
    cameras = [server.control.state(name).source for name in server.control.streams if name != "live"]
    return all(output.detail for output in live.outputs) and all(source and source.detail for source in cameras)


def test_no_secret_is_shown_anywhere(tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture) -> None:
    secret, kept = Secrets(), tmp_path / "kept.json"
    for name in ("", *LOGGERS):
        caplog.set_level(logging.DEBUG, logger=name)
    with broker(tmp_path) as mqtt, others(secret()) as at:
        given = sections(secret, at, mqtt, kept)
        # Relays that do not answer would hold up each push for five seconds.
        running = {name: values for name, values in given.items() if name != "webrtc"}
        with (
            run_server(FakeEngine(WallTime(), seconds=0.001), **running) as server,
            httpx.Client(base_url=server.url, timeout=LIMIT_S) as http,
        ):
            wait_until(lambda: tried(server))
            tokens = {"who controls": given["auth"]["token"], "who watches": given["auth"]["view_token"], "nobody": "wrong"}
            places = everything(server, http, tokens)
            places["MQTT"] = asyncio.run(published(mqtt))
    said = [record for record in caplog.records if record.thread != threading.main_thread().ident]  # not by this test's client
    places |= {"log": "\n".join(map(logging.Formatter("%(levelname)s %(name)s: %(message)s").format, said))}
    places |= {"kept": kept.read_text(), **config_errors(given, tmp_path / "c.yaml")}
    places["stdout"], places["stderr"] = capfd.readouterr()
    print("\n".join(places))
    print(f"{len(secret.made)} secrets, {len(places)} places, {sum(map(len, places.values()))} characters")
    assert "***@127.0.0.1" in places["log"]
    assert "DEBUG" in places["log"]
    assert secret.shown(places) == {}
