"""What comes before any route: for which names a request is let in, from which pages, and what every answer carries."""

from __future__ import annotations

import logging
import re
import socket
from ipaddress import ip_network
from urllib.parse import SplitResult, urlsplit

from fastapi import FastAPI, Request
from starlette.datastructures import MutableHeaders
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..addresses import parsed
from ..config import Config
from ..errors import ForeignPage, StreamerError, UnknownHost, code
from .access import SAFE
from .tokens import is_open

log = logging.getLogger(__name__)

CORS = {
    "Access-Control-Allow-Methods": "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS",
    "Access-Control-Allow-Headers": "Authorization, Content-Type, If-Match",
    "Access-Control-Expose-Headers": "Location, Link, ETag, Accept-Patch, Accept-Post, Retry-After, WWW-Authenticate",
    "Access-Control-Max-Age": "600",
}
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",  # an address may have a token in it
    "Permissions-Policy": "camera=(self), microphone=(self), geolocation=(), payment=(), usb=()",
}
# Everything of the page is this server's own, and none of it inline.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; media-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
)
PORTS = {"http": 80, "https": 443}
HOST = re.compile(r"([\w.-]+|\[[\da-fA-F:.]+\])(:\d{1,5})?")  # RFC 9110 §7.2, without what no client sends


class Hosts:
    """The names that the server goes by: those of the config, localhost, and the addresses of this machine."""

    def __init__(self, config: Config) -> None:
        http = config.http
        self._named = {name.lower().strip("[]") for name in http.names}
        own = {http.host.lower(), config.webrtc.host_address}
        if is_open(config):
            own |= {socket.gethostname().lower(), f"{socket.gethostname().lower()}.local"}
        self._names = self._named | own | {"localhost"}

    def has(self, name: str, arrived: str) -> bool:
        """Whether it is one. arrived: the address of this machine that the request came to."""
        address = parsed(name)
        if address is None:
            return name in self._names
        return not address.is_unspecified and (address.is_loopback or name in self._names or address == parsed(arrived))

    def named(self, name: str) -> bool:
        """Whether the config has it."""
        return name in self._named


class Proxies:
    """Looks whether requests come through a proxy that is not taken for one, and says so, once."""

    def __init__(self, trusted: list[str]) -> None:
        self._trusted = [ip_network(each) for each in trusted]
        self._told = False

    def look(self, request: Request) -> None:
        """At its headers. uvicorn puts the client that a listed proxy names by X-Forwarded-For in the proxy's place."""
        given = [header for header in ("x-forwarded-for", "forwarded") if header in request.headers]
        peer = parsed(request.client.host) if request.client else None
        if self._told or not given or peer is None or str(peer) in request.headers.get("x-forwarded-for", ""):
            return
        self._told = True
        if any(peer in network for network in self._trusted):
            log.warning("the proxy %s says by no X-Forwarded-For who asks: all its clients count as one address", peer)
        else:
            log.warning(
                "requests from %s say that they are passed on for others, and count as of that one address: if that is a proxy "
                "of yours, set http.trusted_proxies: [%s]; this is said once", peer, peer,
            )  # fmt: skip


class Front:
    """Middleware. origins: of other sites whose pages may use this server."""

    def __init__(self, app: ASGIApp, hosts: Hosts, proxies: Proxies, origins: list[str]) -> None:
        self._app = app
        self._hosts = hosts
        self._proxies = proxies
        self._origins = set(origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request = Request(scope)
        self._proxies.look(request)
        cors = self._cors(request)

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update(HEADERS | cors)
                if headers.get("content-type", "").startswith("text/html"):
                    headers["Content-Security-Policy"] = POLICY
            await send(message)

        await (self._refusal(request) or self._app)(scope, receive, with_headers)

    def _refusal(self, request: Request) -> Response | None:
        """The answer to what is not let in, and to a browser's question whether its page may ask (Fetch §4.8)."""
        name, arrived = request.headers.get("host", ""), str((request.scope.get("server") or [""])[0])
        host = _split(f"//{name}") if HOST.fullmatch(name) else None
        if host is None or not self._hosts.has((host.hostname or "").rstrip("."), arrived):
            return _refused(421, UnknownHost(f"this server does not go by the name '{name[:100]}'; see http.names"))
        origin = request.headers.get("origin")
        if origin is None or self._is_own(origin, host, arrived):
            return None
        if request.method == "OPTIONS" and "access-control-request-method" in request.headers:
            return Response(status_code=204)
        if request.method not in SAFE and not self._cors(request):
            return _refused(403, ForeignPage(f"requests from {origin[:100]} are not allowed; see http.allowed_origins"))
        return None

    def _is_own(self, origin: str, host: SplitResult, arrived: str) -> bool:
        """Whether it is a page of this server. A proxy may have changed the Host, so that is no measure of names."""
        page = _split(origin)
        if page is None or not page.hostname or page.scheme not in PORTS or not self._hosts.has(page.hostname, arrived):
            return False
        ours = {host.port or port for port in PORTS.values()}
        return self._hosts.named(page.hostname) or (page.port or PORTS[page.scheme]) in ours

    def _cors(self, request: Request) -> dict[str, str]:
        """Headers that let a page of an allowed site read the answer."""
        origin = request.headers.get("origin")
        if origin is None or not self._origins & {origin, "*"}:
            return {}
        return {"Access-Control-Allow-Origin": origin, "Vary": "Origin", **CORS}


def before_all(app: FastAPI, config: Config) -> None:
    """Let a request come to the application by this alone."""
    proxies = Proxies(config.http.trusted_proxies)
    app.add_middleware(Front, hosts=Hosts(config), proxies=proxies, origins=config.http.allowed_origins)


def _split(address: str) -> SplitResult | None:
    """None for what is none."""
    try:
        parts = urlsplit(address)
        return parts if parts.port is None or parts.port >= 0 else None
    except ValueError:
        return None


def _refused(status: int, exc: StreamerError) -> Response:
    return JSONResponse({"detail": str(exc), "code": code(exc)}, status)
