"""Janus, started for a test, as an SFU: what is published to it by WHIP goes on to its viewers.

Janus has no WHIP of its own; `Endpoint` is what its authors' simple-whip-server is: it hands offers to the plugin "videoroom".
"""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, cast

import httpx

from .programs import accepts, free_port, program
from .waiting import LIMIT_S, wait_until

ROOM = 1234
LIBRARIES = "/usr/lib/x86_64-linux-gnu/janus"
CONFIGS = {
    "janus.jcfg": 'general: {{ configs_folder = "{folder}" plugins_folder = "{libraries}/plugins" '
    'transports_folder = "{libraries}/transports" loggers_folder = "{folder}" events_folder = "{folder}" '
    "debug_level = 4 }}\nnat: {{ nice_debug = false ice_lite = false }}\n"
    'plugins: {{ disable = "libjanus_sip.so,libjanus_lua.so,libjanus_duktape.so" }}\n'
    'transports: {{ disable = "libjanus_websockets.so,libjanus_mqtt.so,libjanus_rabbitmq.so,libjanus_nanomsg.so,'
    'libjanus_pfunix.so" }}\n',
    "janus.transport.http.jcfg": 'general: {{ json = "compact" base_path = "/janus" http = true port = {port} '
    'ip = "127.0.0.1" https = false }}\nadmin: {{ admin_http = false }}\n',
    "janus.plugin.videoroom.jcfg": 'room-{room}: {{ description = "x" publishers = 6 bitrate = 2000000 fir_freq = 1 '
    'audiocodec = "opus" videocodec = "vp8,h264" }}\n',
}


class Janus:
    """Its HTTP interface: a session, and handles of the plugin in it."""

    def __init__(self, http: httpx.Client) -> None:
        self._http = http
        self._session = f"/janus/{self._ask('/janus', janus='create')['data']['id']}"

    def handle(self) -> str:
        """A new one."""
        made = self._ask(self._session, janus="attach", plugin="janus.plugin.videoroom")
        return f"{self._session}/{made['data']['id']}"

    def message(self, handle: str, jsep: dict[str, str] | None = None, **body: Any) -> dict[str, Any]:
        """What the plugin says to a message."""
        said = self._ask(handle, janus="message", body=body, **({"jsep": jsep} if jsep else {}))
        while said["janus"] != "event" or f"/{said.get('sender')}" != handle.removeprefix(self._session):
            said = self._http.get(self._session).json()
        return said

    def _ask(self, path: str, **request: Any) -> dict[str, Any]:
        said: dict[str, Any] = self._http.post(path, json={"transaction": "x", **request}).json()
        assert said["janus"] != "error", said
        return said

    def publish(self, offer: str) -> tuple[int, str]:
        """Who publishes now, and the answer."""
        handle = self.handle()
        feed = self.message(handle, request="join", ptype="publisher", room=ROOM)["plugindata"]["data"]["id"]
        return feed, self.message(handle, {"type": "offer", "sdp": offer}, request="publish")["jsep"]["sdp"]

    def watch(self, feed: int) -> tuple[str, str]:
        """A handle that is to get what `feed` publishes, and the offer for it."""
        handle = self.handle()
        said = self.message(handle, request="join", ptype="subscriber", room=ROOM, streams=[{"feed": feed}])
        return handle, said["jsep"]["sdp"]

    def start(self, handle: str, answer: str) -> None:
        """Let what is watched come."""
        self.message(handle, {"type": "answer", "sdp": answer}, request="start")


class Endpoint(ThreadingHTTPServer):
    """A WHIP endpoint in front of Janus. feeds: who has published."""

    def __init__(self, janus: Janus) -> None:
        super().__init__(("127.0.0.1", 0), _Whip)
        self.janus = janus
        self.feeds: list[int] = []
        self.url = f"http://127.0.0.1:{self.server_port}/whip"


class _Whip(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        endpoint = cast(Endpoint, self.server)
        feed, answer = endpoint.janus.publish(self.rfile.read(int(self.headers["Content-Length"])).decode())
        endpoint.feeds.append(feed)
        self._reply(201, answer.encode(), Location="/session")

    def do_DELETE(self) -> None:
        self._reply(200, b"")

    def _reply(self, code: int, body: bytes, **headers: str) -> None:
        self.send_response(code)
        for name, value in {"Content-Type": "application/sdp", "Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None: ...


@contextmanager
def running(folder: Path) -> Iterator[Endpoint]:
    """Janus with one room, behind its endpoint."""
    port = free_port()
    for name, text in CONFIGS.items():
        (folder / name).write_text(text.format(folder=folder, port=port, room=ROOM, libraries=LIBRARIES))
    command = [program("janus"), "-F", str(folder), "-C", str(folder / "janus.jcfg")]
    with (folder / "log").open("w") as log, subprocess.Popen(command, stdout=log, stderr=log) as process:
        try:
            wait_until(lambda: accepts(port))
            with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=LIMIT_S) as http, Endpoint(Janus(http)) as endpoint:
                threading.Thread(target=endpoint.serve_forever, daemon=True).start()
                yield endpoint
                endpoint.shutdown()
        finally:
            process.terminate()
