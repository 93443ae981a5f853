"""The web server: uvicorn, ended within a time limit, and its listening socket."""

from __future__ import annotations

import asyncio
import errno
import hmac
import logging
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ipaddress import ip_network
from typing import Any

import h11
import uvicorn
from fastapi import FastAPI
from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from ..addresses import parsed
from ..config import Config, Http
from ..errors import ConfigError
from .key import KEY
from .lan import lan_addresses

log = logging.getLogger(__name__)


def address_for(config: Config, port: int) -> str:
    """Where a browser opens the page: of a server on all addresses, one at which other machines may reach it."""
    http = config.http
    host = (
        http.host
        if http.host not in ("", "0.0.0.0", "::")
        else config.webrtc.host_address or next(iter(lan_addresses()), "127.0.0.1")
    )
    return f"{'https' if http.tls_certificate else 'http'}://{f'[{host}]' if ':' in host else host}:{port}"


def listen(host: str, port: int) -> socket.socket:
    """A bound socket; ConfigError if the address cannot be had."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as exc:
        listener.close()
        cure = (
            "choose another with --port or PUPPETCAST_HTTP__PORT"
            if exc.errno in (errno.EADDRINUSE, errno.EACCES)
            else "is that an address of this machine?"
        )
        raise ConfigError(f"http: cannot listen on {host}:{port} ({exc.strerror}); {cure}") from exc
    return listener


def _impatient(timeout_s: float) -> type[H11Protocol]:
    """uvicorn's HTTP, which waits no longer than this for a request's head, from the connection's begin or the head's, and for
    the rest of a body that has been answered already."""

    class Impatient(H11Protocol):
        waiting: asyncio.TimerHandle | None = None

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            self._wait()

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            if self.conn.their_state is h11.IDLE or self.is_answered:
                self._wait()
            else:
                self._stop_waiting()

        def on_response_complete(self) -> None:
            super().on_response_complete()
            if self.is_answered:
                self._wait()

        def send_400_response(self, msg: str) -> None:
            log.warning("what came from %s is no HTTP", self.client[0] if self.client else "nowhere")
            super().send_400_response(msg)

        @property
        def is_answered(self) -> bool:
            return self.conn.our_state is h11.DONE and self.conn.their_state is h11.SEND_BODY

        def connection_lost(self, exc: Exception | None) -> None:
            self._stop_waiting()
            super().connection_lost(exc)

        def _wait(self) -> None:
            if self.waiting is None:
                self.waiting = self.loop.call_later(timeout_s, self.transport.abort)

        def _stop_waiting(self) -> None:
            if self.waiting is not None:
                self.waiting.cancel()
                self.waiting = None

    return Impatient


class ForwardedHost:
    """Middleware. Of a proxy that is believed and does not keep the Host, X-Forwarded-Host says which name was asked for; whether
    that is one of the server's is looked at later."""

    def __init__(self, app: Any, trusted: list[str]) -> None:
        self._app = app
        self._networks = [ip_network(each) for each in trusted]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = Headers(scope=scope) if scope["type"] == "http" and self._believes(scope) else {}
        if name := headers.get("x-forwarded-host", "").partition(",")[0].strip():
            kept = [(key, value) for key, value in scope["headers"] if key != b"host"]
            scope = {**scope, "headers": [*kept, (b"host", name.encode("latin-1"))]}
        await self._app(scope, receive, send)

    def _believes(self, scope: Scope) -> bool:
        address = parsed((scope.get("client") or ("",))[0])
        return address is not None and any(address in network for network in self._networks)


class Keyed:
    """Middleware of a fleet's worker: nothing is answered without its key, as any client would be believed who it is."""

    def __init__(self, app: Any, key: str) -> None:
        self._app = app
        self._key = key.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        given = Headers(scope=scope).get(KEY, "")
        if hmac.compare_digest(given.encode("latin-1"), self._key):
            await self._app(scope, receive, send)
            return
        body = {"detail": "this is a fleet's worker: it answers the fleet's front alone", "code": "WrongKey"}
        await JSONResponse(body, 403, {KEY: "another is needed"})(scope, receive, send)


def check_certificate(config: Http) -> None:
    """ConfigError for certificate files that cannot be used."""
    if config.tls_certificate is None:
        return
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(config.tls_certificate, config.tls_key)
    except OSError as exc:  # ssl.SSLError is one
        files = f"{config.tls_certificate}, {config.tls_key}"
        raise ConfigError(f"http: {files}: not usable as certificate and key ({exc.strerror or exc})") from exc


class WebServer(uvicorn.Server):
    """requests_s: how long requests that are being answered have when the server ends. key: see `Keyed`. Of certificate files
    see `check_certificate`."""

    on_ready: Callable[[], None]
    on_shutdown: Callable[[], None]

    def __init__(self, app: FastAPI, requests_s: float, config: Http, key: str = "") -> None:
        web = uvicorn.Config(
            app, log_config=None, log_level="error", access_log=False, lifespan="off", http=_impatient(config.header_timeout_s),
            timeout_keep_alive=config.keep_alive_s,  # type: ignore[arg-type]
            proxy_headers=bool(config.trusted_proxies), forwarded_allow_ips=config.trusted_proxies,
            ssl_certfile=config.tls_certificate, ssl_keyfile=config.tls_key,
        )  # fmt: skip
        web.load()
        if config.trusted_proxies:
            web.loaded_app = ForwardedHost(web.loaded_app, config.trusted_proxies)
        if key:
            web.loaded_app = Keyed(web.loaded_app, key)
        super().__init__(web)
        self._requests_s = requests_s

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.on_ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self.on_shutdown()  # what streams for ever would hold up the end
        try:
            async with asyncio.timeout(self._requests_s):
                await super().shutdown(sockets)
        except TimeoutError:
            left = list(self.server_state.connections)
            log.warning("%d request%s cut off, not done after %g s", len(left), "s" * (len(left) > 1), self._requests_s)
            for connection in left:
                connection.transport.abort()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave them alone: uvicorn raises what it has caught again before sessions and recordings are closed."""
        yield
