"""A link by which a phone drives a stream with its camera, and the QR code of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from fastapi import APIRouter, Request
from pydantic import BaseModel

from pipeline.installation import command

from ..addresses import is_loopback, parsed
from ..config import Config
from .lan import lan_addresses
from .qr import qr_code
from .rights import CONTROL, SERVER, Guarded, Right, needs
from .tokens import Tokens, is_open

HOLDS_MIN = 12 * 60  # a phone that loses its page in an evening's show must come back by the same link
NO_NETWORK = "This computer is not connected to a network."


class PhoneLink(BaseModel):
    """A link for one address of the server. interface: its network's, by the system; code: rows of its QR code, 1 for dark."""

    url: str
    interface: str
    code: list[str]


class PhoneLinks(BaseModel):
    """The likeliest first. problem: why there is none, or what a phone will not do, in words."""

    links: list[PhoneLink]
    minutes: int
    problem: str


def link(page: str, stream: str, tokens: Tokens) -> str:
    """The address with which a phone may watch, drive and control a stream, and no other, for HOLDS_MIN. page: the server's."""
    own = f"#token={tokens.link(Right.CONTROL, stream, HOLDS_MIN)}" if tokens.wanted else ""
    return f"{page}/?stream={stream}{own}"


def router(known: Callable[[str], Awaitable[object]], config: Config) -> APIRouter:
    """Its endpoint. known: raises UnknownStream for a name that no stream has."""
    api = APIRouter(prefix="/api", route_class=Guarded, tags=["streams"])

    @api.post("/streams/{name}/phone", summary="Links with which a phone drives a stream, as QR codes")
    @needs(CONTROL, SERVER)
    async def phone(name: str, request: Request) -> PhoneLinks:
        """Each holds for twelve hours, for this stream alone."""
        await known(name)
        pages, problem = _pages(config, request)
        tokens = request.app.state.access.tokens
        links = {link(page, name, tokens): interface for page, interface in pages.items()}
        made = [PhoneLink(url=url, interface=interface, code=_rows(url)) for url, interface in links.items()]
        return PhoneLinks(links=made, minutes=HOLDS_MIN, problem=problem)

    return api


def _pages(config: Config, request: Request) -> tuple[dict[str, str], str]:
    """Addresses of the page for others, with their interfaces, and what is wrong with them."""
    asked, scheme, own = request.url.hostname or "", request.url.scheme, _own(config)
    here = is_loopback(asked) or asked in own
    if here and not is_open(config):
        return {}, f"Only this computer can reach the server. To let phones in, start it with “{command('serve --lan')}”."
    if here:
        port = (request.scope.get("server") or ("", None))[1]
        pages = {f"{scheme}://{each}:{port}": interface for each, interface in own.items()}
    else:
        pages = {f"{scheme}://{request.url.netloc}": ""}  # as whoever asks has reached it
    if not pages or scheme == "https":
        return pages, "" if pages else NO_NETWORK
    start = f"Start the server with “{command('serve --lan')}”, or give it a certificate."
    return pages, f"Phones allow the camera only on https pages. {start}"


def _own(config: Config) -> dict[str, str]:
    if config.webrtc.host_address:
        return {config.webrtc.host_address: ""}
    found = lan_addresses()
    host = config.http.host
    return {host: found.get(host, "")} if (address := parsed(host)) and not address.is_unspecified else found


def _rows(url: str) -> list[str]:
    return ["".join("01"[dark] for dark in row) for row in qr_code(url).astype(int)]
