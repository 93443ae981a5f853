"""The front of a fleet: what clients of one server ask, answered for all of its workers. It keeps nothing, so there may be many.

Names, pages of other sites and rights are its own business, as a server's; then a request goes the way that `ways` has for it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI, Request, Response
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from ..config import Config
from ..errors import UnknownStream
from ..http import pages, phone
from ..http.access import Access
from ..http.front import before_all
from ..http.refusals import answer_refusals
from ..http.rights import Guarded
from ..http.seats import Seats
from ..http.web import ForwardedHost
from . import desk
from .base import Director, DirectorAway, FleetFull, UnknownWorker
from .known import Known
from .proxy import NoWorker, Proxy, Unreachable
from .ways import Way, ways

STATUS = {FleetFull: 503, DirectorAway: 503, Unreachable: 503, NoWorker: 503, UnknownWorker: 404}


def create_front(director: Director, config: Config, secret: str) -> FastAPI:
    """The application. config: the fleet's, whose tokens and names hold here; secret: the fleet's. Its lifespan closes its
    connections; whoever serves it without one awaits `app.state.proxy.close()` in the end."""
    known = Known(director)
    proxy = Proxy(known, secret)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        await proxy.close()

    async def is_known(stream: str) -> None:
        if stream not in (streams := await known.streams()):
            raise UnknownStream(f"no stream '{stream[:40]}'; streams: {', '.join(streams)}")

    app = FastAPI(title="puppetcast fleet", docs_url=None, redoc_url=None, openapi_url=None, lifespan=lifespan)
    app.state.proxy, app.state.access, app.state.http = proxy, Access(config.auth), config.http
    app.state.seats, app.state.uploads = Seats(config.http), 0
    app.router.route_class = Guarded
    app.include_router(desk.router(director, proxy))
    app.include_router(phone.router(is_known, config))
    for way in ways(director, known, proxy):
        app.add_api_route(way.path, _endpoint(way), methods=way.methods.split(), include_in_schema=False)
    app.include_router(pages.router())
    app.mount("/", pages.files())
    answer_refusals(app, STATUS)
    before_all(app, config)
    if trusted := config.http.trusted_proxies:
        app.add_middleware(ForwardedHost, trusted=trusted)
        app.add_middleware(ProxyHeadersMiddleware, trusted_hosts=trusted)  # type: ignore[arg-type]
    return app


def _endpoint(way: Way):  # type: ignore[no-untyped-def]
    async def passed_on(request: Request) -> Response:
        return await way.to(request)

    passed_on.needs = way.needs  # type: ignore[attr-defined]
    return passed_on
