"""Who may ask for what, and how often."""

from __future__ import annotations

import math
from collections import OrderedDict, deque
from collections.abc import Callable
from ipaddress import IPv6Address, ip_address
from typing import Generic, TypeVar

from fastapi import Request

from pipeline.clock import Clock, steady

from ..config import Auth
from ..control.control import Control
from ..control.state import StreamState
from ..errors import Forbidden, TooManyRequests, Unauthorized, UnknownToken
from ..sinks.library import recorded_stream
from .rights import Needs, Of, Right
from .tokens import EVERYTHING, Grant, Tokens, allowed, in_words

ADDRESSES = 4096  # of which something is remembered at one time
WRONG_S = 60.0  # for how long wrong tokens are held against an address
SAFE = ("GET", "HEAD", "OPTIONS")
_T = TypeVar("_T")


class Access:
    """Asked before every request."""

    def __init__(self, auth: Auth, clock: Clock = steady) -> None:
        self.use(auth)
        self._clock = clock
        # How many requests an address has left, and when that was.
        self._left: _ByAddress[list[float]] = _ByAddress(lambda: [float(self._auth.requests_per_minute), clock()])
        # When they came, and a hash of each: a page with an old link asks again and again, and guesses nothing.
        self._wrong: _ByAddress[deque[tuple[float, int]]] = _ByAddress(lambda: deque(maxlen=self._auth.wrong_tokens))

    def use(self, auth: Auth) -> None:
        """Go by other tokens from now on."""
        self.tokens, self._auth = Tokens(auth), auth
        self._good: OrderedDict[int, None] = OrderedDict()  # hashes of those that were, the last one at the end

    def check(self, request: Request, asked: Needs) -> None:
        """Raise Unauthorized, Forbidden or TooManyRequests."""
        if asked.right is not None:
            request.state.grants = grants = self._grants(request)
            name = request.path_params.get("name")
            stream = recorded_stream(name or "") if asked.of is Of.RECORDING else name
            if not allowed(grants, asked, stream):
                raise Forbidden(f"this token is good for {in_words(grants)}; {asked.in_words(stream)} is needed")

    def _grants(self, request: Request) -> list[Grant]:
        """What the token that came is good for. From an address that guesses, only tokens that were good before are looked at:
        the others may be the next guess, and those who are there may share it, as all do behind a proxy that is not known."""
        if not self.tokens.wanted:
            return [EVERYTHING]
        token = token_of(request)
        if not token:
            raise Unauthorized("a token is needed: 'Authorization: Bearer TOKEN'")
        wrong, mark, now = self._wrong[address_of(request)], hash(token), self._clock()
        after_s = WRONG_S - (now - wrong[0][0]) if len(wrong) == wrong.maxlen else 0.0
        if after_s > 0 and mark not in self._good:
            raise TooManyRequests(f"{len(wrong)} wrong tokens came from this address; try again in {after_s:.0f} s", after_s)
        grants = self.tokens.grants(token)
        if not grants:
            if mark not in (known for at_s, known in wrong if now - at_s < WRONG_S):
                wrong.append((now, mark))
            raise UnknownToken("this token is not known here, or has ended")
        self._keep(mark)
        return grants

    def _keep(self, mark: int) -> None:
        self._good[mark] = self._good.pop(mark, None)
        if len(self._good) > ADDRESSES:
            self._good.popitem(last=False)

    async def count(self, request: Request) -> None:
        """Raise TooManyRequests where one address asks for too much of what costs something; who has a good token is counted by
        that too, apart from others there. A dependency."""
        if request.method in SAFE:
            return
        most, now = self._auth.requests_per_minute, self._clock()
        token = token_of(request)
        known = f" {hash(token)}" if hash(token) in self._good else ""
        bucket = self._left[address_of(request) + known]
        left = min(bucket[0] + (now - bucket[1]) * most / 60, float(most)) - 1
        bucket[:] = max(left, 0.0), now
        if left < 0:
            raise TooManyRequests(f"more than {most} requests in a minute; try again later")


class _ByAddress(Generic[_T]):
    """Something of each address that was seen lately."""

    def __init__(self, fresh: Callable[[], _T]) -> None:
        self._fresh = fresh
        self._of: OrderedDict[str, _T] = OrderedDict()

    def __getitem__(self, address: str) -> _T:
        self._of[address] = value = self._of.pop(address, None) or self._fresh()
        if len(self._of) > ADDRESSES:
            self._of.popitem(last=False)
        return value


def token_of(request: Request) -> str:
    """The token that came with a request; nothing if there is none."""
    scheme, _, given = request.headers.get("authorization", "").partition(" ")
    return given.strip() if scheme.lower() == "bearer" else request.query_params.get("token", "")


def address_of(request: Request) -> str:
    """Whose requests are counted together: an address, of IPv6 its /64 network, which is one customer's."""
    text = request.client.host if request.client else ""
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return text
    if isinstance(address, IPv6Address):
        return str(address.ipv4_mapped or IPv6Address(int(address) >> 64 << 64))
    return str(address)


def may(request: Request, right: Right, stream: str | None = None) -> bool:
    """Whether whoever sent a request, which `check` has let in, has a right to a stream, or without one to the server."""
    return any(grant.allows(right, Of.STREAM if stream else Of.SERVER, stream) for grant in request.state.grants)


def seen(state: StreamState, request: Request, control: Control) -> StreamState:
    """What of a stream's state is for whoever sent a request that `check` has let in."""
    if may(request, Right.CONTROL):
        return state
    guest = may(request, Right.CONTROL, state.name)
    return state.for_guests(control.outputs.library.folder) if guest else state.for_viewers()


def retry_after(exc: TooManyRequests) -> str:
    """The value of that header."""
    return str(max(math.ceil(exc.after_s), 1))
