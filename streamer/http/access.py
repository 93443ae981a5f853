"""Who may ask for what: pages of other sites, tokens, and how often."""

from __future__ import annotations

import hmac
import re
from collections import OrderedDict
from urllib.parse import urlsplit

from fastapi import Request, Response
from fastapi.responses import JSONResponse

from pipeline.clock import steady

from ..config import Auth
from ..errors import ForeignPage, StreamerError, TooManyRequests, Unauthorized, code

SAFE = ("GET", "HEAD", "OPTIONS")
GUARDED = ("/api", "/live", "/metrics", "/docs", "/openapi.json")
RECORDINGS = "/api/recordings"  # what somebody else's hour of pictures shows is not for whoever may watch now
# A session's address has 192 random bits: who knows it may do what it is for. Clients that give their token in the address of
# the endpoint have none for it (RFC 9725 §4.8 leaves it to the server).
SESSION = re.compile(r"/live/[^/]+/sessions/[^/]{20,}")
ADDRESSES = 4096  # whose requests are counted at one time
CORS = {
    "Access-Control-Allow-Methods": "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS",
    "Access-Control-Allow-Headers": "Authorization, Content-Type, If-Match",
    "Access-Control-Expose-Headers": "Location, Link, ETag, Accept-Patch, Accept-Post, Retry-After, WWW-Authenticate",
    "Access-Control-Max-Age": "600",
}


class Access:
    """Asked before every request."""

    def __init__(self, auth: Auth, origins: list[str]) -> None:
        self._auth = auth
        self._origins = set(origins)
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()  # requests left, and when that was

    def preflight(self, request: Request) -> Response | None:
        """The answer to a browser's question whether its page may ask (Fetch §4.8); None if it is none."""
        if request.method == "OPTIONS" and "access-control-request-method" in request.headers and self._foreign(request):
            return Response(status_code=204, headers=self.cors(request))
        return None

    def cors(self, request: Request) -> dict[str, str]:
        """Headers that let a page of an allowed site read the answer."""
        origin = request.headers.get("origin")
        if origin is None or not self._origins & {origin, "*"}:
            return {}
        return {"Access-Control-Allow-Origin": origin, "Vary": "Origin", **CORS}

    def check(self, request: Request) -> None:
        """Raise ForeignPage, Unauthorized or TooManyRequests."""
        if request.method not in SAFE and self._foreign(request) and not self.cors(request):
            raise ForeignPage(f"requests from {request.headers['origin']} are not allowed; see http.allowed_origins")
        if request.url.path.startswith(GUARDED) and not self._knows_token(request):
            raise Unauthorized("a token is needed: 'Authorization: Bearer TOKEN'")
        if request.method not in SAFE and request.url.path.startswith("/live"):
            self._count(request.client.host if request.client else "")

    def _foreign(self, request: Request) -> bool:
        origin = request.headers.get("origin")
        return bool(origin) and urlsplit(origin).netloc != request.headers.get("host")

    def _knows_token(self, request: Request) -> bool:
        path = request.url.path
        if SESSION.fullmatch(path):
            return True
        watching = (request.method in SAFE and not path.startswith(RECORDINGS)) or path.endswith("/whep")
        wanted = (self._auth.view_token or self._auth.token) if watching else self._auth.token
        if not wanted:
            return True
        return self._given(request, {wanted, self._auth.token} - {""})

    @staticmethod
    def _given(request: Request, accepted: set[str]) -> bool:
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        given = given.strip() if scheme.lower() == "bearer" else request.query_params.get("token", "")
        return any(hmac.compare_digest(given.encode(), token.encode()) for token in accepted)

    def may_control(self, request: Request) -> bool:
        """Whether a request that may watch may command, too."""
        return not self._auth.token or self._given(request, {self._auth.token})

    def _count(self, address: str) -> None:
        per_s = self._auth.requests_per_minute / 60
        now = steady()
        left, since = self._buckets.pop(address, (float(self._auth.requests_per_minute), now))
        left = min(left + (now - since) * per_s, float(self._auth.requests_per_minute)) - 1
        self._buckets[address] = max(left, 0.0), now
        if len(self._buckets) > ADDRESSES:
            self._buckets.popitem(last=False)
        if left < 0:
            raise TooManyRequests(f"more than {self._auth.requests_per_minute} requests in a minute; try again later")


def refusal(exc: StreamerError) -> JSONResponse:
    """The answer where `check` has raised."""
    status, headers = {
        ForeignPage: (403, {}),
        Unauthorized: (401, {"WWW-Authenticate": "Bearer"}),
        TooManyRequests: (429, {"Retry-After": "10"}),
    }[type(exc)]
    return JSONResponse({"detail": str(exc), "code": code(exc)}, status, headers)
